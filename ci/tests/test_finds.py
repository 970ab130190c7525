"""The table of finds: where the program of each was red and where green."""

import contextlib
import io
import json
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import finds, journal, reproducers
from harness.failure import Failure


def find(number: int, name: str, program: str = "", **known) -> finds.Find:
    """A find of both file systems that takes no shape."""
    known = {"filesystems": ("xfs", "ext4"), "shape": "", "wedges": False} | known
    return finds.Find(number, name, program or f"waits/{name}", **known)


UNMAPPED, ERRNO = find(1, "unmapped"), find(14, "dedupe-errno", filesystems=("xfs",))
SPILLS = find(26, "cow-spills", filesystems=("xfs",), shape="stripe-4k")
FREES, UNKILLABLE = find(2, "frees", "evict/exit", wedges=True), find(25, "unkillable", "evict/exit", wedges=True)
HUGE = find(32, "huge")
NUMBERS = {"unmapped": 1, "frees": 2, "unkillable": 25}


class Reading(unittest.TestCase):
    def test_a_find_is_asked_for_by_number_or_id(self):
        listed = [
            {"number": number, "id": name, "program": "waits/a", "fs": ["xfs"], "shapes": ["stripe-4k"], "wedges": False}
            for number, name in ((1, "one"), (2, "two"), (3, "three"))
        ]
        with mock.patch.object(finds, "run", return_value=json.dumps(listed)):
            ids = lambda *asked: [item.id for item in finds.read(Path("runner"), list(asked))]  # noqa: E731
            self.assertEqual(ids("2", "one"), ["one", "two"])
            self.assertEqual(ids("all"), ["one", "two", "three"])
            self.assertEqual(finds.read(Path("runner"), ["3"])[0].shape, "stripe-4k")
            with self.assertRaisesRegex(Failure, "there is no find 4; runner finds list shows all"):
                ids("4")


class Places(unittest.TestCase):
    def test_each_shape_has_its_machine_and_what_wedges_one_of_its_own(self):
        made = reproducers.places([UNMAPPED, ERRNO, SPILLS, FREES, UNKILLABLE], ["6.12"], ["xfs", "ext4"])
        told = {(place.name, place.alone): place.cases for place in made}
        plain = ("waits/unmapped", "waits/dedupe-errno")
        expected = {
            ("6.12 xfs", False): plain,
            ("6.12 xfs stripe-4k", False): ("waits/cow-spills",),
            ("6.12 xfs", True): ("evict/exit",),
            # What ext4 lacks the program must see there, too; but for what is on no file system of a shape, none is made.
            ("6.12 ext4", False): plain,
            ("6.12 ext4", True): ("evict/exit",),
        }
        self.assertEqual(told, expected)

    def test_the_programs_have_the_shape_that_the_runner_has(self):
        for shape, (taken, made) in reproducers.SHAPES.items():
            with self.subTest(shape=shape):
                script = reproducers.Place("6.12", "xfs", ("waits/a",), shape).script(Path("/p"), Path("/p/list"))
                self.assertIn(f"runner --fs xfs {taken} --results", script)
                words = re.findall(r"--shape (\S+)", taken)
                self.assertEqual(words, [word for word in shape.split(",") if word])
                self.assertIn("/run/dax", made)
                self.assertNotIn("{", script.replace("each() {", ""))


class Cells(unittest.TestCase):
    def test_why_there_is_no_program(self):
        refused = {"waits/huge": "runner: waits/huge cannot be exported: the reference has pages of one size"}
        with tempfile.TemporaryDirectory() as folder:
            for item in (UNMAPPED, SPILLS):
                Path(folder, f"{reproducers.file_name(item.program)}.c").write_text("one\ntwo\n")
            other = find(33, "hole", UNMAPPED.program, shape="realtime-2m")
            rows = reproducers.rows_of([UNMAPPED, SPILLS, HUGE, other], refused, Path(folder))
        self.assertEqual([row.lines for row in rows], [2, 2, 0, 2])
        lacks = ["", "", "the reference has pages of one size", "--shape realtime-2m is not made here"]
        self.assertEqual([row.lacks for row in rows], lacks)

    def test_red_is_red_only_as_it_is_known(self):
        for word, by, words, good in (
            ("red", "unmapped", "red", True),
            ("red", "frees", "red as 2", True),
            ("red", None, "red, and no find is known to do it", False),
            ("green", None, "green", True),
            ("-", None, "-", True),
            ("untold", None, "untold", True),
            ("differs", "unmapped", "DIFFERS", False),
            (None, None, "did not run", False),
        ):
            with self.subTest(word=word, by=by):
                self.assertEqual(finds.cell(UNMAPPED, word, by, NUMBERS), finds.Cell(words, good))

    def test_the_table_has_every_find_and_says_why_one_has_no_program(self):
        first = finds.Row(UNMAPPED, 400, {"6.12 xfs": finds.Cell("red"), "7 xfs": finds.Cell("green")})
        second = finds.Row(ERRNO, 480, {"6.12 xfs": finds.Cell("red")})
        third = finds.Row(HUGE, lacks="it needs huge pages")
        rows = [first, second, third]
        self.assertEqual(
            finds.table(rows, ["6.12 xfs", "7 xfs"]),
            "| # | find | program | lines | 6.12 xfs | 7 xfs |\n"
            "| --- | --- | --- | --- | --- | --- |\n"
            "| 1 | unmapped | waits/unmapped | 400 | red | green |\n"
            "| 14 | dedupe-errno | waits/dedupe-errno | 480 | red |  |\n"
            "| 32 | huge | none of waits/huge: it needs huge pages |  |  |  |\n",
        )
        self.assertEqual(
            finds.total(rows), "3 finds: the programs of 1 were red and green, of 1 red only, of 0 never red, and 1 have none"
        )


class Trying(unittest.TestCase):
    def tried(self, words: dict[str, str], agree: bool = True) -> tuple[bool, str]:
        """What becomes of finds whose programs said this in every machine, and what is printed."""
        seen = journal.Journal(finds={"waits/unmapped": ["unmapped"], "evict/exit": ["unkillable"]})
        rows = [finds.Row(item, 400) for item in (UNMAPPED, FREES, UNKILLABLE)] + [finds.Row(HUGE, lacks="no huge pages")]
        answer = (agree, words, seen)
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(reproducers, "try_in", return_value=answer):
            with contextlib.redirect_stdout(io.StringIO()) as said:
                good = reproducers.try_finds(rows, ["7"], ["xfs"], Path(folder), Path(folder), Path(folder))
        return good, said.getvalue()

    def test_each_find_has_its_cell(self):
        good, said = self.tried({"waits/unmapped": "red", "evict/exit": "red"})
        self.assertTrue(good)
        for line in ("| 1 | unmapped | waits/unmapped | 400 | red |", "| 2 | frees | evict/exit | 400 | red as 25 |"):
            self.assertIn(line, said)

    def test_what_is_not_as_it_is_known_fails(self):
        self.assertFalse(self.tried({"waits/unmapped": "red"})[0])
        self.assertFalse(self.tried({"waits/unmapped": "red", "evict/exit": "red"}, agree=False)[0])


if __name__ == "__main__":
    unittest.main()
