"""Where downloads lie, and how two runs share them without stepping on each other.

Everything is made in a scratch directory and renamed into place, so what is
there is whole. A lock per thing made keeps two runs from making it twice.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from .failure import Failure
from .say import say

# Says that daxtests made the folder, and may replace and remove what lies there.
MARKER = ".daxtests-cache"
MARK = "daxtests keeps its downloads here: it replaces and removes what it wrote itself.\n"

ROOT = Path(__file__).resolve().parents[2]

# How long another run may take for what this one needs too: as long as it may fetch and build.
OTHERS = 3600.0


class Cache:
    """A directory of things that are made once and then only read."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def place() -> Path:
        """`$DAXTESTS_CACHE`, which several working trees may share, else `target/vm`; it need not be there."""
        named = os.environ.get("DAXTESTS_CACHE")
        return Path(named).resolve() if named else ROOT / "target" / "vm"

    @classmethod
    def default(cls) -> "Cache":
        """The cache at its place, made if it is not there, and tried."""
        named = os.environ.get("DAXTESTS_CACHE")
        path = cls.place()
        # All that lies below target/ is ours.
        if named and not is_ours(path):
            raise Failure(
                f"{path} is not empty and daxtests did not make it; name another folder for downloads in DAXTESTS_CACHE"
            )
        try:
            cache = cls(path)
            if not (path / MARKER).exists():
                (path / MARKER).write_text(MARK)
            with cache.scratch():
                pass
            return cache
        except OSError as error:
            hint = "" if named else "; name another folder for downloads in DAXTESTS_CACHE"
            raise Failure(f"{path}: downloads cannot go there: {error.strerror}{hint}") from error

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock `name` against other processes; the kernel drops it if we die."""
        locks = self.path / "locks"
        locks.mkdir(exist_ok=True)
        with open(locks / name, "w") as file:
            self.take(file, name)
            yield

    def take(self, file: TextIO, name: str, patience: float = OTHERS) -> None:
        """Take a lock, however long another run holds it, but not for ever."""
        begin = time.monotonic()
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                return
            waited = time.monotonic() - begin
            if waited > patience:
                raise Failure(f"{file.name}: another run has held this lock for {patience:.0f} s and more")
            if waited > 5 and not told:
                say(f"waiting for another run that holds {name}")
                told = True
            time.sleep(min(0.2, patience))

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory of our own on the cache's file system, gone afterwards."""
        self.sweep()
        path = Path(tempfile.mkdtemp(prefix="scratch-", dir=self.path))
        # Its lock says that its owner lives: it goes even if we are killed.
        owner = os.open(path, os.O_RDONLY)
        # Nobody else can hold it but `sweep`, which takes what is a minute old.
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            # Made for the owner only, but what is renamed from here is for every reader.
            path.chmod(0o755)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(owner)

    def sweep(self) -> None:
        """Remove the scratch directories of runs that were killed."""
        for path in self.path.glob("scratch-*"):
            # One that was made this moment may not be locked yet.
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_ctime < 60:
                    continue
                owner = os.open(path, os.O_RDONLY)
                try:
                    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(owner)

    def put(self, name: str, make: Callable[[Path], None]) -> Path:
        """Make the directory `name` with `make`, replacing what is there; whole or not at all."""
        final = self.path / name
        with self.scratch() as scratch:
            fresh = scratch / "new"
            fresh.mkdir()
            make(fresh)
            if final.exists():
                final.rename(scratch / "old")
            final.parent.mkdir(parents=True, exist_ok=True)
            fresh.rename(final)
        return final

    def once(self, name: str, make: Callable[[Path], None], good: Callable[[Path], bool] = Path.exists) -> Path:
        """The directory `name`, made with `make` if what is there is not good, while no other run makes it."""
        folder = self.path / name
        with self.lock(name.replace("/", "-")):
            return folder if good(folder) else self.put(name, make)


def write_program(path: Path, text: str) -> None:
    """Write a script that can be run."""
    path.write_text(text)
    path.chmod(0o755)


def is_ours(path: Path) -> bool:
    """Whether daxtests made the folder, or may. One that it made before it left marks has locks for all it holds."""
    try:
        if (path / MARKER).is_file() or any((path / "locks").glob("virtme-ng-*")):
            return True
        return next(path.iterdir(), None) is None
    except OSError:
        # It is not there, or will be told of by who uses it.
        return True
