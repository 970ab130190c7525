"""What the user reads when a command of ci/ cannot do its work: one line, and exit code 2."""

import ast
import contextlib
import errno
import io
import os
import signal
import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from harness import build, child, cli, entry, host, kernel, options, pmem, qemu
from harness.cache import ROOT, Cache
from harness.failure import Failure
from harness.step import listed

VM, TEST = ROOT / "ci" / "vm", ROOT / "ci" / "test"

# What the step of `ci/test` sets: the runner is built, and not passed over if it is missing.
BUILD = "DAXTESTS_BUILD"

# Modules that Python has from 3.9 on or later.
NEWER = {"graphlib", "tomllib", "zoneinfo"}

# Runs a program as if Python were of another version.
PRETEND = """\
import os, runpy, sys
sys.version_info = (3, 9, 18, "final", 0)
del sys.argv[0]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def scripts(interpreter: str) -> list[Path]:
    """The commands of ci/ that this interpreter runs."""
    files = [path for path in sorted((ROOT / "ci").rglob("*")) if path.is_file() and os.access(path, os.X_OK)]
    return [path for path in files if path.read_bytes().partition(b"\n")[0].endswith(interpreter.encode())]


def call(*words: str | Path, starter: Sequence[str] | None = None, **options) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command, which this Python runs if nobody says what else."""
    pipes = {"stdout": child.PIPE, "stderr": child.PIPE, "text": True}
    words = [*([sys.executable] if starter is None else starter), *words]
    done = child.finish(words, "a command", 60.0, **pipes | options)
    return done.returncode, done.stdout or "", done.stderr


class OldPython(unittest.TestCase):
    def test_each_command_says_what_is_needed(self):
        self.assertGreater(len(scripts("python3")), 12)
        for path in scripts("python3"):
            with self.subTest(path.name):
                # Should it come to that, no command does its work with this.
                code, said, complained = call("-B", "-c", PRETEND, path, "--no-such-option")
                self.assertEqual((code, said), (2, ""), complained)
                expected = rf"^ci/{path.name}: Python 3.11 or newer is needed, and \S+ is 3.9; .*: python3.11 ci/{path.name}\n$"
                self.assertRegex(complained, expected)

    def test_one_reads_all_that_comes_before(self):
        ast.parse((ROOT / "ci" / "harness" / "__init__.py").read_text(), feature_version=(3, 6))
        for path in scripts("python3"):
            with self.subTest(path.name):
                tree = ast.parse(path.read_text(), feature_version=(3, 8))
                known = []
                for node in tree.body:
                    if isinstance(node, ast.ImportFrom) and node.module.startswith("harness"):
                        break
                    known += [name.name for name in node.names] if isinstance(node, ast.Import) else []
                self.assertFalse(NEWER.intersection(known))

    def test_a_bisection_does_not_take_it_for_a_bad_kernel(self):
        self.assertEqual(call("-B", "-c", PRETEND, VM, "--bisect")[0], 128)


