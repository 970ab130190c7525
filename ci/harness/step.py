"""The steps of `ci/test`: plain commands, whose exit codes are their verdicts. ci/steps.toml lists them."""

import shlex
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import child, say
from .cache import ROOT
from .failure import Failure
from .results import DEFAULT as RESULTS
from .run import BESIDE, PROGRAMS, TIMEOUT

LIST = ROOT / "ci" / "steps.toml"

# A run is to stay short: of the suite one share a commit, and one share of the steps that try one thing more than the
# others. Which, the commit decides.
SHARES = 32

# Those that take turns: one comes with each commit.
TURNS = 4

# How many machines one after the other a command boots at most, if it is not ci/vm: one for each file system, and the
# one that they shared.
MACHINES = 3


@dataclass(frozen=True)
class Step:
    """A command to run."""

    name: str
    command: Sequence[str]
    """0 says that all is well."""
    timeout: float = child.LONG
    """When it is taken to hang, in seconds: many times what it takes on a busy machine."""
    kernel: str | None = None
    """The kernel of the virtual machine that it runs in, if it does."""
    cpus: int = 2
    """How many CPUs it keeps busy; a compiler takes what it gets."""
    fault: str | None = None
    """The fault of ci/faults/ that is put into its kernel."""
    journal: Path | None = None
    """The runner's journal that it leaves, for the numbers of its cases."""
    shared: bool = False
    """Whether its turn comes with some commits only."""
    alternates: bool = False
    """Whether it takes turns with others of its kind."""
    alone: bool = False
    """Whether no other step may run meanwhile."""


def share() -> str:
    """The share whose turn it is with this commit, as the runner's --shard takes it."""
    try:
        commit = say.run(["git", "-C", ROOT, "rev-parse", "HEAD"], "asking git for the commit")
    except Failure:
        # No clone: an archive.
        commit = "0"
    return f"{int(commit, 16) % SHARES + 1}/{SHARES}"


def listed(shard: str) -> list[Step]:
    """All steps, in the order of doing them, with this share of the suite where not all of it runs."""
    table = tomllib.loads(LIST.read_text())
    alone, timeouts = table["alone"]["steps"], table["timeout"]
    shards = {"always": shard, "alternates": in_turn(shard), "shared": shard}
    return [
        make(name, shlex.split(line), part, kind, name in alone, timeouts.get(name, TIMEOUT))
        for kind, part in shards.items()
        for name, line in table[kind].items()
    ]


def in_turn(shard: str) -> str:
    """The share of a step that takes turns: its turn comes with one share of so many, and it takes as many times more. If
    the shares cannot be divided so, its turn comes with each."""
    number, of = map(int, shard.split("/"))
    return f"{(number + TURNS - 1) // TURNS}/{of // TURNS}" if of % TURNS == 0 else shard


def due(steps: Sequence[Step], shard: str) -> list[Step]:
    """The steps whose turn it is. With 1/1 that is all of them."""
    number, of = map(int, shard.split("/"))
    waiting = [step for index, step in enumerate(step for step in steps if step.shared) if index % of != number - 1]
    if of % TURNS == 0:
        alternating = [step for step in steps if step.alternates]
        waiting += [step for index, step in enumerate(alternating) if index % TURNS != (number - 1) % TURNS]
    return [step for step in steps if step not in waiting]


def make(name: str, words: list[str], shard: str, kind: str, alone: bool, timeout: float) -> Step:
    """The step that a line of the list is."""
    results = RESULTS / name
    kernel = after(words, "--kernel")
    is_vm = words[0] == "ci/vm"
    fault = words[1] if words[0] == "ci/red" else after(words, "--fault")
    runs_cases = words[:2] == ["cargo", "run"] or (is_vm and "--" not in words)
    cpus = int(after(words, "--cpus") or 1) if kernel else Step.cpus
    words = [shard if before == "--shard" else word for before, word in zip(["", *words], words)]
    if kernel:
        patience = ["--timeout", str(timeout)] if is_vm else []
        words[1:1] = ["--programs", str(PROGRAMS), "--results", str(results), *patience]
        timeout = timeout + BESIDE if is_vm else MACHINES * (TIMEOUT + BESIDE)
    # The harness and its tests are run by the Python that runs this.
    words = [sys.executable, "-B", *words] if words[0].startswith("ci/") else words
    words = [sys.executable if word == "python3" else word for word in words]
    return Step(
        name,
        words,
        timeout if kernel else Step.timeout,
        kernel,
        cpus,
        fault,
        results / "journal.jsonl" if runs_cases else None,
        kind == "shared",
        kind == "alternates",
        alone,
    )


def after(words: Sequence[str], option: str) -> str | None:
    """What an option is set to, if it is."""
    return words[words.index(option) + 1] if option in words else None
