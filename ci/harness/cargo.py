"""The steps that are cargo's."""

import re
from collections.abc import Callable
from pathlib import Path

from . import child
from .cache import ROOT
from .step import Result, Status

RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)


def lint(*arguments: str):
    """A step that a cargo command decides by its exit code."""

    def run(output: Path) -> Result:
        code = cargo(output, *arguments)
        return Result(Status.OK) if code == 0 else Result(Status.FAILED, failed=1, reason=f"cargo ended with {code}")

    return run


def test(*selection: str) -> Callable[[Path], Result]:
    """A step that runs tests; cargo's own arguments say which."""

    def run(output: Path) -> Result:
        # Without --no-fail-fast the first crate that fails hides the others.
        code = cargo(output, "test", "--no-fail-fast", *selection)
        return tally(output.read_text(errors="replace"), code)

    return run


def tally(said: str, code: int) -> Result:
    """What `cargo test` said of all its test programs, added up."""
    found = [tuple(map(int, match.groups())) for match in RESULT.finditer(said)]
    passed, failed, skipped = (sum(column) for column in zip(*found)) if found else (0, 0, 0)
    if code == 0 and not passed:
        # What was to be tested may have gone, or stand behind a feature of another name.
        return Result(Status.FAILED, failed=1, skipped=skipped, reason="cargo test ran no test")
    if code != 0:
        # A crate that does not compile has no tests to fail.
        failed = max(failed, 1)
    attention = re.findall(r"^test (\S+) \.\.\. FAILED$", said, re.MULTILINE)
    status = Status.FAILED if failed else Status.OK
    reason = f"cargo test ended with {code}" if code else ""
    return Result(status, passed, failed, skipped, reason, attention)


def cargo(output: Path, *arguments: str) -> int:
    """Run cargo with its output in a file; its exit code."""
    with open(output, "wb") as file:
        done = child.finish(
            ["cargo", *arguments], f"cargo {arguments[0]}", child.LONG, cwd=ROOT, stdout=file, stderr=child.STDOUT
        )
    return done.returncode
