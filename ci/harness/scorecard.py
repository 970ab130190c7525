"""`ci/scorecard`: what the suite, the tracer and the fuzzer catch of bugs that are known to be there, and how often they
cry wolf where none is.

Each fault is put into a kernel, and suite and fuzzer run until the first thing that is not as expected. The same
runs on the kernel as it is, and on one that only has other names for the same, must find nothing.
"""

import argparse
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from . import build, fault, journal, options, results, suite, variants
from .config import FILESYSTEMS
from .failure import Failure
from .machine import leave_on_signals
from .run import BESIDE, FAULTY_KERNEL, PROGRAMS, run, vm
from .say import run as told_by
from .say import say

# What the suite is to a fault: a covering sample, what takes long, and the directed races, each traced.
CASES = tuple("-g quick -g evict -g race -g livelock -g directed --runner --trace".split())

# Always the same programs: what is found once is found again.
SEED = 1

# What a boot and the last program of the fuzzer take beside its time.
ENDING = 600

# Faults that are none: the functions have other names, and all must be as without them.
HARMLESS = frozenset(("renamed", "renamed-inlined"))


@dataclass(frozen=True)
class Suite:
    """What the suite said: of a fault up to the first case that was not as expected."""

    tried: int
    """Cases that ran to an end."""
    red: list[str]
    """Those that were not as expected."""
    seconds: float | None
    """From the first case's begin to the end of the first red one."""
    rules: list[str]
    """The rules by which that one was found, and what else saw it."""
    words: str
    """What was said of it first."""
    complete: bool
    """Whether all ran that was planned: up to the first red one, if one was."""


@dataclass(frozen=True)
class Fuzz:
    """What the fuzzer said."""

    programs: int
    diverged: int
    """Divergences that are no known deviation, alike ones counted once."""
    steps: int | None
    """Of the shortest program that shows one."""
    words: str
    """What the first one was."""


@dataclass
class Row:
    """A fault, or none, on a kernel and a file system."""

    fault: str
    kernel: str
    filesystem: str
    suite: Suite | None = None
    fuzz: Fuzz | None = None
    reasons: list[str] = field(default_factory=list)
    """Why there is nothing to say of suite or fuzzer."""

    def is_caught(self) -> bool:
        """Whether anything was not as expected."""
        return bool(self.suite and self.suite.red or self.fuzz and self.fuzz.diverged)


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/scorecard",
        description="Put each fault into a kernel and show what catches it: which case, which rule, after how long, and "
        "whether the fuzzer meets it; then run the same on the kernel without a fault, where nothing may be found.",
        epilog="Without arguments: everything, in some hours. Some of it:\n\n"
        "  ci/scorecard --fault retry --fs xfs\n"
        "  ci/scorecard --module FILE.ko          a fault of your own: a module built for the kernel\n\n"
        "Exit codes: 0 each fault was caught, and nothing else; 1 not so; 2 could not run, or a fault could not be\n"
        "tried.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--fault", action="append", metavar="NAME", help="a fault of ci/faults/; repeatable (default: all)")
    add("--module", action="append", metavar="FILE.ko", help="a fault of your own, loaded before the suite runs; "
        "repeatable (then: no other faults, no stock runs, no variants)")
    add("--kernel", default=FAULTY_KERNEL, help="(default: %(default)s)")
    add("--fs", action="append", choices=FILESYSTEMS, help="repeatable (default: both)")
    add("--stock", type=runs, metavar="N", help="run the same N times on the kernel without a fault (default: 3)")
    add("--fuzz", type=options.seconds, default=60, metavar="SECONDS", help="how long to fuzz (default: %(default)s)")
    add("--limit", type=options.seconds, default=1500, metavar="SECONDS",
        help="how long the suite may take in each place (default: %(default)s)")
    add("--whole", action="store_true", help="count all red cases; do not stop at the first")
    add("--no-variants", action="store_true", help="skip the bugs of the reference")
    add("--programs", type=Path, metavar="DIR", help="use the programs in DIR; build none")
    add("--results", type=Path, default=results.DEFAULT / "scorecard", metavar="DIR", help="(default: %(default)s)")
    add("--markdown", type=options.output, metavar="FILE", help="also write the tables to FILE: docs/scorecard.md")
    asked = parser.parse_args(arguments)
    if asked.module and asked.fault:
        parser.error("--module and --fault do not go together")
    # Before anything is built.
    for name in asked.module or asked.fault or []:
        if asked.module and not fault.is_module(name):
            parser.error(f"--module {name}: its name must end in .ko")
        fault.known(name)
    results.take(asked.results)
    stock = asked.stock if asked.stock is not None else (0 if asked.module or asked.fault else 3)
    machines = Machines(asked, build.folder(asked.programs) if asked.programs else build.copies(PROGRAMS))
    card = Card()
    try:
        for name in asked.module or asked.fault or fault.names():
            for filesystem in asked.fs or FILESYSTEMS:
                card.add(machines.row(name, filesystem))
        for number in range(1, stock + 1):
            for filesystem in asked.fs or FILESYSTEMS:
                card.add(machines.row(None, filesystem, number))
        if not (asked.module or asked.fault or asked.no_variants):
            card.variants = reference(asked.results)
    finally:
        # Hours of work are not lost to what comes last.
        card.write(asked.results / "scorecard.json")
    if asked.markdown:
        asked.markdown.write_text(card.markdown())
    return card.verdict()


