"""What the guest's script says of a kernel without persistent memory, and what its init does of a boot."""

import gzip
import tempfile
import unittest
from pathlib import Path

from harness import child, guest
from harness.guest import Work

from .test_kernel import ENOUGH


class NoPmem(unittest.TestCase):
    def go(self, options: str | None, filesystems: list[str]) -> tuple[int, str]:
        """The exit code and the words of the part that looks for /dev/pmem0, on a machine that has none."""
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "config.gz")
            if options is not None:
                config.write_bytes(gzip.compress(options.encode()))
            text = guest.script(Work(["true"], Path("/"), filesystems=filesystems), Path(folder))
            part = text[text.index("[ -b /dev/pmem0 ]") : text.index("# Without it fsync")]
            part = part.replace("/dev/pmem0", f"{folder}/pmem0").replace("/proc/config.gz", str(config))
            shell = f"modprobe() {{ return 1; }}\nudevadm() {{ :; }}\nend() {{ exit $1; }}\n{part}\necho goes on\n"
            done = child.finish(["sh", "-c", shell], "the script", stdout=child.PIPE, text=True)
        return done.returncode, done.stdout

    def test_what_the_kernel_is_built_without_is_named(self):
        options = ENOUGH.replace("CONFIG_NVDIMM_PFN=y\n", "").replace("CONFIG_XFS_FS=y", "CONFIG_XFS_FS=m")
        code, said = self.go(options, ["xfs"])
        self.assertEqual((code, len(said.splitlines())), (2, 1))
        self.assertIn("it is built without CONFIG_NVDIMM_PFN; see ci/kernels/", said)

    def test_a_file_system_is_named_too(self):
        self.assertIn("without CONFIG_EXT4_FS;", self.go(ENOUGH.replace("CONFIG_EXT4_FS=y", ""), ["ext4"])[1])

    def test_if_it_cannot_be_read_all_that_is_needed_is_named(self):
        code, said = self.go(None, ["xfs"])
        self.assertEqual((code, len(said.splitlines())), (2, 1))
        self.assertIn("X86_PMEM_LEGACY LIBNVDIMM BLK_DEV_PMEM ND_CLAIM NVDIMM_PFN", said)

    def test_a_command_may_do_without(self):
        code, said = self.go(ENOUGH, [])
        self.assertEqual((code, said.splitlines()[-1]), (0, "goes on"))
        self.assertIn("the kernel has no persistent memory", said)


class Init(unittest.TestCase):
    def asked(self, *words: str) -> str:
        """What udevadm is asked when the guest's init asks for `words`."""
        with tempfile.TemporaryDirectory() as folder:
            own, real = Path(folder, "own"), Path(folder, "real")
            guest.put_init(own)
            real.mkdir()
            (real / "udevadm").write_text('#!/bin/sh\necho "$@"\n')
            (real / "udevadm").chmod(0o755)
            environment = {"PATH": f"{own}:{real}:/usr/bin:/bin"}
            done = child.finish([own / "udevadm", *words], "udevadm", stdout=child.PIPE, text=True, env=environment)
        return done.stdout.strip()

    def test_only_devices_of_use_are_looked_at(self):
        said = self.asked("trigger", "--type=devices", "--action=add")
        self.assertTrue(said.startswith("trigger --type=devices --action=add --subsystem-match=virtio "))
        self.assertEqual(self.asked("trigger", "--type=subsystems", "--action=add"), "")

    def test_all_else_is_asked_as_it_is(self):
        self.assertEqual(self.asked("settle", "--timeout=300"), "settle --timeout=300")
