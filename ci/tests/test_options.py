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

    def test_what_must_fail_has_a_find_each(self):
        options = parse(["--must-fail", "a/b=unmapped", "--shape", "spare", "--must-fail", "c/d=dio-starves", "a/*"])
        self.assertEqual(options.must_fail, {"a/b": "unmapped", "c/d": "dio-starves"})
        self.assertEqual(options.runner, ["--shape", "spare", "a/*"])

    def test_counting_instructions_takes_an_emulator(self):
        options = parse(["--icount", "--", "true"])
        self.assertEqual((options.icount, options.kvm), (True, "off"))

    def test_what_does_not_go_together_is_refused(self):
        known = ["--must-fail", "a/b=unmapped"]
        refused = ([*known, "--", "true"], [*known, "--bisect"], ["--must-fail", "a/b"], ["waits/**", "--", "true"], ["--no-reflink", "--", "true"], ["--"], ["--icount", "--kvm", "on"])
        for arguments in refused:
            with self.subTest(arguments):
                self.refused(arguments)

    def refused(self, arguments: list[str]) -> str:
        """The one line that refuses these arguments."""
        with contextlib.redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit) as left:
            parse(arguments)
        self.assertEqual((left.exception.code, said.getvalue().count("\n")), (2, 1), said.getvalue())
        return said.getvalue()

    def test_a_command_is_no_option(self):
        said = self.refused(["--", "--fs", "xfs", "waits/*"])
        self.assertIn("--fs is an option, not a command", said)
        self.assertIn("ci/vm --fs xfs 'waits/*'", said)

    def test_what_nobody_would_heed_is_refused(self):
        for arguments, expected in (
            (["--headers"], "--headers goes with --setup only"),
            (["--programs", "/x", "--release"], "--release and --programs do not go together"),
            (["--setup", "waits/**"], "leave out waits/**"),
            (["--setup", "--", "true"], "leave out --"),
            (["--setup", "--fault", "retry", "--timeout", "5"], "leave out --fault, --timeout"),
            (["--setup", "--no-reflink"], "leave out --no-reflink"),
            (["--list", "--beside", "true", "--append", "x"], "--list boots no machine: leave out --beside, --append"),
            (["--list", "--bless", "--keep-going"], "leave out --bless, --keep-going"),
            (["--version", "--kernel", "7"], "--version boots no machine: leave out --kernel"),
            (["--list-shapes", "--results", "/x"], "leave out --results"),
            (["--list", "--last-failed", "--cpus", "4"], "leave out --cpus"),
            (["--list", "--last-failed", "--kernel", "6.1", "--kernel", "7"], "one kernel and one file system"),
        ):
            with self.subTest(arguments):
                self.assertIn(expected, self.refused(arguments))

    def test_what_is_heeded_is_not(self):
        for arguments in (
            ["--setup", "--headers", "--kernel", "7", "--kernel", "6.1"],
            ["--setup", "--programs", "/x"],
            ["--list", "waits/**"],
            ["--list", "--last-failed", "--kernel", "7", "--fs", "ext4", "--fault", "retry", "--results", "/x"],
            ["--no-build", "--release"],
        ):
            with self.subTest(arguments):
                parse(arguments)
