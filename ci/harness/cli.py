"""What `ci/vm` does: make ready, then a machine for each kernel and file system."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import again, build, child, fault, host, kernel, options, pmem, qemu, refusal, results, suite, vng, xfsprogs
from .cache import ROOT, Cache
from .failure import Failure
from .guest import Work
from .kernel import Kernel
from .journal import read, stamp
from .machine import End, Hardware, Machine, leave_on_signals, persistently
from .options import Options
from .say import say

# What of the host's environment a guest gets: how programs talk, not where things lie.
PASSED = ("CARGO_TERM_COLOR", "NO_COLOR", "RUST_BACKTRACE", "RUST_LOG")

# The guest's device that the suite runs on.
DEVICE = pmem.DEVICES[0]


@dataclass(frozen=True)
class Tools:
    """What is fetched once for all machines."""

    cache: Cache
    programs: Path
    qemu: Path


def main(arguments: list[str]) -> int:
    """Do what was typed; the exit code."""
    leave_on_signals()
    return run(options.parse(arguments))


def run(asked: Options) -> int:
    """Check all that can be checked at once, make ready, and run what was asked for."""
    if asked.results and len(asked.kernels) * (1 if asked.command else len(asked.filesystems)) > 1:
        raise Failure("--results is for one kernel and one file system")
    check(asked)
    if asked.setup:
        return setup(asked)
    host.prepare(*lacks(asked))
    # Not before: what was missing may be what is to be run.
    if asked.command and (reason := refusal.command(asked.command[0], Path.cwd())):
        raise Failure(reason)
    if asked.build:
        build.prepare_probes()
    programs = found(asked, required(asked))
    if (code := understand(asked, programs)) is not None:
        return code
    # For a command they only say where a fault must be.
    filesystems = asked.filesystems[:1] if asked.command else asked.filesystems
    places = [(name, filesystem) for name in asked.kernels for filesystem in filesystems]
    folders = [results.take(results_path(asked, *place)) for place in places]
    tools = make_ready()
    worst = 0
    for (name, filesystem), folder in zip(places, folders):
        code = one(asked, tools, name, filesystem, folder, programs)
        worst = worst or code
        if code and not asked.keep_going:
            return code
    return worst


def check(asked: Options) -> None:
    """Refuse what cannot be done, before anything is built or fetched."""
    if asked.fault:
        fault.known(asked.fault)
    if asked.results:
        results.check(asked.results)
    if reason := refusal.device(asked):
        raise Failure(reason)
    for name in asked.kernels:
        booted = kernel.look(name)
        for filesystem in asked.filesystems:
            if not answered(asked) and (reason := refusal.unkept(asked, results_path(asked, name, filesystem))):
                raise Failure(reason)
            if booted and (reason := kernel.complaint(booted, None if asked.command else filesystem)):
                # A command may do without what the suite needs.
                if not asked.command:
                    raise Failure(reason)
                say(f"warning: {reason}")
            if asked.fault and (reason := unfit(name, filesystem, asked.fault)):
                raise Failure(reason)


def unfit(name: str, filesystem: str, wanted: str) -> str | None:
    """Why a kernel cannot take a fault, as far as that can be told before anything is fetched; in a line."""
    row = kernel.read_table()["kernel"].get(name)
    if row and (reason := fault.forecast(name, row, wanted)):
        return reason
    booted = kernel.look(name) or kernel.cached(name)
    return fault.refusal(booted, wanted, filesystem) if booted else None


def answered(asked: Options) -> bool:
    """Whether the runner answers by itself."""
    return bool(options.ANSWERED.intersection(refusal.typed(asked)))


def setup(asked: Options) -> int:
    """Only install and fetch."""
    host.prepare(*lacks(asked))
    tools = make_ready()
    for name in asked.kernels:
        booted = kernel.resolve(tools.cache, name, refresh=True)
        if asked.headers:
            fault.headers(tools.cache, booted)
    return 0


def lacks(asked: Options | None = None) -> tuple[tuple[host.Need, ...], list[str]]:
    """What this machine must have, and what it lacks that no package of the distribution brings: all at once."""
    needs = host.NEEDS + (host.MODULE_NEEDS if asked is None or builds_fault(asked) or asked.headers else ())
    others = []
    if shutil.which("cargo") is None and (asked is None or asked.build):
        others.append("Rust with cargo (https://rustup.rs)")
    minimum = kernel.read_table()["qemu"]["minimum"]
    if host.codename() is None and not qemu.own(minimum):
        if qemu.needed(minimum):
            others.append(f"QEMU {minimum} or newer (qemu-system-x86_64)")
        else:
            needs += (host.Need("qemu-system-x86_64", "qemu-system-x86"),)
    if shutil.which("apt-get") is None and asked and any(kernel.look(name) is None for name in asked.kernels):
        others.append("apt, for a kernel of ci/kernels.toml (or name one of your own: --kernel PATH)")
    return needs, others


def builds_fault(asked: Options) -> bool:
    """Whether a fault is to be built here."""
    return asked.fault is not None and not fault.is_module(asked.fault)


def make_ready() -> Tools:
    """Fetch what every machine needs."""
    cache = Cache.default()
    table = kernel.read_table()
    programs = vng.fetch(cache, table["virtme-ng"]["version"])
    return Tools(cache, programs, qemu.fetch(cache, table["qemu"]))


def required(asked: Options) -> tuple[str, ...]:
    """The programs of ours that must be there."""
    if not asked.command:
        return ("runner",)
    return tuple(name for name in build.PROGRAMS if name == asked.command[0])


def found(asked: Options, required: tuple[str, ...]) -> list[Path]:
    """The programs for the guest."""
    if asked.programs:
        return build.lying(asked.programs, required)
    return build.build(required, asked.release) if asked.build else build.built(required, asked.release)


def understand(asked: Options, programs: Sequence[Path]) -> int | None:
    """Have the runner check its arguments here, where a typo costs no boot; the exit code if there is nothing to boot for."""
    runner = next((path for path in programs if path.name == "runner"), None)
    if asked.command:
        return check_run(asked, runner) if asked.command[0] == "runner" else None
    if answered(asked):
        where = ["--results", results_path(asked, asked.kernels[0], asked.filesystems[0])]
        words = [*(where if "--last-failed" in asked.runner else []), *asked.runner]
        return child.finish([runner, *words], "asking the runner").returncode
    for name in asked.kernels:
        for filesystem in asked.filesystems:
            # What failed last is read from the results, which are other ones for each.
            words = ["--check", *given(asked, results_path(asked, name, filesystem), name, filesystem)]
            if code := refused(runner, words):
                return code
    return None


def check_run(asked: Options, runner: Path) -> int | None:
    """Have the runner check the words of a command, if they are for a run; the exit code if it refuses them."""
    words = refusal.typed(asked)
    if answered(asked) or (words and is_subcommand(runner, words[0])):
        return None
    return refused(runner, ["--check", *words])


def is_subcommand(runner: Path, word: str) -> bool:
    """Whether a word is a command of the runner's, and not a case."""
    pipes = {"stdout": child.DEVNULL, "stderr": child.DEVNULL}
    return not word.startswith("-") and child.finish([runner, "help", word], "asking the runner", **pipes).returncode == 0


