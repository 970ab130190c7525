"""One thing that `ci/test` does: a plain command, whose exit code is its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Status(Enum):
    """How a step went."""

    OK = "ok"
    FAILED = "failed"
    OUT_OF_REACH = "out of reach"


@dataclass
class Result:
    """How a step went, in numbers."""

    status: Status
    passed: int = 0
    failed: int = 0
    skipped: int | None = None
    """None where nothing is ever skipped."""
    reason: str = ""
    """Why it failed or is out of reach, in a line."""
    attention: list[str] = field(default_factory=list)
    """What somebody should look at."""
    reports: dict[str, str] = field(default_factory=dict)
    """What is known of it, stacks and all: the results of a CI machine may be gone when somebody looks."""
    facts: dict[str, object] = field(default_factory=dict)
    """What else the summary tells."""

    def line(self, name: str) -> str:
        """The closing line: `suite-6.12-xfs: 3 passed, 0 failed, 1 skipped`."""
        skipped = "" if self.skipped is None else f", {self.skipped} skipped"
        return f"{name}: {self.passed} passed, {self.failed} failed{skipped}"


@dataclass(frozen=True)
class Where:
    """A virtual machine for one step."""

    kernel: str
    """A kernel of the table."""
    filesystem: str
    cpus: int = 2
    """1 where nothing races: a second CPU only takes time from the machines beside it, since emulated
    CPUs that wait for each other while the host runs another cost more than they do."""

    icount: bool = False
    """Whether its clock counts instructions, for measuring."""

    def arguments(self) -> list[str]:
        """What `ci/vm` is told of it."""
        counted = ["--icount"] if self.icount else []
        return ["--kernel", self.kernel, "--fs", self.filesystem, "--cpus", str(self.cpus), *counted]

    def __str__(self) -> str:
        """Its name in the results."""
        return f"{self.kernel}-{self.filesystem}"


@dataclass(frozen=True)
class Step:
    """A command to run."""

    name: str
    command: Sequence[str]
    """0 says that all is well."""
    timeout: float
    """When it is taken to hang, in seconds: many times what it takes on a busy machine."""
    journal: Path | None = None
    """The runner's journal that it leaves, for the numbers of its cases."""
    where: Where | None = None
    """The virtual machine that it runs in, if it does."""
    alone: bool = False
    """Whether no other step may run meanwhile: its machine needs all CPUs for a race to happen."""
    fault: str | None = None
    """The fault of ci/faults/ that is put into its kernel."""
    known: Mapping[str, str] = field(default_factory=dict)
    """The cases in its journal that must fail as is known, each with the id of its find: an exit code does not tell
    whether they ran."""
