"""`ci/vm --bisect`: what a kernel does in one case, as `git bisect run` wants to be told.

Git takes 0 for good, 125 for what cannot be judged, everything else up to 127
for bad, and stops at 128 or more. So 2, with which `ci/vm` says that it could
not run, would be a bad kernel: nothing but a case that deviates may end with
1, and what has nothing to do with the kernel (a typing mistake, no QEMU) ends
with 128. In between is a kernel that does not build, lacks an option, does
not boot or mount, or on which the case does not run.

A known deviation is a deviation: whoever bisects it wants to know where it
begins or ends.

A case may fail in some runs only. Then a bad kernel can look good by chance,
and one such mistake sends git the wrong way. How often the case fails on a
bad kernel only the user can know; with that share the case is repeated until
the odds that a bad kernel passed every time are below 1 %.
"""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import child, cli, entry, fault, host, journal, kernel, options, refusal, results
from .failure import Failure
from .journal import Journal
from .machine import leave_on_signals
from .options import Options
from .say import say

GOOD, BAD, SKIP, STOP = 0, 1, 125, 128

# How likely a bad kernel may be taken for a good one.
ODDS = 0.01

# The verdicts by which a case deviates, and those by which it does not.
DEVIATES = {"FAIL", "HANG", "XFAIL"}
PASSES = {"PASS", "XPASS"}

# What else would say how often a case runs, or which.
OWN = ("--iterations", "--duration", "--until-fail", "--last-failed", "--resume", "--list")

# A whole kernel, on a slow machine.
BUILDING = 8 * 3600.0


class Unjudged(Exception):
    """This kernel tells nothing about the case. The message says why, in a line."""


def main(arguments: list[str]) -> int:
    """Judge a kernel; the exit code for git."""
    leave_on_signals()
    try:
        asked = options.parse(arguments)
        if not asked.bisect:
            return cli.run(asked)
        code, why = judged(lambda: look(asked), runs(asked.fails), asked.fails)
        say(f"bisect: {why}")
        return code
    except SystemExit as left:
        # Git would take 2 for a bad kernel.
        return STOP if left.code else 0
    except (Failure, OSError) as error:
        return entry.leave("ci/vm", child.why(error) if isinstance(error, OSError) else str(error), STOP)
    except Exception as error:
        return entry.leave("ci/vm", f"a defect of its own: {type(error).__name__}: {error}", STOP)


def runs(fails: float) -> int:
    """How often a case has to pass until that is no chance, if it fails in this share of the runs on a bad kernel."""
    return 1 if fails >= 1 else math.ceil(math.log(ODDS) / math.log1p(-fails))


def judged(look: Callable[[], Journal], wanted: int, fails: float) -> tuple[int, str]:
    """What to tell git, and why."""
    try:
        return verdict(look(), wanted, fails)
    except Unjudged as why:
        return SKIP, f"cannot be judged: {why}"


def verdict(seen: Journal, wanted: int, fails: float) -> tuple[int, str]:
    """What the journal of `wanted` runs of each case says."""
    for case, verdicts in seen.verdicts.items():
        bad = [verdict for verdict in verdicts if verdict in DEVIATES]
        if bad:
            first = seen.told.get(case, "").partition("\n")[0]
            return BAD, f"bad: {case}: {bad[0]} in {len(bad)} of {len(verdicts)} runs{first and ': ' + first}"
    if (case := seen.running) and seen.down.startswith("kernel panic"):
        return BAD, f"bad: {case} took the machine down: {seen.down}"
    if seen.running:
        raise Unjudged(f"{seen.running} came to no end: {seen.down or 'the run was cut off'}")
    if not seen.verdicts:
        raise Unjudged("no case ran")
    for case, verdicts in seen.verdicts.items():
        passed = sum(verdict in PASSES for verdict in verdicts)
        if passed < wanted:
            others = ", ".join(sorted(set(verdicts) - PASSES)) or "no verdict"
            raise Unjudged(f"{case} passed in {passed} of {wanted} runs; else: {others}")
    if seen.trouble:
        raise Unjudged(f"outside of the case: {seen.trouble[0]}")
    if not seen.complete:
        raise Unjudged("the run is incomplete")
    odds = (1 - fails) ** wanted
    return GOOD, (
        f"good: passed {wanted} times; a kernel on which it fails in {fails:.0%} of the runs would look the same "
        f"with a probability of {odds:.2%}"
    )


def look(asked: Options) -> Journal:
    """Run the cases as often as it takes; what the runner's journal says of it."""
    name, filesystem = check(asked)
    asked = replace(asked, runner=[*asked.runner, "--iterations", str(runs(asked.fails))])
    # Whether there is a kernel shows when it is built.
    host.prepare(*cli.lacks(replace(asked, kernels=[])))
    programs = cli.found(asked, ("runner",))
    build(name)
    booted = kernel.look(name)
    if reason := refusal.unkept(asked, cli.results_path(asked, name, filesystem)):
        raise Failure(reason)
    if booted and (reason := kernel.complaint(booted, filesystem)):
        raise Unjudged(reason)
    if booted and asked.fault and (reason := fault.refusal(booted, asked.fault, filesystem)):
        raise Unjudged(reason)
    if cli.understand(asked, programs) is not None:
        raise Failure("the runner refuses its arguments, or only answers a question; see above")
    folder = results.take(cli.results_path(asked, name, filesystem))
    path = folder / "journal.jsonl"
    before = journal.stamp(path)
    # A kernel that needs a second boot has shown what it does.
    cli.one(asked, cli.make_ready(), name, filesystem, folder, programs, most=1)
    return journal.read(path, before)


def check(asked: Options) -> tuple[str, str]:
    """The kernel and the file system, if what was asked for is one question."""
    if len(asked.kernels) > 1 or len(asked.filesystems) > 1 or asked.command or asked.setup or asked.bless:
        raise Failure("--bisect is for some cases on one kernel and one file system")
    if given := [word for word in asked.runner if word.split("=")[0] in OWN]:
        raise Failure(f"--bisect decides by itself which cases run how often: leave out {given[0]} (see --fails)")
    if not any(not word.startswith("-") for word in asked.runner):
        raise Failure("say which case to bisect: --bisect CASE")
    if reason := refusal.device(asked):
        raise Failure(reason)
    if asked.fault:
        fault.known(asked.fault)
    name, filesystem = asked.kernels[0], asked.filesystems[0]
    # A tree is not built yet.
    if not Path(name).is_dir():
        kernel.look(name)
        if asked.fault and (reason := cli.unfit(name, filesystem, asked.fault)):
            raise Failure(reason)
    return name, filesystem


def build(name: str) -> None:
    """Build a kernel tree: what lies there is of the commit before."""
    tree = Path(name)
    if name in kernel.read_table()["kernel"] or not tree.is_dir():
        return
    if not (tree / ".config").exists():
        raise Failure(f"{tree} has no .config: configure it once (see ci/kernels/debug.config); git leaves it alone")
    for words in (["olddefconfig"], [f"--jobs={os.cpu_count() or 1}"]):
        say(f"make {' '.join(words)} in {tree}")
        # What make says is for the user, on standard error (2); stdout is the runner's.
        command = ["make", "--no-print-directory", "-C", tree, *words]
        done = child.finish(command, "building the kernel", BUILDING, stdout=2)
        if done.returncode:
            raise Unjudged(f"it does not build: make {' '.join(words)} ended with {done.returncode}")
    if not (tree / kernel.IMAGE).exists():
        raise Unjudged(f"make left no {kernel.IMAGE}")
