"""QEMU, recent enough to emulate a kernel that patches itself, and its accelerator.

A QEMU of the machine's own is used if it is recent enough. Otherwise it is
unpacked, with the libraries that the machine lacks, into the cache: the
machine's own suites stay untouched.
"""

import os
import re
import selectors
import shutil
import time
from pathlib import Path

from . import apt, child, host
from .cache import Cache, write_program
from .failure import Failure
from .say import run, say

# QEMU is started through this, both to find its libraries and data from
# wherever it lies, and to die with virtme-run, whose child it is.
WRAPPER = """\
#!/bin/sh
# Written by ci/vm.
here=$(dirname "$(readlink -f "$0")")
lib="$here/usr/lib/x86_64-linux-gnu:$here/lib/x86_64-linux-gnu"
exec setpriv --pdeathsig KILL env LD_LIBRARY_PATH="$lib" QEMU_MODULE_DIR="$here/usr/lib/x86_64-linux-gnu/qemu" \\
	"$here/usr/bin/qemu-system-x86_64" -L "$here/usr/share/qemu" -L "$here/usr/share/seabios" "$@"
"""

WRAPPER_OF_OWN = """\
#!/bin/sh
# Written by ci/vm.
exec setpriv --pdeathsig KILL qemu-system-x86_64 "$@"
"""


def version(program: str | Path) -> int | None:
    """The major version of a QEMU, or None if it does not start."""
    try:
        said = run([program, "--version"], "starting QEMU")
    except Failure:
        return None
    found = re.search(r"version (\d+)", said)
    return int(found[1]) if found else None


def own(minimum: int) -> bool:
    """Whether the machine has one that will do."""
    program = shutil.which("qemu-system-x86_64")
    return program is not None and (version(program) or -1) >= needed(minimum)


def needed(minimum: int) -> int:
    """The version that it takes here. The minimum is for emulation; where KVM may work, and no newer one can be
    fetched, any is tried."""
    return minimum if host.codename() or not os.access("/dev/kvm", os.R_OK | os.W_OK) else 0


def complaint(qemu: Path, minimum: int) -> str | None:
    """Why this QEMU must not emulate, if it must not."""
    found = version(qemu) or 0
    if found >= minimum:
        return None
    return (
        f"QEMU {found} would have to emulate, and mis-executes code that a kernel patches while it runs: make KVM work, or "
        f"install QEMU {minimum} or newer"
    )


def fetch(cache: Cache, table: dict) -> Path:
    """The program to start QEMU with, fetched if the machine has none that will do."""
    minimum = table["minimum"]
    has_own = own(minimum)

    def make(into: Path) -> None:
        if not has_own:
            codename = host.codename()
            if codename is None:
                raise Failure(f"QEMU {minimum} or newer is missing: install qemu-system-x86")
            suites = apt.Suites(cache, [suite.format(codename=codename) for suite in table["suites"]])
            suites.refresh()
            suites.unpack(table["packages"], into, table["prefer"].format(codename=codename))
        write_program(into / "run", WRAPPER_OF_OWN if has_own else WRAPPER)

    def good(folder: Path) -> bool:
        # The libraries of an unpacked QEMU are what that machine lacked: a cache
        # brought over from another may not start here.
        return (version(folder / "run") or -1) >= needed(minimum)

    folder = cache.once("qemu-own" if has_own else "qemu", make, good)
    if not good(folder):
        raise Failure(f"QEMU in {folder} is of version {version(folder / 'run')}, not {minimum} or newer")
    return folder / "run"


def kvm_works(cache: Cache, qemu: Path, vmlinuz: Path, patience: float = 10.0) -> bool:
    """Whether KVM really runs a kernel. Tried once per boot of this machine.

    /dev/kvm can be there and not work: the guest then stops or hangs before
    its first line. With KVM that line comes within a second.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with cache.lock("kvm"):
        known = cache.path / "kvm"
        if known.exists():
            seen, answer = known.read_text().split()
            if seen == boot:
                return answer == "yes"
        say("trying KVM")
        works = starts(qemu, vmlinuz, patience)
        known.write_text(f"{boot} {'yes' if works else 'no'}\n")
    return works


def starts(qemu: Path, vmlinuz: Path, patience: float) -> bool:
    """Whether a kernel says its first line under KVM within `patience` seconds."""
    command = [
        qemu, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-smp", "2", "-m", "512M", "-nodefaults",
        "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", vmlinuz,
        "-append", "console=ttyS0 earlyprintk=serial,ttyS0,115200 panic=-1",
    ]  # fmt: skip
    said = b""
    with (
        child.start(command, "trying KVM", stdout=child.PIPE, stderr=child.STDOUT) as machine,
        selectors.DefaultSelector() as selector,
    ):
        assert machine.stdout is not None
        selector.register(machine.stdout, selectors.EVENT_READ)
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0 and selector.select(left):
            piece = os.read(machine.stdout.fileno(), 4096)
            if not piece:
                break
            said += piece
            if b"Linux version" in said:
                return True
    return False
