"""Which finding under a load is a kernel's known deviation, and which is a false alarm or a new one."""

import contextlib
import importlib.machinery
import importlib.util
import io
import unittest
from pathlib import Path

from harness.cache import ROOT

PATH = str(Path(ROOT) / "ci" / "soak")
loader = importlib.machinery.SourceFileLoader("soak", PATH)
soak = importlib.util.module_from_spec(importlib.util.spec_from_loader("soak", loader))
loader.exec_module(soak)

TOTAL = {"lost": 0, "breaks": 1, "waits": 1, "pins": 1, "records": 9, "reason": "nothing"}


class Soak(unittest.TestCase):
    def judge(self, findings, known=(), **total):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            outcome = soak.judge("mixed", findings, TOTAL | total, list(known))
        return outcome, out.getvalue()

    def test_a_finding_that_no_find_explains_fails(self):
        finding = "missed wait: the break of inode 13 by task 282 succeeded without a scan"
        known = [{"findings": "livelock: ", "verdict": "FAIL", "number": 7}]
        outcome, said = self.judge([finding, "livelock: the break of inode 3 by task 4 starves: x"], known)
        self.assertEqual(outcome, soak.Outcome([finding], False))
        self.assertIn("mixed: 1 FINDINGS, 1 known findings; all was seen", said)
        self.assertIn("known, docs/finds.md, 7: livelock", said)

    def test_a_known_find_may_stop_a_load(self):
        known = [{"findings": "lost wake-up: ", "verdict": "HANG", "number": 3}]
        outcome, said = self.judge(["lost wake-up: the break of inode 3 by task 4 still waits"], known)
        self.assertEqual(outcome, soak.Outcome([], True))
        self.assertNotIn("no finding", said)
        outcome, _ = self.judge([], known)
        self.assertFalse(outcome.may_hang)

    def test_what_was_not_seen_is_told_with_its_reason(self):
        outcome, said = self.judge([], lost=3, reason="3 calls of scan_end were not seen")
        self.assertEqual(outcome.bad, [])
        self.assertIn("mixed: no finding; undecided, not seen: 3 calls of scan_end", said)

    def test_a_find_applies_where_its_symbols_are(self):
        condition = {"symbol-absent": ["dax_break_layout"]}
        self.assertTrue(soak.holds(condition, {"xfs_break_layouts"}))
        self.assertFalse(soak.holds(condition, {"dax_break_layout"}))
        self.assertFalse(soak.holds({"kernel": "<2.6"}, set()))

    def test_every_find_is_known_and_told_by_the_tracer(self):
        entries = soak.tomllib.loads((Path(ROOT) / "expected" / "known.toml").read_text())["known"]
        for find in soak.FINDS:
            self.assertTrue(any(entry["id"] == find and "findings" in entry for entry in entries), find)


if __name__ == "__main__":
    unittest.main()
