"""The folder that results go to."""

import tempfile
import unittest
from pathlib import Path

from harness import results
from harness.failure import Failure


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()

    def test_two_runs_do_not_write_to_one_folder(self):
        with results.alone(self.folder):
            with self.assertRaisesRegex(Failure, "another run writes its results there"), results.alone(self.folder):
                self.fail("both have it")
        # The first is done.
        with results.alone(self.folder):
            pass

    def test_one_of_somebody_else_is_refused(self):
        (self.folder / "cases").mkdir()
        with self.assertRaisesRegex(Failure, "is not empty and daxtests did not make it"):
            results.take(self.folder)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["cases"])

    def test_the_runner_knows_the_mark(self):
        source = (results.ROOT / "runner" / "src" / "results.rs").read_text()
        for text in (results.MARKER, results.PREVIOUS, results.MARK.replace("\n", "\\n")):
            self.assertIn(f'"{text}"', source)

    def test_what_the_run_before_left_is_kept(self):
        results.take(self.folder)
        console = self.folder / "console.log"
        results.set_aside(self.folder, console.name)
        self.assertFalse((self.folder / "previous").exists())
        for text in ("first", "second"):
            console.write_text(text)
            results.set_aside(self.folder, console.name)
            self.assertFalse(console.exists())
            self.assertEqual((self.folder / "previous" / console.name).read_text(), text)
        self.assertTrue((self.folder / "previous" / results.MARKER).is_file())
        console.symlink_to("elsewhere")
        results.set_aside(self.folder, console.name)
        self.assertTrue(console.is_symlink())
