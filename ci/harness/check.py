"""`ci/test`: makes ready, runs the steps, tells how each went, and keeps a summary."""

import argparse
import fnmatch
import json
import os
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from . import build, child, cli, fault, host, journal, kernel, options, schedule
from .failure import Failure, OutOfReach
from .machine import leave_on_signals
from .outcome import Result, Status, outcome, read
from .results import DEFAULT as RESULTS
from .run import PROGRAMS, run
from .step import Step, due, listed, share

# How many lines of a failed step's output are shown at most, from its beginning and from its end: where the machine is
# thrown away afterwards, nothing else is left of it.
HEAD, TAIL = 100, 300

# And of what is known of each case that needs attention.
REPORT = 80


def excerpt(output: str) -> list[str]:
    """The lines of a step's output, or the first and the last of them if there are too many to show."""
    lines = output.splitlines()
    left_out = len(lines) - HEAD - TAIL
    if left_out <= 0:
        return lines
    return [*lines[:HEAD], f"... {left_out} lines left out ...", *lines[-TAIL:]]


def main(arguments: list[str]) -> int:
    """Run the tests that were asked for; 0 if all is good."""
    leave_on_signals()
    parser = options.OneLine(
        prog="ci/test",
        description="Run every test of the project: linters, unit tests, and the suite in virtual machines.",
        epilog="ci/steps.toml lists the steps, each a command that can be typed as it stands. The outcome of each is kept "
        "in target/results/summary.json, its output in target/results/logs/. Exit codes: 0 all passed; 1 something failed, or "
        "the default kernel could not be fetched; 2 could not run; 130 interrupted. Steps on other kernels "
        "that could not be fetched count as skipped.",
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help="only these steps; names or globs")
    parser.add_argument("--list", action="store_true", help="list the steps and exit")
    parser.add_argument("--jobs", type=options.count, default=3, help="steps that run at once (default: %(default)s)")
    parser.add_argument(
        "--shard",
        type=options.shard,
        metavar="I/N",
        help="run shard I of N of the suite and of the steps with a machine of their own; 1/1 runs everything (default: one "
        "of 32, chosen by the commit)",
    )
    asked = parser.parse_args(arguments)
    shard = asked.shard or share()
    everything = listed(shard)
    steps = select(everything, asked.steps) if asked.steps or asked.list else due(everything, shard)
    if asked.list:
        print("\n".join(step.name for step in steps))
        return 0
    check = Check(steps, asked.jobs)
    if not asked.steps or any("--shard" in step.command for step in steps):
        check.say(f"ci/test: shard {shard}; --shard {shard} repeats it, --shard 1/1 runs everything")
    if not asked.steps and (waiting := [step.name for step in everything if step not in steps]):
        check.say(f"ci/test: not in this shard: {', '.join(waiting)}")
    return check.run()


def select(steps: list[Step], patterns: list[str]) -> list[Step]:
    """The steps that the patterns name, all without patterns. A pattern that names none is an error."""
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(step.name, pattern) for step in steps):
            raise Failure(f"no step {pattern}; see ci/test --list")
    if not patterns:
        return steps
    return [step for step in steps if any(fnmatch.fnmatchcase(step.name, pattern) for pattern in patterns)]


