"""The steps that run the reference implementation: every case on it, and every bug that can be put into it."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import build, child, journal, trial
from .cache import ROOT
from .cargo import cargo
from .machine import stamp
from .step import Result, Status

NOTHING = "nothing catches it"

# How long the fuzzer may look for a bug, in seconds, and how many steps the program that shows it may have.
LOOKING = 120
SHORT = 8

# How long it may take beyond that, to shrink what it found and to end a program that hangs.
ENDING = 600

# Bugs that are looked for at once: those that make the reference hang take much time and no CPU.
AT_ONCE = 4

SHRUNK = re.compile(r"^(\d+) steps, shrunk from ", re.MULTILINE)


def cases(output: Path) -> Result:
    """Every case on the reference: all must be as expected."""
    results = ROOT / "target" / "results" / "reference"
    path = results / "journal.jsonl"
    before = stamp(path)
    code = cargo(output, "run", "--quiet", "--package", "runner", "--", "--fs", "reference", "--results", str(results))
    # An earlier run's journal must not be judged in place of one that is missing.
    seen = journal.read(path) if stamp(path) != before else journal.Journal()
    return trial.judge(code, seen, "runner")


def variants(output: Path) -> Result:
    """Every bug that can be put into the reference: some case or rule must catch it."""
    code = matrix(output)
    return tally(output.read_text(errors="replace"), code)


def matrix(output: Path) -> int:
    """Have the runner say what first catches each bug; its exit code."""
    return cargo(output, "run", "--quiet", "--package", "runner", "--", "variants", "--first")


def fuzzed(output: Path) -> Result:
    """Every such bug: the fuzzer must meet it as well, and make the program that shows it short."""
    code = matrix(output)
    names = list(caught(output.read_text(errors="replace")))
    runner = build.named(("runner",), release=False)["runner"]
    results = ROOT / "target" / "results" / "fuzz-variants"

    def fuzz(name: str) -> str:
        command = [runner, "fuzz", "--against-variant", name, "--seed", "1", "--duration", f"{LOOKING}s"]
        command += ["--results", results / name]
        pipes = {"stdout": child.PIPE, "stderr": child.DEVNULL, "text": True, "errors": "replace"}
        return child.finish(command, f"fuzzing {name}", LOOKING + ENDING, **pipes).stdout

    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = dict(zip(names, pool.map(fuzz, names)))
    output.write_text("".join(f"{name}\n{text}\n" for name, text in said.items()))
    return tally_fuzzed(said, code)


def tally_fuzzed(said: dict[str, str], code: int) -> Result:
    """What `runner fuzz` said of each bug: whether it met it, and how many steps that takes."""
    missed = []
    for name, text in said.items():
        # After a program that shows it by chance one may come that always does.
        lengths = SHRUNK.findall(text)
        if not lengths:
            missed.append(f"{name} (not met in {LOOKING} s)")
        elif int(lengths[-1]) > SHORT:
            missed.append(f"{name} ({lengths[-1]} steps)")
    return judge(len(said), missed, code, f"the fuzzer must meet each bug, in at most {SHORT} steps")


def tally(said: str, code: int) -> Result:
    """What `runner variants` said."""
    found = caught(said)
    missed = [name for name, by in found.items() if not by]
    return judge(len(found), missed, code, f"runner variants ended with {code}")


def judge(bugs: int, missed: list[str], code: int, reason: str) -> Result:
    """The result for so many bugs; the reason is for when it is not good."""
    result = Result(Status.OK, bugs - len(missed), len(missed), attention=missed)
    if missed or code or not bugs:
        result.status, result.failed, result.reason = Status.FAILED, max(len(missed), 1), reason
    return result


def caught(said: str) -> dict[str, bool]:
    """The bugs that `runner variants` told of, and whether anything catches each.

    It says a line with the name for each, and indented lines with what catches it.
    """
    found: dict[str, bool] = {}
    name = None
    for line in said.splitlines():
        if head := re.match(r"([a-z][-a-z]*): ", line):
            name = head.group(1)
            found[name] = False
        elif name and line.startswith("    ") and line.strip() != NOTHING:
            found[name] = True
    return found
