"""`ci/reproducers`: each exported case is built, and must say on a kernel what the runner says of the case.

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

from . import build, child, journal, options, suite
from .cache import ROOT
from .failure import Failure
from .machine import leave_on_signals
from .run import boot
from .say import run, say

# Loops at full speed are no reproducers; and after what may leave a task that cannot be killed, nothing else can be tried.
WITHOUT = ("--exclude", "race", "--exclude", "livelock", "--exclude", "evict/own-pin-at-exit")

COMPILERS = ("gcc", "clang")
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread")

# The runner first, then the programs on the file system that it leaves. A page cache comes last: there each program must
# say that it cannot be tried. What hangs is for the next boot.
SCRIPT = """\
rm -rf "$RESULTS/suite" "$RESULTS/said" "$RESULTS/cached"
mkdir "$RESULTS/said" "$RESULTS/cached"
runner --fs {filesystem} --dev /dev/pmem0 --results "$RESULTS/suite" {cases}
code=$?
[ $code -lt 2 ] || exit 2
each() {{
	while read -r name; do
		{programs}/$name "$1" >"$2/$name" 2>&1
		echo "$? $name" >>"$2/codes"
	done <{programs}/list
}}
mkdir /run/dax /run/cached
mount -o dax=always /dev/pmem0 /run/dax || exit 2
each /run/dax "$RESULTS/said"
mkfs.ext4 -q -F /dev/pmem1 && mount -o dax=never /dev/pmem1 /run/cached || exit 2
each /run/cached "$RESULTS/cached"
"""

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
        elif program is None or program.code != WANTED.get(verdict):
            why = f" ({reason})" if reason else ""
            said = f"{program.code}\n{program.text}".strip() if program else "nothing"
            agreement.differ.append(f"{case}: the runner says {verdict}{why}, the program {said}")
        elif program.code == CANNOT and not refuses(program):
            agreement.differ.append(f"{case}: what is missing ({reason}) takes a line, and the program says:\n{program.text}")
        elif program.code == CANNOT:
            agreement.lacking.append(f"{case}: {program.text.strip()}")
        else:
            (agreement.green if program.code == KEEPS else agreement.red).append(case)
    return agreement


def export(runner: Path, selection: list[str], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Write the programs of all cases that can be exported; their names, and why the others cannot."""
    listed = run([runner, "--list", "--format", "json", *selection, *WITHOUT], "listing the cases")
    names = [case["name"] for case in json.loads(listed)]

    def one(name: str) -> str | None:
        pipes = {"stdout": child.PIPE, "stderr": child.PIPE, "text": True}
        done = child.finish([runner, "export", name], f"exporting {name}", **pipes)
        if done.returncode == 0:
            (folder / f"{file_name(name)}.c").write_text(done.stdout)
            return None
        return done.stderr.strip()

    with ThreadPoolExecutor() as pool:
        refused = dict(zip(names, pool.map(one, names)))
    exported = [name for name, why in refused.items() if why is None]
    return exported, {name: why for name, why in refused.items() if why is not None}


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
    lengths = sorted(len((folder / f"{file_name(case)}.c").read_text().splitlines()) for case in cases)
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


def try_on(kernel: str, filesystem: str, cases: list[str], folder: Path, programs: Path, results: Path) -> bool:
    """Run the cases and their programs in one machine; whether they agree."""
    script = SCRIPT.format(filesystem=filesystem, cases=shlex.join(cases), programs=shlex.quote(str(folder)))
    machine = ["--kernel", kernel, "--fs", filesystem, "--cpus", "1"]
    code, _ = boot(results, programs, *machine, "--", "sh", "-c", script)
    if code == suite.COULD_NOT_RUN:
        print(f"{kernel} {filesystem}: could not run")
        return False
    place = f"{kernel} {filesystem}"
    seen = journal.read(results / "suite" / "journal.jsonl")
    good = compare(cases, seen, endings(results / "said")).tell(place)
    return tell_cached(cases, endings(results / "cached"), place) and good


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/reproducers",
        description="Builds the C program of each case that can be exported, and compares what it says on a kernel with what "
        "the runner says of the case.",
        epilog="Exit codes: 0 all agree; 1 one does not, or does not compile; 2 could not run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("case", nargs="*", help="names or globs (default: all)")
    add("--kernel", action="append", help="may be given more than once (default: 6.12)")
    add("--fs", action="append", choices=("xfs", "ext4"), help="may be given more than once (default: xfs)")
    add("--programs", type=Path, metavar="DIR", help="use the programs in DIR; build none")
    add("--results", type=Path, metavar="DIR", default=ROOT / "target" / "results" / "reproducers", help="where the results go")
    asked = parser.parse_args(arguments)
    needed = ("runner",)
    there = build.lying(asked.programs, needed) if asked.programs else build.build(needed)
    runner = next(path for path in there if path.name == "runner")
    folder = asked.results / "programs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases, refused = export(runner, asked.case, folder)
    (asked.results / "refused").write_text("".join(f"{why}\n" for why in refused.values()))
    say(f"{len(cases)} cases exported, {len(refused)} not: see {asked.results}/refused")
    objections = compile_all(cases, folder)
    for said in objections:
        print(said)
    if not cases or objections:
        return 1
    (folder / "list").write_text("".join(f"{file_name(case)}\n" for case in cases))
    good = [
        try_on(kernel, filesystem, cases, folder.absolute(), runner.parent, asked.results / f"{kernel}-{filesystem}")
        for kernel in asked.kernel or ["6.12"]
        for filesystem in asked.fs or ["xfs"]
    ]
    return 0 if all(good) else 1
