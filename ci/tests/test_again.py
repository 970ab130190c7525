"""The command that does something again."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import again, options


class Command(unittest.TestCase):
    def test_it_boots_the_same_machine(self):
        for typed, said in (
            ([], ""),
            (["--cpus", "1", "--fault", "retry", "--trace", "race/retry"], " --fault retry --cpus 1"),
            (["--memory", "6G", "--icount", "--release"], " --memory 6G --icount --release"),
            (["--append", "a b", "--kvm", "off"], " '--append=a b' --kvm off"),
        ):
            patched = mock.patch.multiple(again, program=lambda: "./ci/vm", interpreter=lambda: [])
            with self.subTest(typed=typed), patched:
                asked = options.parse(typed)
                self.assertEqual(again.command(asked, "6.12", "xfs"), f"./ci/vm --kernel 6.12 --fs xfs{said}")

    def test_a_command_comes_after_it(self):
        with mock.patch.multiple(again, program=lambda: "./ci/vm", interpreter=lambda: []):
            asked = options.parse(["--cpus", "1", "--", "sh", "-c", "runner fuzz"])
            self.assertEqual(again.command(asked, "6.12", "xfs"), "./ci/vm --kernel 6.12 --cpus 1 --")

    def test_it_is_called_from_where_the_user_stands(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder).resolve()
            (folder / "ci").mkdir()
            before = os.getcwd()
            with mock.patch.object(again.sys, "argv", [str(folder / "ci" / "vm")]):
                try:
                    os.chdir(folder)
                    self.assertEqual(again.program(), "./ci/vm")
                    os.chdir(folder / "ci")
                    self.assertEqual(again.program(), "./vm")
                    os.chdir("/")
                    self.assertEqual(again.program(), f".{folder}/ci/vm")
                finally:
                    os.chdir(before)


class Interpreter(unittest.TestCase):
    """A Python that nobody would find is named."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.own = Path(sys.executable).resolve()

    def named(self, **found: str) -> list[str]:
        """What stands in front of the program, if these names on the PATH stand for these Pythons."""
        for name, says in found.items():
            path = self.folder / name.replace("_", ".")
            path.write_text(f"#!/bin/sh\necho {says}\n")
            path.chmod(0o755)
        with mock.patch.dict(os.environ, PATH=str(self.folder)):
            return again.interpreter.__wrapped__()

    def test_the_one_that_the_program_finds_is_not(self):
        self.assertEqual(self.named(python3=str(self.own)), [])

    def test_another_is_by_its_path(self):
        self.assertEqual(self.named(python3="/usr/bin/python3.9"), [sys.executable])
        self.assertEqual(self.named(), [sys.executable])

    def test_or_by_its_name_if_that_is_found(self):
        with mock.patch.object(sys, "executable", "/opt/python3.11"):
            self.assertEqual(self.named(python3="/usr/bin/python3.9", python3_11="/opt/python3.11"), ["python3.11"])

    def test_it_begins_the_command(self):
        patched = mock.patch.multiple(again, program=lambda: "./ci/vm", interpreter=lambda: ["python3.11"])
        with patched:
            said = again.command(options.parse([]), "6.12", "xfs")
        self.assertEqual(said, "python3.11 ./ci/vm --kernel 6.12 --fs xfs")
