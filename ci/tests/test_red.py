"""What turns each case red: the faults that `expected/red.toml` names are put into a kernel by a step of `ci/test`."""

import fnmatch
import tomllib
import unittest

from harness import fault, plan
from harness.cache import ROOT


class Red(unittest.TestCase):
    def test_a_step_shows_each_fault_to_turn_its_case_red(self):
        rows = tomllib.loads((ROOT / "expected" / "red.toml").read_text())
        named = {(row["fault"], case) for case, row in rows.items() if "fault" in row}
        self.assertTrue(named)
        for name, case in sorted(named):
            with self.subTest(fault=name, case=case):
                self.assertIn(name, fault.names())
                self.assertTrue(
                    any(other.name == name and fnmatch.fnmatchcase(case, other.selection) for other in plan.FAULTS)
                )


if __name__ == "__main__":
    unittest.main()
