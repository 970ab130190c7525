"""What is packed, under which version, and where it goes."""

import contextlib
import io
import unittest
from unittest import mock

from harness import package
from harness.failure import Failure

HASH = "18ee74c182b4f2b866f2dc24518d783a36ac3457"


def head(changed: str = "", tags: str = "") -> package.Commit:
    """What is packed of a repository in which this is changed and tagged."""
    answers = {"status": changed, "log": f"{HASH} 1700000000 2023-11-14\n", "tag": tags}
    metadata = {"packages": [{"name": "runner", "version": "1.2.0"}]}
    with (
        mock.patch.object(package, "run", side_effect=lambda command, _: answers[command[3]]),
        mock.patch.object(package.build, "metadata", return_value=metadata),
    ):
        return package.head()


class Packed(unittest.TestCase):
    def test_a_release_is_newer_than_what_was_packed_before_it(self):
        self.assertEqual(head(tags="good\nv1.2.0\n").version, "1.2.0")
        # dpkg sorts "~" before the end.
        self.assertEqual(head(tags="v1.1.0\n").version, "1.2.0~git20231114.18ee74c182b4")

    def test_what_is_not_committed_is_not_packed(self):
        with self.assertRaisesRegex(Failure, "^README.md is changed and not committed"):
            head(changed=" M README.md\n M ci/vm\n")

    def test_a_suite_is_for_a_check(self):
        said = io.StringIO()
        with self.assertRaises(SystemExit) as left, contextlib.redirect_stderr(said):
            package.main(["--suite", "trixie"])
        self.assertEqual(left.exception.code, 2)
        self.assertEqual(said.getvalue(), "ci/package: --suite goes with --check only (see ci/package --help)\n")

    def test_all_that_is_laid_out_goes_into_the_package(self):
        installed = [line.split()[0] for line in (package.DEBIAN / "install").read_text().splitlines() if line[0] != "#"]
        laid_out = ["bin/", "lib/daxtests/", "share/doc/daxtests/", "share/man/man1/", *package.COMPLETIONS.values()]
        for path in laid_out:
            with self.subTest(path):
                self.assertTrue(any(f"tree/{path}/".startswith(f"{folder}/") for folder in installed))

    def test_the_licences_are_those_of_what_is_linked_in(self):
        said = package.licences()
        # LGPL; the only one that asks for more than its notice.
        self.assertRegex(said, r"(?m)^btf-rs 2\S*: LGPL-2.1-or-later$")
        self.assertIn("Permission is hereby granted", said)
        self.assertNotIn("\nproptest ", said)
        self.assertNotIn("\nrunner ", said)
