"""Everything that `ci/test` does, in the order of doing it: plain commands, whose exit codes are their verdicts."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from . import child, kernel, say
from .cache import ROOT
from .failure import Failure
from .run import BESIDE, PROGRAMS, TIMEOUT, python, vm
from .step import Step, Where

RESULTS = ROOT / "target" / "results"

# Has the tests of the harness build the runner that they call. Without it they pass over what needs one, if it is not
# there or of an older day.
BUILD = "DAXTESTS_BUILD"

FILESYSTEMS = ("xfs", "ext4")

# The kernel that faults are put into: its break is one function in each file system.
FAULTY_KERNEL = "6.12"

# How long it is fuzzed, in seconds, from which seed: always the same programs, for a step that fails must fail again.
# Longer runs with other seeds are for people.
FUZZING, SEED = 30, 1

# What each kernel and file system is shown: a quick run has each value of each axis, and most special cases. All cells
# on all kernels take hours in an emulated machine:
#   ci/vm --keep-going --kernel 6.1 --kernel 6.12 --kernel 7 --fs xfs --fs ext4
SUITE = ("--group", "quick", "--group", "evict")

# A run is to stay short: of that, one share a commit on all but the default kernel's XFS, and one share of what has a
# machine of its own (`in_turn`). Which, the commit decides.
SHARES = 3

# What takes long, on the default kernel only.
LONG = ("--group", "race", "--group", "livelock")

# How long the tracer watches a load that was not written for it, in minutes.
SOAKING = "0.5"

# A few cases for every kind of device: with a pin of each kind, and with blocks that are freed and used again.
ON_DEVICES = (
    *("--fs", "xfs", "--device", "stripe-4K", "--device", "partition", "--device", "linear"),
    "waits/punch/splice/mapped",
    "waits/truncate-down/aio-write/mapped",
    "reflink/cow-write-then-free",
)

# A few for two runners at once, with devices of their own and with warnings of the kernel.
AT_ONCE = ("1", "waits/truncate-down/aio-*/mapped", "waits/punch/splice/unmapped", "fsync/under-read-pin*")

# By how many percent tracing may slow down who faults, pins and punches.
COST = "10"

# What each fault of ci/faults/ must turn red, on every file system.
FAULTS = {
    "skip-break": ("waits/punch/splice/mapped", "waits/punch/splice/*huge", "kept/punch/splice/*huge", "kept/punch/splice/mapped", "huge/*"),
    "first-page": ("waits/punch/splice/mapped", "waits/punch/splice/last", "several/punch/splice/*"),
    "retry": ("race/retry", "directed/scan-again", "--within", "10", "--cpus", "2"),
    "drop-invalidate-lock": ("directed/pin-*", "directed/fault-*", "--cpus", "2"),
    "keep-invalidate-lock": ("progress/punch/splice/fault",),
    "uninterruptible": ("interrupted/punch/splice/*",),
    "drop-inode-lock": ("livelock/inode-lock-stays",),
    "sleep-first": ("directed/wake-before-sleep", "--cpus", "2"),
    "wrong-wait": ("waits/punch/splice/mapped",),
    "longterm-pin": ("refused/punch/uring-buffer/*",),
    "skip-writeback": ("durable/punch/splice/mapped", "durable/punch/splice/*huge", "fsync/under-read-pin"),
    "write-spills": ("beside/write",),
}

# A fault that is found by a race has its time limit in a case's own seconds.
RACES = {"retry"}

# What the tracer must call a fault: the rule, and in which way it is broken. On one file system each, because what differs
# between the two is the break's hook; but one on both, because it is the hook that a fault replaces.
#
# Not drop-inode-lock: whether new pins starve the break is then a matter of chance, as it is without the fault, and
# livelock/aio-dio-punch passed under it.
TRACED = {
    "skip-break": ("waits/punch/splice/mapped", "--rule", "missed-wait", "--how", "entry-removed"),
    # It leaves a CPU to anybody else only where there is another.
    "spin": ("waits/punch/splice/mapped", "--cpus", "2", "--rule", "livelock", "--how", "spins"),
    "lost-wakeup": ("waits/punch/splice/mapped", "--rule", "lost-wakeup", "--how", "still-waits"),
}

TRACED_ON_ALL = "skip-break"

# No bugs: the break waits as it should, in functions that no released kernel has. All must be as on the
# kernel as it is. On one file system each, and cases of every kind that says of a task that it waits.
RENAMED = {"xfs": "renamed", "ext4": "renamed-inlined"}

# Where the tracer must not be misled either: it is the function that is replaced there that the tracer hooks.
RENAMED_TRACED = "ext4"

RENAMED_CASES = (
    "waits/punch/splice/mapped",
    "waits/truncate-down/splice/mapped",
    "several/punch/splice/231",
    "waits/punch/splice/unmapped",
    "waits/truncate-down/aio-write/mapped",
    "interrupted/punch/splice/handled",
    "progress/punch/splice/*",
    "fsync/under-*",
    "evict/unlinked-keeps-blocks",
    "reflink/both",
    "reflink/cow-write-then-free",
)


# What takes a DAX file and one without, and a few cases that must be on dax=inode as everywhere.
WITHOUT_DAX = ("exchange/*", "evict/*", "waits/punch/splice/*mapped", "waits/truncate-down/aio-write/mapped", "fsync/under-*")

# Finds that need a file system of some shape, each by its case: what fails on a stock kernel only, as known.toml says,
# must be seen to fail there.
ON_SHAPES = {
    "stripe-4k": {
        "history/unshare-eight-pages": "unshare-along-device",
        "history/dedupe-eight-pages-differ": "dedupe-along-device",
        "beside/cow-write": "cow-spills",
    },
    "realtime-2m": {"beside/hole-write": "hole-takes-all"},
}

# And what passes there: with extents of 2 MiB nothing does, by the same find.
PASSING = {"stripe-4k": ("waits/punch/splice/mapped",), "realtime-2m": ()}

# Where some files are DAX files and some are not: the shapes, and what fails.
DAX_INODE = {"xfs": ("dax-inode", "exchange"), "ext4": ("dax-inode",)}
ON_DAX_INODE = {
    "xfs": {"exchange/range-with-cached-pinned": "exchange-without-break"},
    "ext4": {"exchange/move-extents-refused": "move-ext-takes-dax"},
}

# What the realtime device of XFS is tried with, whose blocks have an allocator of their own.
REALTIME = ("waits/*/splice/mapped", "waits/punch/aio-write/*", "kept/punch/splice/*", "evict/*", "beside/*")

# What crashes the kernel, by its find, and what must pass in the machine that goes on.
DANGEROUS = dict.fromkeys(("huge/shared-in-parts-punch-waits", "huge/stored-in-parts-punch-waits"), "huge-shared-in-parts")
AFTERWARDS = ("huge/two-mappings-punch",)

# What is done to a whole file system, which takes a second device; and what fails on a stock kernel.
LIFECYCLE = {
    **dict.fromkeys(("lifecycle/unmount-pinned", "lifecycle/unmount-of-shut-down"), "evict-frees-pinned"),
    "lifecycle/inodes-leave-memory": "shrinker-stands-still",
}
LIFECYCLE_ALONE = {"xfs": {"lifecycle/poison-shared-with-unlinked": "evict-frees-pinned"}, "ext4": {}}

# What is exported as C and tried: green and red on that kernel, with a forked process, a signal, two files; and what
# only one of the file systems offers, which the program must see on the other.
EXPORTED = (
    *("waits/punch/splice/mapped", "waits/punch/splice/unmapped", "waits/collapse/splice/other-process", "waits/zero/vm-write/mapped"),
    *("interrupted/punch/splice/*", "reflink/dedupe-signal", "history/dedupe-two-extents-differ"),
    *("exchange/swapext-pinned", "exchange/swap-boot-mapped"),
)


def share() -> str:
    """The share whose turn it is with this commit, as the runner's --shard takes it."""
    try:
        commit = say.run(["git", "-C", ROOT, "rev-parse", "HEAD"], "asking git for the commit")
    except Failure:
        # No clone: an archive.
        commit = "0"
    return f"{int(commit, 16) % SHARES + 1}/{SHARES}"


