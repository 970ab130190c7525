"""What `runner fuzz` says, judged."""

import unittest

from harness.fuzz import tally
from harness.step import Status

SAID = """\
seed 1
70 programs in 60.1 s (1.2 a second), 5 tolerated, 0 seen once
         5  tolerated: Allocate: blocked, not success
"""


class Tally(unittest.TestCase):
    def test_what_is_tolerated_is_no_failure(self):
        result = tally(SAID, 0)
        self.assertEqual((result.status, result.passed, result.failed), (Status.OK, 70, 0))

    def test_a_divergence_is_a_failure(self):
        result = tally(SAID + "         1  Punch: success, not blocked\n", 1)
        self.assertEqual((result.status, result.passed, result.failed), (Status.FAILED, 69, 1))
        self.assertEqual(result.attention, ["Punch: success, not blocked"])

    def test_what_was_seen_once_is_a_failure(self):
        once = "seen once: Punch: success, not blocked"
        result = tally(SAID.replace("0 seen once", "1 seen once") + f"         1  {once}\n", 1)
        self.assertEqual((result.status, result.failed, result.attention), (Status.FAILED, 1, [once]))

    def test_what_was_wrong_when_all_was_over_is_a_failure(self):
        result = tally("when all was over: xfs_repair complains\n" + SAID, 1)
        self.assertEqual((result.status, result.failed), (Status.FAILED, 1))

    def test_a_machine_that_went_down_is_a_failure(self):
        self.assertEqual(tally("seed 1\n", 2).status, Status.FAILED)
