"""The finds of `expected/known.toml`, and a table of where the program of each was red and where green."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from .failure import Failure
from .say import run

ALL = "all"


@dataclass(frozen=True)
class Find:
    """A find that has a page, as the runner tells of it."""

    number: int
    id: str
    program: str
    """The case that is exported for it."""
    filesystems: tuple[str, ...]
    """Where the program shows it."""
    shape: str
    """The runner's shapes that it takes to show it, as --shape has them."""
    wedges: bool
    """Whether the program may leave what only a reboot undoes."""


@dataclass(frozen=True)
class Cell:
    """What a program said in a place, held against what is known of its find."""

    words: str
    good: bool = True


@dataclass
class Row:
    """What is known of a find's program."""

    find: Find
    lines: int = 0
    cells: dict[str, Cell] = field(default_factory=dict)
    """By the name of the place."""
    lacks: str = ""
    """Why there is no program."""


def read(runner: Path, asked: list[str]) -> list[Find]:
    """Those that are asked for, by number or id."""
    listed = json.loads(run([runner, "finds", "list", "--format", "json"], "listing the finds"))
    finds = [
        Find(item["number"], item["id"], item["program"], tuple(item["fs"]), ",".join(item["shapes"]), item["wedges"])
        for item in listed
    ]
    names = {name for find in finds for name in (find.id, str(find.number), ALL)}
    for name in asked:
        if name not in names:
            raise Failure(f"there is no find {name}; runner finds list shows all")
    return [find for find in finds if {find.id, str(find.number), ALL}.intersection(asked)]


def cell(find: Find, word: str | None, by: str | None, numbers: dict[str, int]) -> Cell:
    """What a place says of a find: `word` as the program and the runner agreed, and the find that the runner saw."""
    match word:
        case None:
            return Cell("did not run", False)
        case "red" if by == find.id:
            return Cell("red")
        case "red" if by is None:
            return Cell("red, and no find is known to do it", False)
        case "red":
            return Cell(f"red as {numbers.get(by, by)}")
        case "differs":
            return Cell("DIFFERS", False)
        case _:
            return Cell(word)


def table(rows: list[Row], places: list[str]) -> str:
    """All of it, in Markdown."""
    lines = [["#", "find", "program", "lines", *places], ["---"] * (4 + len(places))]
    for row in rows:
        find = row.find
        program = f"none of {find.program}: {row.lacks}" if row.lacks else find.program
        cells = [row.cells[place].words if place in row.cells else "" for place in places]
        lines.append([str(find.number), find.id, program, str(row.lines or ""), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def total(rows: list[Row]) -> str:
    """How many were shown, in a sentence."""
    shown = [row for row in rows if not row.lacks]
    words = [{cell.words for cell in row.cells.values()} for row in shown]
    both = sum({"red", "green"} <= said for said in words)
    red = sum("red" in said for said in words) - both
    return (
        f"{len(rows)} finds: the programs of {both} were red and green, of {red} red only, of {len(shown) - both - red} never red, "
        f"and {len(rows) - len(shown)} have none"
    )
