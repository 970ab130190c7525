"""The project's own binaries, built on the host for the guest."""

import json
import shutil
import sys
from pathlib import Path

from . import child
from .cache import ROOT
from .failure import Failure
from .say import run, say

# The programs that a guest has on its PATH, where the workspace has them.
PROGRAMS = ("runner", "tracer")


def profile(release: bool) -> str:
    """cargo's profile for the programs, which is the name of its folder as well."""
    return "release" if release else "guest"


def metadata() -> dict:
    """What cargo says of the workspace."""
    if shutil.which("cargo") is None:
        raise Failure("cargo is not installed: install Rust with rustup")
    said = run(["cargo", "metadata", "--no-deps", "--format-version=1"], "reading the workspace", cwd=ROOT)
    return json.loads(said)


def named(required: tuple[str, ...], release: bool) -> dict[str, Path]:
    """The programs that the workspace has and where cargo puts them; what is `required` must be among them."""
    workspace = metadata()
    members = {
        package["name"]
        for package in workspace["packages"]
        if any("bin" in target["kind"] for target in package["targets"])
    }
    for name in required:
        if name not in members:
            raise Failure(f"the workspace has no member `{name}` with a program in it, which this needs")
    folder = Path(workspace["target_directory"]) / profile(release)
    return {name: folder / name for name in PROGRAMS if name in members}


def build(required: tuple[str, ...], release: bool = False) -> list[Path]:
    """Build the programs, and return where they lie."""
    programs = named(required, release)
    if programs:
        packages = [word for name in programs for word in ("--package", name)]
        command = ["cargo", "build", "--bins", "--profile", profile(release), *packages]
        # What cargo says is for the user; stdout is the command's alone.
        done = child.finish(command, "building the programs", child.LONG, cwd=ROOT, stdout=sys.stderr)
        if done.returncode != 0:
            raise Failure(f"cargo build ended with {done.returncode}")
    return list(programs.values())


def prepare_probes() -> None:
    """Install what the tracer's probes are built with, or say that it is built without them."""
    try:
        # A compiler and a linker, for each of which the script has patience of its own.
        script = ROOT / "ci" / "ebpf-toolchain"
        done = child.finish([script], "installing what builds the probes", 4 * child.LONG, stdout=child.DEVNULL)
        reason = f"ci/ebpf-toolchain ended with {done.returncode}" if done.returncode else ""
    except Failure as error:
        reason = str(error)
    if reason:
        say(f"the tracer is built without its probes: {reason}")


def folder(named: Path | None) -> Path:
    """The folder with the programs: the one that is named, or that which they are built in now."""
    programs = lying(named, ("runner",)) if named else build(("runner",))
    return programs[0].parent


def copies(into: Path) -> Path:
    """Build the programs and keep copies for all machines in a folder: cargo may build others while those run."""
    programs = build(("runner",))
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for program in programs:
        strip(program, into)
    return into


def built(required: tuple[str, ...], release: bool = False) -> list[Path]:
    """Where the programs lie that an earlier build made."""
    return there(named(required, release), required)


def lying(folder: Path, required: tuple[str, ...]) -> list[Path]:
    """Where the programs lie that somebody put into a folder."""
    return there({name: folder.absolute() / name for name in PROGRAMS}, required)


def strip(program: Path, folder: Path) -> None:
    """Put a copy of a program into a folder, for a guest: two thirds of it are for debuggers, and a guest reads all."""
    run(["strip", "--strip-debug", "-o", folder / program.name, program], f"copying {program.name} for the guest")


def there(programs: dict[str, Path], required: tuple[str, ...]) -> list[Path]:
    """Those of the programs that are there; what is `required` must be."""
    for name in required:
        if not programs[name].exists():
            raise Failure(f"{programs[name]} was not built yet")
    return [path for path in programs.values() if path.exists()]
