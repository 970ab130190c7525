"""What `ci/vm` does: make ready, then a machine for each kernel and file system."""

import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import build, child, ebpf, fault, host, kernel, options, qemu, suite, vng
from .cache import ROOT, Cache
from .failure import Failure
from .guest import Work
from .kernel import Kernel
from .machine import End, Hardware, Machine, leave_on_signals, persistently, stamp
from .options import Options
from .say import say

# What of the host's environment a guest gets: how programs talk, not where things lie.
PASSED = ("CARGO_TERM_COLOR", "NO_COLOR", "RUST_BACKTRACE", "RUST_LOG")


@dataclass(frozen=True)
class Tools:
    """What is fetched once for all machines."""

    cache: Cache
    programs: Path
    qemu: Path


def main(arguments: list[str]) -> int:
    """Do what was typed; the exit code."""
    leave_on_signals()
    asked = options.parse(arguments)
    try:
        return run(asked)
    except Failure as error:
        say(str(error))
        return suite.COULD_NOT_RUN
    except KeyboardInterrupt:
        say("interrupted")
        return 130


def run(asked: Options) -> int:
    """Make ready, and run what was asked for."""
    if asked.results and len(asked.kernels) * len(asked.filesystems) > 1:
        raise Failure("--results is for one kernel and one file system")
    tools = make_ready()
    if asked.setup:
        for name in asked.kernels:
            booted = kernel.resolve(tools.cache, name, refresh=True)
            if asked.headers:
                fault.headers(tools.cache, booted)
        return 0
    required = () if asked.command else ("runner",)
    if asked.build:
        ebpf.prepare_if_possible()
    programs = build.build(required, asked.release) if asked.build else build.built(required, asked.release)
    worst = 0
    for name in asked.kernels:
        booted = kernel.resolve(tools.cache, name)
        for filesystem in asked.filesystems:
            code = one(asked, tools, booted, filesystem, programs)
            worst = worst or code
            if code and not asked.keep_going:
                return code
    return worst


def make_ready() -> Tools:
    """Install and fetch what every machine needs."""
    host.prepare()
    cache = Cache.default()
    table = kernel.read_table()
    programs = vng.fetch(cache, table["virtme-ng"]["version"])
    return Tools(cache, programs, qemu.fetch(cache, table["qemu"]))


def results_folder(asked: Options, booted: Kernel, filesystem: str) -> Path:
    """Where the results go, made if it is not there."""
    if asked.results:
        path = asked.results
    else:
        parts = [booted.name, "command" if asked.command else filesystem]
        parts += [] if asked.reflink else ["noreflink"]
        parts += [asked.fault] if asked.fault else []
        path = ROOT / "target" / "results" / "-".join(parts)
    path = path.resolve()
    # It becomes part of a kernel command line and of a QEMU option.
    if not re.fullmatch(r"[-\w./+@%:]+", str(path)):
        raise Failure(f"{path}: a results folder may not have such characters in its path")
    path.mkdir(parents=True, exist_ok=True)
    return path


def one(asked: Options, tools: Tools, booted: Kernel, filesystem: str, programs: Sequence[Path]) -> int:
    """Run what was asked for on one kernel and one file system; the exit code."""
    results = results_folder(asked, booted, filesystem)
    accelerated = asked.kvm == "on" or (asked.kvm == "auto" and qemu.kvm_works(tools.cache, tools.qemu, booted.vmlinuz))
    hardware = Hardware(tools.programs, tools.qemu, accelerated, asked.icount, asked.cpus, asked.memory)
    before = fault.load(fault.build(tools.cache, booted, asked.fault), filesystem) if asked.fault else ""
    journal = results / "journal.jsonl"
    deadline = time.monotonic() + asked.timeout
    environment = {"RESULTS": str(results), "LANG": "C.UTF-8", "HOME": "/root"}
    environment |= {name: os.environ[name] for name in PASSED if name in os.environ}

    unwritten: list[str] = []

    def boot(command: Sequence[str]) -> End:
        return persistently(lambda: attempt(command), say)

    def attempt(command: Sequence[str]) -> End:
        machine = Machine(hardware, booted, share, results)
        say(f"booting {booted.release or booted.name}{'' if accelerated else ', emulated'}")
        console.write(f"=== {time.strftime('%F %T')}: {booted.release or booted.name}: {' '.join(command)}\n".encode())
        work = Work(command, Path.cwd(), environment, before, asked.beside or "")
        watched = [] if asked.command else [journal]
        end = machine.run(work, console, output, deadline - time.monotonic(), watched)
        if machine.unwritten:
            unwritten.append(machine.unwritten)
        return end

    with (
        tools.cache.scratch() as share,
        open(results / "console.log", "wb", buffering=0) as console,
        # Unbuffered and apart from print: what the guest says is passed on as it comes.
        os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0) as output,
    ):
        # Copies, for the next build may come while the guest runs these.
        (share / "bin").mkdir()
        for program in programs:
            shutil.copy2(program, share / "bin")
        if asked.command:
            end = boot(asked.command)
            if end.code is None:
                say(f"the machine went down: {end.reason}; see {results}/console.log")
            return suite.COULD_NOT_RUN if end.code is None or unwritten else end.code
        command = ["runner", "--fs", filesystem, "--dev", "/dev/pmem0", "--results", str(results), *asked.runner]
        # The working tree is read-only in the guest, so the transcripts come back with the results.
        blessed = results / "expected"
        if asked.bless:
            shutil.rmtree(blessed, ignore_errors=True)
            command += ["--bless", str(blessed)]
        # What is made from the journal must not outlive it. The journal itself
        # stays until the runner begins a new one: --last-failed reads it.
        (results / "junit.xml").unlink(missing_ok=True)
        old = stamp(journal)
        code, boots = suite.run(boot, command, results)
        if stamp(journal) != old and (boots > 1 or not (results / "junit.xml").exists()):
            report(share / "bin" / "runner", results)
        if asked.bless and blessed.exists():
            shutil.copytree(blessed, ROOT / "expected", dirs_exist_ok=True)
    say(f"results are in {results}")
    # What was to be said and was not is told above; the journal has it, and is judged as ever.
    return suite.COULD_NOT_RUN if unwritten and not code else code


def report(runner: Path, results: Path) -> None:
    """Have the reports made anew from the journal, which tells of all boots."""
    done = child.finish([runner, "report", results], "reporting the run", stdout=child.DEVNULL)
    if done.returncode not in (suite.EXPECTED, suite.UNEXPECTED) or not (results / "junit.xml").exists():
        say(f"warning: runner report {results} ended with {done.returncode}")
