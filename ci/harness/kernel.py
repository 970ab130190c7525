"""Kernels: the table of them, fetching one, and those that a user brings along."""

import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import apt
from .cache import ROOT, Cache
from .failure import Failure, OutOfReach
from .say import run, say

# The folders of modules that a guest loads from.
LOADED = ("fs", "lib", "crypto", "arch", "net/9p", "drivers/block", "drivers/dax", "drivers/md", "drivers/nvdimm", "drivers/virtio")

TABLE = ROOT / "ci" / "kernels.toml"


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted."""

    name: str
    """What the results are filed under."""
    image: Path
    """The vmlinuz, with its modules beside it, or a build tree."""
    release: str | None = None
    """What `uname -r` will say, where it is known."""
    headers: str | None = None
    """The package that a module for it is built against."""
    suites: tuple[str, ...] = ()

    @property
    def is_tree(self) -> bool:
        """Whether this is a kernel build tree."""
        return self.image.is_dir()

    @property
    def vmlinuz(self) -> Path:
        """The bootable image itself."""
        return self.image / "arch/x86/boot/bzImage" if self.is_tree else self.image


def read_table(path: Path = TABLE) -> dict:
    """The table as it is written."""
    with open(path, "rb") as file:
        return tomllib.load(file)


def default() -> str:
    """The kernel that is meant where none is named."""
    return read_table()["default"]


def version_key(release: str) -> list[tuple[int, int, str]]:
    """Orders releases as people count: 6.12.9 before 6.12.117."""
    parts = re.findall(r"\d+|[^\d]+", release)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def choose(row: dict, offered: set[str]) -> tuple[str, list[str]]:
    """The newest release that the row wants and the archive has whole, with its packages.

    Raises OutOfReach if there is none.
    """
    found: dict[str, list[str]] = {}
    for packages in row["packages"]:
        # The first name of a set tells which releases there are.
        pattern = re.escape(packages[0]).replace(re.escape("{release}"), f"(?P<release>{row['release']})")
        for name in offered:
            match = re.fullmatch(pattern, name)
            if match is None or match["release"] in found:
                continue
            names = [package.format(release=match["release"]) for package in packages]
            if offered.issuperset(names):
                found[match["release"]] = names
    if not found:
        raise OutOfReach(f"no release like {row['release']} is in {', '.join(row['suites'])}")
    newest = max(found, key=version_key)
    return newest, found[newest]


def resolve(cache: Cache, name: str, refresh: bool = False) -> Kernel:
    """The kernel that `--kernel name` means: a row of the table, or a path."""
    rows = read_table()["kernel"]
    if name in rows:
        return fetch(cache, name, rows[name], refresh)
    path = Path(name)
    if path.exists():
        return brought_along(path.resolve())
    raise Failure(f"no kernel {name}: it is neither one of {', '.join(rows)} nor a path")


def fetch(cache: Cache, name: str, row: dict, refresh: bool = False) -> Kernel:
    """A kernel of the table, from the cache or else from the archive.

    What is in the cache is used without asking the archive, so that two runs
    compare, unless `refresh` asks for the newest.
    """
    folder = f"kernel-{name}"
    with cache.lock(folder):
        known = cache.path / folder / "release"
        if not known.exists() or refresh:
            suites = apt.Suites(cache, row["suites"])
            suites.refresh()
            release, packages = choose(row, suites.packages())
            if not known.exists() or known.read_text().strip() != release:
                cache.put(folder, lambda into: unpack(suites, release, packages, into))
        release = known.read_text().strip()
    headers = row.get("headers")
    return Kernel(
        name,
        cache.path / folder / "boot" / f"vmlinuz-{release}",
        release,
        headers.format(release=release) if headers else None,
        tuple(row["suites"]),
    )


def unpack(suites: apt.Suites, release: str, packages: list[str], into: Path) -> None:
    """Fetch and unpack a kernel as `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE`."""
    debs = into / "debs"
    debs.mkdir()
    apt.unpack(suites.download(packages, debs), into)
    shutil.rmtree(debs)
    # Where /usr is merged the packages hold usr/lib only; virtme-ng and depmod look in lib.
    merged = into / "usr" / "lib" / "modules"
    if merged.is_dir() and not (into / "lib").exists():
        (into / "lib").symlink_to("usr/lib")
    modules = into / "lib" / "modules" / release
    image = into / "boot" / f"vmlinuz-{release}"
    if not image.exists() and (modules / "vmlinuz").exists():
        image.parent.mkdir(exist_ok=True)
        # Moved, not linked: virtme-ng finds the modules from where the image lies.
        os.rename(modules / "vmlinuz", image)
    if not image.exists():
        raise Failure(f"{', '.join(packages)} hold no boot/vmlinuz-{release}")
    decompress(modules)
    run(["depmod", "--basedir", into, release], f"listing the modules of {release}")
    (into / "release").write_text(f"{release}\n")


def decompress(modules: Path) -> None:
    """Decompress the modules that a guest loads: a second here, ten in an emulated guest at every boot."""
    folders = [modules / "kernel" / name for name in LOADED]
    for suffix, program in ((".xz", ["xz", "--decompress"]), (".zst", ["zstd", "--decompress", "--quiet", "--rm"])):
        files = [file for folder in folders for file in folder.rglob(f"*.ko{suffix}")]
        if files:
            run([*program, *files], "decompressing modules")


def brought_along(path: Path) -> Kernel:
    """A kernel that the user built or unpacked."""
    if path.is_dir():
        if not (path / "arch/x86/boot/bzImage").exists():
            raise Failure(f"{path} is no kernel build tree: it has no arch/x86/boot/bzImage")
        return Kernel(path.name, path)
    release = path.name.removeprefix("vmlinuz-")
    if path.parent.name == "boot" and not (path.parent.parent / "lib" / "modules" / release).is_dir():
        say(f"warning: no lib/modules/{release} beside {path}: the guest may lack file systems and pmem")
    return Kernel(release, path, release)
