"""What a command came to: its exit code, and the numbers of what it left."""

import unittest

from harness.journal import Journal
from harness.outcome import Status, outcome

TESTS = """\
     Running unittests src/lib.rs (target/debug/deps/protocol-1)
test rule::tests::a ... ok
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
     Running unittests src/main.rs (target/debug/deps/runner-1)
test cli::tests::b ... FAILED
test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
"""


def journal(**verdicts: str) -> Journal:
    names = {name: [verdict] for name, verdict in verdicts.items()}
    return Journal(verdicts=names, seconds={name: [1.0] for name in names}, begun=len(names), complete=True)


class Command(unittest.TestCase):
    def test_its_exit_code_decides(self):
        result = outcome(0, "8 passed, 3 failed\n")
        self.assertEqual((result.status, result.passed, result.failed), (Status.OK, 1, 0))
        result = outcome(2, "all is well\n")
        self.assertEqual((result.status, result.passed, result.failed), (Status.FAILED, 0, 1))
        self.assertEqual(result.reason, "it ended with 2")


class Tests(unittest.TestCase):
    def test_programs_are_added_up(self):
        result = outcome(101, TESTS)
        self.assertEqual((result.status, result.passed, result.failed, result.skipped), (Status.FAILED, 15, 1, 1))
        self.assertEqual(result.attention, ["cli::tests::b"])

    def test_what_does_not_compile_failed(self):
        self.assertEqual(outcome(101, "error: could not compile\n").failed, 1)

    def test_no_test_at_all_is_a_failure(self):
        none = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s\n"
        self.assertEqual(outcome(0, none).status, Status.FAILED)


class Cases(unittest.TestCase):
    def test_all_as_expected_is_good(self):
        result = outcome(0, "", journal(a="PASS", b="XFAIL", c="NOTRUN"))
        self.assertEqual((result.status, result.passed, result.failed, result.skipped), (Status.OK, 1, 0, 2))
        self.assertEqual(result.line("suite-x-xfs"), "suite-x-xfs: 1 passed, 0 failed, 2 skipped")

    def test_a_failure_is_named(self):
        result = outcome(1, "", journal(a="PASS", b="FAIL"))
        self.assertEqual((result.status, result.failed, result.attention), (Status.FAILED, 1, ["b"]))

    def test_a_failure_that_is_no_cases_counts(self):
        self.assertEqual(outcome(1, "", journal(a="PASS")).failed, 1)
        self.assertEqual(outcome(2, "", Journal()).failed, 1)

    def test_an_exit_code_that_denies_the_journal_is_a_failure(self):
        self.assertEqual(outcome(0, "", journal(a="PASS", b="FAIL")).status, Status.FAILED)

    def test_a_journal_without_its_end_is_a_failure(self):
        seen = journal(a="PASS")
        seen.complete = False
        result = outcome(0, "", seen)
        self.assertEqual((result.status, result.failed), (Status.FAILED, 1))
        self.assertIn("complete", result.reason)

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(outcome(0, "", Journal()).status, Status.FAILED)
        self.assertEqual(outcome(0, "", journal(a="NOTRUN")).status, Status.FAILED)

    def test_what_fails_as_is_known_has_run(self):
        self.assertEqual(outcome(0, "", journal(a="XFAIL", b="NOTRUN")).status, Status.OK)
        self.assertEqual(outcome(0, "", journal(a="XPASS")).reason, "it ended with 0 in spite of failures")
