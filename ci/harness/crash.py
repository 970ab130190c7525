"""`ci/crash`: takes the machine down in the middle of a case. Nothing that was finished may be lost."""

import xml.etree.ElementTree as xml
from pathlib import Path

from . import build, options, suite
from .journal import Journal
from .machine import leave_on_signals
from .results import DEFAULT as RESULTS
from .run import FAULTY_KERNEL, boot

SELECTION = "waits/*/splice/mapped"

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


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/crash", description="Make a machine panic in the middle of a case: nothing that was finished may be lost."
    )
    add = parser.add_argument
    add("--kernel", default=FAULTY_KERNEL, help="(default: %(default)s)")
    add("--programs", type=Path, metavar="DIR", help="use the programs in DIR; build none")
    add("--results", type=Path, metavar="DIR", default=RESULTS / "crash", help="write the results to DIR (default: %(default)s)")
    asked = parser.parse_args(arguments)
    programs = build.folder(asked.programs)
    asked.results.mkdir(parents=True, exist_ok=True)
    # The script in the machine reads the journal, and must not take an earlier run's for this one's.
    for name in ("crashed", "junit.xml", "journal.jsonl"):
        (asked.results / name).unlink(missing_ok=True)
    machine = ("--kernel", asked.kernel, "--fs", "xfs", "--cpus", "1")
    code, seen = boot(asked.results, programs, *machine, "--beside", SCRIPT, SELECTION)
    if reason := fault(code, seen, failures(asked.results / "junit.xml")):
        print(reason)
        return 1
    print(f"{len(seen.verdicts)} cases and the one that was lost are all reported")
    return 0


def fault(code: int, seen: Journal, reported: dict[str, str | None]) -> str | None:
    """What the JUnit report, case by case the failure it tells or None, lacks of what the journal has."""
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


def failures(junit: Path) -> dict[str, str | None]:
    """Each case of a JUnit report, with the failure that it tells; none if there is no report."""
    try:
        cases = list(xml.parse(junit).iter("testcase"))
    except (FileNotFoundError, xml.ParseError):
        return {}
    found: dict[str, str | None] = {}
    for case in cases:
        # The class is the case's group in a package that names the kernel and the file system.
        group = case.get("classname", "").rpartition(".")[2]
        failure = case.find("failure")
        message = None if failure is None else failure.get("message") or "a failure"
        found[f"{group}/{case.get('name')}"] = message
    return found
