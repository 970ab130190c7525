"""Child processes, none of which is waited for without a deadline.

A deadline is for hangs only: it is many times what the work takes on a busy
machine, and whoever meets it is told what was waited for. A child leads a
process group of its own, so what it started goes with it.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from .failure import Failure

PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT
DEVNULL = subprocess.DEVNULL

# For what asks, unpacks or looks something up, in seconds.
SHORT = 300.0
# For what compiles, or fetches from a mirror that may be slow.
LONG = 1800.0
# For what was killed, or has closed its end of a pipe.
END = 30.0


class Late(Failure):
    """A child did not end in time."""


running: set[subprocess.Popen] = set()
guard = threading.Lock()
stopped = threading.Event()


@contextlib.contextmanager
def start(command: Sequence[str | Path], what: str, **options) -> Iterator[subprocess.Popen]:
    """Start a child that is dead at the end of the block, however that comes."""
    words = [str(word) for word in command]
    if stopped.is_set():
        raise Failure(f"{what}: not begun, for the run ends")
    try:
        # With stdin at hand it would take what the user types for somebody else.
        child = subprocess.Popen(words, **{"stdin": subprocess.DEVNULL, **options}, start_new_session=True)
    except OSError as error:
        raise Failure(f"{what}: {why(error)}") from error
    with guard:
        running.add(child)
    try:
        yield child
    finally:
        kill(child, what)
        with guard:
            running.discard(child)


def kill(child: subprocess.Popen, what: str) -> None:
    """Kill a child with its group, and see it gone."""
    # What it started may outlive it; once the child is reaped its number may be somebody else's.
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    wait(child, what, END, "of SIGKILL")


def wait(child: subprocess.Popen, what: str, patience: float, of: str = "") -> int:
    """The exit code of a child."""
    try:
        return child.wait(patience)
    except subprocess.TimeoutExpired as error:
        name = Path(str(child.args[0])).name
        raise Late(f"{what}: {name} did not end within {patience:.0f} s{of and ' ' + of}") from error


def finish(
    command: Sequence[str | Path], what: str, patience: float = SHORT, **options
) -> subprocess.CompletedProcess:
    """Run a child to its end. `what` names it where it does not start or does not end."""
    with start(command, what, **options) as child:
        try:
            said, complained = child.communicate(timeout=patience)
        except subprocess.TimeoutExpired as error:
            for pipe in (child.stdout, child.stderr):
                if pipe:
                    pipe.close()
            words = shlex.join(str(word) for word in command)
            raise Late(f"{what}: no end within {patience:.0f} s of: {words[:200]}") from error
        return subprocess.CompletedProcess(child.args, child.returncode, said, complained)


def stop() -> None:
    """End all children and start no other, so that those who wait for them can go."""
    stopped.set()
    with guard:
        children = list(running)
    for child in children:
        # A `ci/vm` puts its machine down.
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGTERM)


def why(error: OSError) -> str:
    """What the system said, with the name of the file, in a line."""
    named = f"{error.filename}: " if error.filename else ""
    if isinstance(error, FileNotFoundError) and named and "/" not in str(error.filename):
        return f"{error.filename} is not installed"
    return f"{named}{error.strerror or error}"