def runs(text: str) -> int:
    """A number of runs; none is one."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of runs")
    return int(text)


class Machines:
    """Runs suite and fuzzer."""

    def __init__(self, asked: argparse.Namespace, programs: Path):
        self.asked = asked
        self.programs = programs

    def row(self, name: str | None, filesystem: str, number: int = 0) -> Row:
        """All that is to be said of a fault, or of a run without one, on a file system."""
        called = fault.called_as(name) if name else "none"
        row = Row(called, self.asked.kernel, filesystem)
        folder = self.asked.results / "-".join([called, *([str(number)] if number else []), filesystem])
        # Two CPUs: the race of a fault may need both.
        where = ["--kernel", self.asked.kernel, "--fs", filesystem, "--cpus", "2"]
        where += ["--fault", name] if name else []
        must_find = name is not None and called not in HARMLESS
        until = ["--iterations", "1", *(["--until-fail"] if must_find and not self.asked.whole else [])]
        row.suite = self.suite(row, folder / "suite", [*where, *CASES, *until])
        fuzz = ["runner", "fuzz", "--fs", filesystem, "--dev", "/dev/pmem0", "--seed", str(SEED), "--format", "json"]
        fuzz += ["--duration", f"{self.asked.fuzz:.0f}s"]
        row.fuzz = self.fuzz(row, folder / "fuzz", where, fuzz)
        print(told(row), flush=True)
        return row

    def suite(self, row: Row, folder: Path, words: Sequence[str]) -> Suite | None:
        """Run the suite; what it said, or nothing, for a reason that the row keeps."""
        path = folder / "journal.jsonl"
        before = journal.stamp(path)
        limit = self.asked.limit
        code = run(vm(folder, self.programs, *words, timeout=limit), f"the suite on {folder.parent.name}", limit + BESIDE)
        if journal.stamp(path) == before:
            row.reasons.append(f"the suite did not run: ci/vm ended with {code}")
            return None
        lines = path.read_text(errors="replace").splitlines()
        if code not in (suite.EXPECTED, suite.UNEXPECTED):
            row.reasons.append(f"the suite ended with {code}")
        return judge(lines)

    def fuzz(self, row: Row, folder: Path, where: Sequence[str], words: Sequence[str]) -> Fuzz | None:
        """Run the fuzzer; what it said, or nothing, for a reason that the row keeps."""
        said = folder / "fuzz.json"
        said.unlink(missing_ok=True)
        script = f'{shlex.join(words)} --results "$RESULTS/programs" >"$RESULTS/fuzz.json"'
        limit = self.asked.fuzz + ENDING
        code = run(
            vm(folder, self.programs, *where, "--", "sh", "-c", script, timeout=limit),
            f"the fuzzer on {folder.parent.name}",
            limit + BESIDE,
        )
        try:
            return fuzzed(json.loads(said.read_text()))
        except (OSError, ValueError):
            row.reasons.append(f"the fuzzer said nothing: it ended with {code}, see {folder / 'console.log'}")
            return None


def judge(lines: Sequence[str]) -> Suite:
    """What a journal says of the suite."""
    seen = journal.parse(lines)
    events = [json.loads(line) for line in lines if line.endswith("}")]
    red = seen.unexpected()
    seconds, rules, words = None, [], ""
    ended = [event for event in events if event.get("event") == "case-ended" and event["verdict"] in journal.UNEXPECTED]
    begun = next((event for event in events if event.get("event") == "case-begun"), None)
    if ended and begun:
        first = ended[0]
        at = [datetime.fromisoformat(event["time"]) for event in (begun, first)]
        seconds = (at[1] - at[0]).total_seconds()
        problems = first.get("problems", [])
        rules = list(dict.fromkeys(witness(problem) for problem in problems))
        words = problems[0]["title"] if problems else first["verdict"]
        red = [first["case"], *(case for case in red if case != first["case"])]
    elif red:
        words = f"the machine went down: {seen.down or 'nobody knows why'}"
    return Suite(len(seen.verdicts), red, seconds, rules, words, seen.complete)


def witness(problem: Mapping) -> str:
    """Who saw a problem: the rule that names it, or the case, its transcript, the kernel's log, ..."""
    return problem["finding"]["rule"] if "finding" in problem else problem["witness"]


