"""tools/testing/kunit, with which the kernel reads KTAP: of a kernel's source, as the distribution packages it."""

import shlex
from pathlib import Path

from . import apt, child
from .cache import Cache
from .failure import Failure
from .say import run

# What of the folder reads KTAP.
PARSER = "kunit_parser.py"

FOLDER = "tools/testing/kunit"


def fetch(cache: Cache, table: dict) -> Path:
    """The folder, fetched if it is not there."""

    def make(into: Path) -> None:
        suites = apt.Suites(cache, table["suites"])
        suites.refresh()
        with apt.fetching(into) as debs:
            (archive,) = suites.download([table["package"]], debs)
            extract(archive, into)

    return cache.once(f"kunit-{table['package']}", make)


def extract(archive: Path, into: Path) -> None:
    """Unpack the folder, and nothing else, from a package that has the source as an archive in itself."""
    # As a stream: unpacked, the source takes more than a gigabyte, and Python's tarfile takes twice as long to read it.
    script = (
        f"dpkg-deb --fsys-tarfile {shlex.quote(str(archive))}"
        " | tar --extract --to-stdout --wildcards './usr/src/*.tar.xz'"
        f" | tar --extract --xz --no-same-owner --directory {shlex.quote(str(into))}"
        f" --strip-components {1 + FOLDER.count('/') + 1} --wildcards '*/{FOLDER}'"
    )
    what = f"unpacking {FOLDER} from {archive.name}"
    # The last of them fails if one before it does: then it has nothing, or not all, to read.
    run(["sh", "-c", script], what, child.LONG)
    if not (into / PARSER).is_file():
        raise Failure(f"{what}: there is no {PARSER} in it")
