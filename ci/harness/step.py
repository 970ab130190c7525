"""One thing that `ci/test` does, and how it went."""

from collections.abc import Callable
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
    facts: dict[str, object] = field(default_factory=dict)
    """What else the summary tells."""

    def line(self, name: str) -> str:
        """The closing line: `suite-6.12-xfs: 3 passed, 0 failed, 1 skipped`."""
        skipped = "" if self.skipped is None else f", {self.skipped} skipped"
        return f"{name}: {self.passed} passed, {self.failed} failed{skipped}"


@dataclass(frozen=True)
class Step:
    """Something to do."""

    name: str
    run: Callable[[Path], Result]
    """Does it, with its output in the file given."""
    counts: bool = True
    """Whether it runs tests that are counted; a linter does not."""
    machine: bool = False
    """Whether it runs in a virtual machine of its own."""
    alone: bool = False
    """Whether no other step may run meanwhile: its machine needs all CPUs for a race to happen."""
    kernel: str | None = None
    """The kernel that it needs."""
    cpus: int = 2
    """How many CPUs its machine has: 1 where nothing races."""
