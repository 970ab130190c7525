"""How the suite goes on over several boots."""

import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import cli, journal, kernel, options, qemu, suite, xfsprogs
from harness.cache import Cache
from harness.machine import End

DOWN = None


class Runner:
    """Stands in for a machine with the runner in it: what each boot runs, and how it ends.

    A boot is (cases, code): each case with its verdict, None if it never ends;
    the code that the runner ends with, DOWN if the machine goes down.
    """

    def __init__(self, folder: Path, *boots: tuple[dict, int | None], final: bool = False):
        self.path = folder / "journal.jsonl"
        self.boots = list(boots)
        self.commands: list[list[str]] = []
        self.final = final
        self.lost: str | None = None

    def __call__(self, command):
        self.commands.append(list(command))
        cases, code = self.boots.pop(0)
        resumed = "--resume" in command
        with open(self.path, "a" if resumed else "w") as file:
            for entry in [{"event": "resumed" if resumed else "begun"}]:
                file.write(json.dumps(entry) + "\n")
            for case, verdict in cases.items():
                # What a boot took down the next one judges, without running it.
                if case != self.lost:
                    file.write(json.dumps({"event": "case-begun", "case": case}) + "\n")
                self.lost = None if verdict else case
                if verdict:
                    file.write(json.dumps({"event": "case-ended", "case": case, "verdict": verdict}) + "\n")
        return End(code, "" if code is not None else "kernel panic: test", self.final)


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        # What it tells the user would stand between the tests' own lines.
        quiet = mock.patch.object(suite, "say")
        quiet.start()
        self.addCleanup(quiet.stop)

    def go(self, *boots, most=suite.MOST_BOOTS, **options):
        self.runner = Runner(self.folder, *boots, **options)
        return suite.run(self.runner, ["runner", "--fs", "xfs"], self.folder, most)

    def test_one_boot_ends_with_the_runners_code(self):
        for code in (0, 1, 2, 130):
            with self.subTest(code=code):
                self.assertEqual(self.go(({"a": "PASS"}, code)), (code, 1))

    def test_a_wedged_device_is_rebooted_and_resumed(self):
        self.assertEqual(self.go(({"a": "PASS", "b": "XFAIL"}, 3), ({"c": "PASS"}, 0)), (0, 2))
        self.assertEqual(self.runner.commands[0], ["runner", "--fs", "xfs"])
        self.assertEqual(self.runner.commands[1], ["runner", "--resume", str(self.folder)])

    def test_a_wedge_at_the_last_case_leaves_the_code_to_the_resumed_runner(self):
        self.assertEqual(self.go(({"a": "HANG"}, 3), ({}, 1)), (1, 2))

    def test_a_panic_is_judged_by_the_runner_that_goes_on(self):
        for code in (0, 1):
            self.assertEqual(self.go(({"a": "PASS", "b": None}, DOWN), ({"c": "PASS"}, code)), (code, 2))
            self.assertEqual(self.go(({"a": "PASS"}, DOWN), ({"b": "PASS"}, code)), (code, 2))

    def test_a_panic_that_is_known_of_the_case_is_as_expected(self):
        known = {"b": "XFAIL", "c": "PASS"}
        self.assertEqual(self.go(({"a": "PASS", "b": None}, DOWN), (known, 0)), (0, 2))

    def test_a_panic_while_no_case_runs_is_told_to_the_runner(self):
        self.go(({"a": "PASS"}, DOWN), ({"b": "PASS"}, 1))
        seen = journal.read(self.folder / "journal.jsonl")
        self.assertEqual((seen.down, seen.lost), ("kernel panic: test", []))
        self.assertEqual(seen.trouble, ["the machine went down while no case ran: kernel panic: test"])

    def test_a_panic_before_the_first_case_could_not_run(self):
        self.assertEqual(self.go(({}, DOWN)), (2, 1))

    def test_an_earlier_runs_journal_is_not_taken_for_this_ones(self):
        (self.folder / "journal.jsonl").write_text(json.dumps({"event": "case-begun", "case": "old"}) + "\n")
        self.assertEqual(suite.run(lambda _: End(None, "no boot"), ["runner"], self.folder), (2, 1))

    def test_a_boot_without_progress_is_the_last(self):
        self.assertEqual(self.go(({"a": "HANG"}, 3), ({}, 3)), (1, 2))
        self.assertEqual(self.go(({"a": None}, DOWN), ({}, DOWN)), (1, 2))

    def test_the_number_of_boots_is_bounded(self):
        self.assertEqual(self.go(*(({f"case{n}": None}, DOWN) for n in range(3)), most=3), (1, 3))

    def test_no_boot_after_the_time_is_over(self):
        self.assertEqual(self.go(({"a": None}, DOWN), final=True), (1, 1))

    def test_a_runner_that_crashes_is_unexpected(self):
        self.assertEqual(self.go(({"a": None}, 101)), (1, 1))
        self.assertEqual(self.go(({}, 137)), (2, 1))


