"""When a fault was found, and that the faults of `expected/red.toml` are put into a kernel by a step of `ci/test`."""

import contextlib
import dataclasses
import fnmatch
import io
import json
import re
import tempfile
import tomllib
import unittest
from pathlib import Path
from unittest import mock

from harness import fault, options, red, step
from harness.cache import ROOT
from harness.failure import Failure
from harness.journal import Journal
from harness.red import Fault, Finding, look

RETRY = Fault("retry", ("race/retry",), within=10.0)
SKIP = Fault("skip-break", ("waits/*", "huge/*"))
SPIN = Fault("spin", ("waits/punch",), finding=Finding("livelock", "spins"))


def journal(**verdicts: str) -> Journal:
    names = {name.replace("__", "/").replace("_", "-"): [verdict] for name, verdict in verdicts.items()}
    return Journal(verdicts=names, seconds={name: [1.0] for name in names}, begun=len(names), complete=True)


def good(fault: Fault, code: int, seen: Journal) -> tuple[bool, str]:
    """Whether a run found the fault, and what is said of it."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found = red.judge(fault, "xfs", code, seen, Path("/nonexistent"))
    return found, said.getvalue()


def cases(row: str) -> list[str]:
    """The case of a row; of a law the cells that the reference cannot run, which it leaves to the fault."""
    contract = ROOT / "expected" / f"{row}.out"
    if "/" in row:
        return [row]
    cells = [line.split(": ")[0] for line in contract.read_text().splitlines()]
    pins = ("punch/splice/", "punch/uring-buffer/")
    return [f"{row}/{cell}" for cell in cells if cell.endswith("huge") and cell.startswith(pins)]


class Red(unittest.TestCase):
    def test_a_step_shows_each_fault_to_turn_its_case_red(self):
        rows = tomllib.loads((ROOT / "expected" / "red.toml").read_text())
        named = {(row["fault"], case) for row_of, row in rows.items() if "fault" in row for case in cases(row_of)}
        self.assertTrue(named)
        for name, case in sorted(named):
            with self.subTest(fault=name, case=case):
                self.assertIn(name, fault.names())
                (shown,) = [one for one in step.listed("1/1") if one.name == f"fault-{name}"]
                self.assertEqual(shown.fault, name)
                self.assertTrue(any(fnmatch.fnmatchcase(case, wanted) for wanted in shown.command))


def dangerous() -> set[str]:
    """The cases that run only if they are asked for."""
    sources = "".join(path.read_text() for path in (ROOT / "cases" / "src").glob("*.rs"))
    return set(re.findall(r'\w+: "([^"]+)",\s+groups: \["dangerous"\]', sources))


def alternatives(glob: str) -> list[str]:
    """A glob of known.toml without braces: one for each word in them."""
    braces = re.fullmatch(r"(.*)\{(.*)\}(.*)", glob)
    return [braces[1] + word + braces[3] for word in braces[2].split(",")] if braces else [glob]


# Takes a machine with 20 GB of memory: docs/finds/83-unshare-4-gib.md has its command.
LARGE = "lifecycle/unshare-4-gib"


def stock_only() -> list[dict]:
    """The entries of known.toml whose cases nothing else turns red, and which the suite does not run there: for want of
    a shape, or because they crash the kernel."""
    rows = tomllib.loads((ROOT / "expected" / "red.toml").read_text())
    entries = tomllib.loads((ROOT / "expected" / "known.toml").read_text())["known"]
    named = [entry for entry in entries if isinstance(entry["case"], str)]
    alone = [entry for entry in named if not all(fnmatch.filter(rows, word) for word in alternatives(entry["case"]))]
    return [
        entry
        for entry in alone
        if entry["case"] != LARGE and ("shape" in entry.get("condition", {}) or entry["case"] in dangerous())
    ]


class Known(unittest.TestCase):
    def test_a_step_sees_what_only_a_stock_kernel_shows(self):
        entries = stock_only()
        cases = {entry["case"] for entry in entries}
        self.assertLess({"beside/hole-write", "history/unshare-eight-pages", "huge/stored-in-parts-punch-waits"}, cases)
        for entry, case in [(entry, word) for entry in entries for word in alternatives(entry["case"])]:
            with self.subTest(case):
                must_fail = ["--must-fail", f"{case}={entry['id']}"]
                steps = [one for one in step.listed("1/1") if must_fail in map(list, zip(one.command, one.command[1:]))]
                self.assertTrue(steps)
                for one in steps:
                    asked = options.parse(one.command[one.command.index("ci/vm") + 1 :])
                    self.assertEqual(asked.must_fail[case], entry["id"])
                    self.assertTrue(any(fnmatch.fnmatchcase(case, word) for word in asked.runner))
                    for shape in entry.get("condition", {}).get("shape", []):
                        self.assertIn(f"--shape {shape}", " ".join(asked.runner))


class Timelines(unittest.TestCase):
    def test_cells_and_special_cases_have_theirs(self):
        with tempfile.TemporaryDirectory() as folder:
            for case in ("race/retry", "waits/punch/splice/mapped"):
                (Path(folder) / case).mkdir(parents=True)
                (Path(folder) / case / "timeline.jsonl").write_text(json.dumps({"event": case}) + "\n")
            found = red.timelines(Path(folder))
        self.assertEqual(found, {case: [{"event": case}] for case in ("race/retry", "waits/punch/splice/mapped")})


class Faulty(unittest.TestCase):
    def test_red_is_good(self):
        found = look(SKIP, journal(waits__punch="FAIL", waits__zero="HANG"), {})
        self.assertEqual((found.red, found.missed), (["waits/punch", "waits/zero"], []))

    def test_one_green_case_is_not(self):
        seen = journal(waits__punch="FAIL", waits__zero="PASS")
        self.assertEqual(look(SKIP, seen, {}).missed, ["waits/zero (PASS)"])
        self.assertFalse(good(SKIP, 1, seen)[0])

    def test_a_known_deviation_says_nothing(self):
        found = look(SKIP, journal(waits__punch="FAIL", waits__odd="XFAIL", waits__new="NOTRUN"), {})
        self.assertEqual((found.red, found.missed, len(found.silent)), (["waits/punch"], [], 2))

    def test_nothing_red_is_not(self):
        self.assertFalse(good(SKIP, 1, journal(waits__odd="XFAIL"))[0])
        self.assertFalse(good(SKIP, 2, Journal())[0])

    def test_an_exit_code_that_denies_what_is_red_is_not(self):
        found, said = good(SKIP, 0, journal(waits__punch="FAIL"))
        self.assertFalse(found)
        self.assertIn("ended with 0 although", said)

    def test_an_error_of_the_machinery_found_nothing(self):
        self.assertEqual(look(RETRY, journal(race__retry="ERROR"), {}).missed, ["race/retry (ERROR)"])

    def test_other_cases_do_not_count(self):
        self.assertEqual(look(RETRY, journal(race__retry="FAIL", race__other="PASS"), {}).missed, [])

    def test_found_too_late_is_not_found(self):
        seen = journal(race__retry="FAIL")
        seen.seconds["race/retry"] = [10.5]
        self.assertEqual(look(RETRY, seen, {}).missed, ["race/retry (only after 10.5 s)"])

    def test_each_execution_must_find_it(self):
        each = dataclasses.replace(RETRY, iterations=3)
        for verdicts, missed in (
            (["FAIL", "HANG", "FAIL"], []),
            (["FAIL", "PASS", "FAIL"], ["race/retry (FAIL, PASS, FAIL)"]),
            (["FAIL", "FAIL"], ["race/retry (only 2 executions of 3)"]),
        ):
            seen = Journal(verdicts={"race/retry": verdicts}, seconds={"race/retry": [1.0] * len(verdicts)})
            self.assertEqual(look(each, seen, {}).missed, missed)

    def test_each_execution_must_find_it_in_time(self):
        seen = Journal(verdicts={"race/retry": ["FAIL"] * 2}, seconds={"race/retry": [1.0, 10.5]})
        found = look(dataclasses.replace(RETRY, iterations=2), seen, {})
        self.assertEqual(found.missed, ["race/retry (only after 10.5 s)"])
        self.assertEqual(found.slowest, {})
        seen.seconds["race/retry"] = [1.0, 1.5]
        found = look(dataclasses.replace(RETRY, iterations=2), seen, {})
        self.assertEqual((found.red, found.slowest), (["race/retry"], {"race/retry": 1.5}))

    def test_a_machine_that_went_down_under_the_case_found_it(self):
        self.assertTrue(good(RETRY, 1, Journal(lost=["race/retry"], begun=1))[0])


TIMELINE = [
    {"number": 0, "task": 489, "event": "pin", "inode": 13, "page": 0x108202, "index": 2, "refs": 2, "maps": 0},
    {"number": 1, "task": 490, "event": "begin", "operation": "fallocate", "inode": 13, "index": 1, "count": 2},
]


def spins(**fields: object) -> dict:
    """A finding, as the journal has it."""
    known = {"rule": "livelock", "how": "spins", "text": "it spins", "tasks": [490], "inode": 13, "page": 0x108202, "index": 2}
    return known | fields


class Traced(unittest.TestCase):
    def decide(self, finding: dict):
        seen = journal(waits__punch="HANG")
        seen.findings["waits/punch"] = [finding]
        return look(SPIN, seen, {"waits/punch": TIMELINE})

    def test_a_named_fault_is_good(self):
        result = self.decide(spins())
        self.assertEqual((result.red, result.missed), (["waits/punch"], []))

    def test_who_is_blamed_must_be_who_did_it(self):
        for fields in ({"inode": 14}, {"tasks": [489]}, {"page": 0x108203}, {"index": 3}):
            self.assertEqual(self.decide(spins(**fields)).missed, ["waits/punch (HANG)"], fields)

    def test_another_name_is_not(self):
        for fields in ({"rule": "missed-wait"}, {"how": "starves"}):
            result = self.decide(spins(**fields))
            self.assertEqual(result.missed, ["waits/punch (HANG)"])

    def test_what_names_nobody_is_not(self):
        for name in ("tasks", "inode", "page", "index"):
            found = spins()
            del found[name]
            self.assertEqual(self.decide(found).missed, ["waits/punch (HANG)"], name)

    def test_no_journal_is_not(self):
        self.assertFalse(good(SPIN, 2, Journal())[0])

    def test_a_machine_that_went_down_named_nothing(self):
        found = look(SPIN, Journal(lost=["waits/punch"], begun=1), {})
        self.assertEqual((found.red, len(found.missed)), ([], 1))


class Together(unittest.TestCase):
    """Cases on two file systems, of which a stand-in for `ci/vm` leaves what a machine would."""

    def go(self, *machines: dict[str, tuple[int | None, str]]) -> bool:
        """Whether the fault counts as found in machines that leave this exit code and this verdict for each file system."""
        left, self.booted = list(machines), []

        def boot(results: Path, programs: Path, *arguments: str) -> tuple[int, Journal]:
            self.booted.append([word for word in arguments if word in ("xfs", "ext4")])
            machine = left.pop(0)
            for filesystem, (code, verdict) in machine.items():
                seen = journal(waits__punch=verdict)
                if "--" not in arguments:
                    return code, seen
                (results / filesystem).mkdir(parents=True, exist_ok=True)
                ended = {"event": "case-ended", "case": "waits/punch", "verdict": verdict, "seconds": 1.0}
                (results / filesystem / "journal.jsonl").write_text(json.dumps(ended) + "\n")
                if code is not None:
                    (results / f"{filesystem}.code").write_text(f"{code}\n")
            # A command whose machine goes down could not be run.
            return 2 if (None, "FAIL") in machine.values() else 0, Journal()

        with tempfile.TemporaryDirectory() as folder, mock.patch.object(red, "boot", boot):
            with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
                found = red.several(SKIP, ["xfs", "ext4"], [], Path("/programs"), Path(folder, "results"))
            self.said = said.getvalue()
            return found

    def test_both_share_a_boot(self):
        self.assertTrue(self.go({"xfs": (1, "FAIL"), "ext4": (1, "FAIL")}))
        self.assertEqual(self.booted, [["xfs", "ext4"]])

    def test_one_that_misses_the_fault_is_named(self):
        self.assertFalse(self.go({"xfs": (1, "FAIL"), "ext4": (0, "PASS")}))
        self.assertIn("ext4: skip-break NOT found by 1: waits/punch (PASS)", self.said)

    def test_what_a_wedged_machine_leaves_undone_gets_machines_of_its_own(self):
        self.assertTrue(self.go({"xfs": (3, "HANG")}, {"xfs": (1, "HANG")}, {"ext4": (1, "FAIL")}))
        self.assertEqual(self.booted, [["xfs", "ext4"], ["xfs"], ["ext4"]])

    def test_a_fault_that_could_not_be_tried_says_nothing(self):
        # As where the kernel has no such function: no machine was booted.
        for what, where in ((red.one, "xfs"), (red.several, ["xfs", "ext4"])):
            with mock.patch.object(red, "boot", return_value=(2, Journal())), self.assertRaisesRegex(Failure, "could not be tried"):
                what(SKIP, where, [], Path("/programs"), Path("/results"))

    def test_so_does_all_if_the_machine_went_down(self):
        self.assertTrue(self.go({"xfs": (None, "FAIL")}, {"xfs": (1, "FAIL")}, {"ext4": (1, "FAIL")}))
        self.assertEqual(len(self.booted), 3)


if __name__ == "__main__":
    unittest.main()
