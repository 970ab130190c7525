"""`ci/red`: a kernel with a fault, under which cases must turn red.

The exit code is the verdict: 0 each case that ran found the fault, 1 one did
not, 2 it could not be tried.
"""

import argparse
import fnmatch
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import build, journal, options, suite
from .failure import Failure
from .fault import known
from .journal import Journal
from .machine import leave_on_signals
from .results import DEFAULT as RESULTS
from .run import FAULTY_KERNEL, boot
from .say import say

# Cases on one file system after the other, in one boot, until one leaves a machine that must be booted anew.
TOGETHER = """\
for fs in {filesystems}; do
	runner --fs $fs --dev /dev/pmem0 --results "$RESULTS/$fs" {selection}
	code=$?
	echo $code >"$RESULTS/$fs.code"
	[ $code -lt 3 ] || exit $code
done
"""


@dataclass(frozen=True)
class Finding:
    """What a rule must say of a fault, by the identifiers that the runner's journal has."""

    rule: str
    how: str | None = None
    """In which way the rule is broken; none: in any."""

    def is_in(self, findings: Iterable[dict], timeline: Iterable[dict]) -> bool:
        """Whether it is among a case's findings, and blames the task that broke the layout and the page that was
        pinned: both stand in the timeline too."""
        events = list(timeline)
        for finding in findings:
            if finding["rule"] != self.rule or (self.how and finding.get("how") != self.how):
                continue
            if not {"tasks", "inode", "page", "index"} <= finding.keys():
                continue
            place = {"inode": finding["inode"]}
            begun = place | {"event": "begin", "operation": "fallocate", "task": finding["tasks"][0]}
            pinned = place | {"event": "pin", "page": finding["page"], "index": finding["index"]}
            if all(any(wanted.items() <= event.items() for event in events) for wanted in (begun, pinned)):
                return True
        return False


@dataclass(frozen=True)
class Fault:
    """A bug in the kernel, and the cases that must find it."""

    name: str
    selection: tuple[str, ...]
    """The cases that must turn red: names or globs."""
    within: float | None = None
    """In how many seconds of its own each of them must."""
    finding: Finding | None = None
    """What the tracer says of it. Then the cases are traced, and the journal of each must hold such a finding."""
    iterations: int = 1
    """How often each of them is run. It must turn red each time, and be in time each time."""

    def options(self) -> list[str]:
        """How the runner is told to repeat them."""
        return ["--iterations", str(self.iterations)] if self.iterations > 1 else []


@dataclass(frozen=True)
class Found:
    """What the cases of a run say of a fault."""

    red: list[str]
    """They found it."""
    missed: list[str]
    """They did not, and why."""
    silent: list[str]
    """They say nothing: a known deviation, or a case that cannot run here."""
    slowest: dict[str, float] = field(default_factory=dict)
    """How many seconds those that found it took at most."""

    def tell(self, fault: Fault, place: str) -> bool:
        """Say it; whether the fault was found by all that must."""
        said = [("found by", self.red), ("NOT found by", self.missed), ("not tried by", self.silent)]
        for what, cases in said:
            if cases:
                print(f"{place}: {fault.name} {what} {len(cases)}: {', '.join(cases)}", flush=True)
        if fault.iterations > 1:
            for case, seconds in self.slowest.items():
                print(f"{place}: {case}: red {fault.iterations} times of {fault.iterations}, after {seconds:.1f} s at most", flush=True)
        if not self.red and not self.missed:
            print(f"{place}: no case like {' or '.join(fault.selection)} ran to an end", flush=True)
        return bool(self.red) and not self.missed


def look(fault: Fault, seen: Journal, timelines: Mapping[str, list[dict]]) -> Found:
    """What a run's journal says. A case under which the machine went down found the fault, but named nothing."""
    down = set(seen.lost) | ({seen.running} if seen.running else set())
    found = Found([], [], [])
    for case in sorted(down.union(seen.verdicts)):
        if not any(fnmatch.fnmatchcase(case, wanted) for wanted in fault.selection):
            continue
        verdicts = seen.verdicts.get(case, [])
        told = f"{case} ({', '.join(verdicts) or 'the machine went down'})"
        if fault.finding:
            red = case not in down and fault.finding.is_in(seen.findings.get(case, ()), timelines.get(case, ()))
            silent = {"NOTRUN"}
        else:
            red = case in down or bool(verdicts) and set(verdicts) <= {"FAIL", "HANG"}
            silent = {"XFAIL", "NOTRUN"}
        slowest = max(seen.seconds.get(case, []), default=0.0)
        if red and fault.within is not None and slowest > fault.within:
            found.missed.append(f"{case} (only after {slowest:.1f} s)")
        elif red and case not in down and len(verdicts) < fault.iterations:
            found.missed.append(f"{case} (only {len(verdicts)} executions of {fault.iterations})")
        elif red:
            found.red.append(case)
            found.slowest[case] = slowest
        elif case not in down and set(verdicts) <= silent:
            found.silent.append(case)
        else:
            found.missed.append(told)
    return found


