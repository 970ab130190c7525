"""Which kernel a row of the table means."""

import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import cache, config, kernel
from harness.failure import Failure, OutOfReach

ROW = {
    "suites": ["stable"],
    "release": r"6\.12\.\d+\+deb12(\.\d+)?-amd64",
    "packages": [["linux-image-{release}"], ["linux-image-{release}-unsigned"]],
}

SPLIT = {
    "suites": ["unstable"],
    "release": r"7\.\d+\.\d+\+deb\d+-amd64",
    "packages": [
        ["linux-binary-{release}", "linux-modules-{release}"],
        ["linux-binary-unsigned-{release}", "linux-modules-{release}"],
    ],
}


class Choose(unittest.TestCase):
    def test_takes_the_newest_as_people_count(self):
        offered = {f"linux-image-6.12.{point}+deb12-amd64" for point in (9, 43, 100, 117)}
        release, packages = kernel.choose(ROW, offered)
        self.assertEqual(release, "6.12.117+deb12-amd64")
        self.assertEqual(packages, ["linux-image-6.12.117+deb12-amd64"])

    def test_a_rebuild_is_newer_than_what_it_rebuilds(self):
        offered = {"linux-image-6.12.90+deb12-amd64", "linux-image-6.12.90+deb12.1-amd64"}
        self.assertEqual(kernel.choose(ROW, offered)[0], "6.12.90+deb12.1-amd64")

    def test_takes_the_unsigned_twin_where_the_signed_lags_behind(self):
        offered = {"linux-image-6.12.43+deb12-amd64", "linux-image-6.12.57+deb12-amd64-unsigned"}
        self.assertEqual(kernel.choose(ROW, offered)[1], ["linux-image-6.12.57+deb12-amd64-unsigned"])

    def test_prefers_the_signed_of_one_release(self):
        offered = {"linux-image-6.12.57+deb12-amd64", "linux-image-6.12.57+deb12-amd64-unsigned"}
        self.assertEqual(kernel.choose(ROW, offered)[1], ["linux-image-6.12.57+deb12-amd64"])

    def test_leaves_other_flavours_alone(self):
        offered = {
            "linux-image-6.12.57+deb12-cloud-amd64",
            "linux-image-6.12.57+deb12-rt-amd64",
            "linux-image-6.12.57+deb12-amd64-dbg",
            "linux-image-6.12-amd64",
            "linux-headers-6.12.57+deb12-amd64",
        }
        with self.assertRaises(OutOfReach):
            kernel.choose(ROW, offered)

    def test_wants_all_packages_of_a_set(self):
        offered = {
            "linux-binary-7.3.1+deb14-amd64",
            "linux-binary-7.2.13+deb14-amd64",
            "linux-modules-7.2.13+deb14-amd64",
        }
        release, packages = kernel.choose(SPLIT, offered)
        self.assertEqual(release, "7.2.13+deb14-amd64")
        self.assertEqual(packages, ["linux-binary-7.2.13+deb14-amd64", "linux-modules-7.2.13+deb14-amd64"])


class Table(unittest.TestCase):
    def test_every_row_is_whole(self):
        for name, row in kernel.read_table()["kernel"].items():
            with self.subTest(name):
                self.assertTrue(row["suites"])
                re.compile(row["release"])
                for packages in row["packages"]:
                    self.assertTrue(packages)
                    self.assertTrue(all("{release}" in package for package in packages))

    def test_no_row_names_a_point_release(self):
        for name, row in kernel.read_table()["kernel"].items():
            with self.subTest(name):
                self.assertIn(r"\d+", row["release"])


def write_image(path: Path, said: str) -> Path:
    """An image as boot.rst has it, which says this of itself."""
    header = bytearray(0x400)
    header[0x202:0x206] = b"HdrS"
    header[0x20E:0x210] = (0x300 - 0x200).to_bytes(2, "little")
    header[0x300 : 0x300 + len(said)] = said.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header)
    return path


RC = "7.3.0-rc7-axd (me@here) #12 SMP PREEMPT Thu Nov 26 10:00:00 UTC 2026"

ENOUGH = "".join(f"CONFIG_{option}=y\n" for option in (*config.MACHINE, *config.PMEM, "XFS_FS", "EXT4_FS", "LIVEPATCH"))


