"""One boot of a virtual machine: start it, pass on what it says, see that it lives, learn how it ended."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from . import child, guest
from .guest import Work
from .journal import stamp
from .kernel import Kernel
from .say import say

# How long a boot may take before its first command runs. Emulated on an idle
# host it takes 12 s.
BOOT_PATIENCE = 300.0
# What a kernel says that boots on a timer which does not tick any more, as an emulated one does now and then on a host
# that is short of time. Nothing moves after that (kernel/rcu/tree_stall.h).
STOPPED = b"kthread timer wakeup didn't happen"
# How often a machine that does not boot is tried.
MOST_TRIES = 3
# How long a machine may be without any sign of life: the guest gives one every 5 s.
STALL_PATIENCE = 240.0
# How long a machine that lives may be without progress of the work that is
# watched. The runner has a deadline for everything it does, all of them shorter.
WORK_PATIENCE = 900.0
# How long a machine may take to switch itself off once its work is done or it
# panicked. A file system with a stuck task never lets it.
END_PATIENCE = 20.0


@dataclass(frozen=True)
class Hardware:
    """What a machine is made of."""

    programs: Path
    """The directory of virtme-ng's programs."""
    qemu: Path
    kvm: bool
    icount: bool
    """Whether its clock counts instructions."""
    cpus: int
    memory: str
    append: Sequence[str] = ()
    """What the user adds to the kernel's command line."""


@dataclass(frozen=True)
class End:
    """How a boot ended."""

    code: int | None
    """The exit code of the command, if it came to its end."""
    reason: str = ""
    """Why the machine went down, if the command did not end first."""
    final: bool = False
    """Whether another boot makes no sense: the time is over."""
    stuck: bool = False
    """Whether it stood still before it ran anything: what was to be run had no part in it."""


def title(console: str) -> str | None:
    """What a console says of a crash, in one line."""
    panic = re.search(r"Kernel panic - not syncing: (.*)", console)
    oops = re.search(r"\b(BUG: .*|Oops: .*|general protection fault.*|kernel BUG at .*)", console)
    lines = [found[1].strip() for found in (panic, oops) if found]
    return "kernel panic: " + ", after ".join(lines) if lines else None