class Check:
    """One run of some steps."""

    def __init__(self, steps: list[Step], jobs: int):
        self.steps = steps
        self.jobs = jobs
        self.results: dict[str, Result] = {}
        self.seconds: dict[str, float] = {}
        self.releases: dict[str, str | None] = {}
        self.begin = time.monotonic()
        # Done once what machines need is fetched.
        self.ready: Future[None] = Future()
        # Why there is nothing that they could run.
        self.unbuilt: str | None = None
        # Steps end in several threads; what they leave, in memory, on the terminal and in the summary, is one record.
        self.lock = threading.Lock()

    def run(self) -> int:
        """Run all steps; the exit code."""
        (RESULTS / "logs").mkdir(parents=True, exist_ok=True)
        build.prepare_probes()
        machines = [step for step in self.steps if step.kernel]
        if machines:
            host.prepare(*cli.lacks())
        with ThreadPoolExecutor(1) as pool:
            try:
                # First, for machines take longest, and nothing else needs them. The network is slow and the compiler is
                # busy: fetch while it compiles.
                if machines:
                    self.ready = pool.submit(self.fetch, machines)
                    self.build()
                schedule.run(self.steps, self.do, self.ready, self.jobs)
            except BaseException:
                child.stop()
                raise
        return self.close()

    def build(self) -> None:
        """Build what runs in the machines."""
        try:
            build.copies(PROGRAMS)
        except Failure as error:
            self.unbuilt = str(error)

    def fetch(self, machines: list[Step]) -> None:
        """Fetch what machines need."""
        tools = cli.make_ready()
        for name in dict.fromkeys(step.kernel for step in machines):
            try:
                booted = kernel.resolve(tools.cache, name, refresh=True)
            except OutOfReach as error:
                self.say(f"ci/test: kernel {name} could not be fetched: {error}")
                self.releases = {**self.releases, name: None}
                continue
            # A new one, for the summary may be written meanwhile.
            self.releases = {**self.releases, name: booted.release}
            for needed in dict.fromkeys(step.fault for step in machines if step.fault and step.kernel == name):
                try:
                    fault.build(tools.cache, booted, needed)
                except Failure as error:
                    # Only the steps that need one fail of it.
                    self.say(f"ci/test: {error}")

    def do(self, step: Step) -> None:
        """Run a step and tell how it went."""
        if step.kernel and (reason := self.unbuilt or self.ready.exception(0)):
            self.finish(step, Result(Status.FAILED, failed=1, reason=str(reason)), 0.0)
            return
        release = self.releases[step.kernel] if step.kernel else None
        if step.kernel and release is None:
            reason = f"kernel {step.kernel} could not be fetched"
            self.finish(step, Result(Status.OUT_OF_REACH, skipped=1, reason=reason), 0.0)
            return
        self.say(f"ci/test: {step.name} begins")
        begin = time.monotonic()
        try:
            result = self.execute(step)
        except (Failure, OSError) as error:
            result = Result(Status.FAILED, failed=1, reason=str(error))
        except Exception as error:
            # A defect of the harness fails this step; the others are still worth knowing.
            reason = f"the harness itself failed: {type(error).__name__}: {error}"
            result = Result(Status.FAILED, failed=1, reason=reason, attention=[step.name])
            result.reports[step.name] = traceback.format_exc()
        if release:
            result.facts["release"] = release
        self.finish(step, result, time.monotonic() - begin)

    def execute(self, step: Step) -> Result:
        """Run a step's command; what came of it."""
        before = journal.stamp(step.journal) if step.journal else None
        with open(self.log(step), "wb") as output:
            code = run(step.command, step.name, step.timeout, output)
        return outcome(code, read(self.log(step)), journal.read(step.journal, before) if step.journal else None)

    def log(self, step: Step) -> Path:
        """The file that a step's output goes to."""
        return RESULTS / "logs" / f"{step.name}.log"

    def finish(self, step: Step, result: Result, seconds: float) -> None:
        """Keep a result, and tell it at once."""
        reason = f": {result.reason}" if result.reason else ""
        lines = [f"ci/test: {step.name} {result.status.value} after {seconds:.0f} s{reason}"]
        if result.status is Status.FAILED:
            lines += [f"  | {line}" for line in excerpt(read(self.log(step)))]
            for name in result.attention:
                lines.append(f"  needs attention: {name}")
                lines += [f"  | {line}" for line in result.reports.get(name, "").splitlines()[:REPORT]]
        lines.append(result.line(step.name))
        self.say("\n".join(lines))
        with self.lock:
            self.results[step.name] = result
            self.seconds[step.name] = seconds
            self.write_summary()

    def say(self, text: str) -> None:
        """Print lines that stay together."""
        with self.lock:
            print(text, flush=True)

    def write_summary(self) -> None:
        """Keep what is known so far for programs to read. The caller holds the lock."""
        summary = {
            "seconds": round(time.monotonic() - self.begin, 1),
            "cpus": os.cpu_count(),
            "kernels": self.releases,
            "steps": {
                name: {
                    "status": result.status.value,
                    "passed": result.passed,
                    "failed": result.failed,
                    "skipped": result.skipped or 0,
                    "seconds": round(self.seconds[name], 1),
                    "reason": result.reason,
                    "attention": result.attention,
                    **result.facts,
                }
                for name, result in self.results.items()
            },
        }
        path = RESULTS / "summary.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(summary, indent=2) + "\n")
        fresh.rename(path)

    def close(self) -> int:
        """Tell of all steps once more, and decide."""
        print(f"\nci/test: {time.monotonic() - self.begin:.0f} s in all")
        for step in self.steps:
            result = self.results[step.name]
            print(f"  {result.status.value:12} {self.seconds[step.name]:6.0f} s  {step.name}")
        print("\n".join(closing(self.steps, self.results, kernel.default())), flush=True)
        return verdict(self.steps, self.results, kernel.default())


def missed(steps: list[Step], results: dict[str, Result]) -> dict[str, list[str]]:
    """The kernels that were out of reach, and the steps that did not run for it."""
    kernels: dict[str, list[str]] = {}
    for step in steps:
        if step.kernel and results[step.name].status is Status.OUT_OF_REACH:
            kernels.setdefault(step.kernel, []).append(step.name)
    return kernels


def closing(steps: list[Step], results: dict[str, Result], default: str) -> list[str]:
    """The last lines: what was not tested at all, and the totals, which other programs read."""
    lines = [
        f"ci/test: kernel {name} could not be fetched"
        f"{', which fails the run because it is the default one' if name == default else ''}; not run: {', '.join(names)}"
        for name, names in missed(steps, results).items()
    ]
    passed = sum(result.passed for result in results.values())
    failed = sum(result.failed for result in results.values())
    skipped = sum(result.skipped or 0 for result in results.values())
    if not failed and verdict(steps, results, default):
        # A total that tells of no failure must not stand over an exit code that does.
        failed = 1
    return [*lines, f"total: {passed} passed, {failed} failed, {skipped} skipped"]


def verdict(steps: list[Step], results: dict[str, Result], default: str) -> int:
    """0 if nothing failed, the default kernel could be had, and any that was asked for."""
    if any(result.status is Status.FAILED for result in results.values()):
        return 1
    unreached = missed(steps, results)
    machines = [step for step in steps if step.kernel]
    if default in unreached or (machines and sum(map(len, unreached.values())) == len(machines)):
        return 1
    return 0
