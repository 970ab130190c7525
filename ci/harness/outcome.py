"""What came of a command: its exit code decides, what it left tells the numbers."""

from collections.abc import Mapping
from pathlib import Path

from .journal import Journal
from .step import Result, Status


def outcome(code: int, said: str, seen: Journal | None = None, known: Mapping[str, str] | None = None) -> Result:
    """The result of a command that ended with `code`, said this and left this journal, in which what is `known` of
    these cases must be seen."""
    result = Result(Status.OK)
    if seen is not None:
        result.passed, result.failed, result.skipped = seen.counts()
        result.attention = seen.unexpected() + seen.trouble
        result.reports = seen.told
        result.facts["seconds_of_cases"] = round(sum(seen.seconds.values()), 1)
    elif tests := libtest(said):
        result.passed, result.failed, result.skipped = map(sum, zip(*tests))
        result.attention = [
            words[1] for line in said.splitlines() if (words := line.split())[:1] == ["test"] and words[-1] == "FAILED"
        ]
    else:
        result.passed, result.failed = (1, 0) if code == 0 else (0, 1)
    missed = unseen(seen or Journal(), known or {})
    result.reason = against(code, result, seen, missed)
    if result.reason:
        # What no case or test is to blame for is one failure of its own.
        result.status, result.failed = Status.FAILED, max(result.failed, 1)
    return result


def unseen(seen: Journal, known: Mapping[str, str]) -> list[str]:
    """The cases that did not fail by the find that is known of them, each with what it did instead.

    To the exit code it is as expected if one could not run, or passed where its find is a matter of chance.
    """
    missed = []
    for case, find in known.items():
        ends = list(zip(seen.verdicts.get(case, []), seen.finds.get(case, [])))
        if set(ends) != {("XFAIL", find)}:
            said = ", ".join(f"{verdict} by {by}" if by else verdict for verdict, by in ends)
            missed.append(f"{case} by {find} ({said or 'no verdict'})")
    return missed


def against(code: int, result: Result, seen: Journal | None, missed: list[str]) -> str:
    """What speaks against a command, if anything does: its exit code, or what denies one that says that all is well."""
    if code:
        return f"it ended with {code}"
    if result.failed:
        return "it ended with 0 in spite of failures"
    if not result.passed:
        return "nothing passed"
    if seen is not None and not seen.complete:
        return "the journal does not say that the run is complete"
    if missed:
        return f"not seen to fail: {', '.join(missed)}"
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