def refused(runner: Path, words: Sequence[str]) -> int | None:
    """The runner's exit code if it refuses what it is told to check; it says why."""
    return child.finish([runner, *words], "checking the runner's arguments").returncode or None


def given(asked: Options, folder: Path, name: str, filesystem: str) -> list[str]:
    """What the runner is told."""
    called = ["--called-as", again.command(asked, name, filesystem)]
    return ["--fs", filesystem, "--dev", DEVICE, "--results", str(folder), *called, *asked.runner]


def results_path(asked: Options, kernel_name: str, filesystem: str) -> Path:
    """Where the results go."""
    if asked.results:
        return asked.results
    own = kernel.look(kernel_name)
    parts = [own.name if own else kernel_name, "command" if asked.command else filesystem]
    parts += [] if asked.reflink else ["noreflink"]
    parts += [fault.called_as(asked.fault)] if asked.fault else []
    return results.DEFAULT / "-".join(parts)


def one(
    asked: Options,
    tools: Tools,
    name: str,
    filesystem: str,
    folder: Path,
    programs: Sequence[Path],
    most: int = suite.MOST_BOOTS,
) -> int:
    """Run what was asked for on one kernel and one file system, in so many boots at most; the exit code."""
    with results.alone(folder):
        return one_alone(asked, tools, name, filesystem, folder, programs, most)


