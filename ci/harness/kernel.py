"""Kernels: the table of them, fetching one, and those that a user brings along."""

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import apt, config, image
from .cache import ROOT, Cache
from .failure import Failure, OutOfReach
from .say import run, say

# The folders of modules that a guest loads from.
LOADED = ("fs", "lib", "crypto", "arch", "net/9p", "drivers/block", "drivers/dax", "drivers/md", "drivers/nvdimm", "drivers/virtio")

TABLE = ROOT / "ci" / "kernels.toml"

# Where the image lies in a build tree; arch/x86_64/boot has a link to it.
IMAGE = Path("arch/x86/boot/bzImage")

# What unpacks a module to stdout, by its suffix.
UNPACK = {".xz": "xz", ".zst": "zstd", ".gz": "gzip"}


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted."""

    name: str
    """What the results are filed under."""
    image: Path
    """The vmlinuz, with its modules beside it, or a build tree."""
    release: str
    """What `uname -r` will say."""
    build: str
    """Which build of the release it is."""
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
        return self.image / IMAGE if self.is_tree else self.image

    @property
    def modules(self) -> Path | None:
        """The directory that its modules are installed in, as virtme-ng looks for it."""
        if self.is_tree:
            return None
        for folder in self.image.parents:
            for lib in ("lib", "usr/lib"):
                if (folder / lib / "modules").exists():
                    found = folder / lib / "modules" / self.release
                    return found if found.is_dir() else None
        return None

    @property
    def config(self) -> Path | None:
        """Its configuration, if that lies where it usually does."""
        places = [self.image / ".config"] if self.is_tree else [self.image.parent / f"config-{self.release}"]
        if self.modules:
            places += [self.modules / "config", self.modules / "build" / ".config"]
        return next((path for path in places if path.exists()), None)

    def module(self, name: str) -> Path | None:
        """A module of it by its path below the source tree, such as fs/xfs/xfs, compressed or not."""
        folder = self.image if self.is_tree else self.modules and self.modules / "kernel"
        if not folder:
            return None
        names = (folder / f"{name}.ko{suffix}" for suffix in ("", *UNPACK))
        return next((path for path in names if path.exists()), None)

    def builtin(self) -> set[str]:
        """What would be modules and is in the image: paths below the source tree, without their suffix."""
        folder = self.image if self.is_tree else self.modules
        try:
            lines = (folder / "modules.builtin").read_text().splitlines() if folder else []
        except FileNotFoundError:
            lines = []
        return {line.removeprefix("kernel/").removesuffix(".ko") for line in lines}


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


def look(name: str) -> Kernel | None:
    """What `--kernel NAME` means, as far as that can be told without fetching anything: None is a row of the table."""
    rows = read_table()["kernel"]
    if name in rows:
        return None
    path = Path(name)
    if path.exists():
        return brought_along(path.resolve())
    raise Failure(f"no kernel {name}: it is neither one of {', '.join(rows)} nor a path")


def resolve(cache: Cache, name: str, refresh: bool = False) -> Kernel:
    """The kernel that `--kernel NAME` means: a row of the table, or a path."""
    return look(name) or fetch(cache, name, read_table()["kernel"][name], refresh)


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
            try:
                suites.refresh()
                release, packages = choose(row, suites.packages())
                if not known.exists() or known.read_text().strip() != release:
                    cache.put(folder, lambda into: unpack(suites, release, packages, into))
            except OutOfReach as error:
                if not known.exists():
                    raise
                say(f"warning: whether {known.read_text().strip()} is the newest {name} is not known: {error}")
        return lying(cache, name, row)


def cached(name: str) -> Kernel | None:
    """A kernel of the table if an earlier run has fetched it; nothing is made or fetched."""
    place = Cache.place()
    folder = f"kernel-{name}"
    if not (place / folder / "release").exists():
        return None
    cache = Cache(place)
    with cache.lock(folder):
        return lying(cache, name, read_table()["kernel"][name])


def lying(cache: Cache, name: str, row: dict) -> Kernel:
    """A kernel of the table as it lies in the cache. The caller holds its lock."""
    folder = cache.path / f"kernel-{name}"
    release = (folder / "release").read_text().strip()
    headers = row.get("headers")
    path = folder / "boot" / f"vmlinuz-{release}"
    return Kernel(
        name,
        path,
        release,
        image.read(path).build,
        headers.format(release=release) if headers else None,
        tuple(row["suites"]),
    )


def unpack(suites: apt.Suites, release: str, packages: list[str], into: Path) -> None:
    """Fetch and unpack a kernel as `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE`."""
    suites.unpack(packages, into)
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
        if not (path / IMAGE).exists():
            raise Failure(f"{path} is no kernel build tree: it has no {IMAGE} (make bzImage)")
    elif tree := tree_of(path):
        path = tree
    known = image.read(path / IMAGE if path.is_dir() else path)
    # Two trees may have one name, and two builds one release.
    name = re.sub(r"[^-\w.+]", "_", f"{known.release}-{known.build}")
    return Kernel(name, path, known.release, known.build)


def tree_of(path: Path) -> Path | None:
    """The build tree that an image lies in, if it lies in one."""
    if path.parts[-len(IMAGE.parts) :] != IMAGE.parts:
        return None
    tree = path.parents[len(IMAGE.parts) - 1]
    return tree if (tree / ".config").exists() else None


def complaint(kernel: Kernel, filesystem: str | None) -> str | None:
    """Why the suite could not run on a kernel that the user brought along, as far as its files tell; in a line."""
    if kernel.config:
        known = config.read(kernel.config)
        if lacks := config.complaint(known, filesystem):
            return f"{kernel.vmlinuz}: {lacks}"
        modules = [option for option in config.PMEM if known[option] == "m"]
        if filesystem and known[config.FILESYSTEMS[filesystem]] == "m":
            modules.append(config.FILESYSTEMS[filesystem])
    else:
        modules = []
    if kernel.is_tree:
        # Only what was really built is listed there.
        if modules and not (kernel.image / "modules.order").exists():
            named = ", ".join(f"CONFIG_{option}=m" for option in modules)
            return f"{kernel.image}: its modules are not built ({named}): make modules"
    elif kernel.modules is None and (modules or not kernel.config):
        named = f"lib/modules/{kernel.release}"
        if modules:
            options = ", ".join(f"CONFIG_{option}=m" for option in modules)
            return f"{kernel.image}: there is no {named} beside it, and it needs modules ({options})"
        say(f"warning: no {named} beside {kernel.image}: the guest may lack file systems and pmem")
    return None
