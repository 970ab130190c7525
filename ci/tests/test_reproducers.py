"""What programs and runner say of the same cases."""

import contextlib
import io
import unittest

from harness import journal, reproducers

CASES = ["waits/a", "waits/b", "waits/c"]


LACKING = "cannot run: needs reflink (FICLONERANGE): Operation not supported\n"


def compared(verdicts: dict[str, str], codes: dict[str, int], reason: str = "", text: str = "") -> reproducers.Agreement:
    """With one verdict a case; codes by the case's name; with a reason for each NOTRUN, and what each program says."""
    seen = journal.Journal(verdicts={case: [verdict] for case, verdict in verdicts.items()})
    seen.reasons = {case: reason if verdict == "NOTRUN" else "" for case, verdict in verdicts.items()}
    programs = {reproducers.file_name(case): reproducers.Said(code, text) for case, code in codes.items()}
    return reproducers.compare(CASES, seen, programs)


def agrees(agreement: reproducers.Agreement) -> bool:
    """What it says, unheard."""
    with contextlib.redirect_stdout(io.StringIO()):
        return agreement.tell("here")


class Agreement(unittest.TestCase):
    def test_green_red_and_what_cannot_run(self):
        verdicts = {"waits/a": "PASS", "waits/b": "XFAIL", "waits/c": "NOTRUN"}
        seen = compared(verdicts, {"waits/a": 0, "waits/b": 1, "waits/c": 2}, "needs reflink: refused", LACKING)
        self.assertEqual((seen.green, seen.red), (["waits/a"], ["waits/b"]))
        self.assertEqual(seen.lacking, [f"waits/c: {LACKING.strip()}"])
        self.assertTrue(agrees(seen))

    def test_a_program_without_what_it_needs_accuses_nobody(self):
        verdicts = {"waits/a": "PASS", "waits/b": "XFAIL", "waits/c": "NOTRUN"}
        for code in (0, 1, 139):
            with self.subTest(code=code):
                seen = compared(verdicts, {"waits/a": 0, "waits/b": 1, "waits/c": code}, "needs reflink: refused", LACKING)
                self.assertFalse(agrees(seen))
                self.assertIn("NOTRUN (needs reflink: refused), the program", seen.differ[0])

    def test_what_is_missing_takes_a_line(self):
        verdicts = {"waits/a": "PASS", "waits/b": "PASS", "waits/c": "NOTRUN"}
        codes = {"waits/a": 0, "waits/b": 0, "waits/c": 2}
        for text in ("", f"note: /dev/kmsg\n{LACKING}"):
            with self.subTest(text=text):
                self.assertFalse(agrees(compared(verdicts, codes, "needs reflink: refused", text)))

    def test_where_the_runner_learned_nothing_a_program_may(self):
        verdicts = {"waits/a": "PASS", "waits/b": "PASS", "waits/c": "NOTRUN"}
        for code, good in ((0, True), (1, True), (2, True), (139, False)):
            with self.subTest(code=code):
                codes = {"waits/a": 0, "waits/b": 0, "waits/c": code}
                seen = compared(verdicts, codes, "not exercised: in 8 attempts never this")
                self.assertEqual((agrees(seen), len(seen.untold)), (good, int(good)))

    def test_a_program_that_says_otherwise_is_told(self):
        good = {"waits/a": 0, "waits/b": 1, "waits/c": 0}
        verdicts = {"waits/a": "PASS", "waits/b": "XFAIL", "waits/c": "PASS"}
        self.assertTrue(agrees(compared(verdicts, good)))
        for case, code in (("waits/a", 1), ("waits/b", 0), ("waits/b", 2), ("waits/c", 139)):
            with self.subTest(case=case, code=code):
                self.assertFalse(agrees(compared(verdicts, good | {case: code})))

    def test_what_did_not_come_back_is_told(self):
        self.assertFalse(agrees(compared({"waits/a": "PASS"}, {"waits/a": 0})))

    def test_nothing_that_ran_is_no_agreement(self):
        seen = compared({case: "NOTRUN" for case in CASES}, {case: 2 for case in CASES}, "needs reflink: refused", LACKING)
        self.assertFalse(agrees(seen))

    def test_every_program_sees_a_page_cache(self):
        lacking = reproducers.Said(2, "cannot run: needs DAX files (mount -o dax=always): Operation not supported\n")
        seen = dict.fromkeys(map(reproducers.file_name, CASES), lacking)
        for wrong in (reproducers.Said(1, "FAIL: it must wait"), reproducers.Said(0), reproducers.Said(2), None):
            for programs, good in ((seen, True), (seen | {reproducers.file_name(CASES[1]): wrong}, False)):
                with self.subTest(wrong=wrong, good=good), contextlib.redirect_stdout(io.StringIO()) as said:
                    self.assertEqual(reproducers.tell_cached(CASES, programs, "here"), good)
                    self.assertEqual(CASES[1] in said.getvalue(), not good)


if __name__ == "__main__":
    unittest.main()
