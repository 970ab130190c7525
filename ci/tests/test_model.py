"""What `runner variants` says, judged."""

import unittest

from harness.model import tally
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
