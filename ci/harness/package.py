"""`ci/package`: the programs as a Debian package and as a tarball, and whether those can be installed, used and removed.

Manual pages, completions and licences come from the programs and their crates.
debhelper packs; `ci/debian/` says what goes where.
"""

import argparse
import email.utils
import json
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import apt, build, child, host, options
from .cache import ROOT
from .failure import Failure
from .host import Need
from .machine import leave_on_signals
from .say import run

TARGET = "x86_64-unknown-linux-gnu"
DEBIAN = ROOT / "ci" / "debian"

# What a program is called where others lie beside it: `runner` and `tracer` are names that others have too.
NAMES = {"runner": "daxtests", "tracer": "daxtests-tracer"}

COMPLETIONS = {
    "bash": "share/bash-completion/completions/daxtests",
    "fish": "share/fish/vendor_completions.d/daxtests.fish",
    "zsh": "share/zsh/site-functions/_daxtests",
}

NEEDS = (
    Need("cc", "gcc"),
    Need("/usr/lib/x86_64-linux-gnu/libc.a", "libc6-dev"),
    Need("dpkg-buildpackage", "dpkg-dev"),
    Need("dh", "debhelper"),
)
CHECK_NEEDS = (Need("lintian", "lintian"), Need("mmdebstrap", "mmdebstrap"), Need("file", "file"))

# A release build compiles everything from nothing, for each of the two.
PATIENCE = 2 * child.LONG

# Packages that a minimal Debian lacks and that the programs call: absent, for the reference needs none.
USED = """
set -e
listed() { find / -xdev -not -path '/proc/*' -not -path '/tmp/*' -not -path '/var/lib/apt/*' \
    -not -path '/var/cache/*' -not -path '/var/log/*' -not -path '/var/lib/dpkg/*' | sort; }
listed >/tmp/before
apt-get install --yes --no-install-recommends /tmp/daxtests.deb
daxtests --version
daxtests-tracer --version
cd /tmp
daxtests --fs reference -g quick --results /tmp/results
apt-get purge --yes daxtests
listed >/tmp/after
diff /tmp/before /tmp/after
if dpkg-query --status daxtests 2>/dev/null; then exit 1; fi
"""


@dataclass(frozen=True)
class Commit:
    """What is packed."""

    hash: str
    # In seconds since the epoch: all that is packed is as old, so that it is the same whoever packs it.
    time: int
    # Of the package.
    version: str


