"""What a kernel must be built with, looked up in its configuration before it is booted.

ci/kernels/ has configurations that are enough.
"""

import gzip
import re
from collections.abc import Iterable
from pathlib import Path

# Without these virtme-ng's machine does not come up, or has none of the host's files.
MACHINE = ("VIRTIO_PCI", "NET_9P_VIRTIO", "9P_FS", "OVERLAY_FS", "DEVTMPFS", "BLK_DEV_INITRD", "BINFMT_SCRIPT")

# Without these there is no /dev/pmem0 that a file system can be mounted on with DAX. NVDIMM_PFN
# (or BTT) brings ND_CLAIM, without which nd_pmem refuses each namespace with -ENXIO, in silence.
PMEM = (
    "X86_PMEM_LEGACY",
    "LIBNVDIMM",
    "BLK_DEV_PMEM",
    "ND_CLAIM",
    "NVDIMM_PFN",
    "ZONE_DEVICE",
    "DAX",
    "FS_DAX",
)

FILESYSTEMS = {"xfs": "XFS_FS", "ext4": "EXT4_FS"}

FRAGMENTS = "ci/kernels/"

Config = dict[str, str]


def read(path: Path) -> Config:
    """The options that are set in a configuration, each with what it is set to."""
    written = path.read_bytes()
    text = (gzip.decompress(written) if path.suffix == ".gz" else written).decode(errors="replace")
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))


def missing(config: Config, options: Iterable[str]) -> list[str]:
    """Those of the options that are neither built in nor modules."""
    return [option for option in options if config.get(option) not in ("y", "m")]


def complaint(config: Config, filesystem: str | None) -> str | None:
    """What a kernel with this configuration lacks, in a line; a command may do without a file system."""
    wanted = (*MACHINE, *PMEM, *([FILESYSTEMS[filesystem]] if filesystem else []))
    lacks = missing(config, wanted)
    if not lacks:
        return None
    return f"it is built without {', '.join(f'CONFIG_{option}' for option in lacks)} (configurations that work: {FRAGMENTS})"
