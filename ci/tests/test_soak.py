"""Which finding under a load is a kernel's known deviation, and which is a false alarm or a new one."""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import step
from harness.cache import ROOT

PATH = str(Path(ROOT) / "ci" / "soak")
loader = importlib.machinery.SourceFileLoader("soak", PATH)
soak = importlib.util.module_from_spec(importlib.util.spec_from_loader("soak", loader))
loader.exec_module(soak)

TOTAL = {"event": "ended", "verdict": "holds", "lost": 0, "breaks": 1, "waits": 1, "pins": 1, "records": 9}
LOST = {"verdict": "undecided", "lost": 3, "reason": "3 records were lost"}


MISSED = {"finding": {"rule": "missed-wait", "how": "no-scan", "text": "it never looked"}, "may_hang": False}
STARVES = {"finding": {"rule": "livelock", "how": "starves", "text": "it starves"}, "may_hang": False}
WAITS = {"finding": {"rule": "lost-wakeup", "how": "still-waits", "text": "it waits"}, "may_hang": True}


class Soak(unittest.TestCase):
    def judge(self, findings, must_lose=False, late=False, **total):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            outcome = soak.judge("mixed", findings, TOTAL | total, soak.How(None, must_lose, late))
        return outcome, out.getvalue()

    def test_a_finding_that_no_find_explains_fails(self):
        known = STARVES | {"find": "dio-starves", "number": 7}
        outcome, said = self.judge([MISSED, known])
        self.assertEqual(outcome, soak.Outcome(["missed-wait: it never looked"], False))
        self.assertIn("mixed: 1 FINDINGS, 1 known findings; all was seen", said)
        self.assertIn("known, docs/finds.md, 7: livelock: it starves", said)

    def test_a_known_find_may_stop_a_load(self):
        outcome, said = self.judge([WAITS | {"find": "dio-wakes-nobody", "number": 3}])
        self.assertEqual(outcome, soak.Outcome([], True))
        self.assertNotIn("no finding", said)
        outcome, _ = self.judge([])
        self.assertFalse(outcome.may_hang)

    def test_what_was_not_seen_is_told_with_its_reason(self):
        outcome, said = self.judge([], verdict="undecided", lost=3, reason="3 calls of scan_end were not seen")
        self.assertTrue(outcome.good)
        self.assertIn("mixed: no finding; undecided, not seen: 3 calls of scan_end", said)

    def test_what_must_be_lost_must_be_told(self):
        outcome, said = self.judge([], must_lose=True)
        self.assertFalse(outcome.good)
        self.assertIn("the tracer must have lost records; it says: holds, lost=0", said)
        # Neither does it say so with a verdict that takes no notice of it.
        self.assertFalse(self.judge([], must_lose=True, **LOST | {"verdict": "holds"})[0].good)
        outcome, said = self.judge([], must_lose=True, **LOST)
        self.assertTrue(outcome.good)
        self.assertIn("undecided, not seen: 3 records were lost", said)
        self.assertNotIn("must have", said)
        # Without it, all may be seen.
        self.assertTrue(self.judge([])[0].good)

    def test_what_attaches_under_the_load_must_see_it(self):
        outcome, said = self.judge([], late=True, breaks=0)
        self.assertFalse(outcome.good)
        self.assertIn("it attached under the load and saw no break of it", said)
        self.assertTrue(self.judge([], late=True, breaks=1)[0].good)

    def test_a_loss_excuses_no_finding(self):
        for must_lose in (False, True):
            outcome, _ = self.judge([MISSED], must_lose=must_lose, **LOST | {"verdict": "violated"})
            self.assertFalse(outcome.good)
        known = MISSED | {"find": "unmapped", "number": 1}
        self.assertTrue(self.judge([known], must_lose=True, **LOST | {"verdict": "violated"})[0].good)

    def test_what_must_lose_has_a_small_ring(self):
        for words, ring in (([], None), (["--must-lose"], "16384"), (["--must-lose", "--ring-size", "8192"], "8192")):
            with self.subTest(words), mock.patch.multiple(soak, prepare=mock.DEFAULT, soak=mock.DEFAULT) as stubs:
                with contextlib.redirect_stdout(io.StringIO()):
                    soak.main([*words, "mixed"])
                self.assertEqual(stubs["soak"].call_args.args[5], soak.How(ring, "--must-lose" in words, False))

    def test_a_tracer_that_stood_still_goes_on(self):
        sleeper = subprocess.Popen(["sleep", "60"])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        tracer = soak.Tracer.__new__(soak.Tracer)
        tracer.process = sleeper
        states = []
        with mock.patch.object(soak.time, "sleep", lambda _: states.append(os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED).si_code)):
            tracer.stand_still(1.0)
        self.assertEqual(states, [os.CLD_STOPPED])
        self.assertEqual(os.waitid(os.P_PID, sleeper.pid, os.WCONTINUED).si_code, os.CLD_CONTINUED)

    def test_a_step_soaks_with_enough_room_and_with_too_little(self):
        (soaking,) = [one for one in step.listed("1/1") if one.name == "soak"]
        runs = [word.split() for word in soaking.command if word.startswith("ci/soak ")]
        self.assertEqual(["--must-lose" in words for words in runs], [False, True, False])
        self.assertEqual(["--late" in words for words in runs], [False, False, True])
        # The other loads need programs that a machine may not have.
        self.assertEqual({words[-1] for words in runs}, {"mixed"})

    def test_the_tracer_is_heard_in_whole_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            tracer = soak.Tracer.__new__(soak.Tracer)
            tracer.out = Path(folder) / "soak.jsonl"
            tracer.out.write_text('{"event":"watching"}\n{"event":"fin')
            self.assertEqual(tracer.said(), [{"event": "watching"}])


if __name__ == "__main__":
    unittest.main()
