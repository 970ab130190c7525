"""What runs beside what."""

import threading
import unittest
from concurrent.futures import Future

from harness import schedule
from harness.step import Step


def step(name: str, cpus: int | None = None, alone: bool = False) -> Step:
    return Step(name, ["true"], 60, "6.12", cpus, alone=alone) if cpus else Step(name, ["true"], 60, alone=alone)


HOST, OTHER = step("clippy"), step("cargo")
RACING, SINGLE, ALONE = step("suite", 2), step("fuzz", 1), step("retry", 2, alone=True)


def first(waiting, running, ready=True, most=3, budget=5):
    return schedule.fitting(waiting, running, ready, most, budget)


class Fitting(unittest.TestCase):
    def test_the_first_that_fits_begins(self):
        self.assertEqual(first([RACING, SINGLE], [HOST]), RACING)
        self.assertEqual(first([RACING, SINGLE], [HOST, step("suite2", 2)]), SINGLE)
        self.assertIsNone(first([RACING], [HOST, step("suite2", 2)]))

    def test_of_those_without_a_machine_one_runs_at_a_time(self):
        self.assertIsNone(first([OTHER], [HOST]))
        self.assertEqual(first([OTHER, SINGLE], [HOST]), SINGLE)

    def test_no_more_than_so_many(self):
        self.assertIsNone(first([SINGLE], [SINGLE, SINGLE, SINGLE]))

    def test_machines_wait_until_what_they_need_is_there(self):
        self.assertEqual(first([RACING, HOST], [], ready=False), HOST)

    def test_what_must_be_alone_is_last_and_alone(self):
        self.assertEqual(first([ALONE, RACING], []), RACING)
        self.assertIsNone(first([ALONE], [RACING]))
        self.assertEqual(first([ALONE], []), ALONE)
        self.assertIsNone(first([SINGLE], [ALONE]))

    def test_one_at_a_time_if_that_is_asked_for(self):
        self.assertEqual(first([RACING], [], most=1, budget=1), RACING)
        self.assertIsNone(first([SINGLE], [RACING], most=1, budget=1))


class Run(unittest.TestCase):
    def test_all_are_done_and_none_has_too_much_beside_it(self):
        steps = [HOST, OTHER, ALONE, *(step(f"suite{n}", 2) for n in range(4)), *(step(f"fuzz{n}", 1) for n in range(5))]
        ready: Future[None] = Future()
        lock, now, done, seen = threading.Lock(), [], [], []

        def do(one: Step) -> None:
            with lock:
                now.append(one)
                seen.append((sum(each.cpus for each in now), len(now), [each.name for each in now]))
            if one is HOST:
                ready.set_result(None)
            threading.Event().wait(0.01)
            with lock:
                now.remove(one)
                done.append(one)

        schedule.run(steps, do, ready, 3)
        self.assertEqual(sorted(each.name for each in done), sorted(each.name for each in steps))
        self.assertEqual((seen[0][2], done[-1]), (["clippy"], ALONE))
        self.assertTrue(all(cpus <= 5 and count <= 3 for cpus, count, _ in seen), seen)
        self.assertEqual([names for _, _, names in seen if "retry" in names], [["retry"]])

    def test_machines_that_cannot_be_made_ready_are_told_of(self):
        ready: Future[None] = Future()
        ready.set_exception(OSError("no network"))
        done: list[Step] = []
        schedule.run([RACING, HOST], done.append, ready, 3)
        self.assertEqual({each.name for each in done}, {"suite", "clippy"})
