"""What the scorecard makes of a run, and when it is content."""

import contextlib
import io
import json
import unittest

from harness import scorecard
from harness.scorecard import Card, Fuzz, Row, Suite, fuzzed, judge

NOTHING = Suite(10, [], None, [], "", complete=True)
QUIET = Fuzz(20, 0, None, "")


def line(time: str, event: str, **fields: object) -> str:
    return json.dumps({"time": f"2026-11-29T10:00:{time}Z", "event": event, **fields})


BEGUN = line("01.000", "case-begun", case="waits/a")
PASSED = line("02.000", "case-ended", case="waits/a", verdict="PASS", seconds=1.0)
FOUND = {"witness": "rule", "title": "missed wait: it returned", "text": "", "finding": {"rule": "missed-wait"}}
SAID = {"witness": "case", "title": "expected: it waits", "text": ""}
FAILED = line("05.500", "case-ended", case="waits/b", verdict="FAIL", seconds=2.0, problems=[SAID, FOUND, FOUND])
ENDED = line("06.000", "ended", exit=1, complete=True)


class Judge(unittest.TestCase):
    def test_the_first_red_case_with_all_that_saw_it(self):
        said = judge([BEGUN, PASSED, FAILED, ENDED])
        self.assertEqual(said, Suite(2, ["waits/b"], 4.5, ["case", "missed-wait"], "expected: it waits", complete=True))

    def test_nothing_red(self):
        self.assertEqual(judge([BEGUN, PASSED, line("03.000", "ended", complete=True)]).red, [])

    def test_a_machine_that_went_down_found_it(self):
        begun = line("03.000", "case-begun", case="waits/b")
        said = judge([BEGUN, PASSED, begun, line("04.000", "down", why="Kernel panic")])
        self.assertEqual((said.red, said.words, said.complete), (["waits/b"], "the machine went down: Kernel panic", False))

    def test_a_fuzzer_that_saw_something_once(self):
        seen = [{"kind": "allocate", "standing": "tolerated"}, {"kind": "punch: success", "standing": "once"}]
        document = {"programs": 3, "divergences": seen, "shrunk": []}
        self.assertEqual(fuzzed(document), Fuzz(3, 1, None, "punch: success"))


class Verdict(unittest.TestCase):
    def card(self, **changed: object) -> Card:
        red = Suite(2, ["waits/b"], 4.5, ["missed wait"], "", complete=True)
        rows = {
            "retry": Row("retry", "6.12", "xfs", red, QUIET),
            "renamed": Row("renamed", "6.12", "xfs", NOTHING, QUIET),
            "none": Row("none", "6.12", "xfs", NOTHING, QUIET),
        } | changed
        return Card(list(rows.values()), [{"variant": "no-break", "about": "", "case": "waits/b", "rules": [], "steps": 2}])

    def test_all_caught_and_no_false_alarm(self):
        self.assertEqual(self.card().verdict(), 0)

    def test_a_fault_that_only_the_fuzzer_meets_is_caught(self):
        self.assertEqual(self.card(retry=Row("retry", "6.12", "xfs", NOTHING, Fuzz(3, 1, 2, "punch"))).verdict(), 0)

    def test_what_turns_it_red(self):
        alarm = Suite(2, ["waits/b"], 4.5, ["missed wait"], "", complete=True)
        for changed in (
            {"retry": Row("retry", "6.12", "xfs", NOTHING, QUIET)},
            {"renamed": Row("renamed", "6.12", "xfs", alarm, QUIET)},
            {"none": Row("none", "6.12", "xfs", NOTHING, Fuzz(3, 1, 2, "punch"))},
            {"none": Row("none", "6.12", "xfs", None, QUIET, ["the suite did not run: ci/vm ended with 2"])},
        ):
            with self.subTest(changed=list(changed)):
                self.assertEqual(self.card(**changed).verdict(), 1)
        card = self.card()
        card.variants[0]["steps"] = None
        self.assertEqual(card.verdict(), 1)

    def test_a_fault_that_could_not_be_tried_is_neither(self):
        refused = Row("retry", "7", "xfs", None, None, ["the suite did not run: ci/vm ended with 2"])
        self.assertEqual(self.card(retry=refused).verdict(), 2)
        alarm = Row("none", "6.12", "xfs", NOTHING, Fuzz(3, 1, 2, "punch"))
        self.assertEqual(self.card(retry=refused, none=alarm).verdict(), 1)

    def test_no_cell_is_empty(self):
        card = self.card(none=Row("none", "6.12", "xfs", None, None, ["no machine"]))
        text = card.markdown()
        self.assertIn("| retry | 6.12 | xfs | `waits/b` | 4 s | missed wait | no: 20 programs |", text)
        self.assertIn("| none | 6.12 | xfs | - | no machine | - | no machine |", text)
        self.assertNotIn("|  |", text)


class Refused(unittest.TestCase):
    def refuse(self, *words: str) -> str:
        with contextlib.redirect_stderr(io.StringIO()) as said, self.assertRaises((SystemExit, scorecard.Failure)) as error:
            scorecard.main(list(words))
        return said.getvalue() or str(error.exception)

    def test_before_anything_is_built(self):
        self.assertIn("no fault nosuch: there are ", self.refuse("--fault", "nosuch"))
        self.assertIn("must end in .ko", self.refuse("--module", "nosuch"))
        self.assertIn("no-such.ko: No such file", self.refuse("--module", "no-such.ko"))
        self.assertIn("is not a number of runs", self.refuse("--stock", "-1"))
        self.assertIn("there is no folder", self.refuse("--markdown", "/no/such/file.md"))
        self.assertIn("is a folder; name a file", self.refuse("--markdown", "/usr"))
