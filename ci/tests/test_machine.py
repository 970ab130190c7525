"""What a machine is started with, and what a console says of a crash."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import guest, options, pmem
from harness.kernel import Kernel
from harness.machine import End, Hardware, Machine, persistently, title

PANIC = """\
[   12.1] sysrq: Trigger a crash
[   12.1] Kernel panic - not syncing: sysrq triggered crash
"""

STALLED = b"""\
[  122.8] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[  122.8] rcu: rcu_preempt kthread timer wakeup didn't happen for 29995 jiffies! g-1159 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402
"""

OOPS = """\
[   40.2] BUG: kernel NULL pointer dereference, address: 0000000000000000
[   40.2] #PF: supervisor write access in kernel mode
[   40.2] Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI
[   40.9] Kernel panic - not syncing: Fatal exception
"""


class Started(unittest.TestCase):
    def told(self, *append: str) -> list[str]:
        """What the kernel is told, if the user has this appended."""
        asked = options.parse([f"--append={words}" for words in append])
        hardware = Hardware(Path("/vng"), Path("/qemu"), False, False, asked.cpus, asked.memory, asked.append)
        machine = Machine(hardware, Kernel("6.12", Path("/boot/vmlinuz"), "6.12.1", "1"), Path("/share"), Path("/results"))
        words = machine.command(Path("/share/guest.sh"))
        return [following for word, following in zip(words, words[1:]) if word == "--kopt"]

    def test_what_is_appended_reaches_the_kernel_last(self):
        self.assertEqual(self.told("quiet loglevel=7", "nokaslr")[-2:], ["quiet loglevel=7", "nokaslr"])
        self.assertEqual(self.told()[-1], guest.KERNEL_OPTIONS[-1])

    def test_the_kernel_is_told_of_the_devices(self):
        self.assertTrue(set(pmem.KERNEL_OPTIONS) <= set(self.told()))


class Title(unittest.TestCase):
    def test_a_panic_is_named(self):
        self.assertEqual(title(PANIC), "kernel panic: sysrq triggered crash")

    def test_an_oops_says_what_it_was(self):
        self.assertEqual(
            title(OOPS),
            "kernel panic: Fatal exception, after BUG: kernel NULL pointer dereference, address: 0000000000000000",
        )

    def test_a_quiet_console_says_nothing(self):
        self.assertIsNone(title("[    0.0] Linux version\n[   20.0] reboot: Power down\n"))


class Watched(unittest.TestCase):
    def watched(self, console: bytes, started: bool) -> End | None:
        """How a machine ends that says this and goes on for two seconds, if it is not left to."""
        hardware = Hardware(Path("/vng"), Path("/qemu"), False, False, 2, "4G")
        with tempfile.TemporaryDirectory() as folder, subprocess.Popen(["sleep", "2"]) as process:
            machine = Machine(hardware, Kernel("6.12", Path("/boot/vmlinuz"), "6.12.1", "1"), Path(folder), Path(folder))
            machine.boot_console.extend(console)
            if started:
                Path(folder, "started").touch()
            try:
                return machine.watch(process, 60, [])
            finally:
                process.kill()

    def test_one_whose_timer_stops_as_it_boots_is_given_up_at_once(self):
        end = self.watched(STALLED, started=False)
        self.assertTrue(end and end.stuck, end)

    def test_one_that_works_is_not(self):
        # The stall may be what is tested.
        self.assertIsNone(self.watched(STALLED, started=True))
        self.assertIsNone(self.watched(b"", started=False))


class Boots(unittest.TestCase):
    def boots(self, *ends: End) -> tuple[End, int]:
        """What comes of a machine that ends like this when it is booted again and again, and how often it said so."""
        left, told = list(ends), []
        return persistently(lambda: left.pop(0), told.append), len(told)

    def test_a_machine_that_stands_still_is_booted_again(self):
        self.assertEqual(self.boots(End(None, "stuck", stuck=True), End(0)), (End(0), 1))

    def test_a_machine_that_went_down_is_not(self):
        down = End(None, "kernel panic: no")
        self.assertEqual(self.boots(down, End(0)), (down, 0))

    def test_patience_ends(self):
        stuck = End(None, "stuck", stuck=True)
        self.assertEqual(self.boots(stuck, stuck, stuck, End(0)), (stuck, 2))