class Machine:
    """A machine that runs one command and is gone."""

    def __init__(self, hardware: Hardware, kernel: Kernel, share: Path, results: Path):
        self.hardware = hardware
        self.kernel = kernel
        self.share = share
        self.results = results
        self.init = share / "init"
        self.last_word = time.monotonic()
        self.boot_console = bytearray()
        self.unwritten: str | None = None

    def command(self, script: Path) -> list[str]:
        """The command line that boots the machine."""
        options = [
            "setpriv", "--pdeathsig", "KILL",
            str(self.hardware.programs / "virtme-run"),
            *(["--kdir", str(self.kernel.image)] if self.kernel.is_tree else ["--kimg", str(self.kernel.image)]),
            "--mods", "auto",
            "--name", "daxtests",
            "--user", "root",
            # 9p, for virtiofs wants a daemon of its own; a microvm has no pmem.
            "--force-9p", "--disable-microvm", "--disable-monitor",
            "--memory", self.hardware.memory,
            "--cpus", str(self.hardware.cpus),
            "--qemu-bin", str(self.hardware.qemu),
            # The guest's own copies, on top of the machine's: /lib for the kernel's
            # modules, the others because programs expect to write there.
            *[f"--overlay-rwdir={path}" for path in ("/lib", "/etc", "/var", "/tmp", "/home", "/root")],
            "--rwdir", str(self.share),
            "--rwdir", str(self.results),
            "--show-boot-console",
            "--script-sh", f"sh {script}",
        ]  # fmt: skip
        if not self.hardware.kvm:
            options.append("--disable-kvm")
        if self.hardware.icount:
            # A nanosecond for each instruction; a processor that sleeps wakes at once.
            options += ["--qemu-opt=-icount", "--qemu-opt=shift=0,sleep=off"]
        # The user's come last, for the last of two is heard.
        # A path that the kernel or a shell would split cannot be passed; the boot is just slower then.
        init = [f"PATH={self.init}:/bin:/sbin:/usr/bin:/usr/sbin"] if re.fullmatch(r"[\w/.-]+", str(self.init)) else []
        for option in (*init, *guest.KERNEL_OPTIONS, *self.hardware.append):
            options += ["--kopt", option]
        return options

    def run(self, work: Work, console: BinaryIO, output: BinaryIO, timeout: float, watched: list[Path]) -> End:
        """Boot, run, and wait for the end; `watched` are files that must grow."""
        for name in ("started", "alive", "exit"):
            (self.share / name).unlink(missing_ok=True)
        script = self.share / "guest.sh"
        script.write_text(guest.script(work, self.share))
        guest.put_init(self.init)
        environment = {
            **os.environ,
            # virtme-run calls its sister programs.
            "PATH": f"{self.hardware.programs}:{os.environ['PATH']}:/usr/sbin:/sbin",
            # It leaves a file behind there when it is killed.
            "TMPDIR": str(self.share),
        }
        pipes = {"stdout": child.PIPE, "stderr": child.PIPE}
        with child.start(self.command(script), "the machine", **pipes, env=environment) as machine:
            # Daemons: one that a stray process keeps waiting must not keep this one from its end.
            threads = [
                threading.Thread(target=self.copy, args=arguments, daemon=True)
                for arguments in (
                    (machine.stdout, {"what it said": output.write}),
                    (machine.stderr, {"its console": console.write, "": self.boot_console.extend}),
                )
            ]
            for thread in threads:
                thread.start()
            try:
                ended = self.watch(machine, timeout, watched)
            finally:
                child.kill(machine, "the machine")
                for thread in threads:
                    thread.join(child.END)
                if any(thread.is_alive() for thread in threads):
                    say(f"warning: the machine is gone, but {child.END:.0f} s later its console is still open")
        return ended or self.end()

    def copy(self, source: BinaryIO, sinks: dict[str, Callable[[bytes], object]]) -> None:
        """Pass on bytes as they come."""
        while piece := os.read(source.fileno(), 65536):
            self.last_word = time.monotonic()
            for name, sink in list(sinks.items()):
                try:
                    sink(piece)
                except BrokenPipeError:
                    # Nobody listens any more; the work goes on.
                    del sinks[name]
                except OSError as error:
                    # The machine would stand still if nobody read on.
                    self.unwritten = f"{name} could not be written: {child.why(error)}"
                    say(self.unwritten)
                    del sinks[name]

    def watch(self, machine: subprocess.Popen, timeout: float, watched: list[Path]) -> End | None:
        """Wait for the end of the machine, or of our patience; how it ended if it is the latter."""
        begin = life = work = time.monotonic()
        seen: dict[Path, object] = {}
        down: float | None = None
        while True:
            try:
                machine.wait(0.5)
                return None
            except subprocess.TimeoutExpired:
                pass
            now = time.monotonic()
            changed = [path for path in (self.share / "alive", *watched) if seen.get(path) != stamp(path)]
            seen.update((path, stamp(path)) for path in changed)
            life = now if changed else max(life, self.last_word)
            work = now if set(changed).intersection(watched) else max(work, self.last_word)
            if (self.share / "exit").exists() or b"Kernel panic - not syncing" in self.boot_console:
                down = down or now
                if now - down > END_PATIENCE:
                    return None
            elif now - begin > timeout:
                return End(None, f"its time was over after {timeout:.0f} s", final=True)
            elif not (self.share / "started").exists() and STOPPED in self.boot_console:
                return End(None, "its timer stopped before it had booted", stuck=True)
            elif not (self.share / "started").exists() and now - begin > BOOT_PATIENCE:
                reason = f"it did not boot within {BOOT_PATIENCE:.0f} s; its last word: {self.last_line()}"
                return End(None, reason, stuck=True)
            elif watched and now - work > WORK_PATIENCE:
                return End(None, f"its work did not go on for {WORK_PATIENCE:.0f} s")
            elif now - life > STALL_PATIENCE:
                return End(None, f"it stopped answering: no sign of life for {STALL_PATIENCE:.0f} s")

    def last_line(self) -> str:
        """What the console said last."""
        console = self.boot_console.decode(errors="replace")
        return (console.strip().splitlines() or ["nothing was said"])[-1]

    def end(self) -> End:
        """What the boot left behind tells how it ended."""
        try:
            return End(int((self.share / "exit").read_text()))
        except (OSError, ValueError):
            pass
        console = self.boot_console.decode(errors="replace")
        crash = title(console)
        if not crash and not (self.share / "started").exists():
            # virtme-run's own errors end up there too.
            return End(None, f"it ended before it could run a command: {self.last_line()}")
        return End(None, crash or "it went down without a word")


def persistently(boot: Callable[[], End], tell: Callable[[str], None], most: int = MOST_TRIES) -> End:
    """Boot until the machine comes up.

    Emulated on a host that is short of time, one now and then does not. None of
    what is tested has begun then, so it says nothing about that.
    """
    for _ in range(most - 1):
        end = boot()
        if not end.stuck:
            return end
        tell(f"{end.reason}; once more")
    return boot()


def leave_on_signals() -> None:
    """Turn the signals that end a program into an exception, so that machines are put down with it."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
