"""`ci/sightings`: each find is looked for again on the kernels and file systems where it was seen, untraced and traced.

Where that was, `docs/finds/seen.json` says, which the runner writes from
results. The exit code is the verdict: 0 each find shows again, 1 one does not,
2 it could not be tried.
"""

import argparse
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import build, finds, journal, kernel, options, suite
from .cache import ROOT
from .failure import Failure
from .machine import leave_on_signals
from .run import boot
from .say import run

SEEN = ROOT / "docs" / "finds" / "seen.json"

# The shapes that take both devices.
OF_TWO = re.compile(r"linear|realtime|spare|stripe")


@dataclass(frozen=True)
class Place:
    """A kernel, a file system and its shape, and the case that showed each find there."""

    kernel: str
    """By its name in ci/kernels.toml."""
    filesystem: str
    shapes: tuple[str, ...]
    cases: dict[str, str]
    """By the id of the find."""
    by_chance: frozenset[str] = frozenset()
    """The finds whose case passed there as well, another time."""

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return " ".join([self.kernel, self.filesystem, *self.shapes])

    def words(self) -> list[str]:
        """What `ci/vm` and the runner are told."""
        second = ["--dev", "/dev/pmem1"] if any(OF_TWO.match(shape) for shape in self.shapes) else []
        shapes = [word for shape in self.shapes for word in ("--shape", shape)]
        cases = dict.fromkeys(self.cases.values())
        return ["--kernel", self.kernel, "--fs", self.filesystem, "--cpus", "2", *second, *shapes, *cases]


@dataclass
class Tally:
    """How often each find showed again."""

    shown: int = 0
    missed: list[str] = field(default_factory=list)
    """Those that did not, and where; with what the case did instead."""
    lucky: list[str] = field(default_factory=list)
    """The same for finds that show by chance, which says nothing."""


def shapes_of(target: str, filesystem: str, known: Iterable[str]) -> tuple[str, ...]:
    """The shapes in a target's name: "xfs-spare-no-rmapbt" has two."""
    longest = sorted(known, key=len, reverse=True)
    rest, found = target.removeprefix(filesystem), []
    while rest:
        shape = next((shape for shape in longest if rest == f"-{shape}" or rest.startswith(f"-{shape}-")), None)
        if shape is None:
            raise Failure(f"{SEEN.name} speaks of {target}, and no shape of the runner is in {rest}")
        found.append(shape)
        rest = rest.removeprefix(f"-{shape}")
    return tuple(found)


def places(seen: dict, asked: set[str], rows: dict[str, dict], filesystems: list[str], shapes: list[str]) -> list[Place]:
    """Where the finds that are asked for were seen, on the newest release of each kernel that is recorded."""
    made: dict[tuple[str, str], Place] = {}
    for name, row in rows.items():
        for known in seen["places"]:
            if known["fs"] not in filesystems or not re.fullmatch(row["release"], known["kernel"]):
                continue
            cases, chance = {}, set()
            for find, sight in known["finds"].items():
                if find in asked and isinstance(sight, dict) and (case := sight.get("seen") or sight.get("by-chance")):
                    cases[find] = case
                    if "by-chance" in sight:
                        chance.add(find)
            if cases:
                shape = shapes_of(known["target"], known["fs"], shapes)
                made[name, known["target"]] = Place(name, known["fs"], shape, cases, frozenset(chance))
    return list(made.values())


def judge(place: Place, seen: journal.Journal, how: str, tally: Tally) -> dict[str, str]:
    """What became of each find in a run, in a word."""
    words = {}
    for find, case in place.cases.items():
        ends = list(zip(seen.verdicts.get(case, []), seen.finds.get(case, [])))
        if ("XFAIL", find) in ends:
            tally.shown += 1
            words[find] = "shown"
            continue
        said = ", ".join(f"{verdict} by {by}" if by else verdict for verdict, by in ends) or "no verdict"
        reason = f" ({seen.reasons[case]})" if seen.reasons.get(case) else ""
        by_chance = find in place.by_chance
        words[find] = "not this time" if by_chance else f"NOT: {said}"
        (tally.lucky if by_chance else tally.missed).append(f"{place.name}, {how}: {find}: {case}: {said}{reason}")
    return words


def table(meant: list[finds.Find], cells: dict[str, dict[str, list[str]]]) -> str:
    """A row a find, a column a place, in Markdown: what was seen without the tracer, and with it."""
    columns = list(cells)
    lines = [["#", "find", *columns], ["---"] * (2 + len(columns))]
    for find in meant:
        row = [" / ".join(cells[column].get(find.id, [])) for column in columns]
        if any(row):
            lines.append([str(find.number), find.id, *row])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    rows = kernel.read_table()["kernel"]
    parser = options.OneLine(
        prog="ci/sightings",
        description="Look for each find again, on the kernels, file systems and shapes where docs/finds/seen.json says "
        "that it was seen: without the tracer and with it.",
        epilog="Exit codes: 0 each find shows again; 1 one does not; 2 could not run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--find", action="append", metavar="ID", help="a find's id or number; repeatable (default: all)")
    add("--kernel", action="append", choices=list(rows), help="repeatable (default: all)")
    add("--fs", action="append", choices=("xfs", "ext4"), help="repeatable (default: both)")
    add("--only", choices=("untraced", "traced"), help="look in this way only")
    add("--iterations", type=options.count, default=1, metavar="N", help="run each case N times (default: 1)")
    add("--programs", type=Path, metavar="DIR", help="use the programs in DIR; build none")
    add("--results", type=Path, metavar="DIR", default=ROOT / "target" / "results" / "sightings", help="write the results to DIR")
    asked = parser.parse_args(arguments)
    programs = build.folder(asked.programs)
    meant = finds.read(programs / "runner", asked.find or [finds.ALL])
    listed = run([programs / "runner", "--list-shapes"], "listing the shapes").splitlines()
    here = {name: row for name, row in rows.items() if name in (asked.kernel or rows)}
    where = places(
        json.loads(SEEN.read_text()), {find.id for find in meant}, here, asked.fs or ["xfs", "ext4"], [line.split()[0] for line in listed]
    )
    if not where:
        raise Failure(f"{SEEN.relative_to(ROOT)} has none of these finds on these kernels and file systems")
    tally, cells = Tally(), {}
    for place in where:
        for how, more in (("untraced", ()), ("traced", ("--trace",))):
            if asked.only not in (None, how):
                continue
            results = asked.results / f"{place.name.replace(' ', '-')}-{how}"
            repeated = ["--iterations", str(asked.iterations)] if asked.iterations > 1 else []
            code, seen = boot(results, programs, *place.words(), "--runner", *repeated, *more)
            if code == suite.COULD_NOT_RUN:
                # That no find showed would say nothing of the kernel, nor will the next machine do better.
                raise Failure(f"{place.name}, {how}: could not run, see {results}")
            words = judge(place, seen, how, tally)
            print(f"{place.name}, {how}: {sum(word == 'shown' for word in words.values())} of {len(words)} finds shown", flush=True)
            for find, word in words.items():
                cells.setdefault(place.name, {}).setdefault(find, []).append(word)
    print(table(meant, cells))
    for word, lines in (("not this time", tally.lucky), ("NOT SHOWN", tally.missed)):
        for line in lines:
            print(f"{word}: {line}")
    print(f"{tally.shown} times a find was shown, {len(tally.lucky)} times not by chance, {len(tally.missed)} times not")
    return 1 if tally.missed else 0
