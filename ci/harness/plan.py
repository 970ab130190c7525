"""Everything that `ci/test` does, in the order of doing it."""

from dataclasses import replace

from . import cargo, crash, fuzz, kernel, model, own, trial
from .step import Step, Where
from .trial import Fault

FILESYSTEMS = ("xfs", "ext4")

# The kernel that faults are put into: its break is one function in each file system.
FAULTY_KERNEL = "6.12"

# How long it is fuzzed, in seconds.
FUZZING = 60

# A few cases for every kind of device: with a pin of each kind, and with blocks that are freed and used again.
ON_DEVICES = ("--fs", "xfs", "pin/punch-waits", "pin/aio-write-truncate-waits", "reflink/cow-write-then-free")

# A few for two runners at once, with devices of their own and with warnings of the kernel.
AT_ONCE = ("1", "pin/aio*", "pin/unmapped-punch-waits", "fsync/under-read-pin*")

# By how many percent tracing may slow down who faults, pins and punches.
COST = "10"

# What a finding names.
TASK = r"(?P<task>\d+)"
INODE = r"inode (?P<inode>\d+)"
PAGE = r"page (?P<page>0x[0-9a-f]+)"
INDEX = r"index (?P<index>\d+)"

FAULTS = (
    Fault("skip-break", "pin/*-waits"),
    Fault("retry", "race/retry", within=10.0, cpus=2),
    Fault("wrong-wait", "pin/punch-waits"),
)

# No bugs: the break waits as it should, in functions that no released kernel has. All must be as on the
# kernel as it is. On one file system each, and cases of every kind that says of a task that it waits.
RENAMED = {"xfs": "renamed", "ext4": "renamed-inlined"}
RENAMED_CASES = (
    "pin/punch-waits",
    "pin/truncate-down-waits",
    "pin/several-released-231-punch-waits",
    "pin/unmapped-punch-waits",
    "pin/aio-write-truncate-waits",
    "pin/signal-punch",
    "pin/while-waiting-*",
    "fsync/under-*",
    "evict/unlinked-keeps-blocks",
    "reflink/both",
    "reflink/cow-write-then-free",
)

# The same with the tracer beside the case: it must call the fault by its name. On one file system
# each, because what differs between the two is the break's hook, and that the suite shows.
TRACED = (
    Fault(
        "skip-break",
        "pin/punch-waits",
        finding=rf"missed wait: task {TASK} removed the mapping entry of {INODE} at {INDEX} while its {PAGE} was pinned",
    ),
    Fault(
        "spin",
        "pin/punch-waits",
        cpus=2,
        finding=rf"livelock: the break of {INODE} by task {TASK} spins: .* without sleeping, last {PAGE} \({INDEX}, ",
    ),
    Fault(
        "lost-wakeup",
        "pin/punch-waits",
        finding=rf"lost wake-up: the break of {INODE} by task {TASK} still waits for {PAGE} \({INDEX}\)",
    ),
    # Not drop-inode-lock: whether new pins starve the break is then a matter of chance, as it is
    # without the fault, and livelock/aio-dio-punch passed under it.
)


def steps() -> list[Step]:
    """All steps."""
    return [
        Step("fmt", cargo.lint("fmt", "--all", "--check"), counts=False),
        Step(
            "clippy",
            cargo.lint("clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"),
            counts=False,
        ),
        Step("cargo", cargo.test("--workspace")),
        Step("schedules", cargo.test("--package", "reference", "--features", "shuttle", "--test", "schedules")),
        Step("search", cargo.test("--package", "protocol", "--features", "search", "--test", "search")),
        Step("reference", model.cases),
        Step("variants", model.variants),
        Step("fuzz-variants", model.fuzzed),
        Step("reports", trial.script("reports")),
        Step("python", own.test),
        *suites(),
        *fuzzing(),
        *faults(),
        *renamed(),
        *commands(),
        *traced(),
    ]


def suites() -> list[Step]:
    """The suite on every kernel of the table and every file system."""
    places = [Where(name, filesystem) for name in kernel.read_table()["kernel"] for filesystem in FILESYSTEMS]
    return [Step(f"suite-{where}", trial.stock(where), where=where) for where in places]


def commands() -> list[Step]:
    """What the runner must do to devices and after interruptions, whatever the kernel; and what tracing costs."""
    where = Where(FAULTY_KERNEL, "xfs", cpus=1)
    counted = replace(where, icount=True)
    return [
        *(
            Step(name, trial.command(name, where, f"ci/{name}"), where=where)
            for name in ("device-safety", "interruptions")
        ),
        Step("devices", trial.command("devices", where, "ci/devices", *ON_DEVICES), where=where),
        Step("two-runners", trial.command("two-runners", where, "ci/two-runners", *AT_ONCE), where=where),
        Step("crash", crash.step(where), where=where),
        Step("cost", trial.command("cost", counted, "ci/bench/run", "2", "1", COST), where=counted),
    ]


def fuzzing() -> list[Step]:
    """Random programs on the kernel and on the reference."""
    places = [Where(FAULTY_KERNEL, filesystem, cpus=1) for filesystem in FILESYSTEMS]
    return [Step(f"fuzz-{where}", fuzz.step(where, FUZZING), where=where) for where in places]


def faults() -> list[Step]:
    """Every fault, on every file system."""
    first, *others = FILESYSTEMS
    places = {fault: Where(FAULTY_KERNEL, first, fault.cpus) for fault in FAULTS}
    return [
        # A fault that is found by a race has its time limit in a case's own seconds.
        Step(f"fault-{fault.name}", trial.faulty(where, fault, others), where=where, alone=fault.within is not None)
        for fault, where in places.items()
    ]


def renamed() -> list[Step]:
    """A kernel without a bug whose functions have other names."""
    places = {name: Where(FAULTY_KERNEL, filesystem, cpus=1) for filesystem, name in RENAMED.items()}
    return [
        Step(f"fault-{name}-{where.filesystem}", trial.stock(where, *RENAMED_CASES, fault=name), where=where)
        for name, where in places.items()
    ]


def traced() -> list[Step]:
    """Every fault that the tracer must name."""
    places = {fault: Where(FAULTY_KERNEL, "xfs", fault.cpus) for fault in TRACED}
    return [
        Step(f"trace-{fault.name}-{where.filesystem}", trial.traced(where, fault), where=where)
        for fault, where in places.items()
    ]
