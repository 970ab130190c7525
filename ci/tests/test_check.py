"""When all is good."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import check, plan
from harness.check import select, verdict
from harness.failure import Failure
from harness.step import Result, Status, Step, Where


def step(name: str, machine: bool = False) -> Step:
    return Step(name, lambda _: Result(Status.OK), where=Where("6.12", "xfs") if machine else None)


class Verdict(unittest.TestCase):
    def decide(self, **statuses: Status) -> int:
        steps = [step(name, machine=name.startswith("suite")) for name in statuses]
        return verdict(steps, {name: Result(status) for name, status in statuses.items()})

    def test_all_ok_is_good(self):
        self.assertEqual(self.decide(fmt=Status.OK, suite=Status.OK), 0)

    def test_one_failure_is_not(self):
        self.assertEqual(self.decide(fmt=Status.OK, suite=Status.FAILED), 1)

    def test_a_kernel_out_of_reach_is_passed_over(self):
        self.assertEqual(self.decide(suite1=Status.OK, suite2=Status.OUT_OF_REACH), 0)

    def test_but_not_all_of_them(self):
        self.assertEqual(self.decide(fmt=Status.OK, suite=Status.OUT_OF_REACH), 1)

    def test_steps_without_machines_may_be_all(self):
        self.assertEqual(self.decide(fmt=Status.OK), 0)


class Failed(unittest.TestCase):
    def test_what_is_known_of_a_case_is_told(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(check, "RESULTS", Path(folder)):
            suite = step("suite")
            result = Result(Status.FAILED, attention=["pin/a"], reports={"pin/a": "HANG\na stack", "pin/b": "fine"})
            with contextlib.redirect_stdout(io.StringIO()) as said:
                check.Check([suite], 1).finish(suite, result, 1.0)
        self.assertIn("  needs attention: pin/a\n  | HANG\n  | a stack\n", said.getvalue())
        self.assertNotIn("fine", said.getvalue())


class Plan(unittest.TestCase):
    def test_every_fault_has_its_source(self):
        for fault in plan.FAULTS + plan.TRACED:
            self.assertTrue((Path(__file__).parents[1] / "faults" / f"{fault.name}.c").exists(), fault.name)

    def test_names_are_unique_and_one_word(self):
        names = [step.name for step in plan.steps()]
        self.assertEqual(len(names), len(set(names)))
        self.assertTrue(all(" " not in name for name in names))

    def test_globs_choose(self):
        chosen = select(plan.steps(), ["suite-*-xfs", "fmt"])
        self.assertEqual({step.name for step in chosen if not step.where}, {"fmt"})
        self.assertTrue(all(step.name.endswith("-xfs") for step in chosen if step.where))

    def test_a_glob_that_chooses_nothing_is_an_error(self):
        with self.assertRaises(Failure):
            select(plan.steps(), ["suit-*"])
