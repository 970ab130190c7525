"""What the tests ask of a process that is not their child."""

import time
from pathlib import Path


def ends(pid: str, patience: float = 10.0) -> bool:
    """Whether the process is gone, or only waits to be collected, within `patience` seconds."""
    status = Path("/proc", pid, "stat")
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            if status.read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False
