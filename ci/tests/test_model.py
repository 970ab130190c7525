"""What `runner variants` says, judged."""

import unittest

from harness.model import LOOKING, caught, tally, tally_fuzzed
from harness.step import Status

SAID = """\
no-break: the break returns at once
    cases that fail: pin/a, pin/b
    rule "missed wait": pin/a
retry-flag: the flag is lost
    nothing catches it
"""


class Tally(unittest.TestCase):
    def test_what_nothing_catches_failed(self):
        result = tally(SAID, 1)
        self.assertEqual((result.status, result.passed, result.failed), (Status.FAILED, 1, 1))
        self.assertEqual(result.attention, ["retry-flag"])

    def test_all_caught(self):
        result = tally(SAID.split("retry")[0], 0)
        self.assertEqual((result.status, result.passed, result.failed), (Status.OK, 1, 0))

    def test_no_variant_at_all_is_a_failure(self):
        self.assertEqual(tally("", 0).status, Status.FAILED)


class Fuzzed(unittest.TestCase):
    def test_a_bug_must_be_met(self):
        result = tally_fuzzed({"a": "2 steps, shrunk from 30:\n", "b": "900 programs in 60.0 s\n"}, 0)
        self.assertEqual((result.status, result.passed, result.failed), (Status.FAILED, 1, 1))
        self.assertEqual(result.attention, [f"b (not met in {LOOKING} s)"])

    def test_in_few_steps(self):
        result = tally_fuzzed({"a": "9 steps, shrunk from 30:\n"}, 0)
        self.assertEqual(result.attention, ["a (9 steps)"])
        self.assertEqual(tally_fuzzed({"a": "8 steps, shrunk from 30:\n"}, 0).status, Status.OK)

    def test_no_bug_at_all_is_a_failure(self):
        self.assertEqual(tally_fuzzed({}, 0).status, Status.FAILED)

    def test_the_bugs_are_those_of_the_matrix(self):
        self.assertEqual(list(caught(SAID)), ["no-break", "retry-flag"])
