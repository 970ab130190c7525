"""Progress lines, and what child processes say: how the harness talks while it works."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from . import child
from .failure import Failure


def say(line: str) -> None:
    """Tell the user what goes on. On stderr, so that stdout is the command's alone."""
    # Whoever closed it, or filled it, does not want to know; the exit code and the results do not depend on it.
    with contextlib.suppress(OSError):
        print(f"ci/vm: {line}", file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], what: str, patience: float = child.SHORT, **options) -> str:
    """Run `command` to its end and return its stdout; a failure names `what` and its last lines."""
    pipes = {"stdout": child.PIPE, "stderr": child.PIPE, "text": True, "errors": "replace"}
    done = child.finish(command, what, patience, **pipes, **options)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        tail = "; ".join(line.strip() for line in said[-4:])
        raise Failure(f"{what}: {command[0]} ended with {done.returncode}: {tail}")
    return done.stdout
