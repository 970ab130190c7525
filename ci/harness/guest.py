"""The script that runs in the guest: makes the machine ready, runs one command, tells the host how it ended."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import config, pmem
from .cache import write_program

# What the kernel is told. A false alarm is a defect, and an emulated CPU that
# waits for a busy host looks like a stuck one: every watchdog gets the longest
# time that still ends before the harness itself gives up.
KERNEL_OPTIONS = (
    *pmem.KERNEL_OPTIONS,
    # A task that oopses dies with its locks held, and every case after it would
    # be judged on a broken machine. Down at once, the console says why, and the
    # suite goes on after the case in a fresh boot. A WARN goes on as ever.
    "oops=panic",
    # Warnings and worse. Each line costs the emulated serial port milliseconds;
    # after an oops the kernel prints everything.
    "loglevel=5",
    # They guard against other programs on the CPU, and cost an emulated one 15 %.
    "mitigations=off",
    # Ten timer interrupts must come in time or the kernel panics at once ("IO-APIC + timer doesn't
    # work!"), and on a busy host those of an emulator do not. Under KVM a guest does without, too.
    "no_timer_check",
    # The host's clock is the guest's; comparing it with slower ones only ends in doubt.
    "tsc=reliable",
    "watchdog_thresh=60",
    "rcupdate.rcu_cpu_stall_timeout=120",
    "workqueue.watchdog_thresh=120",
    "sysctl.kernel.hung_task_timeout_secs=240",
    # A normal RCU grace period takes tens of milliseconds on an emulated CPU, and making a device waits for
    # several of them.
    "rcupdate.rcu_expedited=1",
    # Zeroing pages that the caller overwrites anyway costs an emulated CPU dearly.
    "init_on_alloc=0",
    # Skip the crypto self-tests: each missing algorithm spawns a modprobe.
    "cryptomgr.notests=1",
    # Devices that nothing here uses. Their drivers double the time to boot.
    "module_blacklist=ahci,libata,scsi_mod,sr_mod,cdrom,kvm,kvm_amd,kvm_intel,i2c_i801,i2c_smbus,lpc_ich,iTCO_wdt,"
    "i6300esb,psmouse,powernow_k8,bochs,snd,pcspkr,aesni_intel,ghash_clmulni_intel,sha1_ssse3,sha256_ssse3,"
    "sha512_ssse3,evdev,serio_raw,button,qemu_fw_cfg",
)

# Stand-ins for programs that virtme-ng's init calls; they come first in its PATH.
INIT = {
    # Nothing here uses the files that it creates.
    "systemd-tmpfiles": "exit 0",
    # A uevent for every device, ttys and CPUs included, takes half of a boot. The guest needs only the virtio
    # ports that it talks to the host through; PMEM below loads the drivers for persistent memory by name.
    "udevadm": """\
PATH=${PATH#*:}
case "$*" in
*--type=subsystems*) exit 0 ;;
trigger*)
	set -- "$@" --subsystem-match=virtio --subsystem-match=virtio-ports
	;;
esac
exec udevadm "$@"
""",
}

SCRIPT = """\
#!/bin/sh
# Written by ci/vm: runs in the guest.
exec 2>&1
share={share}
export PATH={path}
# The host's /tmp shines through; what lies there is none of the guest's.
export TMPDIR=/run/daxtests
mkdir "$TMPDIR"
touch "$share/started"
# 9p reads the host's files a page at a time, again after each open. Copy up the libraries that every program
# opens: /lib is an overlay on tmpfs.
for library in /lib/*/libc.so.6 /lib/*/libm.so.6 /lib/*/libgcc_s.so.1 /lib/*/ld-linux*.so.*; do
	touch --no-create --reference="$library" "$library"
done 2>/dev/null
# For the same reason the runner, which each case is an exec of, is run from memory.
mkdir {bin}
if [ -e {programs}/runner ]; then
	dd if={programs}/runner of={bin}/runner bs=512k status=none && chmod +x {bin}/runner || rm -f {bin}/runner
fi
(while :; do date >"$share/alive"; sleep 5; done) </dev/null >/dev/null 2>&1 &
modprobe --quiet configfs
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
end() {{
	echo "$1" >"$share/exit.new" && mv "$share/exit.new" "$share/exit"
	exit "$1"
}}
{pmem}
# Without it fsync skips the flush of the CPU caches, and a case about fsync sees nothing.
for cache in /sys/block/pmem*/dax/write_cache; do [ ! -e "$cache" ] || echo 1 >"$cache"; done
{environment}
cd {folder} || cd /
{before}
{beside}
({command})
end $?
"""


# A folder on the guest's tmpfs.
BIN = "/run/daxtests-bin"

# Where a command is looked for that is none of the project's.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What the guest mounts itself; everything else is the host's.
OWN = ("/dev", "/proc", "/run", "/sys")

PMEM = """\
# What no driver has claimed yet is claimed on request; udev names it.
[ -b /dev/pmem0 ] || {{ modprobe --quiet --all nd_e820 nd_pmem; udevadm settle --timeout=30; }} >/dev/null 2>&1
[ -b /dev/pmem0 ] || {{
	lacks=
	if [ -e /proc/config.gz ] || modprobe --quiet configs; then
		for option in {options}; do
			zcat /proc/config.gz | grep -q "^CONFIG_$option=[ym]" || lacks="$lacks CONFIG_$option"
		done
		echo "ci/vm: the kernel has no persistent memory;${{lacks:+ it is built without$lacks;}} see {fragments} and dmesg"
	else
		echo "ci/vm: the kernel has no persistent memory, which takes: {options} (CONFIG_...); see {fragments} and dmesg"
	fi
	{end}
}}
"""


@dataclass(frozen=True)
class Work:
    """What the guest is to do."""

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    """Shell lines that run first; `end CODE` ends the work there."""
    beside: str = ""
    """Shell lines that run meanwhile; what they say is not listened to."""
    filesystems: Sequence[str] = ()
    """What it needs persistent memory for; a command may do without."""


def put_init(folder: Path) -> None:
    """Write the programs that the guest's init is to find first."""
    folder.mkdir(exist_ok=True)
    for name, text in INIT.items():
        write_program(folder / name, f"#!/bin/sh\n# Written by ci/vm.\n{text}\n")


def script(work: Work, share: Path) -> str:
    """The shell script for some work. `share` is a directory that host and guest both write."""
    options = [*config.PMEM, *(config.FILESYSTEMS[name] for name in work.filesystems)]
    looked_for = PMEM.format(
        options=" ".join(options), fragments=config.FRAGMENTS, end="end 2" if work.filesystems else "true"
    )
    return SCRIPT.format(
        pmem=looked_for,
        share=shlex.quote(str(share)),
        bin=BIN,
        programs=shlex.quote(str(share / "bin")),
        path=f"{BIN}:{shlex.quote(str(share / 'bin'))}:{PATH}",
        environment="\n".join(f"export {name}={shlex.quote(value)}" for name, value in work.environment.items()),
        folder=shlex.quote(str(work.folder)),
        before=work.before,
        beside=f"({work.beside}\n) </dev/null >/dev/null 2>&1 &" if work.beside else "",
        command=shlex.join(work.command),
    )
