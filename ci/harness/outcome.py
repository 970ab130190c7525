"""What came of a command: its exit code decides, what it left tells the numbers."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from .journal import Journal


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


def outcome(code: int, said: str, seen: Journal | None = None) -> Result:
    """The result of a command that ended with `code`, said this and left this journal."""
    result = Result(Status.OK)
    if seen is not None:
        result.passed, result.failed, result.skipped = seen.counts()
        result.attention = seen.unexpected() + seen.trouble
        result.reports = seen.told
        result.facts["seconds_of_cases"] = round(sum(map(sum, seen.seconds.values())), 1)
    elif tests := libtest(said):
        result.passed, result.failed, result.skipped = map(sum, zip(*tests))
        result.attention = [
            words[1] for line in said.splitlines() if (words := line.split())[:1] == ["test"] and words[-1] == "FAILED"
        ]
    else:
        result.passed, result.failed = (1, 0) if code == 0 else (0, 1)
    result.reason = against(code, result, seen)
    if result.reason:
        # What no case or test is to blame for is one failure of its own.
        result.status, result.failed = Status.FAILED, max(result.failed, 1)
    return result


def against(code: int, result: Result, seen: Journal | None) -> str:
    """What speaks against a command, if anything does: its exit code, or numbers that deny one that says that all is
    well."""
    if code:
        return f"it ended with {code}"
    if result.failed:
        return "it ended with 0 in spite of failures"
    if not result.passed and not (seen and seen.deviated()):
        return "nothing passed"
    if seen is not None and not seen.complete:
        return "the journal does not say that the run is complete"
    return ""


def libtest(said: str) -> list[tuple[int, int, int]]:
    """How many tests passed, failed and were ignored, for each test program of `cargo test`."""
    # test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
    results = (line.split() for line in said.splitlines() if line.startswith("test result: "))
    return [(int(words[3]), int(words[5]), int(words[7])) for words in results]


def read(path: Path) -> str:
    """What a command said; nothing if there is no file."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
