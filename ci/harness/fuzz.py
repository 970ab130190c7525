"""The steps that fuzz a file system against the reference in a virtual machine."""

import re
from collections.abc import Callable
from pathlib import Path

from . import trial
from .cache import ROOT
from .step import Result, Status, Where

# Always the same programs: a step that fails must fail again. Longer runs with other seeds are for people.
SEED = 1

# Longer than a boot and the last program take on two busy CPUs without KVM, in seconds.
TIMEOUT = 300

PROGRAMS = re.compile(r"^(\d+) programs in ([\d.]+) s .*?, (\d+) tolerated", re.MULTILINE)
DIVERGENCE = re.compile(r"^ +\d+  (.+)$", re.MULTILINE)


def step(where: Where, seconds: int) -> Callable[[Path], Result]:
    """Random programs on a kernel as it is, for so many seconds: none may diverge in a way that nobody explained."""

    def run(output: Path) -> Result:
        results = ROOT / "target" / "results" / f"{where}-fuzz"
        command = ["runner", "fuzz", "--fs", where.filesystem, "--dev", "/dev/pmem0", "--seed", str(SEED)]
        command += ["--duration", f"{seconds}s", "--results", str(results)]
        code, _ = trial.vm(output, results, *where.arguments(), "--", *command, timeout=seconds + TIMEOUT)
        return tally(output.read_text(errors="replace"), code)

    return run


def tally(said: str, code: int) -> Result:
    """What `runner fuzz` said: how many programs there were, and which divergences nobody explained."""
    found = PROGRAMS.search(said)
    if not found:
        return Result(Status.FAILED, failed=1, reason=f"the fuzzer did not come to its end; ci/vm ended with {code}")
    programs = int(found.group(1))
    strange = [kind for kind in DIVERGENCE.findall(said[found.end() :]) if not kind.startswith("tolerated: ")]
    result = Result(Status.OK, programs - len(strange), len(strange), attention=strange)
    result.facts |= {"programs_per_second": round(programs / max(float(found.group(2)), 0.1), 2)}
    if strange or code or not programs:
        result.status, result.failed = Status.FAILED, max(len(strange), 1)
        result.reason = f"ci/vm ended with {code}"
    return result
