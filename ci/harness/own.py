"""The harness's own unit tests."""

import unittest
from pathlib import Path

from .cache import ROOT
from .step import Result, Status


def test(output: Path) -> Result:
    """Run them in this process, with their report in the file."""
    suite = unittest.defaultTestLoader.discover(str(ROOT / "ci" / "tests"), top_level_dir=str(ROOT / "ci"))
    with open(output, "w") as file:
        done = unittest.TextTestRunner(stream=file, verbosity=2).run(suite)
    bad = [case.id() for case, _ in (*done.failures, *done.errors)]
    bad += [case.id() for case in done.unexpectedSuccesses]
    skipped = len(done.skipped)
    passed = done.testsRun - len(bad) - skipped
    if not done.testsRun:
        return Result(Status.FAILED, failed=1, reason="no test was found")
    return Result(Status.FAILED if bad else Status.OK, passed, len(bad), skipped or None, attention=bad)
