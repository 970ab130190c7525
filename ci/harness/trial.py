"""The steps that run in a virtual machine: the suite, and the suite against a fault.

Each is a `ci/vm` of its own, judged by its exit code and by its journal.
"""

import fnmatch
import re
import shlex
import shutil
import sys
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import child, journal, suite
from .cache import ROOT
from .journal import Journal
from .machine import stamp
from .step import Result, Status, Where

# Longer than the whole suite takes on two busy CPUs without KVM.
TIMEOUT = 1500

# What `ci/vm` may take beyond its own deadline: the headers of a fault may have to be fetched, and the last
# machine put down.
BESIDE = 900

# Not even SIGKILL leaves a machine behind: with us `ci/vm` is asked to end, and puts it down.
HEIR = ("setpriv", "--pdeathsig", "TERM")

# What the machines run: as it was when they began.
PROGRAMS = ROOT / "target" / "results" / "programs"

# Cases on one file system after the other, in one boot, until one leaves a machine that must be booted anew.
TOGETHER = """\
for fs in {filesystems}; do
	runner --fs $fs --dev /dev/pmem0 --results "$RESULTS/$fs" {selection}
	code=$?
	echo $code >"$RESULTS/$fs.code"
	[ $code -lt 3 ] || exit $code
done
"""

# The last line of a command that checks several things.
TALLY = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.MULTILINE)

def keep(programs: Iterable[Path]) -> None:
    """Keep copies of the programs for all machines: cargo may build others while those run."""
    shutil.rmtree(PROGRAMS, ignore_errors=True)
    PROGRAMS.mkdir(parents=True)
    for program in programs:
        shutil.copy2(program, PROGRAMS)


def vm(output: Path, results: Path, *arguments: str, timeout: float = TIMEOUT) -> tuple[int, Journal]:
    """Run `ci/vm`, with its output in a file; its exit code and the journal it left."""
    path = results / "journal.jsonl"
    before = stamp(path)
    command = [ROOT / "ci" / "vm", "--programs", PROGRAMS, "--results", results, "--timeout", str(timeout), *arguments]
    what = f"the machine of {output.stem}"
    with (
        open(output, "wb") as file,
        child.start([*HEIR, sys.executable, *command], what, cwd=ROOT, stdout=file, stderr=child.STDOUT) as machine,
    ):
        try:
            code = child.wait(machine, what, timeout + BESIDE)
        except child.Late:
            # Once more, so that it can put its own machine down.
            machine.terminate()
            child.wait(machine, what, child.END, "of SIGTERM")
            raise
    # What an earlier run left must not be judged in place of what is missing.
    return code, journal.read(path) if stamp(path) != before else Journal()


def stock(where: Where, *selection: str, fault: str | None = None) -> Callable[[Path], Result]:
    """The suite on a kernel as it is, or with a fault that is no bug: all must be as expected."""

    def run(output: Path) -> Result:
        results = ROOT / "target" / "results" / (f"{where}-{fault}" if fault else str(where))
        seeded = ["--fault", fault] if fault else []
        code, seen = vm(output, results, *where.arguments(), *seeded, *selection)
        result = judge(code, seen)
        result.reports = said(results / "junit.xml")
        return result

    return run


def command(name: str, where: Where, *words: str) -> Callable[[Path], Result]:
    """A command in the machine that tells how many of its checks passed in its last line."""

    def run(output: Path) -> Result:
        results = ROOT / "target" / "results" / f"{where}-{name}"
        code, _ = vm(output, results, *where.arguments(), "--", *words)
        return judge_command(code, output.read_text(errors="replace"))

    return run


def script(name: str) -> Callable[[Path], Result]:
    """A script of ci/ that needs no machine and tells the same."""

    def run(output: Path) -> Result:
        command = [sys.executable, ROOT / "ci" / name]
        with open(output, "wb") as file:
            done = child.finish(command, f"ci/{name}", TIMEOUT, cwd=ROOT, stdout=file, stderr=child.STDOUT)
        return judge_command(done.returncode, output.read_text(errors="replace"), f"ci/{name}")

    return run


def judge_command(code: int, said: str, command: str = "ci/vm") -> Result:
    """What the last tally in a command's output says."""
    tallies = TALLY.findall(said)
    if not tallies:
        return Result(Status.FAILED, failed=1, reason=f"it told no result; {command} ended with {code}")
    passed, failed = map(int, tallies[-1])
    if code == 0 and passed and not failed:
        return Result(Status.OK, passed, failed)
    return Result(Status.FAILED, passed, max(failed, 1), reason=f"{command} ended with {code}")


