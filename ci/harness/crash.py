"""The step that takes the machine down in the middle of a case: nothing that was finished may be lost."""

from collections.abc import Callable
from pathlib import Path

from . import suite, trial
from .cache import ROOT
from .journal import Journal
from .step import Result, Status, Where

SELECTION = "pin/*-waits"

# How many cases are to be finished before the machine goes down.
FINISHED = 3

# What is to be told of the case that ran.
REASON = "kernel panic: sysrq triggered crash"

# Once, and while a case runs: the journal's last line says that one has begun.
SCRIPT = f"""\
[ -e "$RESULTS/crashed" ] && exit
until [ "$(grep -c '"case-ended"' "$RESULTS/journal.jsonl")" -ge {FINISHED} ] &&
	tail -n 1 "$RESULTS/journal.jsonl" | grep -q '"case-begun"'
do sleep 0.1; done
touch "$RESULTS/crashed"
echo c >/proc/sysrq-trigger
"""


def step(where: Where) -> Callable[[Path], Result]:
    """The suite on a machine that is made to panic."""

    def run(output: Path) -> Result:
        results = ROOT / "target" / "results" / f"{where}-crash"
        results.mkdir(parents=True, exist_ok=True)
        # The script in the machine reads the journal, and must not take an earlier run's for this one's.
        for name in ("crashed", "junit.xml", "journal.jsonl"):
            (results / name).unlink(missing_ok=True)
        code, seen = trial.vm(output, results, *where.arguments(), "--beside", SCRIPT, SELECTION)
        return judge(code, seen, trial.failures(results / "junit.xml"))

    return run


def judge(code: int, seen: Journal, reported: dict[str, str | None]) -> Result:
    """Whether the JUnit report, case by case the failure it tells or None, has all that the journal has."""
    result = Result(Status.OK, passed=1, failed=0)
    result.facts |= {"finished": len(seen.verdicts), "lost": seen.lost}

    def fault() -> str | None:
        if code != suite.UNEXPECTED:
            return f"ci/vm ended with {code}"
        if len(seen.lost) != 1:
            return f"{len(seen.lost)} cases ran when the machine went down"
        if len(seen.verdicts) <= FINISHED:
            return "it did not go on after the next boot"
        if missing := sorted({*seen.verdicts, *seen.lost} - reported.keys()):
            return f"the JUnit report lacks {', '.join(missing)}"
        if reported[seen.lost[0]] != REASON:
            return f"the JUnit report tells {reported[seen.lost[0]]} of {seen.lost[0]}, not {REASON}"
        if wrong := sorted(case for case in seen.verdicts if reported[case] and case not in seen.unexpected()):
            return f"the JUnit report calls {', '.join(wrong)} a failure"
        return None

    if reason := fault():
        result.status, result.passed, result.failed, result.reason = Status.FAILED, 0, 1, reason
    return result
