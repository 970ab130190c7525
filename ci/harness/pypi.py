"""Packages of PyPI that a test needs, kept in the cache: nothing is installed into the machine's Python."""

import sys
from pathlib import Path

from . import child
from .cache import Cache
from .say import run


def fetch(cache: Cache, package: tuple[str, str]) -> Path:
    """The folder of a package, fetched if it is not there."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "==".join(package)]
    what = f"installing {package[0]} from PyPI"
    return cache.once("-".join(package), lambda fresh: run([*pip, "--target", fresh], what, child.LONG))
