"""The folder that results go to.

The runner marks a folder that it made, and refuses one that is not empty and
has no mark. The console goes there before the runner is started, so the same
holds here, with the same mark.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import child
from .cache import ROOT
from .failure import Failure

MARKER = ".daxtests-results"
MARK = "daxtests keeps results here: it replaces and removes what it wrote itself.\n"

# The runner's folder for the run before.
PREVIOUS = "previous"

# Where they go if nobody says. All that lies there is ours.
DEFAULT = ROOT / "target" / "results"


def check(path: Path) -> Path:
    """Refuse a folder that results cannot or must not go to; nothing is changed."""
    path = path.resolve()
    # It becomes part of a kernel command line and of a QEMU option.
    if not re.fullmatch(r"[-\w./+@%:]+", str(path)):
        raise Failure(f"{path}: a results folder may not have such characters in its path")
    try:
        if path.exists() and not (path.is_relative_to(DEFAULT) or is_ours(path)):
            raise Failure(f"{path} is not empty and daxtests did not make it; name another folder for the results")
    except OSError as error:
        raise Failure(f"{path}: {child.why(error)}") from error
    return path


def is_ours(path: Path) -> bool:
    """Whether daxtests made the folder, or may: a journal is what is left when hidden files are not copied."""
    if (path / MARKER).is_file() or next(path.iterdir(), None) is None:
        return True
    try:
        with open(path / "journal.jsonl") as journal:
            return json.loads(journal.readline())["event"] == "begun"
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others from writing there as well: two runs would mix their journals."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Failure(f"{folder}: another run writes its results there; name another folder with --results") from error
        yield
    finally:
        os.close(held)


def set_aside(folder: Path, name: str) -> None:
    """Move a file to where the runner moves the results of the run before."""
    old = folder / name
    if old.is_file() and not old.is_symlink():
        old.rename(take(folder / PREVIOUS) / name)


def take(path: Path) -> Path:
    """The folder, made if it is not there, and tried."""
    path = check(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as trial:
            trial.write(b"\0" * 4096)
        if not (path / MARKER).exists():
            (path / MARKER).write_text(MARK)
    except OSError as error:
        # The name of the trial file would tell nobody anything.
        raise Failure(f"{path}: results cannot go there: {error.strerror}") from error
    return path
