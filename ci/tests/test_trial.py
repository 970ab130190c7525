"""When a run in a machine is good, and when a fault was found."""

import json
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from harness import child, plan, trial
from harness.journal import Journal
from harness.step import Status, Where
from harness.trial import Fault, judge, judge_command, judge_fault, judge_traced, said

from .process import ends

RETRY = Fault("retry", "race/retry", within=10.0)
SKIP = Fault("skip-break", "pin/*-waits")


def journal(**verdicts: str) -> Journal:
    names = {name.replace("__", "/").replace("_", "-"): [verdict] for name, verdict in verdicts.items()}
    return Journal(verdicts=names, seconds=dict.fromkeys(names, 1.0), begun=len(names), complete=True)


class Stock(unittest.TestCase):
    def test_all_as_expected_is_good(self):
        result = judge(0, journal(a="PASS", b="XFAIL", c="NOTRUN"))
        self.assertEqual((result.status, result.passed, result.failed, result.skipped), (Status.OK, 1, 0, 2))
        self.assertEqual(result.line("suite-x-xfs"), "suite-x-xfs: 1 passed, 0 failed, 2 skipped")

    def test_a_failure_is_named(self):
        result = judge(1, journal(a="PASS", b="FAIL"))
        self.assertEqual((result.status, result.failed, result.attention), (Status.FAILED, 1, ["b"]))

    def test_a_failure_that_is_no_cases_counts(self):
        self.assertEqual(judge(1, journal(a="PASS")).failed, 1)
        self.assertEqual(judge(2, Journal()).failed, 1)

    def test_an_exit_code_that_denies_the_journal_is_a_failure(self):
        self.assertEqual(judge(0, journal(a="PASS", b="FAIL")).status, Status.FAILED)

    def test_a_journal_without_its_end_is_a_failure(self):
        seen = journal(a="PASS")
        seen.complete = False
        result = judge(0, seen)
        self.assertEqual((result.status, result.failed), (Status.FAILED, 1))
        self.assertIn("complete", result.reason)

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(judge(0, Journal()).status, Status.FAILED)
        self.assertEqual(judge(0, journal(a="NOTRUN")).status, Status.FAILED)


class Command(unittest.TestCase):
    def test_its_last_tally_counts(self):
        result = judge_command(0, "1 passed, 1 failed\nmore\n8 passed, 0 failed\r\n")
        self.assertEqual((result.status, result.passed, result.failed), (Status.OK, 8, 0))

    def test_a_failure_is_one_whatever_the_tally_says(self):
        self.assertEqual(judge_command(1, "7 passed, 1 failed\n").failed, 1)
        self.assertEqual(judge_command(2, "8 passed, 0 failed\n").status, Status.FAILED)
        self.assertEqual(judge_command(0, "0 passed, 0 failed\n").status, Status.FAILED)

    def test_silence_is_a_failure(self):
        self.assertEqual(judge_command(0, "all is well\n").status, Status.FAILED)


class Faulty(unittest.TestCase):
    def test_red_is_good(self):
        result = judge_fault(SKIP, 1, journal(pin__punch_waits="FAIL", pin__zero_waits="HANG"))
        self.assertEqual((result.status, result.passed, result.failed), (Status.OK, 2, 0))

    def test_one_green_case_is_not(self):
        result = judge_fault(SKIP, 1, journal(pin__punch_waits="FAIL", pin__zero_waits="PASS"))
        self.assertEqual((result.status, result.passed, result.failed), (Status.FAILED, 1, 1))
        self.assertEqual(result.attention, ["pin/zero-waits (PASS)"])

    def test_a_known_deviation_says_nothing(self):
        result = judge_fault(SKIP, 1, journal(pin__punch_waits="FAIL", pin__odd_waits="XFAIL", pin__new_waits="NOTRUN"))
        self.assertEqual((result.status, result.passed, result.skipped), (Status.OK, 1, 2))

    def test_nothing_red_is_not(self):
        self.assertEqual(judge_fault(SKIP, 0, journal(pin__odd_waits="XFAIL")).status, Status.FAILED)
        self.assertEqual(judge_fault(SKIP, 2, Journal()).status, Status.FAILED)

    def test_an_error_of_the_machinery_found_nothing(self):
        self.assertEqual(judge_fault(RETRY, 1, journal(race__retry="ERROR")).status, Status.FAILED)

    def test_other_cases_do_not_count(self):
        result = judge_fault(RETRY, 1, journal(race__retry="FAIL", race__other="PASS"))
        self.assertEqual((result.status, result.passed), (Status.OK, 1))

    def test_found_too_late_is_not_found(self):
        seen = journal(race__retry="FAIL")
        seen.seconds["race/retry"] = 10.5
        result = judge_fault(RETRY, 1, seen)
        self.assertEqual((result.status, result.attention), (Status.FAILED, ["race/retry (only after 10.5 s)"]))

    def test_a_machine_that_went_down_under_the_case_found_it(self):
        seen = Journal(lost=["race/retry"], begun=1)
        self.assertEqual(judge_fault(RETRY, 1, seen).status, Status.OK)


SPIN = next(fault for fault in plan.TRACED if fault.name == "spin")

NAMED = """\
 daxtests-case-489 [001] 92.7: pin: ino=13 page=0x108202 index=2 refs=2 maps=0 holder=0x1
 daxtests-case-490 [000] 92.8: begin: op=fallocate ino=13 index=1 count=2

livelock: the break of inode {inode} by task {task} spins: it found a busy page 1001 times without sleeping, \
last page {page} (index 2, refs=2 maps=0)
"""

