"""How the command line is divided between `ci/vm`, the runner and a command."""

import contextlib
import io
import unittest

from harness.options import parse


class Parse(unittest.TestCase):
    def test_nothing_is_the_whole_suite(self):
        options = parse([])
        self.assertEqual((options.kernels, options.filesystems, options.runner), (["6.12"], ["xfs"], []))
        self.assertIsNone(options.command)

    def test_what_is_unknown_is_the_runners_in_order(self):
        options = parse(["--fs", "ext4", "waits/**", "-g", "quick", "--iterations", "5", "--kernel", "7", "-x", "a"])
        self.assertEqual(options.runner, ["waits/**", "-g", "quick", "--iterations", "5", "-x", "a"])
        self.assertEqual((options.kernels, options.filesystems), (["7"], ["ext4"]))

    def test_an_abbreviation_is_not_ours(self):
        self.assertEqual(parse(["--time"]).runner, ["--time"])

    def test_after_runner_all_is_the_runners(self):
        self.assertEqual(parse(["--runner", "--timeout", "5", "--fs", "x"]).runner, ["--timeout", "5", "--fs", "x"])

    def test_after_two_dashes_all_is_the_command(self):
        options = parse(["--cpus", "4", "--", "sh", "-c", "runner --fs ext4", "--"])
        self.assertEqual(options.command, ["sh", "-c", "runner --fs ext4", "--"])
        self.assertEqual((options.cpus, options.runner), (4, []))

    def test_no_reflink_reaches_the_runner(self):
        options = parse(["--no-reflink", "waits/**"])
        self.assertFalse(options.reflink)
        self.assertEqual(options.runner, ["--no-reflink", "waits/**"])

    def test_counting_instructions_takes_an_emulator(self):
        options = parse(["--icount", "--", "true"])
        self.assertEqual((options.icount, options.kvm), (True, "off"))

    def test_what_does_not_go_together_is_refused(self):
        refused = (["waits/**", "--", "true"], ["--no-reflink", "--", "true"], ["--"], ["--icount", "--kvm", "on"])
        for arguments in refused:
            with self.subTest(arguments), contextlib.redirect_stderr(io.StringIO()):
                with self.assertRaises(SystemExit):
                    parse(arguments)