def judge(code: int, seen: Journal, command: str = "ci/vm") -> Result:
    """Whether a run was all as expected."""
    passed, failed, skipped = seen.counts()
    result = Result(Status.OK, passed, failed, skipped, attention=seen.unexpected() + seen.trouble)
    result.facts["seconds_of_cases"] = round(sum(seen.seconds.values()), 1)
    if code == suite.EXPECTED and not failed and passed and seen.complete:
        return result
    result.status = Status.FAILED
    # Something that no case is to blame for is one failure of its own.
    result.failed = max(failed, 1)
    if code == suite.EXPECTED:
        if not passed:
            result.reason = "no case passed"
        elif failed:
            result.reason = "the journal holds failures that the exit code denies"
        else:
            result.reason = "the journal does not say that the run is complete"
    else:
        result.reason = f"{command} ended with {code}"
    return result


@dataclass(frozen=True)
class Fault:
    """A bug in the kernel, and the cases that must find it."""

    name: str
    selection: str
    """The cases that must turn red."""
    within: float | None = None
    """In how many seconds of its own each of them must."""
    cpus: int = 1
    """2 if it shows only, or leaves a CPU to anybody else only, where there is another."""
    finding: str | None = None
    """What the tracer says of it, as a pattern that finds the task, inode, page and index it names. Then the
    cases are traced, and each must say so in the JUnit report."""

    def named(self, text: str) -> bool:
        """Whether a case's report names the fault, and blames the task that broke the layout and the page that was
        pinned: both stand in the timeline too."""
        for found in re.finditer(f"^{self.finding}", text, re.MULTILINE):
            task, inode, page, index = map(re.escape, found.group("task", "inode", "page", "index"))
            begun = re.search(rf"-{task}\s.*: begin: op=fallocate ino={inode} ", text)
            pinned = re.search(rf": pin: ino={inode} page={page} index={index} ", text)
            if begun and pinned:
                return True
        return False


def traced(where: Where, fault: Fault) -> Callable[[Path], Result]:
    """Cases on a kernel with a fault, with the tracer beside them: it must name the fault."""

    def run(output: Path) -> Result:
        results = ROOT / "target" / "results" / f"{where}-{fault.name}-trace"
        code, seen = vm(
            output, results, *where.arguments(), "--fault", fault.name, fault.selection, "--runner", "--trace"
        )
        texts = said(results / "junit.xml")
        for timeline in (results / "cases").glob("*/*/timeline.txt"):
            # The report has only its last lines.
            case = "/".join(timeline.parts[-3:-1])
            texts[case] = f"{texts.get(case, '')}\n{timeline.read_text()}"
        return judge_traced(fault, code, seen, texts)

    return run


def faulty(where: Where, fault: Fault, others: Sequence[str] = ()) -> Callable[[Path], Result]:
    """Cases on a kernel with a fault: they must turn red, on the machine's file system and on the others.

    All share a boot, which takes longer than the cases. Where one leaves a
    machine that must be booted anew, or none, it and the rest get machines of
    their own.
    """

    def run(output: Path) -> Result:
        results = ROOT / "target" / "results" / f"{where.kernel}-{fault.name}"
        filesystems = [where.filesystem, *others]
        named = [word for filesystem in others for word in ("--fs", filesystem)]
        script = TOGETHER.format(filesystems=" ".join(filesystems), selection=shlex.quote(fault.selection))
        for filesystem in filesystems:
            (results / f"{filesystem}.code").unlink(missing_ok=True)
        vm(output, results, *where.arguments(), *named, "--fault", fault.name, "--", "sh", "-c", script)
        parts = {}
        for filesystem in filesystems:
            code, seen = ended(results / f"{filesystem}.code"), journal.read(results / filesystem / "journal.jsonl")
            if code not in (suite.EXPECTED, suite.UNEXPECTED, suite.COULD_NOT_RUN):
                own = replace(where, filesystem=filesystem)
                again = output.with_name(f"{output.stem}-{filesystem}{output.suffix}")
                arguments = [*own.arguments(), "--fault", fault.name, fault.selection]
                code, seen = vm(again, results / f"{filesystem}-alone", *arguments)
            parts[filesystem] = judge_fault(fault, code, seen)
        return together(parts)

    return run


