"""`ci/vm` as it is typed."""

import argparse
import math
import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from . import kernel

HELP = """\
Boot a kernel with two persistent-memory devices and run the suite in it.
Missing packages are installed first (by apt, as root).
"""

EPILOG = """\
Arguments that are not listed above go to the runner, as does everything after
`--runner`:

  ci/vm                                  the whole suite: 6.12, xfs
  ci/vm --kernel 7 --fs ext4 'waits/**'  some cases, on another kernel
  ci/vm -g quick --iterations 100        options of the runner
  ci/vm --fault retry race/retry         a kernel with a bug put in
  ci/vm --kernel ~/linux                 a kernel build tree (configurations
                                         that work: ci/kernels/)
  ci/vm -- sh -c 'uname -r; ls $RESULTS' any command
  ci/vm --icount --cpus 1 -- ci/bench/run the cost of tracing
  git bisect run .../ci/vm --bisect --kernel . CASE
                                         find the commit that broke a case

A command has the project's programs on its PATH, the working tree where it is
on the host (read-only), and a writable directory in $RESULTS. The host's other
directories are visible; writes to /tmp, /var, /etc, /home, /root and /lib are
discarded.

Results are in target/results/KERNEL-FS/ (KERNEL-command/ for a command):
report.html, junit.xml, journal.jsonl, console.log, and a folder for each case
that needs attention. A kernel of your own is named by its release and build.
Downloads are cached in target/vm/ or $DAXTESTS_CACHE until --setup fetches
newer ones. They come from apt's Debian mirror, or from $DAXTESTS_MIRROR.

Exit codes: the runner's (0 all as expected, 1 something unexpected or missing,
2 could not run) or the command's; 2 also if the machine went down early or
ci/vm itself failed, with the reason in one line; 130 interrupted. With --bisect:
0 good, 1 bad, 125 cannot be judged (does not build, boot or mount, or the case
does not run), 128 or more: stop.
"""


# What the runner answers by itself, and no machine is needed for.
ANSWERED = {"--list", "--list-shapes", "--help", "-h", "--version", "-V"}

# What is about a machine and what it does.
BOOTING = (
    *("--bless", "--fault", "--beside", "--must-fail"),
    *("--memory", "--append", "--cpus", "--kvm", "--icount", "--timeout", "--keep-going"),
)

# What says whose results are meant.
PLACE = ("--kernel", "--fs", "--fault", "--results")

# In GiB. The persistent memory lies from 4 GiB to 6 GiB, and what a machine has beyond its first
# two GiB lies from 4 GiB on.
LEAST_MEMORY = 4


def memory(text: str) -> str:
    """An amount of memory that the persistent regions fit into."""
    found = re.fullmatch(r"(\d+)([MG])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a memory size such as 5G or 6144M")
    if int(found[1]) * (1024 if found[2] == "G" else 1) < LEAST_MEMORY * 1024:
        raise argparse.ArgumentTypeError(f"{text} is too little: 2G of it are persistent; at least {LEAST_MEMORY}G")
    return text


def count(text: str) -> int:
    """A number of CPUs."""
    if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= 255:
        raise argparse.ArgumentTypeError(f"{text} is not a number of CPUs from 1 to 255")
    return int(text)


def shard(text: str) -> str:
    """A share of the suite, as the runner's --shard takes it."""
    number, _, of = text.partition("/")
    if not re.fullmatch(r"\d{1,3}/\d{1,3}", text) or not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError(f"{text} is not I/N, with I from 1 to N")
    return text


def share(text: str) -> float:
    """A part of a whole."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.001 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0.001 to 1")
    return value


def deviation(text: str) -> tuple[str, str]:
    """A case, and the id of the find by which it must fail."""
    case, _, find = text.partition("=")
    if not (case and find):
        raise argparse.ArgumentTypeError(f"{text} is not CASE=FIND")
    return case, find


def output(text: str) -> Path:
    """A file to write, tried before hours of work that it is to tell of."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written")
    return path


def seconds(text: str) -> float:
    """A time limit."""
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return limit


