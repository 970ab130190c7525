"""The way into the commands of ci/, and out: an error of their own is one line and exit code 2.

1 means that something was tested and was not as expected, and must mean
nothing else.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from . import child
from .failure import Failure

COULD_NOT_RUN = 2
INTERRUPTED = 130


def enter(name: str, main: Callable[[list[str]], int]) -> int:
    """Do what was typed; the exit code."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
        return code
    except Failure as error:
        return leave(name, str(error))
    except OSError as error:
        return leave(name, child.why(error))
    except KeyboardInterrupt:
        return leave(name, "interrupted", INTERRUPTED)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return leave(name, f"a defect of its own: {type(error).__name__}: {error} ({where})")


def leave(name: str, message: str, code: int = COULD_NOT_RUN) -> int:
    """Say why, in one line, and go."""
    line = "; ".join(part.strip() for part in message.splitlines() if part.strip())
    with contextlib.suppress(OSError):
        print(f"{name}: {line}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and say so in many lines.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
