"""What the fuzzer must show of each bug of the reference."""

import unittest

from harness.variants import LOOKING, amiss


def told(*steps: int) -> dict:
    return {"shrunk": [{"kind": "Punch: success, not blocked", "steps": number, "from": 30} for number in steps]}


class Amiss(unittest.TestCase):
    def test_a_bug_must_be_met(self):
        self.assertEqual(amiss({"a": told(2), "b": told()}), {"b": f"not met in {LOOKING} s"})

    def test_in_few_steps(self):
        self.assertEqual(amiss({"a": told(9)}), {"a": "9 steps, more than 8"})
        self.assertEqual(amiss({"a": told(8)}), {})

    def test_the_last_program_counts(self):
        self.assertEqual(amiss({"a": told(12, 3)}), {})
