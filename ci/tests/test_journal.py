"""What a journal says, whole and cut off."""

import json
import resource
import signal
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import journal


def lines(*entries: dict) -> list[str]:
    return [json.dumps({"time": "2026-01-01T00:00:00.000Z", **entry}) for entry in entries]


def begun(case: str) -> dict:
    return {"event": "case-begun", "case": case, "iteration": 0, "seed": 1}


def ended(case: str, verdict: str, seconds: float = 0.5) -> dict:
    return {"event": "case-ended", "case": case, "iteration": 0, "verdict": verdict, "seconds": seconds}


class Parse(unittest.TestCase):
    def test_counts_each_verdict_where_it_belongs(self):
        seen = journal.parse(
            lines(
                *(
                    entry
                    for number, verdict in enumerate(["PASS", "FAIL", "HANG", "ERROR", "XPASS", "XFAIL", "NOTRUN"])
                    for entry in (begun(f"pin/{number}"), ended(f"pin/{number}", verdict))
                )
            )
        )
        self.assertEqual(seen.counts(), (1, 4, 2))
        self.assertIsNone(seen.running)

    def test_a_case_that_failed_once_failed(self):
        seen = journal.parse(lines(begun("a"), ended("a", "FAIL"), begun("a"), ended("a", "PASS")))
        self.assertEqual(seen.counts(), (0, 1, 0))
        self.assertEqual(seen.seconds["a"], [0.5, 0.5])

    def test_the_find_of_each_verdict_is_kept(self):
        known = ended("a", "XFAIL") | {"find": "unmapped"}
        seen = journal.parse(lines(begun("a"), known, begun("a"), ended("a", "NOTRUN"), begun("b"), ended("b", "PASS")))
        self.assertEqual(seen.finds, {"a": ["unmapped", None], "b": [None]})

    def test_the_case_that_was_running_is_named(self):
        seen = journal.parse(lines(begun("a"), ended("a", "PASS"), begun("b")))
        self.assertEqual(seen.running, "b")
        self.assertEqual(seen.unexpected(), ["b"])

    def test_a_boot_that_went_down_is_remembered_after_the_next(self):
        seen = journal.parse(lines(begun("a"), {"event": "resumed"}, begun("b"), ended("b", "PASS")))
        self.assertEqual(seen.lost, ["a"])
        self.assertEqual(seen.counts(), (1, 1, 0))

    def test_what_took_a_boot_down_may_be_known(self):
        seen = journal.parse(lines(begun("a"), {"event": "resumed"}, ended("a", "XFAIL")))
        self.assertEqual((seen.lost, seen.unexpected(), seen.counts()), (["a"], [], (0, 0, 1)))

    def test_what_took_a_boot_down_is_not_known_from_another_time(self):
        seen = journal.parse(lines(begun("a"), ended("a", "PASS"), begun("a"), {"event": "resumed"}))
        self.assertEqual(seen.unexpected(), ["a"])

    def test_a_line_that_was_cut_off_is_passed_over(self):
        seen = journal.parse([*lines(begun("a")), '{"event": "case-en'])
        self.assertEqual(seen.running, "a")

    def test_unknown_events_are_passed_over(self):
        seen = journal.parse(lines({"event": "begun", "plan": {}}, {"event": "weather"}, begun("a")))
        self.assertEqual(seen.begun, 1)

    def test_complete_is_what_its_end_says(self):
        end = {"event": "ended", "exit": 0, "planned": 1, "finished": 1, "complete": True}
        whole = [begun("a"), ended("a", "PASS"), end]
        self.assertTrue(journal.parse(lines(*whole)).complete)
        self.assertFalse(journal.parse(lines(*whole[:-1])).complete)
        self.assertFalse(journal.parse(lines(*whole, {"event": "resumed"})).complete)
        self.assertFalse(journal.parse(lines(*whole[:-1], {**end, "complete": False})).complete)

    def test_trouble_outside_of_a_case_is_kept(self):
        seen = journal.parse(lines({"event": "trouble", "title": "xfs_repair found damage", "text": ""}))
        self.assertEqual(seen.trouble, ["xfs_repair found damage"])

    def test_no_file_is_an_empty_journal(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(journal.read(Path(folder) / "journal.jsonl").begun, 0)

    def test_that_of_an_earlier_run_is_an_empty_journal(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.jsonl"
            path.write_text("\n".join(lines(begun("a"), ended("a", "PASS"))) + "\n")
            old = journal.stamp(path)
            self.assertEqual((journal.read(path).begun, journal.read(path, old).begun), (1, 0))
            path.write_text(path.read_text() + lines(begun("b"))[0])
            self.assertEqual(journal.read(path, old).begun, 2)


class WentDown(unittest.TestCase):
    def test_a_line_that_was_cut_off_makes_room(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "journal.jsonl")
            path.write_text("\n".join(lines(begun("pin/a"))) + '\n{"event": "case-en')
            journal.went_down(path, "kernel panic: test")
            first, second = map(json.loads, path.read_text().splitlines())
            self.assertEqual((first["case"], second["event"]), ("pin/a", "down"))
            self.assertEqual((second["why"], second["time"][10], second["time"][-1]), ("kernel panic: test", "T", "Z"))
            self.assertEqual(journal.read(path).running, "pin/a")

    def test_what_stands_there_is_not_written_anew(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "journal.jsonl")
            path.write_text("\n".join(lines(begun("pin/a"))) + "\n")
            before = path.stat()
            # Whoever reads it meanwhile, or loses the machine in the middle, has all that was there.
            with open(path, "rb") as reader, mock.patch.object(Path, "write_bytes", side_effect=AssertionError):
                journal.went_down(path, "kernel panic: test")
                self.assertEqual(len(reader.read().splitlines()), 2)
            self.assertEqual(path.stat().st_ino, before.st_ino)

    def test_a_full_disk_leaves_the_journal_as_it_was(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "journal.jsonl")
            path.write_text("\n".join(lines(begun("pin/a"))) + "\n")
            before = path.read_bytes()
            limit = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limit[1]))
            handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            try:
                with self.assertRaises(OSError):
                    journal.went_down(path, "kernel panic: test")
            finally:
                signal.signal(signal.SIGXFSZ, handler)
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            self.assertEqual(path.read_bytes(), before)

    def test_a_last_line_that_is_no_event_goes_too(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "journal.jsonl")
            path.write_text("\n".join(lines(begun("pin/a"))) + "\n\0\0\0\0\n")
            journal.went_down(path, "kernel panic: test")
            self.assertEqual([json.loads(line)["event"] for line in path.read_text().splitlines()], ["case-begun", "down"])
