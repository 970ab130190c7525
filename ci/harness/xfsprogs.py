"""mkfs.xfs and xfs_repair, recent enough for shapes that the machine's own cannot make.

They come from a newer suite with the C library that they were built for, which is found only by them: in a guest, whose
files are the host's, nothing else changes.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from . import apt
from .cache import Cache, write_program
from .failure import Failure
from .say import run

NAME = "xfsprogs"
PROGRAMS = ("mkfs.xfs", "xfs_repair")

WRAPPER = """\
#!/bin/sh
# Written by ci/vm.
here=$(dirname "$(readlink -f "$0")")
lib="$here/usr/lib/x86_64-linux-gnu"
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$here/usr/sbin/{program}" "$@"
"""


def shapes(words: Sequence[str]) -> set[str]:
    """The shapes that the words of a command name, a script for the shell included."""
    named = re.findall(r"--shape[= ]([\w,-]+)", " ".join(words))
    return {shape for value in named for shape in value.split(",")}


def version(program: str | Path) -> tuple[int, ...]:
    """The version of a program of xfsprogs; none if it does not start."""
    try:
        said = run([program, "-V"], "asking mkfs.xfs for its version")
    except Failure:
        return ()
    found = re.search(r"version ([\d.]+)", said)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def wanted(words: Sequence[str], table: dict) -> bool:
    """Whether a command makes a file system that the machine's own programs cannot make."""
    own = shutil.which("mkfs.xfs", path="/usr/local/sbin:/usr/sbin:/sbin")
    minimum = tuple(table["minimum"])
    return bool(shapes(words) & set(table["shapes"])) and (version(own) if own else ()) < minimum


def fetch(cache: Cache, table: dict) -> list[Path]:
    """The programs, fetched if they are not there."""

    def make(into: Path) -> None:
        suites = apt.Suites(cache, table["suites"])
        suites.refresh()
        suites.unpack(table["packages"], into)
        for program in PROGRAMS:
            write_program(into / program, WRAPPER.format(program=program))

    minimum = tuple(table["minimum"])
    folder = cache.once(NAME, make, lambda folder: version(folder / PROGRAMS[0]) >= minimum)
    programs = [folder / program for program in PROGRAMS]
    if (found := version(programs[0])) < minimum:
        raise Failure(f"mkfs.xfs in {folder} is of version {'.'.join(map(str, found)) or 'none'}: it is too old, or does not start")
    return programs
