"""What the machine itself must have: programs that the guest uses too, for the
guest's root is the machine's own file system, read-only.

Where there is apt, as root, what is missing is installed. Anywhere else one
line says what is missing.
"""

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import apt, child
from .failure import Failure
from .say import run, say


@dataclass(frozen=True)
class Need:
    """A file that must be there, the package that holds it, and what it is for."""

    file: str
    package: str

    def met(self) -> bool:
        if self.file.startswith("/"):
            return Path(self.file).exists()
        return shutil.which(self.file, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is not None


NEEDS = (
    Need("busybox", "busybox-static"),  # virtme-ng's initramfs is made of it
    Need("file", "file"),  # virtme-ng asks it whether busybox is static
    Need("modprobe", "kmod"),
    Need("depmod", "kmod"),
    Need("/lib/systemd/systemd-udevd", "udev"),  # makes the guest's device nodes
    Need("mkfs.xfs", "xfsprogs"),
    Need("xfs_repair", "xfsprogs"),
    Need("mkfs.ext4", "e2fsprogs"),
    Need("dmsetup", "dmsetup"),
    Need("setpriv", "util-linux"),
    Need("xz", "xz-utils"),
    Need("zstd", "zstd"),
    Need("cc", "gcc"),  # the linker that cargo calls
    Need("strip", "binutils"),
    Need("dpkg-deb", "dpkg"),
    Need(apt.KEYRING, "debian-archive-keyring"),
)

# What building a kernel module takes beyond the headers.
MODULE_NEEDS = (Need("make", "make"), Need("/usr/lib/x86_64-linux-gnu/libelf.so.1", "libelf1"))


def os_release() -> dict[str, str]:
    """The fields of /etc/os-release, empty where there is none."""
    try:
        return dict(platform.freedesktop_os_release())
    except OSError:
        return {}


def codename() -> str | None:
    """The name of the Debian release this is, if it is one that can be set up from."""
    release = os_release()
    if release.get("ID") != "debian":
        return None
    version = release.get("VERSION_ID", "")
    if version.isdigit() and int(version) < 12:
        return None
    # testing and sid have no number.
    return release.get("VERSION_CODENAME")


def missing(needs: tuple[Need, ...]) -> list[str]:
    """The packages that are missing, each once."""
    packages = [need.package for need in needs if not need.met()]
    if not has_venv():
        packages.append("python3-venv")
    return list(dict.fromkeys(packages))


def has_venv() -> bool:
    """Whether this Python can make a virtual environment with pip in it."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return False
    return True


def prepare(needs: tuple[Need, ...] = NEEDS, others: Sequence[str] = ()) -> None:
    """Install what is missing, or say in one line all that is. `others` is missing, and no package brings it."""
    if platform.machine() != "x86_64":
        raise Failure(f"the machine is {platform.machine()}; the harness is for x86_64 only")
    packages = missing(needs)
    if reason := hopeless(packages, others):
        raise Failure(reason)
    if packages:
        install(packages)


def hopeless(packages: Sequence[str], others: Sequence[str]) -> str | None:
    """What the user has to install, where it cannot be installed for him."""
    listed = " ".join(packages)
    wanted = list(others)
    if packages and shutil.which("apt-get") is None:
        name = os_release().get("PRETTY_NAME", "this system")
        wanted.insert(0, f"what Debian calls {listed} ({name} has no apt-get, so it is not installed for you)")
    elif packages and os.geteuid() != 0:
        wanted.insert(0, f"{listed} (as root: apt-get install {listed})")
    return f"missing: {'; '.join(wanted)}" if wanted else None


def offers(package: str) -> bool:
    """Whether apt has a package here. Without any lists nobody knows, and it may."""

    def shows(name: str) -> bool:
        pipes = {"stdout": child.DEVNULL, "stderr": child.DEVNULL, "env": apt.environment()}
        return child.finish(["apt-cache", "show", name], f"looking for {name}", **pipes).returncode == 0

    return shows(package) or not shows("gcc")


def install(packages: list[str]) -> None:
    """Install packages from the machine's own suites."""
    say(f"installing {' '.join(packages)}")
    # Another run may be installing: wait for it.
    options = ["--option", "DPkg::Lock::Timeout=600", "--yes", "--no-install-recommends"]
    command = ["apt-get", "install", *options, *packages]

    def attempt() -> None:
        run(command, f"installing {' '.join(packages)}", child.LONG, env=apt.environment())

    try:
        attempt()
    except child.Late:
        raise
    except Failure:
        # The package lists may be absent (a fresh container) or name files that are gone.
        run(["apt-get", "update"], "apt-get update", child.LONG, env=apt.environment())
        attempt()