def steps(shard: str) -> list[Step]:
    """All steps, with this share of the suite where not all of it runs."""
    # As one selection of packages and features, so that both steps share what they build, and with the
    # step before them what it has built: features are unified over what is selected.
    searching = ["--workspace", "--features", "reference/shuttle,protocol/search"]
    return [
        cargo("fmt", "fmt", "--all", "--check"),
        clippy(),
        # Without --no-fail-fast the first crate that fails hides the others.
        cargo("cargo", "test", "--no-fail-fast", "--workspace"),
        cargo("schedules", "test", *searching, "--test", "schedules"),
        cargo("search", "test", *searching, "--test", "search"),
        reference(),
        script("fuzz-variants", "fuzz-variants", "--results", RESULTS / "fuzz-variants"),
        script("reports", "reports", "--kunit"),
        python_tests(),
        *suites(shard),
        *fuzzing(),
        *in_turn(),
    ]


def in_turn() -> list[Step]:
    """What has a machine of its own, and tries one thing more than the others. What takes long comes first, so that
    the end does not wait for it alone."""
    machines = [*holds(), *commands(), soak(), reproducers(), *traced(), *renamed(), *without_dax(), *lifecycle()]
    return [*machines, realtime(), shapes(), dangerous(), *faults()]


def due(shard: str) -> list[Step]:
    """The steps whose turn it is. With 1/1 that is all of them."""
    number, of = map(int, shard.split("/"))
    waiting = {step.name for index, step in enumerate(in_turn()) if index % of != number - 1}
    return [step for step in steps(shard) if step.name not in waiting]


