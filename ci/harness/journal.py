"""Reads the runner's journal: which cases ended how, and which was running when all ended.

The runner owns the format: an object a line, its kind under "event". Lines of
a kind that is not known here are passed over, and so is a last line that was
cut off when the machine went down.
"""

import errno
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The verdicts that make a run unexpected; the others are PASS, XFAIL and NOTRUN.
UNEXPECTED = {"FAIL", "HANG", "ERROR", "XPASS"}


@dataclass
class Journal:
    """What a journal says so far."""

    verdicts: dict[str, list[str]] = field(default_factory=dict)
    """The verdicts of each case, in the order of its executions."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """How long each execution of each case took."""
    running: str | None = None
    """The case that has begun and not ended."""
    down: str = ""
    """Why the machine went down last, as far as somebody told."""
    lost: list[str] = field(default_factory=list)
    """The cases that a boot took down with it."""
    unjudged: set[str] = field(default_factory=set)
    """Those of them of which the next boot did not say how they went: it may be known."""
    begun: int = 0
    """How many executions of cases have begun."""
    finds: dict[str, list[str | None]] = field(default_factory=dict)
    """With each verdict, the id of the find that the case deviates by, or ought to, if it is one."""
    findings: dict[str, list[dict]] = field(default_factory=dict)
    """What the rules found in each case, with the fields that the runner keeps of it."""
    told: dict[str, str] = field(default_factory=dict)
    """All that is known of what went wrong in each case, for people."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why each case ended as it did last, if the runner gives a reason."""
    trouble: list[str] = field(default_factory=list)
    """What went wrong outside of any case."""
    complete: bool = False
    """Whether the run came to its end with all that was planned."""

    def unexpected(self) -> list[str]:
        """The cases that somebody should look at."""
        bad = {case for case, verdicts in self.verdicts.items() if UNEXPECTED.intersection(verdicts)}
        bad.update(self.unjudged)
        if self.running:
            bad.add(self.running)
        return sorted(bad)

    def deviated(self) -> bool:
        """Whether a case failed as is known of it: then something was tested, if nothing passed."""
        return any("XFAIL" in verdicts for verdicts in self.verdicts.values())

    def unseen(self, known: Mapping[str, str]) -> list[str]:
        """The cases that did not fail by the find that is known of them, each with what it did instead.

        To the exit code it is as expected if one could not run, or passed where its find is a matter of chance.
        """
        missed = []
        for case, find in known.items():
            ends = list(zip(self.verdicts.get(case, []), self.finds.get(case, [])))
            if set(ends) != {("XFAIL", find)}:
                said = ", ".join(f"{verdict} by {by}" if by else verdict for verdict, by in ends)
                missed.append(f"{case} by {find} ({said or 'no verdict'})")
        return missed

    def counts(self) -> tuple[int, int, int]:
        """How many cases passed, failed and were skipped; a known deviation counts as skipped."""
        failed = set(self.unexpected())
        passed = {case for case, verdicts in self.verdicts.items() if "PASS" in verdicts} - failed
        skipped = set(self.verdicts) - failed - passed
        return len(passed), len(failed), len(skipped)


def parse(lines: Iterable[str]) -> Journal:
    """The journal that these lines make."""
    journal = Journal()
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        match entry.get("event"):
            case "ended":
                journal.complete = entry.get("complete") is True
            case "case-begun":
                journal.begun += 1
                journal.complete = False
                journal.running = entry["case"]
            case "case-ended":
                name = entry["case"]
                journal.verdicts.setdefault(name, []).append(entry["verdict"])
                journal.finds.setdefault(name, []).append(entry.get("find"))
                journal.seconds.setdefault(name, []).append(entry.get("seconds", 0.0))
                problems = entry.get("problems", [])
                found = [problem["finding"] for problem in problems if "finding" in problem]
                journal.findings.setdefault(name, []).extend(found)
                journal.told[name] = "\n".join(f"{problem['title']}\n{problem['text']}" for problem in problems)
                journal.reasons[name] = entry.get("reason", "")
                if journal.running is None:
                    journal.unjudged.discard(name)
                journal.running = None
            case "case-cut":
                # It runs again when the run goes on.
                journal.running = None
            case "resumed":
                journal.complete = False
                if journal.running:
                    journal.lost.append(journal.running)
                    journal.unjudged.add(journal.running)
                    journal.running = None
            case "down":
                journal.down = entry.get("why", "")
                if journal.running is None:
                    journal.trouble.append(f"the machine went down while no case ran: {journal.down}")
            case "trouble":
                journal.trouble.append(entry.get("title", "trouble"))
    return journal


def read(path: Path, old: object = None) -> Journal:
    """The journal in a file; an empty one if there is none but that of an earlier run, whose stamp is `old`."""
    if stamp(path) == old:
        return Journal()
    try:
        return parse(path.read_text(errors="replace").splitlines())
    except FileNotFoundError:
        return Journal()


def stamp(path: Path) -> object:
    """Something that changes when the file does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def went_down(path: Path, why: str) -> None:
    """Tell a journal why the machine went down: the runner that wrote it cannot.

    The line is appended and synced; of what stands there nothing is written
    anew. Only an event that was cut off goes, as it would when the runner goes
    on: it would end up in the middle, where it makes the whole journal corrupt.
    """
    # UTC to the millisecond, as the runner writes it.
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
    line = json.dumps({"time": stamp, "event": "down", "why": why}).encode() + b"\n"
    with open(path, "r+b", buffering=0) as file:
        whole = end_of_whole(file.read())
        file.truncate(whole)
        file.seek(whole)
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(file.fileno())


def end_of_whole(written: bytes) -> int:
    """Where the last whole event of a journal ends."""
    whole = written.rfind(b"\n") + 1
    last = written.rfind(b"\n", 0, max(whole - 1, 0)) + 1
    try:
        if whole:
            json.loads(written[last:whole])
    except ValueError:
        # A crash may leave a last line that is long enough but not what was written.
        return last
    return whole
