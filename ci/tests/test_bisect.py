"""What `git bisect run` is told: only a case that deviates is bad, and only what ran often enough is good."""

import contextlib
import io
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import bisect, child
from harness.cache import ROOT
from harness.failure import Failure
from harness.journal import Journal, parse
from harness.options import parse as options

CASE = "race/retry"


def journal(*verdicts: str, **fields) -> Journal:
    """The journal of runs of one case."""
    fields = {"complete": True, "begun": len(verdicts), **fields}
    return Journal(verdicts={CASE: list(verdicts)} if verdicts else {}, **fields)


def told(seen: Journal, wanted: int = 3, fails: float = 0.8) -> tuple[int, str]:
    return bisect.judged(lambda: seen, wanted, fails)


class Verdict(unittest.TestCase):
    def test_what_passes_every_time_is_good(self):
        code, why = told(journal("PASS", "XPASS", "PASS"))
        self.assertEqual(code, 0)
        self.assertIn("with a probability of 0.80%", why)

    def test_one_deviation_is_bad_known_or_not(self):
        for verdict in ("FAIL", "HANG", "XFAIL"):
            code, why = told(journal("PASS", verdict, "PASS", told={CASE: "expected: it waits\nat length"}))
            self.assertEqual(code, 1)
            self.assertEqual(why, f"bad: {CASE}: {verdict} in 1 of 3 runs: expected: it waits")

    def test_bad_is_bad_whatever_else_happened(self):
        self.assertEqual(told(journal("HANG", complete=False, trouble=["damage"], running=CASE))[0], 1)

    def test_a_kernel_that_dies_of_the_case_is_bad(self):
        self.assertEqual(told(journal("PASS", running=CASE, down="kernel panic: BUG"))[0], 1)

    def test_what_was_not_seen_is_neither(self):
        for seen in (
            Journal(),
            journal("NOTRUN", "NOTRUN", "NOTRUN"),
            journal("ERROR", "PASS", "PASS"),
            journal("PASS", "PASS"),
            journal("PASS", "PASS", "NOTRUN"),
            journal("PASS", "PASS", "PASS", complete=False),
            journal("PASS", "PASS", "PASS", trouble=["xfs_repair found damage"]),
            journal("PASS", running=CASE, down="its time was over after 3600 s"),
            journal("PASS", running=CASE),
        ):
            self.assertEqual(told(seen)[0], 125, seen)

    def test_each_of_several_cases_counts(self):
        seen = Journal(verdicts={"a": ["PASS"], "b": ["XFAIL"]}, complete=True)
        self.assertEqual(told(seen, 1)[0], 1)
        seen = Journal(verdicts={"a": ["PASS"], "b": ["NOTRUN"]}, complete=True)
        self.assertEqual(told(seen, 1)[0], 125)

    def test_the_journal_tells_why_the_machine_went_down(self):
        seen = parse(['{"event": "case-begun", "case": "a"}', '{"event": "down", "why": "kernel panic: x"}'])
        self.assertEqual((seen.running, seen.down), ("a", "kernel panic: x"))


class Odds(unittest.TestCase):
    def test_so_many_runs_that_chance_is_below_a_hundredth(self):
        for fails in (1.0, 0.99, 0.9, 0.5, 0.1, 0.02):
            runs = bisect.runs(fails)
            self.assertLess((1 - fails) ** runs, 0.01 + 1e-12)
            self.assertTrue(runs == 1 or (1 - fails) ** (runs - 1) > 0.01)
        self.assertEqual((bisect.runs(1), bisect.runs(0.5), bisect.runs(0.1)), (1, 7, 44))


class Tree(unittest.TestCase):
    """With make itself, on a tree that is no kernel's."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        (self.tree / ".config").touch()

    def build(self, rule: str) -> None:
        (self.tree / "Makefile").write_text(f"all:\n\t@{rule}\nolddefconfig:\n\t@true\n")
        with contextlib.redirect_stderr(io.StringIO()):
            bisect.build(str(self.tree))

    def test_it_is_built_before_it_is_judged(self):
        self.build("mkdir -p arch/x86/boot && touch arch/x86/boot/bzImage")
        self.assertTrue((self.tree / "arch/x86/boot/bzImage").exists())

    def test_what_does_not_build_is_skipped(self):
        for rule in ("false", "true"):
            with self.assertRaises(bisect.Unjudged):
                self.build(rule)

    def test_a_tree_that_nobody_configured_stops_all(self):
        (self.tree / ".config").unlink()
        with self.assertRaises(Failure):
            self.build("true")

    def test_a_kernel_of_the_table_is_not_built(self):
        bisect.build("6.12")


class Stop(unittest.TestCase):
    """Git takes 2 for a bad kernel: what is not the kernel's fault must end with 128."""

    def code(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-B", ROOT / "ci" / "vm", "--bisect", *arguments],
            capture_output=True,
            text=True,
            timeout=child.SHORT,
        )
        return done.returncode, done.stderr

    def test_what_was_typed_wrong(self):
        for arguments, words in (
            (["--kernel", "6.12"], "say which case"),
            (["--kernel", "6.12", "--cpus", "none", CASE], "is not a number of CPUs"),
            (["--kernel", "6.12", "--fails", "2", CASE], "is not a number from 0.001 to 1"),
            (["--kernel", "6.12", "--kernel", "7", CASE], "one kernel"),
            (["--kernel", "6.12", CASE, "--iterations", "3"], "leave out --iterations"),
            (["--kernel", "6.12", "--fault", "nosuch", CASE], "nosuch"),
            (["--kernel", "/nowhere/linux", CASE], "no kernel /nowhere/linux"),
            (["--kernel", "6.12", "--", "true"], "one kernel"),
        ):
            code, said = self.code(*arguments)
            self.assertEqual((code, len(said.splitlines())), (128, 1), said)
            self.assertIn(words, said)

    def test_a_defect_of_its_own(self):
        with mock.patch.object(bisect, "look", side_effect=ValueError("x")), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(bisect.main(["--bisect", "--kernel", "6.12", CASE]), 128)

    def test_fails_is_for_a_bisection(self):
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            options(["--fails", "0.2", CASE])