class OneLine(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    kernels: list[str]
    filesystems: list[str]
    reflink: bool
    bless: bool
    fault: str | None
    beside: str | None
    must_fail: dict[str, str]
    command: list[str] | None
    runner: list[str]
    results: Path | None
    memory: str
    append: list[str]
    cpus: int
    kvm: str
    icount: bool
    timeout: float
    keep_going: bool
    bisect: bool
    fails: float
    setup: bool
    headers: bool
    release: bool
    build: bool
    programs: Path | None


def parser() -> OneLine:
    """The options that are not the runner's."""
    parser = OneLine(
        prog="ci/vm",
        usage="ci/vm [OPTIONS] [RUNNER'S ARGUMENTS]\n       ci/vm [OPTIONS] -- COMMAND...",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviated option of the runner's must not become one of ours.
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--kernel", action="append", metavar="NAME|PATH",
        help="a kernel of ci/kernels.toml, a vmlinuz with its modules beside it (DIR/boot/vmlinuz-V and "
        f"DIR/lib/modules/V), or a build tree; repeatable (default: {kernel.default()})")
    add("--fs", action="append", choices=("xfs", "ext4"),
        help="file system to test; for a command, the one that gets the fault; repeatable (default: xfs)")
    add("--no-reflink", action="store_true", help="make the file system without reflink")
    add("--bless", action="store_true", help="update expected/ from the passing cases")
    add("--fault", metavar="NAME|FILE.ko",
        help="put a bug of ci/faults/ into the kernel, or load a module of your own")
    add("--beside", metavar="SCRIPT", help="run a shell script beside the suite at every boot")
    add("--must-fail", type=deviation, action="append", default=[], metavar="CASE=FIND",
        help="fail unless the case fails as expected/known.toml says of this find, each time; repeatable")
    add("--results", type=Path, metavar="DIR", help="write the results to DIR")
    add("--memory", type=memory, default="5G", metavar="SIZE",
        help=f"memory of the machine, 2G of it persistent; at least {LEAST_MEMORY}G (default: %(default)s)")
    add("--append", action="append", default=[], metavar="OPTIONS",
        help="append to the kernel's command line; repeatable")
    add("--cpus", type=count, default=2, metavar="N", help="number of CPUs (default: %(default)s)")
    add("--kvm", choices=("auto", "on", "off"), default="auto", help="auto: where it works (default: %(default)s)")
    add("--icount", action="store_true",
        help="emulate with a clock that counts instructions: slow, but independent of the host's speed")
    add("--timeout", type=seconds, default=3600, metavar="SECONDS",
        help="limit for all boots of one kernel and file system together (default: %(default)s)")
    add("--keep-going", action="store_true", help="go on with the next kernel or file system after a failure")
    add("--bisect", action="store_true",
        help="judge one case for git bisect run; build a kernel tree first, with make")
    add("--fails", type=share, default=0.5, metavar="SHARE",
        help="with --bisect, the share of runs in which the case fails on a bad kernel, from 0.001 to 1; it is repeated until "
        "a false 'good' is less than 1%% likely (default: %(default)s, which takes 7 runs)")
    add("--release", action="store_true", help="build with optimization (slower to build, faster to run)")
    add("--no-build", action="store_true", help="use the programs from the last build")
    add("--programs", type=Path, metavar="DIR", help="use the programs in DIR; build none")
    add("--setup", action="store_true", help="install and fetch the newest of everything, and exit")
    add("--headers", action="store_true", help="with --setup, also fetch the headers that faults are built against")
    return parser  # fmt: skip


def parse(arguments: list[str]) -> Options:
    """The options that these arguments are. Leaves the program if they are none."""
    command = None
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
    verbatim: list[str] = []
    if "--runner" in arguments:
        at = arguments.index("--runner")
        arguments, verbatim = arguments[:at], arguments[at + 1 :]
    ours = parser()
    typed, unknown = ours.parse_known_args(arguments)
    runner = unknown + verbatim
    if command is not None and not command:
        ours.error("no command after --")
    if command and command[0].startswith("-"):
        ours.error(f"{command[0]} is an option, not a command: drop the --: ci/vm {shlex.join(command)}")
    if command and runner:
        ours.error(f"{' '.join(runner)}: the runner's arguments and a command do not go together")
    if command and (typed.no_reflink or typed.bless or typed.beside or typed.must_fail):
        ours.error("--no-reflink, --bless, --beside and --must-fail do not go together with a command")
    if typed.bisect and typed.must_fail:
        ours.error("--bisect and --must-fail do not go together: a known deviation is one, too")
    if typed.fails != parser().get_default("fails") and not typed.bisect:
        ours.error("--fails goes with --bisect only")
    if typed.icount and typed.kvm == "on":
        ours.error("--icount and --kvm on do not go together: only an emulator counts instructions")
    if reason := idle(ours, typed, command, runner):
        ours.error(reason)
    if typed.no_reflink:
        runner.insert(0, "--no-reflink")
    return Options(
        kernels=typed.kernel or [kernel.default()],
        filesystems=typed.fs or ["xfs"],
        reflink=not typed.no_reflink,
        bless=typed.bless,
        fault=typed.fault,
        beside=typed.beside,
        must_fail=dict(typed.must_fail),
        command=command,
        runner=runner,
        results=typed.results,
        memory=typed.memory,
        append=typed.append,
        cpus=typed.cpus,
        kvm="off" if typed.icount else typed.kvm,
        icount=typed.icount,
        timeout=typed.timeout,
        keep_going=typed.keep_going,
        bisect=typed.bisect,
        fails=typed.fails,
        setup=typed.setup,
        headers=typed.headers,
        release=typed.release,
        build=not (typed.no_build or typed.programs),
        programs=typed.programs,
    )


def given(ours: OneLine, typed: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Those of the options that say something else than what is so anyway."""
    values = {name: name.lstrip("-").replace("-", "_") for name in names}
    return [name for name, value in values.items() if getattr(typed, value) != ours.get_default(value)]


def idle(ours: OneLine, typed: argparse.Namespace, command: list[str] | None, runner: list[str]) -> str | None:
    """What nobody would heed beside the rest, in a line."""
    if typed.headers and not typed.setup:
        return "--headers goes with --setup only"
    if typed.programs and typed.release:
        return "--release and --programs do not go together: those in DIR are built"
    if typed.setup:
        unheeded = given(ours, typed, (*BOOTING, "--fs", "--results", "--no-reflink", "--release"))
        unheeded += ["--"] if command else runner[:1]
        return f"--setup only installs and fetches: leave out {', '.join(unheeded)}" if unheeded else None
    answered = sorted(ANSWERED.intersection(runner))
    if answered:
        # What failed last is read from results.
        heeded = PLACE if "--last-failed" in runner else ()
        unheeded = given(ours, typed, [name for name in dict.fromkeys((*PLACE, *BOOTING)) if name not in heeded])
        if unheeded:
            return f"{answered[0]} boots no machine: leave out {', '.join(unheeded)}"
        if len(typed.kernel or []) > 1 or len(typed.fs or []) > 1:
            return f"{answered[0]} --last-failed is for one kernel and one file system"
    return None