class Known(unittest.TestCase):
    """What must fail as is known, for to the runner it is as expected if it did not run."""

    def go(self, *ends: tuple[str, str | None], code: int = 0) -> tuple[int, str]:
        """The exit code, and what is said."""
        seen = journal.Journal(verdicts={"b": ["PASS"]}, finds={"b": [None]})
        if ends:
            seen.verdicts["a"], seen.finds["a"] = map(list, zip(*ends))
        with mock.patch.object(suite, "say") as said:
            return suite.with_known(code, seen, {"a": "unmapped"}), "".join(call.args[0] for call in said.call_args_list)

    def test_what_is_known_must_be_seen(self):
        for verdict, find, said in (
            ("XFAIL", "dio-starves", "a by unmapped (XFAIL by dio-starves)"),
            ("NOTRUN", None, "a by unmapped (NOTRUN)"),
            ("PASS", None, "a by unmapped (PASS)"),
        ):
            with self.subTest(verdict, find=find):
                self.assertEqual(self.go((verdict, find)), (1, f"not seen to fail: {said}"))
        self.assertEqual(self.go(("XFAIL", "unmapped")), (0, ""))
        self.assertEqual(self.go(), (1, "not seen to fail: a by unmapped (no verdict)"))

    def test_it_must_be_seen_each_time(self):
        said = "not seen to fail: a by unmapped (XFAIL by unmapped, NOTRUN)"
        self.assertEqual(self.go(("XFAIL", "unmapped"), ("NOTRUN", None)), (1, said))

    def test_what_went_wrong_anyway_is_told_by_its_own_code(self):
        for code in (1, 2, 130):
            self.assertEqual(self.go(("NOTRUN", None), code=code), (code, ""))

    def test_without_anything_known_the_runners_code_stands(self):
        self.assertEqual(suite.with_known(0, journal.Journal(), {}), 0)

    def test_it_is_in_the_exit_code_of_the_command(self):
        ended = {"event": "case-ended", "case": "a", "verdict": "XFAIL", "find": "unmapped"}
        for entry, code in ((ended, 0), ({**ended, "find": "dio-starves"}, 1), (None, 1)):
            with self.subTest(entry), tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "journal.jsonl")
                # What an earlier run saw is not seen in this one.
                path.write_text(json.dumps(ended) + "\n")
                Path(folder, "junit.xml").touch()

                def run(*_: object, path=path, entry=entry) -> End:
                    if entry:
                        path.write_text(json.dumps({"event": "begun"}) + "\n" + json.dumps(entry) + "\n")
                        path.with_name("junit.xml").write_text("<testsuites/>")
                    return End(0)

                asked = options.parse(["--must-fail", "a=unmapped", "a"])
                tools = cli.Tools(Cache(Path(folder, "cache")), Path("virtme"), Path("qemu"))
                with (
                    mock.patch.object(cli, "Machine", return_value=mock.Mock(run=run, unwritten=None)),
                    mock.patch.object(cli, "say"),
                    mock.patch.object(suite, "say"),
                    mock.patch.object(kernel, "resolve", return_value=mock.Mock(release="6.12")),
                    mock.patch.object(qemu, "kvm_works", return_value=True),
                    mock.patch.object(xfsprogs, "wanted", return_value=False),
                ):
                    self.assertEqual(cli.one(asked, tools, "6.12", "xfs", Path(folder), []), code)
