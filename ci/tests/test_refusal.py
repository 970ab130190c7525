"""What is refused before a machine boots for it."""

import os
import tempfile
import unittest
from pathlib import Path

from harness import options, pmem, refusal

FOLDER = Path("/results/6.12-xfs")


class Device(unittest.TestCase):
    def said(self, *arguments: str) -> str | None:
        return refusal.device(options.parse(list(arguments)))

    def test_the_devices_are_those_that_the_kernel_is_told_of(self):
        self.assertEqual(pmem.DEVICES, ("/dev/pmem0", "/dev/pmem1"))
        self.assertEqual(pmem.devices(["quiet memmap=1G!6G", "mem=4G"])[2:], ("/dev/pmem2",))

    def test_no_other_is_tested(self):
        for arguments in (["--dev", "/dev/sda"], ["--dev=/dev/sda"], ["--", "runner", "fuzz", "--dev", "/dev/sda"]):
            with self.subTest(arguments):
                self.assertIn("--dev /dev/sda: a machine has /dev/pmem0 and /dev/pmem1", self.said(*arguments))

    def test_what_is_there_or_nobody_knows_is(self):
        for arguments in (
            ["--dev", "/dev/pmem1", "--shape", "realtime"],
            ["--append", "memmap=1G!6G", "--dev", "/dev/pmem2"],
            ["--", "sh", "-c", "runner --dev /dev/mapper/mine"],
            ["--", "tracer", "--dev", "/dev/mapper/mine"],
            ["waits/**"],
        ):
            with self.subTest(arguments):
                self.assertIsNone(self.said(*arguments))


class Unkept(unittest.TestCase):
    def said(self, *arguments: str) -> str | None:
        return refusal.unkept(options.parse(list(arguments)), FOLDER)

    def test_what_goes_with_the_machine_is_refused_with_what_to_do(self):
        for arguments, expected in (
            (["--junit", "a.xml"], f"afterwards: runner report {FOLDER} --junit a.xml"),
            (["--junit=/tmp/a.xml"], f"--junit /tmp/a.xml: of what a machine writes only {FOLDER} is kept"),
            (["--html", "a.html"], f"afterwards: runner report {FOLDER} --html a.html"),
            (["--runner", "--bless", "out"], "--bless without --runner updates expected/"),
            (["--runner", "--results", "out"], "--results without --runner names another folder"),
            (["--junit", f"{FOLDER}/../a.xml"], "is kept"),
            (["--", "runner", "fuzz", "--results", "/tmp/out"], f"only {FOLDER} is kept"),
            (["--", "runner", "report", "x", "--html", "/root/a.html"], f"only {FOLDER} is kept"),
        ):
            with self.subTest(arguments):
                self.assertIn(expected, self.said(*arguments))

    def test_what_is_kept_is_not(self):
        for arguments in (
            ["--junit", "-"],
            ["--junit", f"{FOLDER}/more/a.xml"],
            ["--bless", "waits/**"],
            ["--results", "/tmp/out", "waits/**"],
            ["--", "runner", "fuzz", "--results", f"{FOLDER}/fuzz"],
            ["--", "sh", "-c", "runner --junit /tmp/a.xml"],
        ):
            with self.subTest(arguments):
                self.assertIsNone(self.said(*arguments))


class Command(unittest.TestCase):
    def test_what_a_machine_finds(self):
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "program")
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
            for word in ("runner", "tracer", "sh", "true", "exit", "cd", "./program", str(program), "/run/only/there"):
                with self.subTest(word):
                    self.assertIsNone(refusal.command(word, Path(folder)))

    def test_what_it_does_not(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "text").touch(0o644)
            for word, expected in (
                ("no-such-command", "a machine has runner, tracer and what is in /usr/local/sbin:"),
                ("./no-such", "there is no such file"),
                ("./text", "it is no program"),
                (folder, "it is no program"),
            ):
                with self.subTest(word):
                    said = refusal.command(word, Path(folder))
                    self.assertIn("no command ", said)
                    self.assertIn(expected, said)

    def test_the_paths_of_who_calls_are_none_of_the_machines(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "only-here").touch(0o755)
            before = os.environ["PATH"]
            os.environ["PATH"] = f"{folder}:{before}"
            try:
                self.assertIsNotNone(refusal.command("only-here", Path("/")))
            finally:
                os.environ["PATH"] = before
