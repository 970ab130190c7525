"""Runs the suite to its end over as many boots as it takes.

The runner asks for a reboot when a case wedged the device, and a case may take
the whole machine down. Either way the next boot resumes after that case, and
at the end one JUnit file tells of all boots.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import journal
from .machine import End
from .say import say

# The runner's exit codes.
EXPECTED, UNEXPECTED, COULD_NOT_RUN, NEEDS_REBOOT, INTERRUPTED = 0, 1, 2, 3, 130

# Each boot runs at least one more case, so a run ends; but a kernel that goes
# down under every case is not worth a day of emulation.
MOST_BOOTS = 12


def run(
    boot: Callable[[Sequence[str]], End], command: Sequence[str], results: Path, most: int = MOST_BOOTS
) -> tuple[int, int]:
    """Run the runner's `command` and go on, boot after boot; the exit code and how many boots it took.

    `boot` boots a machine, runs a command in it and returns how that ended.
    """
    path = results / "journal.jsonl"
    before = journal.stamp(path)
    begun = 0
    for number in range(1, most + 1):
        # The journal knows the plan.
        end = boot(command if number == 1 else [command[0], "--resume", str(results)])
        seen = journal.read(path, before)
        progress, begun = seen.begun > begun, seen.begun
        if end.code is None:
            # The next boot judges it: the runner reads in its journal what went down, and when.
            where = f"while {seen.running} ran" if seen.running else "while no case ran"
            say(f"the machine went down {where}: {end.reason}")
            if not begun:
                return COULD_NOT_RUN, number
            journal.went_down(path, end.reason)
            if end.final:
                return UNEXPECTED, number
        elif end.code == NEEDS_REBOOT:
            say("the runner asks for a reboot")
        elif end.code in (EXPECTED, UNEXPECTED, COULD_NOT_RUN, INTERRUPTED):
            return end.code, number
        else:
            say(f"the runner itself failed: it ended with {end.code}")
            return UNEXPECTED if begun else COULD_NOT_RUN, number
        if not progress:
            say("this boot began no case, so another would not either")
            return UNEXPECTED, number
    say(f"gave up after {most} boots")
    return UNEXPECTED, most


def with_known(code: int, seen: journal.Journal, known: Mapping[str, str]) -> int:
    """The exit code of a run in which these cases must fail by their finds: to the runner's it is as expected if they
    did not run."""
    missed = seen.unseen(known)
    if code != EXPECTED or not missed:
        return code
    say(f"not seen to fail: {', '.join(missed)}")
    return UNEXPECTED