class OneLine(unittest.TestCase):
    def refused(self, *words: str | Path, **options) -> str:
        code, said, complained = call(*words, **options)
        self.assertEqual((code, len(complained.splitlines()), said), (2, 1, ""), complained)
        return complained

    def test_what_was_mistyped(self):
        for words, expected in (
            (["--kernel", "/nonexistent"], "no kernel /nonexistent"),
            (["--kernel", "/etc/hostname"], "is not a bootable x86 kernel"),
            (["--fault", "no-such"], "no fault no-such: there are "),
            (["--memory", "1G"], "at least 4G"),
            (["--memory", "much"], "not a memory size"),
            (["--cpus", "0"], "not a number of CPUs"),
            (["--timeout", "nan"], "not a number of seconds"),
            (["--fs", "btrfs"], "invalid choice"),
            (["--results", "/tmp/a b"], "may not have such characters"),
            (["--results", "/etc"], "/etc is not empty and daxtests did not make it"),
            (["--results", "/proc/x", "--no-build", "--", "true"], "/proc/x: results cannot go there"),
            (["--", "--fs", "xfs"], "--fs is an option, not a command: drop the --"),
            (["--no-build", "--", "no-such-command"], "no command no-such-command"),
            (["--no-build", "--", "./no-such"], "there is no such file"),
            (["--dev", "/dev/sda"], "--dev /dev/sda: a machine has /dev/pmem0 and /dev/pmem1"),
            (["--", "runner", "fuzz", "--dev=/dev/sda"], "--dev /dev/sda: a machine has"),
            (["--junit", "report.xml", "race/retry"], "6.12-xfs --junit report.xml"),
            (["--kernel", "7", "--fault", "retry", "race/retry"], "another way than the fault retry"),
        ):
            with self.subTest(words):
                self.assertIn(expected, self.refused(VM, *words))
        self.assertIn("no step suit-x", self.refused(TEST, "suit-x"))
        self.assertIn("--jobs", self.refused(TEST, "--jobs", "0"))

    def test_each_command_refuses_what_it_does_not_know(self):
        for path in [*scripts("python3"), *scripts("/bin/sh")]:
            # What these do not know goes to the runner.
            if path.name not in ("vm", "two-runners", "devices", "reach"):
                with self.subTest(path.name):
                    self.refused(path, "--no-such", "x", "x", "x", starter=() if path in scripts("/bin/sh") else None)

    def test_a_reader_that_is_not_there(self):
        self.assertIn("there is no kunit_parser.py", self.refused(ROOT / "ci" / "reports", "--kunit", "/nowhere"))

    def test_what_is_for_a_machine_says_so(self):
        if any(Path(device).exists() for device in pmem.DEVICES):
            self.skipTest("here is a device that they would take")
        for name in ("device-safety", "devices", "interruptions", "reach", "soak", "two-runners"):
            with self.subTest(name):
                self.assertRegex(self.refused(ROOT / "ci" / name), rf"no /dev/pmem[01]: .* \./ci/vm -- ci/{name}$")
        with self.subTest("shortest"):
            said = self.refused(ROOT / "ci" / "shortest", "race/retry")
            self.assertRegex(said, r"no /dev/pmem0: .* \./ci/vm -- ci/shortest$")
        for name in ("holds", "bench/run"):
            with self.subTest(name):
                self.assertRegex(self.refused(ROOT / "ci" / name, starter=()), rf"no /dev/pmem0: .* -- ci/{name}$")

    def test_downloads_that_cannot_be_kept(self):
        environment = {**os.environ, "DAXTESTS_CACHE": "/proc/x"}
        said = self.refused(VM, "--no-build", "--", "true", env=environment)
        self.assertIn("/proc/x: downloads cannot go there", said)

    def test_a_full_disk(self):
        with open("/dev/full", "w") as full:
            said = self.refused(TEST, "--list", stdout=full)
        self.assertIn("No space left on device", said)


class RunnersArguments(unittest.TestCase):
    """They are the runner's to judge, and it does so here: a typo costs no boot."""

    @classmethod
    def setUpClass(cls):
        if os.environ.get(BUILD):
            build.build(("runner",))
            return
        try:
            (runner,) = [path for path in build.built(("runner",)) if path.name == "runner"]
            known = child.finish([runner, "--check", "--fs", "reference"], "asking", stdout=child.PIPE, stderr=child.PIPE)
        except Failure:
            known = None
        if known is None or known.returncode:
            raise unittest.SkipTest("the runner is not built, or of an older day")

    def refused(self, *words: str) -> str:
        code, said, complained = call(VM, "--no-build", *words)
        self.assertEqual((code, said), (2, ""), complained)
        self.assertNotIn("booting", complained)
        return complained

    def test_a_typo_is_told_by_the_runner(self):
        for words, expected in (
            (["livelock/punch"], "livelock/punch"),
            (["--help-me"], "--help-me"),
            (["-g", "quik"], "quik"),
            (["--iterations", "0", "waits/punch/splice/mapped"], "--iterations"),
            (["--dev", "/dev/pmem1"], "several devices"),
            (["--", "runner", "--fs", "xfs", "--dev", "/dev/pmem0", "livelock/punch"], "livelock/punch"),
            (["--", "runner"], "--fs"),
            (["--runner", "--trace=some"], "--trace"),
        ):
            with self.subTest(words):
                self.assertIn(expected, self.refused(*words))

    def test_only_a_run_is_checked(self):
        (runner,) = [path for path in build.built(("runner",)) if path.name == "runner"]
        for words in (
            ["fuzz", "--fs", "xfs", "--steps", "none"],
            ["report", "/no/such"],
            ["--list", "no/such"],
            ["--fs", "xfs", "--dev", "/dev/pmem0", "waits/punch/splice/mapped"],
        ):
            with self.subTest(words):
                self.assertIsNone(cli.understand(options.parse(["--", "runner", *words]), [runner]))

    def test_what_it_answers_itself_boots_nothing(self):
        for words, expected in (
            (["--list", "waits/punch/splice/mapped"], "waits/punch/splice/mapped"),
            (["--version"], "runner "),
            (["--runner", "--help"], "--timeout-factor"),
        ):
            with self.subTest(words):
                code, said, complained = call(VM, "--no-build", *words)
                self.assertEqual((code, complained), (0, ""))
                self.assertIn(expected, said)


class Built(unittest.TestCase):
    def test_what_cannot_be_built_fails_the_step_and_is_not_passed_over(self):
        self.assertIn(f"{BUILD}=1", [word for one in listed("1/1") if one.name == "python" for word in one.command])
        with mock.patch.dict(os.environ, {BUILD: "1"}), mock.patch.object(build, "build", side_effect=Failure("cargo")):
            with self.assertRaises(Failure):
                RunnersArguments.setUpClass()


