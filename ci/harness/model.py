"""The steps that run the reference implementation: every case on it, and every bug that can be put into it."""

import re
import shutil
from pathlib import Path

from . import journal, trial
from .cache import ROOT
from .cargo import cargo
from .step import Result, Status

NOTHING = "nothing catches it"


def cases(output: Path) -> Result:
    """Every case on the reference: all must be as expected."""
    results = ROOT / "target" / "results" / "reference"
    # An earlier run's journal must not be judged in place of one that is missing.
    shutil.rmtree(results, ignore_errors=True)
    code = cargo(output, "run", "--quiet", "--package", "runner", "--", "--fs", "reference", "--results", str(results))
    return trial.judge(code, journal.read(results / "journal.jsonl"), "runner")


def variants(output: Path) -> Result:
    """Every bug that can be put into the reference: some case or rule must catch it."""
    code = cargo(output, "run", "--quiet", "--package", "runner", "--", "variants", "--first")
    return tally(output.read_text(errors="replace"), code)


def tally(said: str, code: int) -> Result:
    """What `runner variants` said: a line with the name for each, and indented lines with what catches it."""
    caught: dict[str, bool] = {}
    name = None
    for line in said.splitlines():
        if head := re.match(r"([a-z][-a-z]*): ", line):
            name = head.group(1)
            caught[name] = False
        elif name and line.startswith("    ") and line.strip() != NOTHING:
            caught[name] = True
    missed = [name for name, found in caught.items() if not found]
    result = Result(Status.OK, len(caught) - len(missed), len(missed), attention=missed)
    if missed or code or not caught:
        result.status, result.failed = Status.FAILED, max(len(missed), 1)
        result.reason = f"runner variants ended with {code}"
    return result
