"""Where downloads lie."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.cache import MARKER, Cache
from harness.failure import Failure


class Named(unittest.TestCase):
    """A folder that the user names."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        named = mock.patch.dict(os.environ, DAXTESTS_CACHE=str(self.folder))
        named.start()
        self.addCleanup(named.stop)

    def test_what_is_somebody_elses_is_refused(self):
        mine = self.folder / "scratch-mine"
        mine.mkdir()
        with self.assertRaisesRegex(Failure, "is not empty and daxtests did not make it"):
            Cache.default()
        self.assertEqual(list(self.folder.iterdir()), [mine])

    def test_an_empty_one_is_marked_and_known_again(self):
        Cache.default()
        self.assertTrue((self.folder / MARKER).is_file())
        (self.folder / "kernel-7").mkdir()
        Cache.default()

    def test_one_that_was_made_before_there_were_marks_is_known(self):
        (self.folder / "locks").mkdir()
        (self.folder / "locks" / "virtme-ng-1.42-python3.11").touch()
        Cache.default()
        self.assertTrue((self.folder / MARKER).is_file())
