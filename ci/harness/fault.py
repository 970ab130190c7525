"""Faults: bugs put into a stock kernel by a module, nearly always a livepatch.

A module is built on the host against the kernel's own headers package and
loaded in the guest before the work begins. A patch that did not take hold
everywhere ends the work: a run without the fault must not look like one with
it.

Instead of the name of a fault the path of a module may be given, FILE.ko, that
somebody built elsewhere: a livepatch, or whatever changes the kernel when it is
loaded.
"""

import hashlib
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import apt, child, config, host
from .cache import ROOT, Cache
from .failure import Failure
from .host import Need
from .kernel import UNPACK, Kernel
from .say import run, say

SOURCES = ROOT / "ci" / "faults"

# The settings that a build of a module sees.
AUTOCONF = "include/generated/autoconf.h"

# What a headers package depends on and a build reads.
PARTS = re.compile(r"linux-(headers|kbuild)-.*")

LOAD = """\
fault() {{
	modprobe --all {filesystems} || return
	insmod {module} || return
	[ -d /sys/module/{name} ] || return
	[ -d /sys/kernel/livepatch/{name} ] || {{ {must_patch}; return; }}
	# Each task is moved to the new code when it is seen outside of the old.
	tries=300
	until [ "$(cat /sys/kernel/livepatch/{name}/transition)" = 0 ]; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return
		sleep 0.2
	done
	for object in {objects}; do
		[ "$(cat /sys/kernel/livepatch/{name}/$object/patched)" = 1 ] || return
	done
}}
fault || {{
	dmesg | tail -n 5
	echo "ci/vm: the fault {fault} could not be put into this kernel"
	end 2
}}
"""


def names() -> list[str]:
    """The faults that there are."""
    return sorted(path.stem for path in SOURCES.glob("*.c"))


def known(fault: str) -> None:
    """Refuse a fault that there is not."""
    if is_module(fault):
        facts(Path(fault))
    elif fault not in names():
        raise Failure(f"no fault {fault}: there are {', '.join(names())}, or name a module, FILE.ko")


def is_module(fault: str) -> bool:
    """Whether a fault is a module that somebody built elsewhere."""
    return fault.endswith(".ko")


def called_as(fault: str) -> str:
    """What a fault is called in the names of folders and in reports."""
    return Path(fault).stem if is_module(fault) else fault


def facts(module: Path) -> dict[str, str]:
    """What a module says of itself: its "name", and in "vermagic" the kernel that it is built for."""
    try:
        content = module.read_bytes()
    except OSError as error:
        raise Failure(f"{module}: {error.strerror}") from error
    found = re.findall(rb"(?<=\0)(name|vermagic)=([^\0]+)\0", content)
    said = {key.decode(): value.decode(errors="replace") for key, value in found}
    if not content.startswith(b"\x7fELF") or said.keys() != {"name", "vermagic"}:
        raise Failure(f"{module} is no kernel module, or a compressed one")
    return said


def source(fault: str) -> str:
    """What a fault is made of, with the headers that lie beside it, and without comments."""
    text = (SOURCES / f"{fault}.c").read_text()
    include = re.compile(r'^#include "([\w-]+\.h)"$', re.MULTILINE)
    while found := include.search(text):
        text = text[: found.start()] + (SOURCES / found[1]).read_text() + text[found.end() :]
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def patched(fault: str, where: str) -> list[str]:
    """The functions of a file system, or of the kernel itself ("vmlinux"), that a fault replaces."""
    tables = re.findall(rf"struct klp_func \w*{where}\w*\[\] = {{(.*?)^}};", source(fault), re.DOTALL | re.MULTILINE)
    return re.findall(r'\.old_name = "(\w+)"', "".join(tables))


def is_livepatch(fault: str) -> bool:
    """Whether a fault replaces functions, rather than changing what they call."""
    return "klp_enable_patch(" in source(fault)


def called(fault: str) -> list[str]:
    """The functions of fs/dax.c that a fault calls in place of the file system.

    dax_layout_busy_page() is dax_layout_busy_page_range() of the whole file, and what a file system calls.
    """
    names = set(re.findall(r"\b(dax_\w+)\(", source(fault)))
    return sorted({"dax_layout_busy_page" if name == "dax_layout_busy_page_range" else name for name in names})


def refusal(kernel: Kernel, fault: str, filesystem: str) -> str | None:
    """Why the kernel cannot take a fault, as far as its files tell; in a line."""
    if is_module(fault):
        built_for = facts(Path(fault))["vermagic"].partition(" ")[0]
        return None if built_for == kernel.release else f"{fault} is built for {built_for}, not for {kernel.release}"
    needs = "LIVEPATCH" if is_livepatch(fault) else "DYNAMIC_FTRACE_WITH_REGS"
    if kernel.config and config.missing(config.read(kernel.config), [needs]):
        return f"{kernel.release} is built without CONFIG_{needs}, which the fault {fault} needs"
    if not is_livepatch(fault):
        return None
    path = f"fs/{filesystem}/{filesystem}"
    module = kernel.module(path)
    if module is None:
        if path in kernel.builtin():
            option = config.FILESYSTEMS[filesystem]
            return f"{filesystem} is built into {kernel.release}, and a fault patches it as a module (CONFIG_{option}=m)"
        return None
    has, calls = functions(module)
    if lacks := [name for name in patched(fault, filesystem) if name not in has]:
        return f"{filesystem} of {kernel.release} has no function {', '.join(lacks)}, which the fault {fault} replaces"
    # From Linux 6.15 on (commit d5b3afea22a5) the functions are there and only call dax_break_layout().
    if lacks := [name for name in called(fault) if name not in calls]:
        return (
            f"{filesystem} of {kernel.release} breaks its layouts in another way than the fault {fault}: "
            f"it does not call {', '.join(lacks)}"
        )
    return None


