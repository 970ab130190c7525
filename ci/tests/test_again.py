"""The command that does something again."""

import os
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
            with self.subTest(typed=typed), mock.patch.object(again, "program", return_value="./ci/vm"):
                asked = options.parse(typed)
                self.assertEqual(again.command(asked, "6.12", "xfs"), f"./ci/vm --kernel 6.12 --fs xfs{said}")

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