def fuzzed(said: Mapping) -> Fuzz:
    """What the fuzzer's document says."""
    kinds = [each["kind"] for each in said["divergences"] if each["standing"] != "tolerated"]
    steps = min((each["steps"] for each in said["shrunk"]), default=None)
    return Fuzz(said["programs"], len(kinds), steps, kinds[0] if kinds else "")


def reference(folder: Path) -> list[dict]:
    """For each bug of the reference the first case that catches it, the rule, and what the fuzzer says."""
    say("the bugs of the reference")
    runner = next(path for path in build.build(("runner",)) if path.name == "runner")
    caught = json.loads(told_by([runner, "variants", "--first", "--format", "json"], "running the variants", ENDING))
    met = variants.fuzz_all(runner, folder / "variants")
    missed = variants.amiss(met)
    rows = []
    for each in caught:
        name = each["variant"]
        rules = each["rules"]
        cases = each["cases"] or [case for named in rules.values() for case in named]
        rows.append(
            {
                "variant": name,
                "about": each["about"],
                "case": cases[0] if cases else None,
                "rules": sorted(rules),
                "steps": variants.shortest(met[name]) if name not in missed else None,
            }
        )
    return rows


@dataclass
class Card:
    """The scorecard."""

    rows: list[Row] = field(default_factory=list)
    variants: list[dict] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)

    def faulty(self) -> list[Row]:
        """Where something must be found."""
        return [row for row in self.rows if row.fault != "none" and row.fault not in HARMLESS]

    def good(self) -> list[Row]:
        """Where nothing may be found."""
        return [row for row in self.rows if row.fault == "none" or row.fault in HARMLESS]

    def verdict(self) -> int:
        """0 if every fault was caught and nothing else was found, 1 if not, 2 if that is all but one could not be tried."""
        tried = [row for row in self.faulty() if row.suite or row.fuzz]
        caught = all(row.is_caught() for row in tried)
        silent = not any(row.is_caught() or row.reasons for row in self.good())
        met = all(each["case"] and each["steps"] for each in self.variants)
        if not (caught and silent and met):
            return suite.UNEXPECTED
        return suite.EXPECTED if len(tried) == len(self.faulty()) else suite.COULD_NOT_RUN

    def write(self, path: Path) -> None:
        """For programs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"rows": [asdict(row) for row in self.rows], "variants": self.variants}
        path.write_text(json.dumps(document, indent=2) + "\n")

    def markdown(self) -> str:
        """For people."""
        parts = [
            "# What is caught\n",
            "Made by `ci/scorecard --markdown docs/scorecard.md`. Each fault of `ci/faults/` is put into a kernel; the suite "
            "runs traced until the first case that is not as expected, then the fuzzer, always with the same programs. "
            "*After* is the time from the begin of the first case to the end of the first red one, in an emulated machine. "
            "*Seen by* has the rules of tracer and oracles by name, and what else told: the case itself, its transcript, "
            "the kernel's log.\n",
            table(
                ["fault", "kernel", "fs", "first red case", "after", "seen by", "fuzzer"],
                [
                    [row.fault, row.kernel, row.filesystem, *said_of_suite(row), said_of_fuzzer(row)]
                    for row in self.faulty()
                ],
            ),
            "## False alarms\n",
            "The same on the kernel as it is (`none`), and on one whose functions have other names and that has no bug.\n",
            table(
                ["fault", "kernel", "fs", "cases", "unexpected", "programs", "divergences"],
                [
                    [
                        *(row.fault, row.kernel, row.filesystem),
                        *((str(row.suite.tried), ", ".join(row.suite.red) or "0") if row.suite else ("-", why(row))),
                        *((str(row.fuzz.programs), str(row.fuzz.diverged)) if row.fuzz else ("-", why(row))),
                    ]
                    for row in self.good()
                ],
            ),
        ]
        if self.variants:
            parts += [
                "## Bugs of the reference\n",
                "The first case that fails with each, the rules that name it, and the steps of the program to which the "
                "fuzzer shrinks what it meets.\n",
                table(
                    ["variant", "first red case", "rules", "steps"],
                    [
                        [
                            each["variant"],
                            each["case"] or "none",
                            ", ".join(each["rules"]) or "none: the case tells",
                            str(each["steps"] or "not met"),
                        ]
                        for each in self.variants
                    ],
                ),
            ]
        parts.append("What stock kernels do wrong, and which case shows it where, is in [finds.md](finds.md).\n")
        return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def said_of_suite(row: Row) -> list[str]:
    """The case, the time, who saw it."""
    if not row.suite:
        return [f"none: {why(row)}", "-", "-"]
    if not row.suite.red:
        cut = "" if row.suite.complete else f"; {why(row) or 'not all ran'}"
        return [f"none of {row.suite.tried}{cut}", "-", "-"]
    after = f"{row.suite.seconds:.0f} s" if row.suite.seconds is not None else "-"
    return [f"`{row.suite.red[0]}`", after, ", ".join(row.suite.rules) or row.suite.words]


def said_of_fuzzer(row: Row) -> str:
    """Whether it met the fault, in how short a program."""
    if not row.fuzz:
        return f"no: {why(row)}"
    if not row.fuzz.diverged:
        return f"no: {row.fuzz.programs} programs"
    # Seen once and not again, it cannot be shrunk.
    return f"{row.fuzz.steps} steps" if row.fuzz.steps else f"seen once: {row.fuzz.words}"


def why(row: Row) -> str:
    """The reasons of a row."""
    return "; ".join(row.reasons)


def told(row: Row) -> str:
    """A row, on the terminal."""
    case, after, seen = said_of_suite(row)
    found = f"{case} after {after}, seen by {seen}" if row.suite and row.suite.red else case
    return f"{row.fault} on {row.kernel} {row.filesystem}: {found}; fuzzer: {said_of_fuzzer(row)}"
