"""What `cargo test` says, added up."""

import unittest

from harness.cargo import tally
from harness.step import Status

SAID = """\
     Running unittests src/lib.rs (target/debug/deps/protocol-1)
test rule::tests::a ... ok
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
     Running unittests src/main.rs (target/debug/deps/runner-1)
test cli::tests::b ... FAILED
test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
"""


class Tally(unittest.TestCase):
    def test_programs_are_added_up(self):
        result = tally(SAID, 101)
        self.assertEqual((result.status, result.passed, result.failed, result.skipped), (Status.FAILED, 15, 1, 1))
        self.assertEqual(result.attention, ["cli::tests::b"])

    def test_what_does_not_compile_failed(self):
        self.assertEqual(tally("error: could not compile\n", 101).failed, 1)

    def test_no_test_at_all_is_a_failure(self):
        self.assertEqual(tally("", 0).status, Status.FAILED)
        none = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s\n"
        self.assertEqual(tally(none, 0).status, Status.FAILED)
