"""When all is good."""

import contextlib
import io
import json
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from harness import check
from harness.check import closing, verdict
from harness.failure import Failure
from harness.outcome import Result, Status
from harness.step import Step


def step(name: str, kernel: str | None = None) -> Step:
    return Step(name, ["true"], 60, kernel)


class Verdict(unittest.TestCase):
    """The default kernel is "b"."""

    def close(self, **statuses: Status) -> tuple[int, list[str]]:
        """The exit code and the closing lines; a step `suite_x` runs on kernel x."""
        steps = [step(name, name.removeprefix("suite_") if name.startswith("suite_") else None) for name in statuses]
        results = {
            name: Result(
                status,
                passed=2 if status is Status.OK else 0,
                failed=int(status is Status.FAILED),
                skipped=1 if status is Status.OUT_OF_REACH else None,
            )
            for name, status in statuses.items()
        }
        return verdict(steps, results, "b"), closing(steps, results, "b")

    def test_all_ok_is_good(self):
        self.assertEqual(
            self.close(fmt=Status.OK, suite_b=Status.OK), (0, ["total: 4 passed, 0 failed, 0 skipped"])
        )

    def test_one_failure_is_not(self):
        code, lines = self.close(fmt=Status.OK, suite_b=Status.FAILED)
        self.assertEqual((code, lines[-1]), (1, "total: 2 passed, 1 failed, 0 skipped"))

    def test_a_kernel_that_could_not_be_fetched_is_skipped_and_named(self):
        code, lines = self.close(suite_b=Status.OK, suite_a=Status.OUT_OF_REACH)
        self.assertEqual(code, 0)
        self.assertEqual(
            lines,
            ["ci/test: kernel a could not be fetched; not run: suite_a", "total: 2 passed, 0 failed, 1 skipped"],
        )

    def test_a_default_kernel_that_could_not_be_fetched_is_a_failure(self):
        code, lines = self.close(suite_a=Status.OK, suite_b=Status.OUT_OF_REACH, suite_c=Status.OK)
        self.assertEqual(code, 1)
        self.assertIn("kernel b could not be fetched, which fails the run", lines[0])
        self.assertEqual(lines[-1], "total: 4 passed, 1 failed, 1 skipped")

    def test_and_so_are_all_that_were_asked_for(self):
        code, lines = self.close(fmt=Status.OK, suite_a=Status.OUT_OF_REACH)
        self.assertEqual((code, lines[-1]), (1, "total: 2 passed, 1 failed, 1 skipped"))

    def test_steps_without_machines_may_be_all(self):
        self.assertEqual(self.close(fmt=Status.OK)[0], 0)


class Failed(unittest.TestCase):
    def test_what_is_known_of_a_case_is_told(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(check, "RESULTS", Path(folder)):
            suite = step("suite")
            result = Result(Status.FAILED, attention=["pin/a"], reports={"pin/a": "HANG\na stack", "pin/b": "fine"})
            with contextlib.redirect_stdout(io.StringIO()) as said:
                check.Check([suite], 1).finish(suite, result, 1.0)
        self.assertIn("  needs attention: pin/a\n  | HANG\n  | a stack\n", said.getvalue())
        self.assertNotIn("fine", said.getvalue())


class Excerpt(unittest.TestCase):
    def test_what_went_wrong_first_is_shown_whatever_comes_after(self):
        said = ["first: a divergence", *("where the time went" for _ in range(90)), "last"]
        self.assertEqual(check.excerpt("\n".join(said)), said)

    def test_of_what_is_too_long_the_middle_is_left_out_and_counted(self):
        shown = check.excerpt("\n".join(map(str, range(1000))))
        self.assertEqual((shown[0], shown[99:102], shown[-1]), ("0", ["99", "... 600 lines left out ...", "700"], "999"))


class AtOnce(unittest.TestCase):
    def test_steps_that_end_at_once_are_all_in_the_summary(self):
        names = [f"step{number}" for number in range(40)]
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(check, "RESULTS", Path(folder)):
            run = check.Check([step(name) for name in names], 1)
            threads = [
                threading.Thread(target=run.finish, args=(step(name), Result(Status.OK, passed=1), 1.0))
                for name in names
            ]
            with contextlib.redirect_stdout(io.StringIO()) as said, mock.patch("threading.excepthook") as raised:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(10)
            summary = json.loads((Path(folder) / "summary.json").read_text())
        raised.assert_not_called()
        self.assertEqual(sorted(summary["steps"]), sorted(names))
        self.assertEqual(said.getvalue().count("ok after"), len(names))

    def test_a_defect_of_the_harness_fails_one_step(self):
        def broken(*_: object) -> int:
            raise KeyError("fs")

        with tempfile.TemporaryDirectory() as folder, mock.patch.multiple(check, RESULTS=Path(folder), run=broken):
            run = check.Check([step("broken")], 1)
            (Path(folder) / "logs").mkdir()
            with contextlib.redirect_stdout(io.StringIO()) as said:
                run.do(run.steps[0])
        self.assertEqual(run.results["broken"].status, Status.FAILED)
        self.assertIn("the harness itself failed: KeyError: 'fs'", said.getvalue())


class Execute(unittest.TestCase):
    def test_the_exit_code_of_a_command_is_its_verdict(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(check, "RESULTS", Path(folder)):
            (Path(folder) / "logs").mkdir()
            run = check.Check([], 1)
            for command, status in ((["true"], Status.OK), (["sh", "-c", "echo no; exit 3"], Status.FAILED)):
                self.assertEqual(run.execute(Step("one", command, 60)).status, status)
            self.assertEqual((Path(folder) / "logs" / "one.log").read_text(), "no\n")

    def test_a_command_that_hangs_is_named(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(check, "RESULTS", Path(folder)):
            (Path(folder) / "logs").mkdir()
            with self.assertRaisesRegex(Failure, "one: setpriv did not end within 0 s"):
                check.Check([], 1).execute(Step("one", ["sleep", "60"], 0.1))

    def test_a_journal_of_an_earlier_run_is_not_judged(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(check, "RESULTS", Path(folder)):
            (Path(folder) / "logs").mkdir()
            path = Path(folder) / "journal.jsonl"
            path.write_text('{"event": "case-ended", "case": "a", "verdict": "PASS"}\n{"event": "ended", "complete": true}\n')
            self.assertEqual(check.Check([], 1).execute(Step("one", ["true"], 60, journal=path)).status, Status.FAILED)