def one(fault: Fault, filesystem: str, machine: list[str], programs: Path, results: Path) -> bool:
    """Cases in a machine of their own."""
    traced = ["--runner", "--trace"] if fault.finding else []
    words = [*machine, "--fs", filesystem, "--fault", fault.name, *fault.options(), *fault.selection, *traced]
    code, seen = boot(results, programs, *words)
    if code == suite.COULD_NOT_RUN:
        raise Failure(f"{filesystem}: {fault.name} could not be tried")
    return judge(fault, filesystem, code, seen, results)


def several(fault: Fault, filesystems: list[str], machine: list[str], programs: Path, results: Path) -> bool:
    """Cases on one file system after the other, in one boot, which takes longer than they do.

    Where one leaves a machine that must be booted anew, or none, it and the
    rest get machines of their own.
    """
    named = [word for filesystem in filesystems for word in ("--fs", filesystem)]
    selection = shlex.join([*fault.options(), *fault.selection])
    script = TOGETHER.format(filesystems=" ".join(filesystems), selection=selection)
    for filesystem in filesystems:
        (results / f"{filesystem}.code").unlink(missing_ok=True)
    words = [*machine, *named, "--fault", fault.name, "--", "sh", "-c", script]
    boot(results, programs, *words)
    good = []
    for filesystem in filesystems:
        code = ended(results / f"{filesystem}.code")
        if code in (suite.EXPECTED, suite.UNEXPECTED, suite.COULD_NOT_RUN):
            seen = journal.read(results / filesystem / "journal.jsonl")
            good.append(judge(fault, filesystem, code, seen, results / filesystem))
        else:
            say(f"{filesystem} gets a machine of its own")
            own = results.with_name(f"{results.name}-{filesystem}")
            good.append(one(fault, filesystem, machine, programs, own))
    return all(good)


def judge(fault: Fault, filesystem: str, code: int, seen: Journal, results: Path) -> bool:
    """Whether the fault was found on a file system."""
    good = look(fault, seen, timelines(results / "cases")).tell(fault, filesystem)
    if good and code != suite.UNEXPECTED:
        print(f"{filesystem}: the run ended with {code} although cases were red", flush=True)
        return False
    return good


def timelines(cases: Path) -> dict[str, list[dict]]:
    """The events of each case that left a timeline. A cell has its folder deeper than a special case."""
    return {
        path.parent.relative_to(cases).as_posix(): [json.loads(line) for line in path.read_text().splitlines()]
        for path in cases.rglob("timeline.jsonl")
    }


def ended(path: Path) -> int | None:
    """The exit code that a script left in a file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/red", description="Put a fault into a kernel and run cases, each of which must turn red.",
        epilog="Exit codes: 0 each case that ran found the fault; 1 one did not; 2 could not run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("fault", help="a fault of ci/faults/")
    add("case", nargs="+", help="cases that must turn red: names or globs")
    add("--kernel", default=FAULTY_KERNEL, help="(default: %(default)s)")
    add("--fs", action="append", choices=("xfs", "ext4"), help="repeatable (default: xfs)")
    add("--cpus", type=options.count, default=1, help="(default: %(default)s)")
    add("--within", type=options.seconds, metavar="SECONDS", help="fail unless the case turns red within so many seconds of its own")
    add("--iterations", type=options.count, default=1, metavar="N", help="run each case N times; each must be red (default: 1)")
    add("--rule", metavar="ID", help="trace, and require a finding of this rule: missed-wait")
    add("--how", metavar="ID", help="with --rule: in which way it must be broken: entry-removed")
    add("--programs", type=Path, metavar="DIR", help="use the programs in DIR; build none")
    add("--results", type=Path, metavar="DIR", help="write the results to DIR (default: target/results/red-FAULT)")
    asked = parser.parse_args(arguments)
    if asked.how and not asked.rule:
        parser.error("--how goes with --rule")
    known(asked.fault)
    finding = Finding(asked.rule, asked.how) if asked.rule else None
    fault = Fault(asked.fault, tuple(asked.case), asked.within, finding, asked.iterations)
    machine = ["--kernel", asked.kernel, "--cpus", str(asked.cpus)]
    filesystems = asked.fs or ["xfs"]
    places = machine, build.folder(asked.programs), asked.results or RESULTS / f"red-{fault.name}"
    good = one(fault, filesystems[0], *places) if len(filesystems) == 1 else several(fault, filesystems, *places)
    return 0 if good else 1
