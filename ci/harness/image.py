"""What the image of a kernel says of itself, before it is booted.

Documentation/arch/x86/boot.rst: "HdrS" at 0x202, and at 0x20e where, less
0x200, the string lies that `uname` will be made of.
"""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from .failure import Failure

MAGIC = b"HdrS"


@dataclass(frozen=True)
class Image:
    """A bootable image."""

    release: str
    """What `uname -r` will say."""
    build: str
    """The build: its number, if it has one, and the beginning of the image's checksum, as a name."""


def read(path: Path) -> Image:
    """The image in a file."""
    try:
        written = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    if written[0x202:0x206] != MAGIC:
        raise Failure(f"{path} is not a bootable x86 kernel: it has no boot header")
    at = struct.unpack_from("<H", written, 0x20E)[0] + 0x200
    said = written[at : at + 512].split(b"\0")[0].decode(errors="replace").split()
    if not said:
        raise Failure(f"{path} does not say which release it is")
    number = next((word[1:] for word in said if word.startswith("#")), "")
    digest = hashlib.sha256(written).hexdigest()[:8]
    return Image(said[0], "-".join(part for part in (number, digest) if part))
