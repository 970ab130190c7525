"""`ci/reproducers`: each exported case is built, and must say on a kernel what the runner says of the case.

With `--find` the cases are the programs of finds, in the shapes that show
them: red where the runner sees the find, green where it does not.

The exit code is the verdict: 0 each program agreed, 1 one did not or did not
compile, 2 it could not be tried.
"""

import argparse
import json
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import build, child, finds, journal, options, suite
from .cache import ROOT
from .failure import Failure
from .finds import Find, Row
from .machine import leave_on_signals
from .run import boot
from .say import run, say

# Loops at full speed are no reproducers; and after what may leave a task that cannot be killed, nothing else can be tried.
WITHOUT = ("--exclude", "race", "--exclude", "livelock", "--exclude", "evict/own-pin-at-exit")

COMPILERS = ("gcc", "clang")
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread")

# The runner first. Then the programs on a page cache, where each must say that it cannot be tried, and on a file system
# as the runner had it. What hangs there is for the next boot.
SCRIPT = """\
rm -rf "$RESULTS/suite" "$RESULTS/said" "$RESULTS/cached"
mkdir "$RESULTS/said" "$RESULTS/cached"
runner --fs {filesystem} {options} --results "$RESULTS/suite" {cases}
[ $? -ne 2 ] || exit 2
each() {{
	while read -r name; do
		{programs}/$name "$1" >"$2/$name" 2>&1
		echo "$? $name" >>"$2/codes"
	done <{list}
}}
# Devices that hold direct I/O.
modprobe --all dm_mod loop
mkdir /run/dax /run/cached
mkfs.ext4 -q -F /dev/pmem1 && mount -o dax=never /dev/pmem1 /run/cached || exit 2
each /run/cached "$RESULTS/cached"
umount /run/cached || exit 2
{mount} || exit 2
each /run/dax "$RESULTS/said"
"""

# What the runner takes for a shape besides its name, and how the same comes to be without the runner.
SHAPES = {
    # As the runner leaves it.
    "": ("--dev /dev/pmem0", "mount -o dax=always /dev/pmem0 /run/dax"),
    # What the runner does to a file system on the second device, a program does to its own.
    "spare": ("--dev /dev/pmem0 --dev /dev/pmem1 --shape spare", "mount -o dax=always /dev/pmem0 /run/dax"),
    "fast-commit,spare": (
        "--dev /dev/pmem0 --dev /dev/pmem1 --shape fast-commit --shape spare",
        "mkfs.{filesystem} -q {force} -O fast_commit /dev/pmem1 && mount -o dax=always /dev/pmem1 /run/dax",
    ),
    "dax-inode": ("--dev /dev/pmem0 --shape dax-inode", "mount -o dax=inode /dev/pmem0 /run/dax"),
    "stripe-4k": (
        "--dev /dev/pmem0 --dev /dev/pmem1 --shape stripe-4k",
        """\
half=$(($(cat /sys/class/block/pmem0/size) / 8 * 8))
echo "0 $((2 * half)) striped 2 8 /dev/pmem0 0 /dev/pmem1 0" | dmsetup create --noudevsync stripe &&
device=/dev/$(dmsetup info --columns --noheadings --options blkdevname stripe) &&
mkfs.{filesystem} -q {force} $device && mount -o dax=always $device /run/dax""",
    ),
}

# Beside what the runner left in a state that only a reboot undoes.
ALONE = "mkfs.{filesystem} -q {force} /dev/pmem1 && mount -o dax=always /dev/pmem1 /run/dax"

# Has mkfs go over what is there.
FORCE = {"xfs": "-f", "ext4": "-F"}

DEVIATES, KEEPS, CANNOT = 1, 0, 2

# How a program must end, by the runner's verdict on the case.
WANTED = {"PASS": KEEPS, "XFAIL": DEVIATES, "FAIL": DEVIATES, "HANG": DEVIATES, "NOTRUN": CANNOT}

