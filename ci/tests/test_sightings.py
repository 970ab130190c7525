"""Finds that are looked for again where they were seen."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import finds, sightings
from harness.failure import Failure
from harness.journal import Journal

SHAPES = ["spare", "rmapbt", "no-rmapbt", "stripe", "stripe-4k", "exchange", "dax-inode"]

ROWS = {"6.12": {"release": r"6\.12\.\d+-amd64"}, "7": {"release": r"7\.\d+\.\d+-amd64"}}

SEEN = {
    "places": [
        {
            "fs": "xfs", "target": "xfs", "kernel": "6.12.1-amd64",
            "finds": {"one": {"seen": "waits/old"}},
        },
        {
            "fs": "xfs", "target": "xfs", "kernel": "6.12.9-amd64",
            "finds": {"one": {"seen": "waits/one"}, "two": "not-seen", "three": {"as": "one"}, "four": {"by-chance": "race/four"}},
        },
        {"fs": "xfs", "target": "xfs-spare-no-rmapbt", "kernel": "6.12.9-amd64", "finds": {"five": {"seen": "lifecycle/five"}}},
        {"fs": "ext4", "target": "ext4", "kernel": "7.2.1-amd64", "finds": {"one": {"seen": "waits/one"}, "three": "undecided"}},
    ]
}  # fmt: skip

PLACE = sightings.Place("6.12", "xfs", (), {"one": "waits/one", "four": "race/four"}, frozenset({"four"}))


def places(*asked: str, filesystems: tuple[str, ...] = ("xfs", "ext4")) -> list[sightings.Place]:
    return sightings.places(SEEN, set(asked), ROWS, list(filesystems), SHAPES)


def journal(**ends: tuple[str, str | None]) -> Journal:
    """One in which each case ended once, so and by this find; "__" stands for "/"."""
    names = {name.replace("__", "/"): end for name, end in ends.items()}
    return Journal(
        verdicts={name: [verdict] for name, (verdict, _) in names.items()},
        finds={name: [find] for name, (_, find) in names.items()},
    )


class Where(unittest.TestCase):
    def test_only_where_it_was_seen_and_on_the_newest_release(self):
        self.assertEqual(
            places("one", "two", "three", "four"),
            [PLACE, sightings.Place("7", "ext4", (), {"one": "waits/one"})],
        )

    def test_what_is_not_asked_for_has_no_machine(self):
        self.assertEqual([place.name for place in places("five")], ["6.12 xfs spare no-rmapbt"])
        self.assertEqual(places("one", filesystems=("ext4",))[0].kernel, "7")
        self.assertEqual(places("two"), [])

    def test_a_shape_gets_what_it_takes(self):
        self.assertEqual(
            places("five")[0].words(),
            [*"--kernel 6.12 --fs xfs --cpus 2 --dev /dev/pmem1 --shape spare --shape no-rmapbt".split(), "lifecycle/five"],
        )
        self.assertNotIn("--dev", PLACE.words())

    def test_shapes_are_told_from_names(self):
        for target, shapes in (
            ("xfs", ()),
            ("xfs-stripe-4k", ("stripe-4k",)),
            ("xfs-stripe", ("stripe",)),
            ("xfs-exchange-dax-inode", ("exchange", "dax-inode")),
        ):
            self.assertEqual(sightings.shapes_of(target, "xfs", SHAPES), shapes)
        with self.assertRaisesRegex(Failure, "xfs-stripes, and no shape of the runner is in -stripes"):
            sightings.shapes_of("xfs-stripes", "xfs", SHAPES)

    def test_what_is_recorded_can_be_read(self):
        seen = json.loads(sightings.SEEN.read_text())
        targets = {(place["target"], place["fs"]) for place in seen["places"]}
        known = [*SHAPES, "realtime-2m", "fast-commit", "no-journal"]
        for target, filesystem in targets:
            sightings.shapes_of(target, filesystem, known)


class Judging(unittest.TestCase):
    def judge(self, **ends: tuple[str, str | None]) -> tuple[dict[str, str], sightings.Tally]:
        tally = sightings.Tally()
        return sightings.judge(PLACE, journal(**ends), "traced", tally), tally

    def test_a_find_shows_by_its_own_name(self):
        words, tally = self.judge(waits__one=("XFAIL", "one"), race__four=("XFAIL", "four"))
        self.assertEqual((words, tally.shown), ({"one": "shown", "four": "shown"}, 2))
        self.assertEqual(tally.missed + tally.lucky, [])

    def test_what_else_becomes_of_its_case_does_not_show_it(self):
        for end, said in (
            (("PASS", None), "PASS"),
            (("XFAIL", "two"), "XFAIL by two"),
            (("FAIL", None), "FAIL"),
            (("NOTRUN", None), "NOTRUN"),
        ):
            words, tally = self.judge(waits__one=end, race__four=("XFAIL", "four"))
            self.assertEqual(words["one"], f"NOT: {said}")
            self.assertEqual(tally.missed, [f"6.12 xfs, traced: one: waits/one: {said}"])

    def test_a_machine_that_did_not_come_that_far_shows_nothing(self):
        words, tally = self.judge()
        self.assertEqual(words, {"one": "NOT: no verdict", "four": "not this time"})
        self.assertEqual((len(tally.missed), len(tally.lucky)), (1, 1))


class Command(unittest.TestCase):
    def go(self, *ends: Journal, code: int = 0) -> tuple[int, str, list[tuple[str, ...]]]:
        """The exit code, what is printed and what was booted, where the machines leave these journals."""
        left, booted = list(ends), []

        def boot(results: Path, programs: Path, *words: str) -> tuple[int, Journal]:
            booted.append((results.name, *words))
            return code, left.pop(0)

        known = [finds.Find(number, name, "", ("xfs",), "", False) for number, name in ((1, "one"), (4, "four"))]
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.multiple(sightings, boot=boot, SEEN=Path(folder, "seen.json"), ROOT=Path(folder), leave_on_signals=lambda: None),
            mock.patch.object(sightings.build, "folder", return_value=Path(folder)),
            mock.patch.object(sightings.finds, "read", return_value=known),
            mock.patch.object(sightings, "run", return_value="".join(f"{shape}  any  what\n" for shape in SHAPES)),
            mock.patch.object(sightings.kernel, "read_table", return_value={"kernel": ROWS}),
            contextlib.redirect_stdout(io.StringIO()) as said,
        ):
            Path(folder, "seen.json").write_text(json.dumps(SEEN))
            ended = sightings.main(["--fs", "xfs", "--results", folder])
        return ended, said.getvalue(), booted

    def test_each_way_has_its_machine(self):
        both = journal(waits__one=("XFAIL", "one"), race__four=("PASS", None))
        code, said, booted = self.go(both, both)
        self.assertEqual(code, 0)
        self.assertEqual([words[0] for words in booted], ["6.12-xfs-untraced", "6.12-xfs-traced"])
        self.assertEqual([words[-1] for words in booted], ["--runner", "--trace"])
        self.assertIn("| 1 | one | shown / shown |", said)
        self.assertIn("| 4 | four | not this time / not this time |", said)
        self.assertIn("2 times a find was shown, 2 times not by chance, 0 times not", said)

    def test_a_run_that_could_not_be_made_ends_it(self):
        with self.assertRaisesRegex(Failure, "6.12 xfs, untraced: could not run"):
            self.go(journal(), journal(), code=2)

    def test_one_that_is_gone_in_one_way_fails(self):
        code, said, _ = self.go(
            journal(waits__one=("XFAIL", "one"), race__four=("XFAIL", "four")),
            journal(waits__one=("FAIL", None), race__four=("XFAIL", "four")),
        )
        self.assertEqual(code, 1)
        self.assertIn("NOT SHOWN: 6.12 xfs, traced: one: waits/one: FAIL", said)


if __name__ == "__main__":
    unittest.main()