def main(arguments: list[str]) -> int:
    """The command."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/package",
        description="Make a Debian package and a tarball with static programs, of the last commit, in target/package/.",
        epilog="Either has `daxtests` and `daxtests-tracer`, their manual pages, and completions for bash, fish and zsh.\n"
        "The tarball holds a prefix: tar -C /usr/local --strip-components=1 -xf daxtests-*.tar.xz\n\n"
        "Missing packages are installed first (by apt, as root). Exit codes: 0 all is well; 1 a check says that it is\n"
        "not; 2 could not run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true",
        help="also have lintian look at the package, install, use and remove it in a new Debian, and try the tarball; as root")
    parser.add_argument("--suite", action="append", metavar="NAME",
        help="with --check, the Debian release to install it in; repeatable (default: the machine's own)")  # fmt: skip
    asked = parser.parse_args(arguments)
    if asked.suite and not asked.check:
        parser.error("--suite goes with --check only")
    if asked.check and os.geteuid() != 0:
        raise Failure("--check makes a Debian of its own, as root")
    suites = asked.suite or [host.codename() or "stable"] if asked.check else []
    commit = head()
    host.prepare(NEEDS + (CHECK_NEEDS if asked.check else ()))
    build.prepare_probes()
    out = ROOT / "target" / "package"
    out.mkdir(parents=True, exist_ok=True)
    deb = debian(commit, programs(out / "build" / "shared", []), out)
    tarball = packed(commit, programs(out / "build" / "static", ["-Ctarget-feature=+crt-static"]), out)
    for path in (deb, tarball):
        print(f"made {path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB", flush=True)
    if not asked.check:
        return 0
    return 0 if all([clean(deb), static(tarball), *(usable(deb, suite) for suite in suites)]) else 1


def head() -> Commit:
    """The last commit, if nothing is changed since: the programs would name a commit that they are not."""
    git = ["git", "-C", ROOT]
    changed = run([*git, "status", "--porcelain", "--untracked-files=no"], "asking git what is changed")
    if changed:
        raise Failure(f"{changed.split()[1]} is changed and not committed, and a package is of a commit")
    said = run([*git, "log", "-1", "--format=%H %ct %cs"], "asking git for the commit").split()
    version = next(package["version"] for package in build.metadata()["packages"] if package["name"] == "runner")
    tags = run([*git, "tag", "--points-at", "HEAD"], "asking git for tags").split()
    if f"v{version}" not in tags:
        # Older than the release, and than what is packed of a later day.
        version += f"~git{said[2].replace('-', '')}.{said[0][:12]}"
    return Commit(said[0], int(said[1]), version)


def programs(into: Path, flags: Sequence[str]) -> list[Path]:
    """Build both programs with these flags; where they lie."""
    home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    # Messages name source files, and not where they lay on this machine.
    flags = [f"--remap-path-prefix={ROOT}=daxtests", f"--remap-path-prefix={home}=cargo", *flags]
    environment = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags), "CARGO_TARGET_DIR": str(into)}
    names = [word for name in NAMES for word in ("--package", name)]
    # Flags are for a target that is named, and not for what builds.
    command = ["cargo", "build", "--release", "--locked", "--bins", "--target", TARGET, *names]
    done = child.finish(command, "building the programs", PATIENCE, cwd=ROOT, env=environment, stdout=sys.stderr)
    if done.returncode != 0:
        raise Failure(f"cargo build ended with {done.returncode}")
    return [into / TARGET / "release" / name for name in NAMES]


def lay_out(built: Sequence[Path], prefix: Path) -> None:
    """Fill a folder as /usr/local has it."""
    own = prefix / "lib" / "daxtests"
    for folder in (own, prefix / "bin", prefix / "share" / "doc" / "daxtests"):
        folder.mkdir(parents=True)
    for path in built:
        build.strip(path, own)
        link = prefix / "bin" / NAMES[path.name]
        link.symlink_to(Path("..") / "lib" / "daxtests" / path.name)
        # Programs name themselves and their pages as they are called.
        run([link, "man", "--output", prefix / "share" / "man" / "man1"], f"the manual pages of {link.name}")
    for shell, name in COMPLETIONS.items():
        path = prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        script = run(["daxtests", "completions", shell], f"the completions for {shell}", executable=prefix / "bin" / "daxtests")
        path.write_text(script)
    doc = prefix / "share" / "doc" / "daxtests"
    for name in ("README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, doc)
    (doc / "crates").write_text(licences())


def licences() -> str:
    """The licences of the crates that are linked in, most of which ask to go along."""
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", TARGET]
    said = json.loads(run(command, "reading the dependencies", child.LONG, cwd=ROOT))
    packages = {package["id"]: package for package in said["packages"]}
    links = {
        node["id"]: [
            dependency["pkg"]
            for dependency in node["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        for node in said["resolve"]["nodes"]
    }
    own = set(said["workspace_members"])
    todo = [name for name in own if packages[name]["name"] in NAMES]
    linked = set()
    while todo:
        name = todo.pop()
        if name not in linked:
            linked.add(name)
            todo += links[name]
    texts: dict[str, list[str]] = {}
    for package in sorted((packages[name] for name in linked - own), key=lambda each: (each["name"], each["version"])):
        called = f"{package['name']} {package['version']}: {package['license']}"
        files = sorted(Path(package["manifest_path"]).parent.glob("*"))
        words = [file.read_text(errors="replace") for file in files if file.is_file() and is_licence(file.name)]
        texts.setdefault("\n\n".join(words).strip() or "(it comes without the text)", []).append(called)
    return "\n\n\n".join("\n".join(names) + "\n\n" + text for text, names in texts.items()) + "\n"


def is_licence(name: str) -> bool:
    """Whether a crate's file is one that has to go along."""
    return name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"))


