"""Waits that end, and say what they waited for."""

import re
import tempfile
import threading
import time
import unittest
from pathlib import Path

from harness import cache, child, say
from harness.failure import Failure

from .process import ends

NAPS = ["sleep", "60"]


class Finish(unittest.TestCase):
    def test_what_does_not_end_is_named(self):
        with self.assertRaisesRegex(child.Late, r"^a nap: no end within 0 s of: sleep 60$"):
            child.finish(NAPS, "a nap", 0.1)

    def test_what_it_started_goes_with_it(self):
        with tempfile.TemporaryDirectory() as folder:
            pid = Path(folder, "pid")
            with self.assertRaises(child.Late):
                child.finish(["sh", "-c", f"sleep 60 & echo $! >{pid}; wait"], "a nap", 1.0)
            self.assertTrue(ends(pid.read_text().strip()), "it lives")

    def test_what_is_not_installed_is_named(self):
        with self.assertRaisesRegex(Failure, r"^looking: no-such-program is not installed$"):
            say.run(["no-such-program"], "looking")

    def test_whoever_is_stopped_ends(self):
        self.addCleanup(child.stopped.clear)
        ended = threading.Event()

        def wait() -> None:
            child.finish(NAPS, "a nap")
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        until = time.monotonic() + 10
        while not child.running and time.monotonic() < until:
            time.sleep(0.01)
        child.stop()
        self.assertTrue(ended.wait(10))
        with self.assertRaises(Failure):
            child.finish(NAPS, "another")


class Lock(unittest.TestCase):
    def test_one_that_another_run_keeps_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = cache.Cache(Path(folder)), cache.Cache(Path(folder))
            with theirs.lock("kernel-7"), open(Path(folder, "locks", "kernel-7")) as file:
                with self.assertRaisesRegex(Failure, "locks/kernel-7: another run has held this lock"):
                    ours.take(file, "kernel-7", 0.1)


class Waits(unittest.TestCase):
    def test_nobody_waits_without_a_deadline(self):
        """No file of the harness starts a child past the one that knows deadlines."""
        for path in sorted((cache.ROOT / "ci" / "harness").glob("*.py")):
            if path.name == "child.py":
                continue
            for call in ("subprocess.run(", "subprocess.Popen(", ".communicate()", "os.system(", ".wait()", "LOCK_EX)"):
                with self.subTest(file=path.name, call=call):
                    self.assertNotIn(call, path.read_text())

    def test_nor_do_the_programs_that_run_in_the_machine(self):
        programs = [path for path in (cache.ROOT / "ci").iterdir() if path.is_file()]
        texts = [(path, path.read_text()) for path in programs]
        for path, text in [(path, text) for path, text in texts if "python" in text.partition("\n")[0]]:
            for number, line in enumerate(text.splitlines(), 1):
                with self.subTest(file=path.name, line=number):
                    self.assertNotRegex(line, r"\.wait\(\)|\.communicate\(\)|subprocess\.run\((?!.*timeout=)")

    def test_the_benchmark_does_not_wait_for_ever_for_who_does_not_end(self):
        script = (cache.ROOT / "ci" / "bench" / "run").read_text()
        ended = re.search(r"^ended\(\) \{\n.*?^\}$", script, re.MULTILINE | re.DOTALL)[0]
        ended = ended.replace("tries=240", "tries=2")
        deaf = "set -eu\n" + ended + """
            sh -c 'trap "" INT; echo ready; sleep 60 & wait' >"$1" &
            deaf=$!
            until grep -q ready "$1"; do sleep 0.1; done
            ended $deaf bpftrace
            echo not reached
        """
        with tempfile.TemporaryDirectory() as folder:
            done = child.finish(
                ["sh", "-c", deaf, "sh", f"{folder}/said"], "the wait", 30.0, stdout=child.PIPE, text=True
            )
        self.assertEqual((done.returncode, done.stdout), (2, "ci/bench: bpftrace did not end within 120 s of SIGINT\n"))