def one_alone(
    asked: Options, tools: Tools, name: str, filesystem: str, folder: Path, programs: Sequence[Path], most: int
) -> int:
    """The same, once nobody else writes to the folder."""
    booted = kernel.resolve(tools.cache, name)
    faulty = asked.filesystems if asked.command else [filesystem]
    for each in faulty if asked.fault else []:
        if reason := fault.refusal(booted, asked.fault, each):
            raise Failure(reason)
    accelerated = asked.kvm == "on" or (asked.kvm == "auto" and qemu.kvm_works(tools.cache, tools.qemu, booted.vmlinuz))
    if not accelerated and (reason := qemu.complaint(tools.qemu, kernel.read_table()["qemu"]["minimum"])):
        raise Failure(reason)
    hardware = Hardware(tools.programs, tools.qemu, accelerated, asked.icount, asked.cpus, asked.memory, asked.append)
    module = fault.build(tools.cache, booted, asked.fault) if asked.fault else None
    journal = folder / "journal.jsonl"
    deadline = time.monotonic() + asked.timeout
    environment = {"RESULTS": str(folder), "LANG": "C.UTF-8", "HOME": "/root"}
    if asked.command:
        # What the programs print to be run again is run from here.
        environment["DAXTESTS_WITHIN"] = again.command(asked, name, filesystem)
    environment |= {name: os.environ[name] for name in PASSED if name in os.environ}

    results.set_aside(folder, "console.log")
    unwritten: list[str] = []

    def boot(command: Sequence[str]) -> End:
        return persistently(lambda: attempt(command), say)

    def attempt(command: Sequence[str]) -> End:
        machine = Machine(hardware, booted, share, folder)
        say(f"booting {booted.release}{'' if accelerated else ', emulated'}")
        console.write(f"=== {time.strftime('%F %T')}: {booted.release}: {' '.join(command)}\n".encode())
        filesystems = [] if asked.command else [filesystem]
        work = Work(command, Path.cwd(), environment, before, asked.beside or "", filesystems)
        watched = [] if asked.command else [journal]
        end = machine.run(work, console, output, deadline - time.monotonic(), watched)
        if machine.unwritten:
            unwritten.append(machine.unwritten)
        return end

    with (
        tools.cache.scratch() as share,
        open(folder / "console.log", "wb", buffering=0) as console,
        # Unbuffered and apart from print: what the guest says is passed on as it comes.
        os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0) as output,
    ):
        before = ""
        if asked.fault and module:
            # A copy: not every folder of the host's is seen in the guest.
            before = fault.load(asked.fault, Path(shutil.copy(module, share)), faulty)
        # Copies, for the next build may come while the guest runs these.
        (share / "bin").mkdir()
        for program in programs:
            build.strip(program, share / "bin")
        table = kernel.read_table()[xfsprogs.NAME]
        if xfsprogs.wanted([*(asked.command or []), *asked.runner], table):
            for tool in xfsprogs.fetch(tools.cache, table):
                (share / "bin" / tool.name).symlink_to(tool)
        if asked.command:
            end = boot(asked.command)
            if end.code is None:
                say(f"the machine went down: {end.reason}; see {folder}/console.log")
            return suite.COULD_NOT_RUN if end.code is None or unwritten else end.code
        command = ["runner", *given(asked, folder, name, filesystem)]
        # The working tree is read-only in the guest; what is shared is gone afterwards.
        blessed = share / "blessed"
        if asked.bless:
            command += ["--bless", str(blessed)]
        # The results of the run before stay until the runner has some of its own.
        junit = folder / "junit.xml"
        old = stamp(journal), stamp(junit)
        code, boots = suite.run(boot, command, folder, most)
        if stamp(journal) != old[0] and (boots > 1 or stamp(junit) in (None, old[1])):
            report(share / "bin" / "runner", folder)
        if blessed.exists():
            shutil.copytree(blessed, ROOT / "expected", dirs_exist_ok=True)
        code = suite.with_known(code, read(journal, old[0]), asked.must_fail)
    say(f"results are in {folder}")
    # What was to be said and was not is told above; the journal has it, and is judged as ever.
    return suite.COULD_NOT_RUN if unwritten and not code else code


def report(runner: Path, folder: Path) -> None:
    """Have the reports made anew from the journal, which tells of all boots."""
    done = child.finish([runner, "report", folder], "reporting the run", stdout=child.DEVNULL)
    if done.returncode == suite.COULD_NOT_RUN or not (folder / "junit.xml").exists():
        say(f"warning: runner report {folder} ended with {done.returncode}")