def forecast(name: str, row: dict, fault: str) -> str | None:
    """Why a kernel of the table cannot take a fault, or get it here, as far as its row tells; in a line."""
    if is_module(fault):
        return None
    if lacks := [callee for callee in called(fault) if callee in row.get("without", [])]:
        return (
            f"kernel {name} breaks its layouts in another way than the fault {fault}: "
            f"its file systems do not call {', '.join(lacks)} (ci/kernels.toml); take another kernel"
        )
    if "compiler" not in row:
        return None
    need = built_with(row["compiler"])
    if need.met():
        return None
    if reason := host.hopeless([need.package], []):
        return f"a fault for kernel {name} takes its compiler: {reason}"
    if not host.offers(need.package):
        return (
            f"a fault for kernel {name} takes its compiler, {need.package}, which is not here, and apt has none; "
            "take another kernel"
        )
    return None


def built_with(compiler: str) -> Need:
    """A compiler, as the headers of a kernel call it."""
    return Need(f"x86_64-linux-gnu-{compiler}", compiler)


def functions(module: Path) -> tuple[set[str], set[str]]:
    """The functions of a module that can be patched, and those that it calls in the kernel or in other modules."""
    with tempfile.NamedTemporaryFile() as plain:
        if unpack := UNPACK.get(module.suffix):
            with open(plain.name, "wb") as into:
                command = [unpack, "--decompress", "--stdout", module]
                child.finish(command, f"unpacking {module.name}", stdout=into)
        said = run(["nm", plain.name if unpack else module], f"looking for functions in {module.name}")
    own = re.findall(r"^[0-9a-f]+ [tT] (\w+)$", said, re.MULTILINE)
    return set(own), set(re.findall(r"^ +U (\w+)$", said, re.MULTILINE))


def compiler(build: Path) -> list[str]:
    """The compiler that the headers want, as it is in their settings."""
    found = re.search(r"^CC = .*?(gcc-\d+)$", (build / ".kernelvariables").read_text(), re.MULTILINE)
    return [found[1]] if found else []


def headers(cache: Cache, kernel: Kernel) -> Path:
    """The directory to build a module for this kernel in."""
    if kernel.is_tree:
        return kernel.image
    if kernel.headers is None:
        if kernel.modules and (kernel.modules / "build" / "Makefile").exists():
            return kernel.modules / "build"
        raise Failure(
            f"no headers are known for {kernel.image}: a fault needs a kernel of the table, a build tree, "
            f"or lib/modules/{kernel.release}/build"
        )
    folder = f"headers-{kernel.release}"

    def make(into: Path) -> None:
        suites = apt.Suites(cache, kernel.suites)
        suites.ready()
        parts = [name for name in suites.depends(kernel.headers) if PARTS.fullmatch(name)]
        suites.unpack([kernel.headers, *parts], into)
        # The one absolute path in the packages.
        makefile = into / "usr" / "src" / kernel.headers / "Makefile"
        makefile.write_text(makefile.read_text().replace(" /usr/src/", f" {cache.path / folder}/usr/src/"))

    return cache.once(folder, make) / "usr" / "src" / kernel.headers


def build(cache: Cache, kernel: Kernel, fault: str) -> Path:
    """The fault as a module for this kernel, built if it is not there."""
    known(fault)
    if is_module(fault):
        return Path(fault).resolve()
    against = headers(cache, kernel)
    needs = host.MODULE_NEEDS
    if (against / ".kernelvariables").exists():
        needs += tuple(built_with(name) for name in compiler(against))
    host.prepare(needs)
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h") or path.name == "Kbuild")
    # A tree that was built anew has the same folder and the same release, and wants modules of its own.
    inputs = [*sources, *(path for path in (against / "Module.symvers", against / AUTOCONF) if path.exists())]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in inputs)).hexdigest()[:12]

    def make(into: Path) -> None:
        say(f"building the fault {fault} for {kernel.release}")
        for path in sources:
            shutil.copy2(path, into)
        # Without BTF, which would take pahole.
        without = "CONFIG_DEBUG_INFO_BTF_MODULES="
        command = ["make", "-C", against, f"M={into}", f"FAULT={fault}", without, "modules"]
        run(command, f"building the fault {fault}", child.LONG)

    return cache.once(f"faults/{kernel.release}-{kernel.build}-{digest}-{fault}", make) / f"{fault}.ko"


def load(fault: str, module: Path, filesystems: Sequence[str]) -> str:
    """The shell lines that put a fault into the guest's kernel; it must take hold wherever it is for.

    What a module from elsewhere is for nobody can say, and it need not be a livepatch. One of ours that is none is in
    place once it is loaded: it refuses to be otherwise.
    """
    foreign = is_module(fault)
    objects = [] if foreign else [name for name in ("vmlinux", *filesystems) if patched(fault, name)]
    return LOAD.format(
        filesystems=" ".join(filesystems),
        objects=" ".join(objects),
        module=shlex.quote(str(module)),
        name=(facts(module)["name"] if foreign else fault).replace("-", "_"),
        fault=fault,
        must_patch="true" if foreign or not is_livepatch(fault) else "false",
    )
