"""Progress lines and child processes: what the harness says while it works."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .failure import Failure


def say(line: str) -> None:
    """Tell the user what goes on. On stderr, so that stdout is the command's alone."""
    print(f"ci/vm: {line}", file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], what: str, **options) -> str:
    """Run `command` to its end and return its stdout; a failure names `what` and its last lines."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", **options
        )
    except FileNotFoundError as error:
        raise Failure(f"{what}: {error.filename} is not installed") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        tail = "; ".join(line.strip() for line in said[-4:])
        raise Failure(f"{what}: {words[0]} ended with {done.returncode}: {tail}")
    return done.stdout
