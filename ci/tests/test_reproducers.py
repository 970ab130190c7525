"""What programs and runner say of the same cases."""

import contextlib
import io
import unittest

from harness import reproducers

CASES = ["waits/a", "waits/b", "waits/c"]


def compared(verdicts: dict[str, str], codes: dict[str, int]) -> reproducers.Agreement:
    """With one verdict a case; codes by the case's name."""
    named = {reproducers.file_name(case): code for case, code in codes.items()}
    return reproducers.compare(CASES, {case: [verdict] for case, verdict in verdicts.items()}, named)


def agrees(agreement: reproducers.Agreement) -> bool:
    """What it says, unheard."""
    with contextlib.redirect_stdout(io.StringIO()):
        return agreement.tell("here")


class Agreement(unittest.TestCase):
    def test_green_red_and_what_cannot_run(self):
        seen = compared({"waits/a": "PASS", "waits/b": "XFAIL", "waits/c": "NOTRUN"}, {"waits/a": 0, "waits/b": 1})
        self.assertEqual((seen.green, seen.red, seen.silent), (["waits/a"], ["waits/b"], ["waits/c"]))
        self.assertTrue(agrees(seen))

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
        self.assertFalse(agrees(compared({case: "NOTRUN" for case in CASES}, {})))


if __name__ == "__main__":
    unittest.main()