def ended(path: Path) -> int | None:
    """The exit code that a script left in a file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def together(parts: Mapping[str, Result]) -> Result:
    """The result of several parts, by their names."""
    result = Result(Status.OK)
    reasons = []
    for name, part in parts.items():
        result.passed += part.passed
        result.failed += part.failed
        if part.skipped is not None:
            result.skipped = (result.skipped or 0) + part.skipped
        result.attention += [f"{name}: {case}" for case in part.attention]
        result.facts[name] = {"passed": part.passed, "failed": part.failed, **part.facts}
        if part.status is not Status.OK:
            result.status = Status.FAILED
            reasons.append(f"{name}: {part.reason}")
    result.reason = "; ".join(reasons)
    return result


def said(junit: Path) -> dict[str, str]:
    """All that a JUnit report says of each case."""
    texts: dict[str, str] = {}
    for case in testcases(junit):
        parts = [text for element in case.iter() for text in (element.get("message"), element.text) if text]
        texts[name(case)] = "\n".join(parts)
    return texts


def failures(junit: Path) -> dict[str, str | None]:
    """Each case of a JUnit report, with the failure that it tells."""
    found: dict[str, str | None] = {}
    for case in testcases(junit):
        failure = case.find("failure")
        found[name(case)] = None if failure is None else failure.get("message") or "a failure"
    return found


def testcases(junit: Path) -> list[xml.Element]:
    """The cases of a JUnit report; none if there is none."""
    try:
        return list(xml.parse(junit).iter("testcase"))
    except (FileNotFoundError, xml.ParseError):
        return []


def name(testcase: xml.Element) -> str:
    """The name of a case, as the journal has it.

    The class is the case's group in a package that names the kernel and the file system.
    """
    group = testcase.get("classname", "").rpartition(".")[2]
    return f"{group}/{testcase.get('name')}"


def judge_traced(fault: Fault, code: int, seen: Journal, texts: Mapping[str, str]) -> Result:
    """Whether the tracer named the fault in each case that came to its end."""
    named, missed, skipped = [], list(seen.lost), []
    if seen.running:
        missed.append(seen.running)
    for case, verdicts in sorted(seen.verdicts.items()):
        if not fnmatch.fnmatchcase(case, fault.selection):
            continue
        if fault.named(texts.get(case, "")):
            named.append(case)
        elif set(verdicts) <= {"NOTRUN"}:
            skipped.append(case)
        else:
            missed.append(f"{case} ({', '.join(verdicts)})")
    return tally(fault, code, seen, (named, missed, skipped), f"the tracer did not name {fault.name} in")


def tally(fault: Fault, code: int, seen: Journal, cases: tuple[list, list, list], blame: str) -> Result:
    """The result of a run with a fault, from the cases that found it, that missed it, and that say nothing."""
    found, missed, skipped = cases
    result = Result(Status.OK, len(found), len(missed), len(skipped), attention=missed)
    result.facts["seconds_of_cases"] = round(sum(seen.seconds.values()), 1)
    if missed:
        result.status, result.reason = Status.FAILED, f"{blame} {len(missed)} cases"
    elif not found:
        result.status, result.failed = Status.FAILED, 1
        result.reason = f"no case like {fault.selection} ran to an end; ci/vm ended with {code}"
    return result


def judge_fault(fault: Fault, code: int, seen: Journal) -> Result:
    """Whether the fault was found by all cases that must.

    A known deviation and a case that cannot run here say nothing about the
    fault. A case under which the machine went down found it.
    """
    red, missed, skipped = [], [], []
    down = set(seen.lost)
    if seen.running:
        down.add(seen.running)
    for case in sorted(down.union(seen.verdicts)):
        if not fnmatch.fnmatchcase(case, fault.selection):
            continue
        verdicts = seen.verdicts.get(case, [])
        if case in down or {"FAIL", "HANG"}.intersection(verdicts):
            slow = fault.within is not None and seen.seconds.get(case, 0.0) > fault.within
            (missed if slow else red).append(f"{case} (only after {seen.seconds[case]:.1f} s)" if slow else case)
        elif set(verdicts) <= {"XFAIL", "NOTRUN"}:
            skipped.append(case)
        else:
            missed.append(f"{case} ({', '.join(verdicts)})")
    result = tally(fault, code, seen, (red, missed, skipped), f"the fault {fault.name} was not found by")
    if result.status is Status.OK and code != suite.UNEXPECTED:
        result.status, result.failed = Status.FAILED, 1
        result.reason = f"ci/vm ended with {code} although cases were red"
    return result
