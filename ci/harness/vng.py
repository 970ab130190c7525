"""virtme-ng, which turns an unpacked kernel into a running one.

It comes from PyPI into a directory of its own: the distribution's version is
too old for some of the kernels.
"""

import sys
from pathlib import Path

from . import child
from .cache import Cache
from .failure import Failure
from .say import run, say


def fetch(cache: Cache, version: str) -> Path:
    """The directory with virtme-ng's programs, fetched if it is not there."""
    # A virtual environment belongs to the Python that made it.
    name = f"virtme-ng-{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    programs = cache.path / name / "bin"
    with cache.lock(name):
        if not works(programs):
            say(f"fetching virtme-ng {version}")

            # Not renamed into place: the paths inside a virtual environment are absolute.
            run([sys.executable, "-m", "venv", "--clear", cache.path / name], "making a virtual environment")
            run(
                [programs / "pip", "install", "--quiet", "--disable-pip-version-check", f"virtme-ng=={version}"],
                "installing virtme-ng from PyPI",
                child.LONG,
            )
    if not works(programs):
        raise Failure(f"virtme-ng in {programs} does not start")
    return programs


def works(programs: Path) -> bool:
    """Whether virtme-ng is there and starts."""
    try:
        run([programs / "virtme-run", "--help"], "starting virtme-ng")
    except Failure:
        return False
    return True