# How the reason of a NOTRUN begins if the machine or the file system lacks something. A program that runs there
# accuses a kernel of what it never offered.
LACKS = "needs "


@dataclass(frozen=True)
class Said:
    """How a program ended."""

    code: int
    text: str = ""
    """All that it printed."""


@dataclass
class Agreement:
    """What programs and runner say of the same cases."""

    green: list[str] = field(default_factory=list)
    red: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    """Neither could run there: something that the case needs is missing."""
    untold: list[str] = field(default_factory=list)
    """The runner ran them and learned nothing, so there is nothing to hold the program against."""
    differ: list[str] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    """The same by case, in a word."""

    def tell(self, place: str) -> bool:
        """Say it; whether they agree."""
        print(
            f"{place}: {len(self.green)} green as the runner says, {len(self.red)} red as the runner says, "
            f"{len(self.lacking)} that cannot run as the runner says, {len(self.untold)} of which the runner learned nothing, "
            f"{len(self.differ)} differ",
            flush=True,
        )
        for word, lines in (("red", self.red), ("cannot run", self.lacking), ("untold", self.untold), ("DIFFERS", self.differ)):
            for line in lines:
                print(f"    {word}: {line}")
        return bool(self.green or self.red) and not self.differ


def file_name(case: str) -> str:
    """The name of a case's program."""
    return case.replace("/", "--")


def refuses(program: Said | None) -> bool:
    """Whether a program says that it cannot be tried, and why, in a line."""
    return program is not None and program.code == CANNOT and len(program.text.splitlines()) == 1


def compare(cases: list[str], seen: journal.Journal, programs: dict[str, Said]) -> Agreement:
    """What became of each; `programs` by the name of the program."""
    agreement = Agreement()
    for case in cases:
        verdict = ", ".join(seen.verdicts.get(case, [])) or "nothing"
        reason, program = seen.reasons.get(case, ""), programs.get(file_name(case))
        if verdict == "NOTRUN" and not reason.startswith(LACKS) and program and program.code in (KEEPS, DEVIATES, CANNOT):
            # It takes some luck, which the runner did not have and the program may.
            agreement.untold.append(f"{case}: {reason}; the program {program.code}")
            agreement.words[case] = "untold"
        elif program is None or program.code != WANTED.get(verdict):
            why = f" ({reason})" if reason else ""
            said = f"{program.code}\n{program.text}".strip() if program else "nothing"
            agreement.words[case] = "differs"
            agreement.differ.append(f"{case}: the runner says {verdict}{why}, the program {said}")
        elif program.code == CANNOT and not refuses(program):
            agreement.words[case] = "differs"
            agreement.differ.append(f"{case}: what is missing ({reason}) takes a line, and the program says:\n{program.text}")
        elif program.code == CANNOT:
            agreement.words[case] = "-"
            agreement.lacking.append(f"{case}: {program.text.strip()}")
        else:
            agreement.words[case] = "green" if program.code == KEEPS else "red"
            (agreement.green if program.code == KEEPS else agreement.red).append(case)
    return agreement


def names(runner: Path, selection: list[str]) -> list[str]:
    """The cases that are meant, as far as they can be tried one after the other."""
    listed = run([runner, "--list", "--format", "json", *selection, *WITHOUT], "listing the cases")
    return [case["name"] for case in json.loads(listed)]


def export(runner: Path, cases: list[str], folder: Path) -> dict[str, str]:
    """Write the programs of all cases that can be exported; why the others cannot."""

    def one(name: str) -> str | None:
        pipes = {"stdout": child.PIPE, "stderr": child.PIPE, "text": True}
        done = child.finish([runner, "export", name], f"exporting {name}", **pipes)
        if done.returncode == 0:
            (folder / f"{file_name(name)}.c").write_text(done.stdout)
            return None
        return done.stderr.strip()

    with ThreadPoolExecutor() as pool:
        refused = dict(zip(cases, pool.map(one, cases)))
    return {name: why for name, why in refused.items() if why is not None}