def cargo(name: str, *arguments: str) -> Step:
    """A command of cargo's."""
    return Step(name, ["cargo", *arguments], child.LONG)


def clippy() -> Step:
    """All lints. Clippy runs build scripts anew, but needs no probes for it: building them takes two minutes."""
    words = ["env", "EBPF_TOOLCHAIN=", "cargo", "clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]
    return Step("clippy", words, child.LONG)


def script(name: str, *words: object) -> Step:
    """A command of ci/ that needs no machine."""
    return Step(name, python(*words), child.LONG)


def python_tests() -> Step:
    """The harness's own tests, in a process of their own: they put stand-ins into modules that other steps use."""
    tests = ["discover", "--start-directory", "ci/tests", "--top-level-directory", "ci", "--verbose"]
    return Step("python", ["env", f"{BUILD}=1", sys.executable, "-B", "-m", "unittest", *tests], child.LONG)


def reference() -> Step:
    """A quick run on the reference, in child processes and with reports; the tests of `cases` run every case."""
    folder = RESULTS / "reference"
    words = ["run", "--quiet", "--package", "runner", "--", "--fs", "reference", "--group", "quick"]
    words += ["--results", str(folder)]
    return replace(cargo("reference", *words), journal=folder / "journal.jsonl")


def suite(
    name: str, where: Where, *words: str, fault: str | None = None, known: Mapping[str, str] | None = None
) -> Step:
    """Cases in a machine: all must be as expected, and those that are `known` to fail must."""
    folder = RESULTS / name
    seeded = ["--fault", fault] if fault else []
    command = vm(folder, PROGRAMS, *where.arguments(), *seeded, *words)
    return Step(name, command, TIMEOUT + BESIDE, folder / "journal.jsonl", where, fault=fault, known=known or {})


def command(name: str, where: Where, *words: object, timeout: float = TIMEOUT) -> Step:
    """A command in a machine."""
    machine = vm(RESULTS / name, PROGRAMS, *where.arguments(), "--", *words, timeout=timeout)
    return Step(name, machine, timeout + BESIDE, where=where)


def one_machine(name: str, where: Where, commands: Sequence[Sequence[object]], timeout: float = TIMEOUT) -> Step:
    """Commands one after the other in one machine, whose boot takes longer than most of them; each must succeed."""
    lines = ["failed=0"]
    for words in commands:
        said = shlex.join(map(str, words))
        told = shlex.quote(f"failed: {said}")
        lines += [f"echo {shlex.quote(f'+ {said}')}", f"{said} || {{ echo {told}; failed=1; }}"]
    return command(name, where, "sh", "-c", "\n".join([*lines, "exit $failed"]), timeout=len(commands) * timeout)


def suites(shard: str) -> list[Step]:
    """A covering part of the suite on every kernel of the table and every file system."""
    default = kernel.default()

    def cases(name: str, filesystem: str) -> Step:
        long = name == default
        # Only what races needs a second CPU.
        where = Where(name, filesystem, cpus=2 if long else 1)
        whole = long and filesystem == FILESYSTEMS[0]
        words = [*SUITE, *(LONG if long else ()), *(() if whole else ("--shard", shard))]
        return suite(f"suite-{where}", where, *words)

    return [cases(name, filesystem) for name in kernel.read_table()["kernel"] for filesystem in FILESYSTEMS]


def commands() -> list[Step]:
    """What the runner must do to devices and after interruptions, whatever the kernel; and what tracing costs."""
    # What leaves devices that the runner refuses comes last.
    machine = [["ci/two-runners", *AT_ONCE], ["ci/interruptions"], ["ci/devices", *ON_DEVICES], ["ci/device-safety"]]
    where = Where(FAULTY_KERNEL, "xfs", cpus=1)
    crash = python("crash", "--kernel", where.kernel, "--programs", PROGRAMS, "--results", RESULTS / "crash")
    return [
        one_machine("devices", where, machine),
        Step("crash", crash, 2 * (TIMEOUT + BESIDE), where=where),
        command("cost", replace(where, icount=True), "ci/bench/run", "2", "1", COST),
    ]


def soak() -> Step:
    """A load on a traced file system: the tracer must accuse nobody, and tell of what it loses when it is made to. With two
    CPUs, for what it sees is to race. Not on 6.1, where breaks of this load hang, as is known, and nothing comes after."""
    where = Where(FAULTY_KERNEL, FILESYSTEMS[0])
    load = ["ci/soak", "--fs", where.filesystem, "--seed", str(SEED), "--minutes", SOAKING]
    return one_machine("soak", where, [[*load, "mixed"], [*load, "--must-lose", "mixed"], [*load, "--late", "mixed"]])


def reproducers() -> Step:
    """Exported cases in a machine: they must say what the runner says."""
    where = Where(FAULTY_KERNEL, FILESYSTEMS[0], cpus=1)
    places = ["--kernel", where.kernel, *(word for filesystem in FILESYSTEMS for word in ("--fs", filesystem))]
    words = python("reproducers", "--programs", PROGRAMS, "--results", RESULTS / "reproducers", *places, *EXPORTED)
    return Step("reproducers", words, len(FILESYSTEMS) * (TIMEOUT + BESIDE), where=where)


def holds() -> list[Step]:
    """A task is held at each point, and the directed cases, on every kernel of the table and every file system."""
    places = [Where(name, FILESYSTEMS[0]) for name in kernel.read_table()["kernel"]]
    return [command(f"holds-{where.kernel}", where, "ci/holds") for where in places]


def fuzzing() -> list[Step]:
    """Programs on the kernel and on the reference: those that diverged once, and random ones."""

    where = Where(FAULTY_KERNEL, FILESYSTEMS[0], cpus=1)
    name = f"fuzz-{where.kernel}"

    def fuzz(filesystem: str) -> list[list[str]]:
        fuzz = ["runner", "fuzz", "--fs", filesystem, "--dev", "/dev/pmem0"]
        # The guest can write to the step's own folder, and nowhere else.
        random = ["--seed", str(SEED), "--duration", f"{FUZZING}s", "--results", str(RESULTS / name / filesystem)]
        return [[*fuzz, "--replay", "expected/corpus"], [*fuzz, *random]]

    commands = [words for filesystem in FILESYSTEMS for words in fuzz(filesystem)]
    # Longer than a boot and the last program take on two busy CPUs without KVM.
    return [one_machine(name, where, commands, timeout=FUZZING + 300)]


def faults() -> list[Step]:
    """Every fault, on every file system."""
    return [red(f"fault-{name}", name, FILESYSTEMS, words) for name, words in FAULTS.items()]


def renamed() -> list[Step]:
    """A kernel without a bug whose functions have other names."""

    def cases(filesystem: str, name: str) -> Step:
        traced = ["--trace"] if filesystem == RENAMED_TRACED else []
        where = Where(FAULTY_KERNEL, filesystem, cpus=1)
        return suite(f"fault-{name}-{filesystem}", where, *traced, *RENAMED_CASES, fault=name)

    return [cases(filesystem, name) for filesystem, name in RENAMED.items()]


def without_dax() -> list[Step]:
    """File systems on which some files are DAX files and some are not."""

    def cases(filesystem: str) -> Step:
        where = Where(FAULTY_KERNEL, filesystem, cpus=1)
        shapes = [word for shape in DAX_INODE[filesystem] for word in ("--shape", shape)]
        return suite(f"without-dax-{filesystem}", where, *shapes, *WITHOUT_DAX, known=ON_DAX_INODE[filesystem])

    return [cases(filesystem) for filesystem in FILESYSTEMS]


def lifecycle() -> list[Step]:
    """What a case does to a whole file system: one of its own, on the second device."""
    places = [Where(FAULTY_KERNEL, filesystem, cpus=1) for filesystem in FILESYSTEMS]
    words = ("--dev", "/dev/pmem1", "--shape", "spare", "lifecycle/*")
    return [
        suite(f"lifecycle-{where.filesystem}", where, *words, known={**LIFECYCLE, **LIFECYCLE_ALONE[where.filesystem]})
        for where in places
    ]


def realtime() -> Step:
    """XFS with its files on a second device."""
    where = Where(FAULTY_KERNEL, "xfs", cpus=1)
    return suite("realtime-xfs", where, "--dev", "/dev/pmem1", "--shape", "realtime", *REALTIME)


def shapes() -> Step:
    """XFS of one shape after the other, in one machine; their journals as one."""
    where = Where(FAULTY_KERNEL, "xfs", cpus=1)
    name = f"shapes-{where.filesystem}"
    folder = RESULTS / name
    runner = ["runner", "--fs", where.filesystem, "--dev", "/dev/pmem0", "--dev", "/dev/pmem1"]

    def cases(shape: str) -> list[object]:
        return [*runner, "--shape", shape, "--results", folder / shape, *ON_SHAPES[shape], *PASSING[shape]]

    report = shlex.join(["runner", "report", "--format", "json", *(str(folder / shape) for shape in ON_SHAPES)])
    journal = folder / "journal.jsonl"
    step = one_machine(name, where, [*map(cases, ON_SHAPES), ["sh", "-c", f"{report} >{shlex.quote(str(journal))}"]])
    return replace(step, journal=journal, known={case: find for known in ON_SHAPES.values() for case, find in known.items()})


def dangerous() -> Step:
    """What crashes the kernel: the machine goes down, and the run must go on in the next."""
    where = Where(FAULTY_KERNEL, FILESYSTEMS[0], cpus=1)
    return suite(f"dangerous-{where.filesystem}", where, *DANGEROUS, *AFTERWARDS, known=DANGEROUS)


def traced() -> list[Step]:
    """Every fault that the tracer must name."""
    places = [(name, filesystem) for name in TRACED for filesystem in FILESYSTEMS]
    return [
        red(f"trace-{name}-{filesystem}", name, (filesystem,), TRACED[name])
        for name, filesystem in places
        if filesystem == FILESYSTEMS[0] or name == TRACED_ON_ALL
    ]


def red(name: str, fault: str, filesystems: Sequence[str], words: Sequence[str]) -> Step:
    """A fault that must turn cases red."""
    named = [word for filesystem in filesystems for word in ("--fs", filesystem)]
    places = ["--kernel", FAULTY_KERNEL, *named, "--programs", PROGRAMS, "--results", RESULTS / name]
    # As many machines as there are file systems, and the one that they shared.
    timeout = (1 + len(filesystems)) * (TIMEOUT + BESIDE)
    where = Where(FAULTY_KERNEL, filesystems[0], cpus=2 if "--cpus" in words else 1)
    return Step(name, python("red", *places, fault, *words), timeout, where=where, alone=fault in RACES, fault=fault)