JUNIT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="linux-6_12_107+deb12-amd64.xfs.pin" name="punch-waits"><failure message="it spins"><![CDATA[it spins

{text}]]></failure></testcase></testsuite></testsuites>"""


class Traced(unittest.TestCase):
    def decide(self, text: str, **verdicts: str):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "junit.xml")
            path.write_text(JUNIT.format(text=text))
            return judge_traced(SPIN, 1, journal(**verdicts), said(path))

    def test_a_named_fault_is_good(self):
        text = NAMED.format(inode=13, task=490, page="0x108202")
        result = self.decide(text, pin__punch_waits="HANG")
        self.assertEqual((result.status, result.passed, result.failed), (Status.OK, 1, 0))

    def test_who_is_blamed_must_be_who_did_it(self):
        for inode, task, page in ((14, 490, "0x108202"), (13, 489, "0x108202"), (13, 490, "0x108203")):
            text = NAMED.format(inode=inode, task=task, page=page)
            self.assertEqual(self.decide(text, pin__punch_waits="HANG").status, Status.FAILED, text)

    def test_another_name_is_not(self):
        text = NAMED.format(inode=13, task=490, page="0x108202").replace("livelock", "as good as a livelock")
        result = self.decide(text, pin__punch_waits="HANG")
        self.assertEqual((result.status, result.failed), (Status.FAILED, 1))
        self.assertEqual(result.attention, ["pin/punch-waits (HANG)"])

    def test_no_report_is_not(self):
        result = judge_traced(SPIN, 2, Journal(), said(Path("/nonexistent/junit.xml")))
        self.assertEqual((result.status, result.failed), (Status.FAILED, 1))

    def test_a_machine_that_went_down_named_nothing(self):
        result = judge_traced(SPIN, 1, Journal(lost=["pin/punch-waits"], begun=1), {})
        self.assertEqual((result.status, result.failed), (Status.FAILED, 1))


class Together(unittest.TestCase):
    """Cases on two file systems, of which a stand-in for `ci/vm` leaves what a machine would."""

    def go(self, *machines: dict[str, tuple[int | None, str]]):
        """What comes of machines that leave this exit code and this verdict for each file system."""
        left, self.booted = list(machines), []

        def vm(output: Path, results: Path, *arguments: str) -> tuple[int, Journal]:
            self.booted.append([word for word in arguments if word in ("xfs", "ext4")])
            for filesystem, (code, verdict) in left.pop(0).items():
                seen = journal(pin__punch_waits=verdict)
                if "--" not in arguments:
                    return code, seen
                (results / filesystem).mkdir(parents=True, exist_ok=True)
                ended = {"event": "case-ended", "case": "pin/punch-waits", "verdict": verdict, "seconds": 1.0}
                (results / filesystem / "journal.jsonl").write_text(json.dumps(ended) + "\n")
                if code is not None:
                    (results / f"{filesystem}.code").write_text(f"{code}\n")
            return 0, Journal()

        with tempfile.TemporaryDirectory() as folder:
            with mock.patch.object(trial, "ROOT", Path(folder)), mock.patch.object(trial, "vm", vm):
                return trial.faulty(Where("6.12", "xfs"), SKIP, ["ext4"])(Path(folder, "out.log"))

    def test_both_share_a_boot(self):
        result = self.go({"xfs": (1, "FAIL"), "ext4": (1, "FAIL")})
        self.assertEqual((result.status, result.passed, result.failed), (Status.OK, 2, 0))
        self.assertEqual(self.booted, [["xfs", "ext4"]])

    def test_one_that_misses_the_fault_is_named(self):
        result = self.go({"xfs": (1, "FAIL"), "ext4": (0, "PASS")})
        self.assertEqual((result.status, result.passed, result.failed), (Status.FAILED, 1, 1))
        self.assertEqual(result.attention, ["ext4: pin/punch-waits (PASS)"])

    def test_what_a_wedged_machine_leaves_undone_gets_machines_of_its_own(self):
        result = self.go({"xfs": (3, "HANG")}, {"xfs": (1, "HANG")}, {"ext4": (1, "FAIL")})
        self.assertEqual((result.status, result.passed), (Status.OK, 2))
        self.assertEqual(self.booted, [["xfs", "ext4"], ["xfs"], ["ext4"]])

    def test_so_does_all_if_the_machine_went_down(self):
        result = self.go({"xfs": (None, "FAIL")}, {"xfs": (1, "FAIL")}, {"ext4": (1, "FAIL")})
        self.assertEqual((result.status, len(self.booted)), (Status.OK, 3))


class Heir(unittest.TestCase):
    def test_a_machine_does_not_outlive_who_started_it(self):
        program = (
            "from harness import child, trial\n"
            "with child.start([*trial.HEIR, 'sleep', '60'], 'a nap') as nap:\n"
            "    print(nap.pid, flush=True)\n"
            "    child.wait(nap, 'a nap', 60)\n"
        )
        command = [sys.executable, "-B", "-c", program]
        with child.start(command, "a run", cwd=trial.ROOT / "ci", stdout=child.PIPE, text=True) as run:
            pid = run.stdout.readline().strip()
            status = Path("/proc", pid, "stat")
            # Until it sleeps it is still setpriv, which may not have asked for the signal yet.
            until = time.monotonic() + 60
            while "(sleep)" not in status.read_text() and time.monotonic() < until:
                time.sleep(0.05)
            child.kill(run, "a run")
            run.stdout.close()
        self.assertTrue(ends(pid), "it lives")
