"""What a console says of a crash."""

import unittest

from harness.machine import End, persistently, title

PANIC = """\
[   12.1] sysrq: Trigger a crash
[   12.1] Kernel panic - not syncing: sysrq triggered crash
"""

OOPS = """\
[   40.2] BUG: kernel NULL pointer dereference, address: 0000000000000000
[   40.2] #PF: supervisor write access in kernel mode
[   40.2] Oops: Oops: 0002 [#1] PREEMPT SMP NOPTI
[   40.9] Kernel panic - not syncing: Fatal exception
"""


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