def length(case: str, folder: Path) -> int:
    """The lines of its program."""
    return len((folder / f"{file_name(case)}.c").read_text().splitlines())


def compile_all(cases: list[str], folder: Path) -> list[str]:
    """Compile each with each compiler that is here; what they object to."""
    compilers = [name for name in COMPILERS if shutil.which(name)]
    if not compilers:
        raise Failure("there is no compiler: install gcc or clang")

    def one(case: str) -> str | None:
        source = folder / f"{file_name(case)}.c"
        for compiler in compilers:
            words = [compiler, *FLAGS, "-o", source.with_suffix(""), source]
            done = child.finish(words, f"compiling {case}", stdout=child.PIPE, stderr=child.STDOUT, text=True)
            if done.returncode:
                return f"{case}: {compiler}: {done.stdout.strip()}"
        return None

    with ThreadPoolExecutor() as pool:
        objections = [said for said in pool.map(one, cases) if said]
    lengths = sorted(length(case, folder) for case in cases)
    middle = lengths[len(lengths) // 2] if lengths else 0
    print(f"{len(cases)} programs, {middle} lines in the middle, compiled with {' and '.join(compilers)}", flush=True)
    return objections


def endings(folder: Path) -> dict[str, Said]:
    """How the programs ended that left what they said in a folder, by name."""
    codes = folder / "codes"
    ends = [line.split(" ", 1) for line in codes.read_text().splitlines()] if codes.exists() else []
    return {name: Said(int(code), (folder / name).read_text(errors="replace")) for code, name in ends}


def tell_cached(cases: list[str], programs: dict[str, Said], place: str) -> bool:
    """Say which program did not see that the file system has no DAX; whether all did."""
    blind = {case: program for case in cases if not refuses(program := programs.get(file_name(case)))}
    for case, program in blind.items():
        said = f"ended with {program.code}\n{program.text}".strip() if program else "did not run"
        print(f"    DIFFERS: {place}, page cache: {case} must end with {CANNOT} and a line that says why, and {said}")
    return not blind


@dataclass(frozen=True)
class Place:
    """A machine, and what is tried in it."""

    kernel: str
    filesystem: str
    cases: tuple[str, ...]
    shape: str = ""
    alone: bool = False
    """Whether it may not be what it was after the runner's part."""

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return " ".join(word for word in (self.kernel, self.filesystem, self.shape) if word)

    def script(self, folder: Path, listed: Path) -> str:
        """What runs there."""
        options, mount = SHAPES[self.shape]
        mount = (ALONE if self.alone else mount).format(filesystem=self.filesystem, force=FORCE[self.filesystem])
        return SCRIPT.format(
            filesystem=self.filesystem,
            options=options,
            cases=shlex.join(self.cases),
            programs=shlex.quote(str(folder)),
            list=shlex.quote(str(listed)),
            mount=mount,
        )


def try_in(place: Place, folder: Path, programs: Path, results: Path) -> tuple[bool, dict[str, str], journal.Journal]:
    """Run the cases and their programs in one machine: whether they agree, a word of each case, what the runner said."""
    results = results / "-".join([*place.name.replace(",", " ").split(), *(["alone"] if place.alone else [])])
    listed = folder / f"{results.name}.list"
    listed.write_text("".join(f"{file_name(case)}\n" for case in place.cases))
    machine = ["--kernel", place.kernel, "--fs", place.filesystem, "--cpus", "1"]
    code, _ = boot(results, programs, *machine, "--", "sh", "-c", place.script(folder, listed))
    if code == suite.COULD_NOT_RUN:
        print(f"{place.name}: could not run")
        return False, {}, journal.Journal()
    seen = journal.read(results / "suite" / "journal.jsonl")
    agreement = compare(list(place.cases), seen, endings(results / "said"))
    good = agreement.tell(place.name)
    good = tell_cached(list(place.cases), endings(results / "cached"), place.name) and good
    return good, agreement.words, seen


def places(asked: list[Find], kernels: list[str], filesystems: list[str]) -> list[Place]:
    """Where the programs of finds are tried: with each shape that they take, and alone what may leave nothing to go on with."""
    made = []
    for kernel in kernels:
        for filesystem in filesystems:
            for shape, alone in sorted({(find.shape, find.wedges) for find in asked}):
                here = [find for find in asked if (find.shape, find.wedges) == (shape, alone)]
                if any(filesystem in find.filesystems for find in here):
                    cases = tuple(dict.fromkeys(find.program for find in here))
                    made.append(Place(kernel, filesystem, cases, shape, alone))
    return made


def try_finds(rows: list[Row], kernels: list[str], filesystems: list[str], folder: Path, programs: Path, results: Path) -> bool:
    """Try the programs of finds, and print where each was red and where green; whether that is as it is known."""
    numbers = {row.find.id: row.find.number for row in rows}
    tried = places([row.find for row in rows if not row.lacks], kernels, filesystems)
    good = True
    for place in tried:
        agree, words, seen = try_in(place, folder, programs, results)
        good = good and agree
        for row in rows:
            if not row.lacks and row.find.shape == place.shape and row.find.program in place.cases:
                case = row.find.program
                row.cells[place.name] = cell = finds.cell(row.find, words.get(case), (seen.finds.get(case) or [None])[-1], numbers)
                good = good and cell.good
    print(finds.table(rows, list(dict.fromkeys(place.name for place in tried))))
    print(finds.total(rows))
    return good


def rows_of(asked: list[Find], refused: dict[str, str], folder: Path) -> list[Row]:
    """A row a find, with the reason if it has no program that can be tried here."""
    rows = []
    for find in asked:
        if why := refused.get(find.program):
            row = Row(find, lacks=why.removeprefix(f"runner: {find.program} cannot be exported: "))
        elif find.shape not in SHAPES:
            row = Row(find, length(find.program, folder), lacks=f"--shape {find.shape} is not made here")
        else:
            row = Row(find, length(find.program, folder))
        rows.append(row)
    return rows


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/reproducers",
        description="Build the C program of each case that can be exported, and compare its verdict on a kernel with the "
        "runner's.",
        epilog="Exit codes: 0 all agree; 1 one does not, or does not compile; 2 could not run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("case", nargs="*", help="names or globs (default: all)")
    add("--find", action="append", metavar="ID", help="try the program of a find, in the shape that shows it; `all` for every find")
    add("--kernel", action="append", help="repeatable (default: 6.12)")
    add("--fs", action="append", choices=("xfs", "ext4"), help="repeatable (default: xfs; with --find both)")
    add("--programs", type=Path, metavar="DIR", help="use the programs in DIR; build none")
    add("--results", type=Path, metavar="DIR", default=ROOT / "target" / "results" / "reproducers", help="write the results to DIR")
    asked = parser.parse_args(arguments)
    if asked.find and asked.case:
        raise Failure("a find has its own case: give names or --find")
    runner = build.folder(asked.programs) / "runner"
    meant = finds.read(runner, asked.find) if asked.find else []
    selected = list(dict.fromkeys(find.program for find in meant)) or names(runner, asked.case)
    folder = asked.results / "programs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    refused = export(runner, selected, folder)
    cases = [name for name in selected if name not in refused]
    (asked.results / "refused").write_text("".join(f"{why}\n" for why in refused.values()))
    say(f"{len(cases)} cases exported, {len(refused)} not: see {asked.results}/refused")
    objections = compile_all(cases, folder)
    for said in objections:
        print(said)
    if not cases or objections:
        return 1
    kernels, machine = asked.kernel or ["6.12"], (folder.absolute(), runner.parent, asked.results)
    if meant:
        return 0 if try_finds(rows_of(meant, refused, folder), kernels, asked.fs or list(FORCE), *machine) else 1
    all_of = [Place(kernel, filesystem, tuple(cases)) for kernel in kernels for filesystem in asked.fs or ["xfs"]]
    return 0 if all([try_in(place, *machine)[0] for place in all_of]) else 1
