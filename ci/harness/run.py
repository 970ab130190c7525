"""Runs a command of this project's, with a deadline.

Not even SIGKILL leaves a machine behind: with us `ci/vm` is asked to end, and
puts its machine down.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from . import child, journal
from .cache import ROOT
from .journal import Journal
from .results import DEFAULT as RESULTS

HEIR = ("setpriv", "--pdeathsig", "TERM")

# Longer than the whole suite takes on two busy CPUs without KVM.
TIMEOUT = 1500

# What `ci/vm` may take beyond its own deadline: the headers of a fault may have to be fetched, and the last
# machine put down.
BESIDE = 900

# The kernel that faults are put into: its break is one function in each file system.
FAULTY_KERNEL = "6.12"

# What the machines of `ci/test` run: as it was when they began.
PROGRAMS = RESULTS / "programs"


def python(name: str, *words: object) -> list[str]:
    """A command of ci/, run by the Python that runs this."""
    return [sys.executable, "-B", str(ROOT / "ci" / name), *map(str, words)]


def vm(results: Path, programs: Path, *words: object, timeout: float = TIMEOUT) -> list[str]:
    """A `ci/vm` that builds nothing."""
    return python("vm", "--programs", programs, "--results", results, "--timeout", timeout, *words)


def run(command: Sequence[str], what: str, timeout: float, output: BinaryIO | None = None) -> int:
    """Run it, with its output in a file or where ours goes; its exit code. `what` names it where it does not end."""
    with child.start([*HEIR, *command], what, cwd=ROOT, stdout=output, stderr=child.STDOUT if output else None) as process:
        try:
            return child.wait(process, what, timeout)
        except child.Late:
            # Once more, so that it can put its own machine down.
            process.terminate()
            child.wait(process, what, child.END, "of SIGTERM")
            raise


def boot(results: Path, programs: Path, *words: object) -> tuple[int, Journal]:
    """Run a `ci/vm`; its exit code and the journal it left. What an earlier run left is not judged in place of what is
    missing."""
    path = results / "journal.jsonl"
    before = journal.stamp(path)
    code = run(vm(results, programs, *words), f"the machine of {results.name}", TIMEOUT + BESIDE)
    return code, journal.read(path, before)
