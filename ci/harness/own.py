"""The harness's own unit tests.

They run in a process of their own: they put stand-ins into modules that other
steps use meanwhile, and one that hangs can be ended.
"""

import json
import sys
import unittest
from pathlib import Path

from . import child
from .cache import ROOT
from .step import Result, Status

# The line that the process ends with.
TALLY = "tally: "


def test(output: Path) -> Result:
    """Run them, with their report in the file."""
    command = [sys.executable, "-B", "-m", "harness.own"]
    with open(output, "w") as file:
        child.finish(command, "the harness's own tests", cwd=ROOT / "ci", stdout=file, stderr=child.STDOUT)
    return tally(output.read_text(errors="replace"))


def tally(said: str) -> Result:
    """What the process said at its end."""
    last = (said.splitlines() or [""])[-1]
    if not last.startswith(TALLY):
        return Result(Status.FAILED, failed=1, reason="the tests did not come to their end")
    tests, bad, skipped = json.loads(last.removeprefix(TALLY))
    if not tests:
        return Result(Status.FAILED, failed=1, reason="no test was found")
    passed = tests - len(bad) - skipped
    return Result(Status.FAILED if bad else Status.OK, passed, len(bad), skipped or None, attention=bad)


def main() -> None:
    """Be that process."""
    suite = unittest.defaultTestLoader.discover(str(ROOT / "ci" / "tests"), top_level_dir=str(ROOT / "ci"))
    done = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    # A test whose subtests fail is told once for each of them.
    bad = list(dict.fromkeys(case.id() for case, _ in (*done.failures, *done.errors)))
    bad += [case.id() for case in done.unexpectedSuccesses]
    print(f"{TALLY}{json.dumps([done.testsRun, bad, len(done.skipped)])}")


if __name__ == "__main__":
    main()
