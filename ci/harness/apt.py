"""Reads a suite of the distribution that the machine itself does not use.

apt does the work, with source list, package lists and cache of its own, so
that the machine's are left as they are and no root is needed. The mirror is
the machine's: a user's proxy or local mirror serves these suites too.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from . import child
from .cache import Cache
from .failure import Failure, OutOfReach
from .say import run, say

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# A build of apt without these asks for screenshots and translations too: 5 MB for nothing.
QUIET = {
    "Acquire::Languages": "none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    "Acquire::Retries": "3",
    "APT::Sandbox::User": "root",
    "APT::Get::List-Cleanup": "false",
    "Debug::NoLocking": "true",
}


def mirrors() -> tuple[str, str]:
    """The archive and the security archive that this machine's apt uses, or that the user names."""
    if named := os.environ.get("DAXTESTS_MIRROR"):
        return named, beside(named)
    listed = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(ORIGIN)"],
        "asking apt for its mirror",
    )
    archive = security = None
    for line in dict.fromkeys(listed.splitlines()):
        uri, release, origin = line.split("|")
        # Before the first `apt-get update` the origin is not known.
        if origin not in ("Debian", "$(ORIGIN)"):
            continue
        if release.endswith("-security"):
            security = security or uri
        elif origin == "Debian" or "/debian" in uri:
            archive = archive or uri
    if archive is None:
        raise Failure(
            "apt knows no Debian mirror: run apt-get update, or name one that ends in /debian (DAXTESTS_MIRROR=URL), "
            "then try again"
        )
    return archive, security or beside(archive)


def beside(archive: str) -> str:
    """The security archive, where only the archive is known: they lie side by side on every full mirror."""
    return re.sub(r"/debian/?$", "/debian-security/", archive)


class Suites:
    """Some suites of the archive, seen together."""

    def __init__(self, cache: Cache, names: Sequence[str]):
        self.cache = cache
        self.names = list(names)
        key = "-".join(name.strip("+") for name in names)
        self.path = cache.path / "apt" / key
        self.lock = f"apt-{key}"
        options = {
            "Dir::Etc::sourcelist": str(self.path / "sources.list"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": str(self.path / "lists"),
            "Dir::Cache": str(self.path / "cache"),
            **QUIET,
        }
        self.options = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]

    def refresh(self) -> None:
        """Read the suites' lists of packages anew."""
        archive, security = mirrors()
        say(f"reading the package lists of {', '.join(self.names)}")
        with self.cache.lock(self.lock):
            for folder in ("lists/partial", "cache/archives/partial"):
                (self.path / folder).mkdir(parents=True, exist_ok=True)
            lines = [
                f"deb [signed-by={KEYRING}] {security if name.startswith('+') else archive} {name.strip('+')} main"
                for name in self.names
            ]
            (self.path / "sources.list").write_text("\n".join(lines) + "\n")
            try:
                run(["apt-get", *self.options, "--error-on=any", "update"], "reading package lists", child.LONG)
            except Failure as error:
                raise OutOfReach(f"the suites {', '.join(self.names)} could not be read: {error}") from error

    def ready(self) -> None:
        """Read the lists if there are none yet."""
        if not any((self.path / "lists").glob("*_Packages*")):
            self.refresh()

    def packages(self) -> set[str]:
        """The names of all packages in the suites."""
        # `pkgnames` also lists what is only installed or depended upon; `dumpavail`
        # holds what can be fetched.
        listed = run(["apt-cache", *self.options, "dumpavail"], "reading package lists")
        return set(re.findall(r"^Package: (\S+)$", listed, re.MULTILINE))

    def depends(self, package: str) -> list[str]:
        """The names that `package` depends on, the first of each alternative."""
        shown = run(["apt-cache", *self.options, "show", "--no-all-versions", package], f"looking up {package}")
        fields = re.findall(r"^(?:Pre-)?Depends: (.*)$", shown, re.MULTILINE)
        return [re.split(r"[ (|:]", part.strip())[0] for field in fields for part in field.split(",")]

    def download(self, packages: Iterable[str], into: Path) -> list[Path]:
        """Fetch exactly these packages into the directory `into`."""
        wanted = list(packages)
        say(f"fetching {', '.join(wanted)}")
        try:
            run(["apt-get", *self.options, "download", *wanted], "fetching packages", child.LONG, cwd=into)
        except Failure as error:
            raise OutOfReach(str(error)) from error
        return sorted(into.glob("*.deb"))

    def closure(self, packages: Iterable[str], prefer: str, into: Path) -> list[Path]:
        """Fetch these packages and what of their dependencies this machine lacks."""
        wanted = list(packages)
        say(f"fetching {', '.join(wanted)} and the libraries that are missing")
        (into / "partial").mkdir()
        run(
            [
                "apt-get", *self.options, "-o", f"Dir::Cache::archives={into}",
                "install", "--yes", "--download-only", "--no-install-recommends", "--reinstall",
                "--target-release", prefer, *wanted,
            ],
            "fetching packages",
            child.LONG,
        )
        return sorted(into.glob("*.deb"))

    def unpack(self, packages: Iterable[str], into: Path, prefer: str | None = None) -> None:
        """Fetch packages and unpack them into a directory, running none of their scripts: exactly these, or, if a suite
        is preferred, also what of their dependencies this machine lacks."""
        with fetching(into) as debs:
            for archive in self.closure(packages, prefer, debs) if prefer else self.download(packages, debs):
                run(["dpkg-deb", "--extract", archive, into], f"unpacking {archive.name}")


@contextlib.contextmanager
def fetching(into: Path) -> Iterator[Path]:
    """A folder for packages that are wanted only until they are unpacked."""
    debs = into / "debs"
    debs.mkdir()
    yield debs
    # If anything fails, all of `into` goes.
    shutil.rmtree(debs)


def environment() -> dict[str, str]:
    """The environment in which apt asks no questions."""
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