class Interrupted(unittest.TestCase):
    def test_it_is_told_in_one_line_and_in_the_exit_code(self):
        # A shell has what it runs in the background ignore it, and so would a child.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        table = kernel.read_table()
        with tempfile.TemporaryDirectory() as folder:
            # It waits for another run.
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            with Cache(Path(folder)).lock(f"virtme-ng-{table['virtme-ng']['version']}-python{python}"):
                command = [sys.executable, VM, "--no-build", "--results", f"{folder}/results", "--", "true"]
                environment = {**os.environ, "DAXTESTS_CACHE": folder}
                with child.start(command, "ci/vm", stderr=child.PIPE, text=True, env=environment) as vm:
                    # It says so after a while.
                    waiting = vm.stderr.readline()
                    self.assertIn("waiting for another run that holds virtme-ng", waiting)
                    vm.send_signal(signal.SIGINT)
                    self.assertEqual(child.wait(vm, "ci/vm", 300.0), 130)
                    self.assertEqual(vm.stderr.read(), "ci/vm: interrupted\n")
                    vm.stderr.close()


class Enter(unittest.TestCase):
    def leave(self, error: BaseException) -> tuple[int, str]:
        def main(_: list[str]) -> int:
            raise error

        with contextlib.redirect_stderr(io.StringIO()) as said:
            code = entry.enter("ci/vm", main)
        return code, said.getvalue()

    def test_each_error_is_one_line(self):
        for error, code, said in (
            (Failure("apt ended with 100: E: one\nE: two"), 2, "ci/vm: apt ended with 100: E: one; E: two\n"),
            (OSError(errno.EROFS, "Read-only file system", "/cache/locks"), 2, "/cache/locks: Read-only file system"),
            (KeyboardInterrupt(), 130, "ci/vm: interrupted\n"),
            (KeyError("fs"), 2, "ci/vm: a defect of its own: KeyError: 'fs' (test_entry.py:"),
        ):
            with self.subTest(type(error).__name__):
                left, line = self.leave(error)
                self.assertEqual((left, line.count("\n")), (code, 1))
                self.assertIn(said, line)


class Missing(unittest.TestCase):
    def test_all_of_it_is_told_at_once(self):
        fedora = {"ID": "fedora", "PRETTY_NAME": "Fedora 43"}
        with mock.patch.object(host, "os_release", return_value=fedora), mock.patch("shutil.which", return_value=None):
            said = host.hopeless(["kmod", "xfsprogs"], ["Rust with cargo (https://rustup.rs)", "QEMU 10 or newer"])
        for part in ("kmod xfsprogs", "Fedora 43 has no apt-get", "Rust with cargo", "QEMU 10"):
            self.assertIn(part, said)

    def test_who_is_not_root_is_told_what_to_install(self):
        for release in ({"ID": "debian", "VERSION_ID": "12"}, {"ID": "ubuntu", "VERSION_ID": "24.04"}):
            system = mock.patch.object(host, "os_release", return_value=release)
            with system, mock.patch("shutil.which", return_value="/usr/bin/apt-get"):
                with mock.patch("os.geteuid", return_value=1000):
                    self.assertIn("apt-get install kmod", host.hopeless(["kmod"], []))
                with mock.patch("os.geteuid", return_value=0):
                    self.assertIsNone(host.hopeless(["kmod"], []))


class Qemu(unittest.TestCase):
    """An old QEMU does, where it need not emulate and no newer one can be had."""

    def needed(self, codename: str | None, kvm: bool) -> int:
        with mock.patch.object(host, "codename", return_value=codename), mock.patch("os.access", return_value=kvm):
            return qemu.needed(10)

    def test_what_can_be_had_decides(self):
        self.assertEqual(self.needed(None, kvm=True), 0)
        self.assertEqual(self.needed(None, kvm=False), 10)
        self.assertEqual(self.needed("bookworm", kvm=True), 10)

    def test_an_old_one_must_not_emulate(self):
        with mock.patch.object(qemu, "version", return_value=8):
            self.assertIn("QEMU 8 would have to emulate", qemu.complaint(Path("qemu"), 10))
        with mock.patch.object(qemu, "version", return_value=10):
            self.assertIsNone(qemu.complaint(Path("qemu"), 10))


class Results(unittest.TestCase):
    def test_a_folder_of_somebody_elses_is_left_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder, "console.log")
            kept.write_text("precious")
            code, _, said = call(VM, "--no-build", "--results", folder, "--", "true")
            self.assertEqual((code, kept.read_text(), os.listdir(folder)), (2, "precious", ["console.log"]), said)
