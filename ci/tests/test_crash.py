"""What is demanded of a run in which the machine went down."""

import unittest

from harness import suite
from harness.crash import FINISHED, REASON, fault
from harness.journal import Journal

CASES = [f"pin/{number}" for number in range(FINISHED + 2)]


class Judge(unittest.TestCase):
    def setUp(self):
        self.seen = Journal(verdicts={case: ["PASS"] for case in CASES}, lost=["pin/lost"])
        self.reported = {case: None for case in CASES} | {"pin/lost": REASON}

    def fault(self, code=suite.UNEXPECTED):
        return fault(code, self.seen, self.reported)

    def test_all_that_was_finished_and_the_case_that_ran_is_enough(self):
        self.assertIsNone(self.fault())

    def test_a_machine_that_stayed_up_shows_nothing(self):
        self.seen.lost.clear()
        self.assertTrue(self.fault())
        self.assertTrue(self.fault(suite.EXPECTED))

    def test_a_finished_case_that_is_not_reported_is_found(self):
        del self.reported[CASES[0]]
        self.assertTrue(self.fault())

    def test_the_case_that_ran_is_to_be_a_failure_that_tells_of_the_crash(self):
        for told in (None, "it died"):
            with self.subTest(told=told):
                self.reported["pin/lost"] = told
                self.assertTrue(self.fault())

    def test_no_other_case_is(self):
        self.reported[CASES[1]] = "lost too"
        self.assertTrue(self.fault())

    def test_it_goes_on_afterwards(self):
        for case in CASES[FINISHED:]:
            del self.seen.verdicts[case]
        self.assertTrue(self.fault())
