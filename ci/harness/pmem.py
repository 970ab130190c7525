"""The persistent memory of a machine: regions of its RAM, each of which is a device."""

from collections.abc import Iterable
from pathlib import Path

from .failure import Failure

# What the kernel is told. Above 4 GiB: a region below came out misaligned, and nd_pmem refuses it.
KERNEL_OPTIONS = ("memmap=1G!4G", "memmap=1G!5G")


def devices(append: Iterable[str] = ()) -> tuple[str, ...]:
    """The devices of a machine whose kernel is told so, in the order of the regions."""
    words = [word for options in (*KERNEL_OPTIONS, *append) for word in options.split()]
    regions = sum(word.count("!") for word in words if word.startswith("memmap="))
    return tuple(f"/dev/pmem{number}" for number in range(regions))


# Those of every machine.
DEVICES = devices()


def require(command: str, *names: str) -> None:
    """Refuse to go on without these devices: the command is for a machine of ours."""
    for name in names:
        if not Path(name).is_block_device():
            raise Failure(f"no {name}: run it in a machine, ./ci/vm -- {command}")
