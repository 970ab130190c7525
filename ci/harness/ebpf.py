"""The compiler and the linker for the tracer's probes, without a nightly Rust.

Debian's rustc-web brings a stable compiler with a `core` for the eBPF target,
and bpf-linker comes from crates.io. A rustup nightly with its rust-src does as
well; where there is one of the two, nothing is installed.
"""

import os
import shutil
from pathlib import Path

from . import child, host
from .cache import ROOT
from .failure import Failure
from .host import Need
from .say import run, say

PACKAGES = (
    Need("/usr/bin/rustc", "rustc-web"),
    Need("/usr/lib/rustlib/bpfel-unknown-none/lib", "libstd-rust-web-dev-bpf"),
)

# The last that uses the LLVM of a Rust toolchain; later ones want one of the system's.
LINKER = "0.10.3"


def wanted() -> bool:
    """Whether the workspace has probes to build."""
    return (ROOT / "tracer-ebpf" / "Cargo.toml").exists()


def has_nightly() -> bool:
    """Whether rustup has a nightly that can build `core`."""
    said = child.finish(
        ["rustc", "+nightly", "--print", "sysroot"],
        "asking rustup for a nightly",
        stdout=child.PIPE,
        stderr=child.DEVNULL,
        text=True,
        # A question must not become the installation of a toolchain.
        env={**os.environ, "RUSTUP_AUTO_INSTALL": "0"},
    )
    return said.returncode == 0 and Path(said.stdout.strip(), "lib/rustlib/src/rust/library/core").is_dir()


def prepare() -> None:
    """Install what the probes are built with."""
    there = os.environ.get("EBPF_TOOLCHAIN") or all(need.met() for need in PACKAGES) or has_nightly()
    if not there:
        host.prepare(PACKAGES)
    if shutil.which("bpf-linker") is None:
        say(f"installing bpf-linker {LINKER}")
        run(["cargo", "install", "--quiet", "--locked", f"bpf-linker@{LINKER}"], "installing bpf-linker", child.LONG)


def prepare_if_possible() -> None:
    """Install it, or say why the tracer is built without its probes."""
    if not wanted():
        return
    try:
        prepare()
    except Failure as error:
        say(f"the tracer is built without its probes: {error}")
