"""A command does not outlive who started it."""

import sys
import time
import unittest
from pathlib import Path

from harness import child
from harness.cache import ROOT

from .process import ends


class Heir(unittest.TestCase):
    def test_a_machine_does_not_outlive_who_started_it(self):
        program = (
            "from harness import child, run\n"
            "with child.start([*run.HEIR, 'sleep', '60'], 'a nap') as nap:\n"
            "    print(nap.pid, flush=True)\n"
            "    child.wait(nap, 'a nap', 60)\n"
        )
        command = [sys.executable, "-B", "-c", program]
        with child.start(command, "a run", cwd=ROOT / "ci", stdout=child.PIPE, text=True) as run:
            pid = run.stdout.readline().strip()
            status = Path("/proc", pid, "stat")
            # Until it sleeps it is still setpriv, which may not have asked for the signal yet.
            until = time.monotonic() + 60
            while "(sleep)" not in status.read_text() and time.monotonic() < until:
                time.sleep(0.05)
            child.kill(run, "a run")
            run.stdout.close()
        self.assertTrue(ends(pid), "it lives")