def debian(commit: Commit, built: Sequence[Path], out: Path) -> Path:
    """Make the package."""
    with tempfile.TemporaryDirectory(dir=out) as folder:
        source = Path(folder) / f"daxtests-{commit.version}"
        lay_out(built, source / "tree")
        shutil.copytree(DEBIAN, source / "debian")
        (source / "debian" / "changelog").write_text(
            f"daxtests ({commit.version}) unstable; urgency=medium\n\n"
            f"  * Packed from commit {commit.hash}.\n"
            "  * CHANGELOG.md has what is new.\n\n"
            f" -- {maintainer()}  {email.utils.formatdate(commit.time)}\n"
        )
        command = ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps"]
        run(command, "packing", child.LONG, cwd=source, env={**os.environ, "SOURCE_DATE_EPOCH": str(commit.time)})
        (deb,) = Path(folder).glob("*.deb")
        return Path(shutil.copy(deb, out / f"daxtests_{commit.version}_amd64.deb"))


def maintainer() -> str:
    """As ci/debian/control has it."""
    lines = (DEBIAN / "control").read_text().splitlines()
    return next(line.removeprefix("Maintainer: ") for line in lines if line.startswith("Maintainer: "))


def packed(commit: Commit, built: Sequence[Path], out: Path) -> Path:
    """Make the tarball."""
    name = f"daxtests-{commit.version}-x86_64"
    path = out / f"{name}.tar.xz"

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = commit.time
        return entry

    with tempfile.TemporaryDirectory(dir=out) as folder:
        prefix = Path(folder) / name
        lay_out(built, prefix)
        doc = prefix / "share" / "doc" / "daxtests"
        for licence in ("LICENSE-APACHE", "LICENSE-MIT", "LICENSES/GPL-2.0"):
            shutil.copy(ROOT / licence, doc)
        shutil.copy(ROOT / "LICENSES" / "README.md", doc / "LICENSES.md")
        with lzma.open(path, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            # Sorted, for `add` sorts what it finds in a folder.
            tar.add(prefix, name, filter=anonymous)
    return path


def clean(deb: Path) -> bool:
    """Whether lintian has nothing to say that is worse than info."""
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", "--display-info", "--tag-display-limit", "0", deb]
    return verdict("lintian", command)


def static(tarball: Path) -> bool:
    """Whether the programs of the tarball need no library, and run."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder)
        run(["tar", "-C", unpacked, "--strip-components=1", "-xf", tarball], "unpacking")
        (runner, tracer) = (unpacked / "bin" / name for name in NAMES.values())
        script = (
            f"file -L {runner} {tracer}; if ldd {runner} {tracer} | grep -F '=>'; then exit 1; fi; "
            f"{tracer} --version && {runner} --fs reference -g quick --results {unpacked}/results"
        )
        return verdict("the tarball", ["sh", "-c", script])


def usable(deb: Path, suite: str) -> bool:
    """Whether a new Debian can install, use and remove the package, and nothing is left of it."""
    archive, _ = apt.mirrors()
    hook = f'cp {shlex.quote(str(deb))} "$1/tmp/daxtests.deb"'
    # It has /proc and /dev meanwhile, and is gone afterwards.
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--format=null", "--variant=apt",
        f"--customize-hook={hook}", f'--customize-hook=chroot "$1" sh -c {shlex.quote(USED)}',
        suite, "/dev/null", f"deb [signed-by={apt.KEYRING}] {archive} {suite} main",
    ]  # fmt: skip
    return verdict(f"a new {suite}", command)


def verdict(what: str, command: Sequence[str | Path]) -> bool:
    """Whether a check went well; shows what it says."""
    print(f"{what}:", flush=True)
    done = child.finish(command, what, child.LONG, stdout=sys.stdout, stderr=subprocess.STDOUT, env=apt.environment())
    print(f"{what}: {'well' if done.returncode == 0 else f'NOT well, exit code {done.returncode}'}", flush=True)
    return done.returncode == 0
