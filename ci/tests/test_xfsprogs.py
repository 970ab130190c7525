"""Which programs of xfsprogs a guest gets."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import kernel, xfsprogs
from harness.cache import ROOT

TABLE = {"minimum": [6, 10], "shapes": ["exchange"]}


class Xfsprogs(unittest.TestCase):
    def test_shapes_are_found_however_they_are_typed(self):
        for words in (
            ["--shape", "dax-inode,exchange"],
            ["--shape=exchange", "--shape", "dax-inode"],
            ["sh", "-c", "runner --shape exchange --shape dax-inode 'exchange/*'"],
        ):
            self.assertEqual(xfsprogs.shapes(words), {"exchange", "dax-inode"}, words)
        # A case is no shape.
        self.assertEqual(xfsprogs.shapes(["--shape", "dax-inode", "exchange/*"]), {"dax-inode"})

    def test_newer_programs_are_for_what_older_ones_cannot_make(self):
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder, "mkfs.xfs")

            def wanted(version, words):
                own.write_text(f"#!/bin/sh\necho mkfs.xfs version {version}\n")
                own.chmod(0o755)
                with mock.patch.object(xfsprogs.shutil, "which", return_value=str(own)):
                    return xfsprogs.wanted(words, TABLE)

            self.assertTrue(wanted("6.1.0", ["--shape", "exchange"]))
            self.assertTrue(wanted("6.9.0", ["--shape", "exchange"]))
            self.assertFalse(wanted("6.10.1", ["--shape", "exchange"]))
            self.assertFalse(wanted("7.2.0", ["--shape", "exchange"]))
            self.assertFalse(wanted("6.1.0", ["--shape", "stripe", "waits/exchange/splice/mapped"]))

    def test_a_program_that_does_not_start_has_no_version(self):
        self.assertEqual(xfsprogs.version("/nonexistent/mkfs.xfs"), ())

    def test_the_shapes_of_the_table_are_the_runner_s(self):
        shapes = (ROOT / "runner/src/shape.rs").read_text()
        for shape in kernel.read_table()[xfsprogs.NAME]["shapes"]:
            self.assertIn(f'name: "{shape}"', shapes)
