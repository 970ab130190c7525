"""`ci/fuzz-variants`: the fuzzer must meet every bug that can be put into the reference, and make the program that
shows it short.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import build, child, options
from .failure import Failure
from .machine import leave_on_signals
from .results import DEFAULT as RESULTS
from .say import run

# How long the fuzzer may look for a bug, in seconds, and how many steps the program that shows it may have.
LOOKING = 120
SHORT = 8

# Where the fuzzer begins. A race may hide while its program is shrunk, and the next one be shorter.
SEEDS = (1, 1001, 2001)

# How long it may take beyond that, to shrink what it found and to end a program that hangs.
ENDING = 600

# Bugs that are looked for at once: those that make the reference hang take much time and no CPU.
AT_ONCE = 4


# What shows only in what is done to a whole file system or to its memory, or in what is flushed from the processor's
# caches, which no program of the fuzzer does or sees
# (`Variant::is_beyond_programs`).
BEYOND_PROGRAMS = (
    *("unmount-takes-pinned", "freeze-passes-break", "shutdown-ends-break", "unbind-takes-pinned"),
    *("shrinker-stands-still", "failure-shuts-down", "poison-ends-break", "freeze-leaves-dirty", "copy-not-flushed"),
)


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/fuzz-variants",
        description="Have the fuzzer look for every bug of the reference, in short programs.",
    )
    where = "write the programs to DIR (default: %(default)s)"
    parser.add_argument("--results", type=Path, default=RESULTS / "fuzz-variants", metavar="DIR", help=where)
    asked = parser.parse_args(arguments)
    runner = build.folder(None) / "runner"
    # That the cases catch each of them is another step's to see.
    said = fuzz_all(runner, asked.results)
    missed = amiss(said)
    for name in said:
        print(f"{name}: {missed.get(name) or f'{shortest(said[name])} steps'}")
    print(f"{len(said) - len(missed)} passed, {len(missed)} failed")
    return 1 if missed or not said else 0


def fuzz_all(runner: Path, results: Path) -> dict[str, dict]:
    """What the fuzzer says of each bug of the reference."""
    names = run([runner, "variants", "--list"], "listing the variants").split()
    names = [name for name in names if name not in BEYOND_PROGRAMS]

    def fuzz(name: str) -> dict:
        for seed in SEEDS:
            command = [runner, "fuzz", "--against-variant", name, "--seed", str(seed), "--duration", f"{LOOKING}s"]
            command += ["--results", results / f"{name}-{seed}", "--format", "json"]
            said = told(command, f"fuzzing {name}", LOOKING + ENDING)
            if not amiss({name: said}):
                break
        return said

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(fuzz, names)))


def told(command: list, what: str, patience: float):
    """The JSON document that a command prints, whatever it ends with."""
    pipes = {"stdout": child.PIPE, "stderr": child.PIPE, "text": True, "errors": "replace"}
    done = child.finish(command, what, patience, **pipes)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise Failure(f"{what}: it ended with {done.returncode} and said {last}") from error


def shortest(said: dict) -> int | None:
    """How many steps the program has that shows the bug. After one that shows it by chance one may come that always
    does."""
    return said["shrunk"][-1]["steps"] if said["shrunk"] else None


def amiss(said: Mapping[str, dict]) -> dict[str, str]:
    """The bugs that the fuzzer did not meet as it must, and why."""
    found = {}
    for name, told in said.items():
        steps = shortest(told)
        if steps is None:
            found[name] = f"not met in {LOOKING} s"
        elif steps > SHORT:
            found[name] = f"{steps} steps, more than {SHORT}"
    return found
