"""The list of steps: what is plain to see is so, and all that must be there is."""

import shlex
import tomllib
import unittest

from harness import child, fault, kernel, options, run, step
from harness.cache import ROOT
from harness.check import select
from harness.config import FILESYSTEMS
from harness.failure import Failure

STEPS = {one.name: one for one in step.listed("1/2")}

# The commands as they are typed.
TABLE = tomllib.loads(step.LIST.read_text())
TYPED = {name: shlex.split(line) for name, line in (TABLE["always"] | TABLE["alternates"] | TABLE["shared"]).items()}


class List(unittest.TestCase):
    def test_names_are_unique_and_one_word(self):
        names = [one.name for one in step.listed("1/2")]
        self.assertEqual(len(names), len(set(names)))
        self.assertTrue(all(" " not in name for name in names))

    def test_what_is_said_of_a_step_is_said_of_one_that_there_is(self):
        self.assertLessEqual({*TABLE["alone"]["steps"], *TABLE["timeout"]}, STEPS.keys())

    def test_a_machine_says_its_kernel_and_its_cpus(self):
        rows = kernel.read_table()["kernel"]
        for name, words in TYPED.items():
            with self.subTest(name):
                self.assertEqual(STEPS[name].kernel is not None, words[0] in ("ci/vm", "ci/red", "ci/crash", "ci/reproducers"))
                if words[0] == "ci/vm":
                    asked = options.parse(words[1:])
                    self.assertEqual(asked.kernels, [STEPS[name].kernel])
                    self.assertEqual(asked.cpus, STEPS[name].cpus)
                    # Of several file systems the numbers of one would be lost.
                    self.assertEqual(len(asked.filesystems), 1)
                    self.assertIn("--cpus", words)
                if STEPS[name].kernel:
                    self.assertIn(STEPS[name].kernel, rows)

    def test_what_is_typed_is_what_is_run(self):
        self.assertEqual(STEPS["fmt"].command, TYPED["fmt"])
        command = STEPS["suite-6.1-ext4"].command
        self.assertEqual(command[2:7], ["ci/vm", "--programs", str(run.PROGRAMS), "--results", str(step.RESULTS / "suite-6.1-ext4")])
        self.assertEqual(command[9:-1], TYPED["suite-6.1-ext4"][1:-1])
        # Each program ends before who waits for it loses patience.
        self.assertEqual(command[7], "--timeout")
        self.assertLess(float(command[8]), STEPS["suite-6.1-ext4"].timeout)

    def test_the_runs_of_cases_have_a_journal(self):
        with_journal = {name for name, one in STEPS.items() if one.journal}
        self.assertLess({"reference", "suite-7-xfs", "dangerous-xfs", "fault-renamed-xfs"}, with_journal)
        self.assertFalse({"crash", "holds-7", "fmt", "fault-retry", "fuzz-variants"} & with_journal)

    def test_every_kernel_and_file_system_has_its_suite(self):
        for name in kernel.read_table()["kernel"]:
            self.assertIn(f"holds-{name}", STEPS)
            for filesystem in FILESYSTEMS:
                asked = options.parse(TYPED[f"suite-{name}-{filesystem}"][1:])
                self.assertEqual((asked.kernels, asked.filesystems), ([name], [filesystem]))
                self.assertFalse(STEPS[f"suite-{name}-{filesystem}"].shared)

    def test_what_finds_a_race_runs_alone(self):
        alone = {name for name, one in STEPS.items() if one.alone}
        self.assertEqual(alone, {name for name, words in TYPED.items() if "--within" in words})

    def test_every_fault_has_its_source_and_its_step(self):
        self.assertEqual({one.fault for one in STEPS.values() if one.fault}, set(fault.names()))

    def test_a_fault_is_shown_on_every_file_system(self):
        for name, words in TYPED.items():
            if words[0] == "ci/red" and "--rule" not in words:
                named = [word for before, word in zip(words, words[1:]) if before == "--fs"]
                self.assertEqual(named, list(FILESYSTEMS), name)

    def test_every_kernel_runs_the_shard_of_the_suite(self):
        sharded = {one.name for one in step.listed("2/3") if "--shard" in one.command}
        self.assertEqual(sharded, {name for name in STEPS if name.startswith("suite-")})
        for one in step.listed("2/3"):
            if one.name in sharded:
                self.assertEqual(step.after(one.command, "--shard"), "2/3")
        self.assertIn(step.share(), [f"{number}/{step.SHARES}" for number in range(1, step.SHARES + 1)])

    def test_shares_are_everything_together_and_nothing_twice(self):
        each = [f"{number}/{step.SHARES}" for number in range(1, step.SHARES + 1)]
        shares = [{one.name for one in step.due(step.listed(shard), shard)} for shard in each]
        everything = {one.name for one in step.listed("1/1")}
        self.assertEqual(set.union(*shares), everything)
        self.assertEqual({one.name for one in step.due(step.listed("1/1"), "1/1")}, everything)
        always = set.intersection(*shares)
        alternates = {one.name for one in step.listed("1/1") if one.alternates}
        self.assertEqual(sum(len(share - always - alternates) for share in shares), len(everything - always - alternates))
        for name in alternates:
            # Each runs all of the suite, too.
            parts = [
                step.after(one.command, "--shard")
                for shard in each
                for one in step.due(step.listed(shard), shard)
                if one.name == name
            ]
            of = step.SHARES // step.TURNS
            self.assertEqual(parts, [f"{number}/{of}" for number in range(1, of + 1)])
        self.assertEqual([len(share & alternates) for share in shares], step.SHARES * [1])
        self.assertIn("suite-6.12-xfs", always)
        self.assertNotIn("holds-7", always)

    def test_globs_choose(self):
        chosen = select(step.listed("1/2"), ["suite-*-xfs", "fmt"])
        self.assertEqual({one.name for one in chosen if not one.kernel}, {"fmt"})
        self.assertTrue(all(one.name.endswith("-xfs") for one in chosen if one.kernel))

    def test_a_glob_that_chooses_nothing_is_an_error(self):
        with self.assertRaises(Failure):
            select(step.listed("1/2"), ["suit-*"])

    def test_the_kinds_of_devices_are_those_of_the_command(self):
        (line,) = [word for word in TYPED["devices"] if word.startswith("ci/devices")]
        words = shlex.split(line)
        kinds = [name for option, name in zip(words, words[1:]) if option == "--device"]
        self.assertEqual(kinds, ["stripe-4K", "partition", "linear"])
        # It names the first that it does not know.
        command = run.python("devices", *words[1:], "--device", "no-such")
        done = child.finish(command, "ci/devices", stdout=child.PIPE, stderr=child.PIPE, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("argument --device: invalid choice: 'no-such'", done.stderr)

    def test_one_kernel_with_other_names_is_traced(self):
        traced = [name for name, words in TYPED.items() if "--trace" in words]
        self.assertEqual(traced, ["fault-renamed-inlined-ext4"])


class Each(unittest.TestCase):
    """Commands one after the other."""

    def go(self, *commands: str) -> tuple[int, str]:
        done = child.finish([ROOT / "ci" / "each", *commands], "ci/each", stdout=child.PIPE, stderr=child.STDOUT, text=True)
        return done.returncode, done.stdout

    def test_all_are_run_and_the_one_that_fails_is_named(self):
        self.assertEqual(self.go("echo a b", "true"), (0, "+ echo a b\na b\n+ true\n"))
        self.assertEqual(self.go("exit 3", "echo 'a  b'"), (1, "+ exit 3\nfailed: exit 3\n+ echo 'a  b'\na  b\n"))

    def test_nothing_to_run_is_no_success(self):
        self.assertEqual(self.go(), (2, "ci/each: no command\n"))