class Fetch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = cache.Cache(Path(folder.name))
        away = mock.patch.object(kernel.apt.Suites, "refresh", side_effect=OutOfReach("no network"))
        away.start()
        self.addCleanup(away.stop)

    def test_one_that_is_there_is_used_when_nothing_newer_can_be_had(self):
        folder = self.cache.path / "kernel-6.12"
        write_image(folder / "boot" / "vmlinuz-6.12.9", "6.12.9 (a@b) #1 SMP")
        (folder / "release").write_text("6.12.9\n")
        with mock.patch.object(kernel, "say") as said:
            self.assertEqual(kernel.fetch(self.cache, "6.12", ROW, refresh=True).release, "6.12.9")
        self.assertIn("no network", said.call_args[0][0])

    def test_one_that_is_not_there_is_out_of_reach(self):
        with self.assertRaises(OutOfReach):
            kernel.fetch(self.cache, "6.12", ROW, refresh=True)


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def tree(self, name: str = "linux", said: str = RC, options: str = ENOUGH) -> Path:
        tree = self.folder / name
        write_image(tree / kernel.IMAGE, said)
        (tree / ".config").write_text(options)
        return tree

    def test_it_is_named_by_release_and_build(self):
        known = kernel.brought_along(self.tree())
        self.assertTrue(known.is_tree)
        self.assertEqual(known.release, "7.3.0-rc7-axd")
        self.assertRegex(known.name, r"^7\.3\.0-rc7-axd-12-[0-9a-f]{8}$")

    def test_two_of_one_name_and_one_release_are_two(self):
        first = kernel.brought_along(self.tree("a/linux"))
        second = kernel.brought_along(self.tree("b/linux", RC.replace("10:00:00", "10:05:00")))
        self.assertEqual(first.release, second.release)
        self.assertNotEqual(first.name, second.name)

    def test_an_image_within_it_is_the_tree(self):
        tree = self.tree()
        link = tree / "arch/x86_64/boot/bzImage"
        link.parent.mkdir(parents=True)
        link.symlink_to("../../x86/boot/bzImage")
        for path in (tree / kernel.IMAGE, link):
            with self.subTest(path), mock.patch.object(kernel, "say") as said:
                known = kernel.look(str(path))
                self.assertEqual(known, kernel.brought_along(tree))
                self.assertIsNone(kernel.complaint(known, "xfs"))
                said.assert_not_called()

    def test_what_it_is_built_without_is_named(self):
        options = ENOUGH.replace("CONFIG_NVDIMM_PFN=y\n", "").replace("CONFIG_ND_CLAIM=y\n", "")
        reason = kernel.complaint(kernel.brought_along(self.tree(options=options)), "xfs")
        self.assertIn("it is built without CONFIG_ND_CLAIM, CONFIG_NVDIMM_PFN (", reason)
        self.assertIn("ci/kernels/", reason)

    def test_and_the_file_system_too(self):
        known = kernel.brought_along(self.tree(options=ENOUGH.replace("CONFIG_EXT4_FS=y", "# CONFIG_EXT4_FS is not set")))
        self.assertIsNone(kernel.complaint(known, "xfs"))
        self.assertIn("CONFIG_EXT4_FS", kernel.complaint(known, "ext4"))

    def test_modules_that_are_not_built_are_named(self):
        tree = self.tree(options=ENOUGH.replace("CONFIG_XFS_FS=y", "CONFIG_XFS_FS=m"))
        known = kernel.brought_along(tree)
        self.assertRegex(kernel.complaint(known, "xfs"), r"its modules are not built \(CONFIG_XFS_FS=m\): make modules")
        (tree / "modules.order").touch()
        self.assertIsNone(kernel.complaint(known, "xfs"))

    def test_debians_kernel_lacks_nothing(self):
        # What is asked for must be what these options are called.
        path = cache.Cache.default().path / f"kernel-{kernel.default()}" / "boot"
        found = next(path.glob("config-*"), None)
        if not found:
            self.skipTest("the kernel is not fetched yet")
        self.assertIsNone(config.complaint(config.read(found), "xfs"))

    def test_the_configurations_of_ours_are_enough(self):
        folder = cache.ROOT / config.FRAGMENTS
        ours = config.read(folder / "debug.config")
        # Nobody can set it: NVDIMM_PFN does.
        self.assertEqual(ours["NVDIMM_PFN"], "y")
        ours["ND_CLAIM"] = "y"
        for known in (ours, ours | config.read(folder / "modules.config")):
            for filesystem in config.FILESYSTEMS:
                self.assertIsNone(config.complaint(known, filesystem))


class BroughtAlong(unittest.TestCase):
    def test_a_build_tree_must_be_built(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(Failure, "no arch/x86/boot/bzImage"):
                kernel.brought_along(Path(folder))

    def test_an_image_says_its_release_itself(self):
        with tempfile.TemporaryDirectory() as folder:
            image = write_image(Path(folder) / "boot" / "vmlinuz", "6.9.1-custom (a@b) #1 SMP Debian")
            modules = Path(folder) / "lib/modules/6.9.1-custom"
            modules.mkdir(parents=True)
            known = kernel.brought_along(image)
            self.assertEqual((known.release, known.modules), ("6.9.1-custom", modules))

    def test_what_is_no_kernel_is_refused(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\x7fELF" + bytes(4096))
            file.flush()
            with self.assertRaisesRegex(Failure, "is not a bootable x86 kernel"):
                kernel.look(file.name)

    def test_modules_that_are_not_there_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            image = write_image(Path(folder) / "boot" / "vmlinuz-6.9.1", "6.9.1 (a@b) #1 SMP")
            (Path(folder) / "lib/modules/6.9.2").mkdir(parents=True)
            (image.parent / "config-6.9.1").write_text(ENOUGH.replace("CONFIG_XFS_FS=y", "CONFIG_XFS_FS=m"))
            reason = kernel.complaint(kernel.brought_along(image), "xfs")
            self.assertIn("there is no lib/modules/6.9.1 beside it, and it needs modules (CONFIG_XFS_FS=m)", reason)
