"""Which kernels a fault is refused on, and which builds of it are one."""

import dataclasses
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import cache, child, cli, fault, host, kernel, say
from harness.failure import Failure
from harness.kernel import Kernel

from .test_kernel import ENOUGH

# A break, and what it calls in fs/dax.c; both are what nm finds in a module.
SOURCE = """
void *{callee}(void *);
int {name}(void *inode, _Bool *retry) {{ return {callee}(inode) != 0; }}
"""


class Refusal(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)
        (self.tree / ".config").write_text(ENOUGH)
        self.kernel = Kernel("tree", self.tree, "7.3.0", "1-abc")

    def module(self, function: str, callee: str = "dax_layout_busy_page") -> None:
        folder = self.tree / "fs/xfs"
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "xfs.c"
        source.write_text(SOURCE.format(name=function, callee=callee))
        say.run(["cc", "-c", source, "-o", folder / "xfs.ko"], "compiling")

    def test_one_with_the_function_takes_it(self):
        self.module("xfs_break_dax_layouts")
        self.assertIsNone(fault.refusal(self.kernel, "retry", "xfs"))

    def test_one_without_is_refused_by_the_functions_name(self):
        self.module("xfs_break_layouts_of_another_name")
        reason = fault.refusal(self.kernel, "retry", "xfs")
        self.assertEqual(reason, "xfs of 7.3.0 has no function xfs_break_dax_layouts, which the fault retry replaces")

    def test_one_that_breaks_its_layouts_elsewhere_is_refused(self):
        # As from Linux 6.15 on.
        self.module("xfs_break_dax_layouts", callee="dax_break_layout")
        reason = fault.refusal(self.kernel, "retry", "xfs")
        self.assertIn("xfs of 7.3.0 breaks its layouts in another way than the fault retry", reason)
        self.assertTrue(reason.endswith("it does not call dax_layout_busy_page"), reason)
        # One that calls nothing in its place is the same bug there.
        self.assertIsNone(fault.refusal(self.kernel, "skip-break", "xfs"))

    def test_the_kernels_of_the_table_are_told_apart(self):
        known = [path.parents[1] for path in cache.Cache.default().path.glob("kernel-*/boot/vmlinuz-*")]
        if not known:
            self.skipTest("no kernel is fetched yet")
        for folder in known:
            name = folder.name.removeprefix("kernel-")
            release = (folder / "release").read_text().strip()
            own = Kernel(name, folder / "boot" / f"vmlinuz-{release}", release, "1")
            has, calls = fault.functions(own.module("fs/ext4/ext4"))
            for filesystem in ("xfs", "ext4"):
                with self.subTest(release, filesystem=filesystem):
                    refused = fault.refusal(own, "retry", filesystem) is not None
                    self.assertEqual(refused, "dax_break_layout" in calls)

    def test_a_module_may_be_compressed(self):
        self.module("xfs_break_dax_layouts")
        say.run(["xz", self.tree / "fs/xfs/xfs.ko"], "compressing")
        self.assertIsNone(fault.refusal(self.kernel, "retry", "xfs"))

    def test_a_file_system_in_the_image_is_refused(self):
        (self.tree / "modules.builtin").write_text("kernel/fs/xfs/xfs.ko\nkernel/fs/ext4/ext4.ko\n")
        reason = fault.refusal(self.kernel, "skip-break", "ext4")
        self.assertEqual(reason, "ext4 is built into 7.3.0, and a fault patches it as a module (CONFIG_EXT4_FS=m)")

    def test_no_livepatch_no_fault(self):
        (self.tree / ".config").write_text(ENOUGH.replace("CONFIG_LIVEPATCH=y", ""))
        self.assertIn("CONFIG_LIVEPATCH", fault.refusal(self.kernel, "skip-break", "xfs"))

    def test_every_livepatch_says_what_it_replaces(self):
        livepatches = [name for name in fault.names() if fault.is_livepatch(name)]
        self.assertEqual(set(fault.names()) - set(livepatches), {"no-unmap"})
        for name in livepatches:
            for filesystem in ("xfs", "ext4"):
                with self.subTest(name, filesystem=filesystem):
                    self.assertTrue(fault.patched(name, filesystem) or fault.patched(name, "vmlinux"))


class Forecast(unittest.TestCase):
    """What the row of a kernel says before anything is fetched."""

    def test_one_that_breaks_its_layouts_elsewhere_is_refused(self):
        row = {"without": ["dax_layout_busy_page"]}
        self.assertIn("kernel 7 breaks its layouts in another way", fault.forecast("7", row, "retry"))
        self.assertIsNone(fault.forecast("7", row, "skip-break"))
        self.assertIsNone(fault.forecast("7", {}, "retry"))
        self.assertIsNone(fault.forecast("7", row, "/some/where.ko"))

    def test_a_compiler_that_cannot_be_had_is_told(self):
        row = {"compiler": "gcc-99"}
        with mock.patch.multiple(host, hopeless=lambda *_: None, offers=lambda _: False):
            said = fault.forecast("7", row, "skip-break")
        self.assertIn("takes its compiler, gcc-99, which is not here, and apt has none", said)
        with mock.patch.multiple(host, hopeless=lambda *_: None, offers=lambda _: True):
            self.assertIsNone(fault.forecast("7", row, "skip-break"))
        with mock.patch.object(host, "hopeless", return_value="missing: gcc-99 (as root: apt-get install gcc-99)"):
            self.assertIn("missing: gcc-99", fault.forecast("7", row, "skip-break"))

    def test_without_lists_nobody_knows_what_apt_offers(self):
        for shown, offers in (({"gcc"}, False), ({"gcc", "gcc-99"}, True), (set(), True)):
            done = [mock.Mock(returncode=int(name not in shown)) for name in ("gcc-99", "gcc")]
            with self.subTest(shown), mock.patch.object(child, "finish", side_effect=done):
                self.assertIs(host.offers("gcc-99"), offers)

    def test_a_kernel_that_was_fetched_says_it_itself(self):
        own = Kernel("6.12", Path("/boot"), "6.12.1", "1")
        with mock.patch.object(kernel, "cached", return_value=own), mock.patch.object(fault, "refusal") as refusal:
            self.assertIs(cli.unfit("6.12", "xfs", "retry"), refusal.return_value)
        refusal.assert_called_once_with(own, "retry", "xfs")

    def test_one_that_was_not_is_not_fetched(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, DAXTESTS_CACHE=f"{folder}/none"):
            self.assertIsNone(cli.unfit("6.12", "xfs", "retry"))
            self.assertEqual(os.listdir(folder), [])

    def test_the_rows_say_what_the_kernels_do(self):
        rows = kernel.read_table()["kernel"]
        there = [own for name in rows if (own := kernel.cached(name))]
        if not there:
            self.skipTest("no kernel is fetched yet")
        for own in there:
            _, calls = fault.functions(own.module("fs/ext4/ext4"))
            with self.subTest(own.release):
                without = rows[own.name].get("without", [])
                self.assertEqual("dax_layout_busy_page" in without, "dax_layout_busy_page" not in calls)
            folder = cache.Cache.place() / f"headers-{own.release}/usr/src" / own.headers
            if folder.exists() and "compiler" in rows[own.name]:
                self.assertEqual(fault.compiler(folder), [rows[own.name]["compiler"]])


class Readme(unittest.TestCase):
    def test_it_tells_of_each_fault(self):
        text = (fault.SOURCES / "README.md").read_text()
        for name in fault.names():
            self.assertIn(f"`{name}`", text)


class Foreign(unittest.TestCase):
    """A module that somebody built elsewhere."""

    def module(self, said: bytes, name: str = "mine.ko") -> Path:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name, name)
        path.write_bytes(b"\x7fELF\0" + said)
        return path

    def test_it_says_what_it_is(self):
        path = self.module(b"license=GPL\0name=other_name\0vermagic=6.12.1 SMP preempt\0")
        self.assertEqual(fault.facts(path), {"name": "other_name", "vermagic": "6.12.1 SMP preempt"})
        script = fault.load(str(path), path, ["xfs"])
        self.assertIn("/sys/module/other_name", script)
        say.run(["sh", "-n", "-c", script], "reading the script")

    def test_it_is_for_one_kernel(self):
        path = self.module(b"x\0name=mine\0vermagic=6.12.1 SMP\0")
        kernel = Kernel("tree", Path("/tree"), "6.12.1", "1")
        self.assertIsNone(fault.refusal(kernel, str(path), "xfs"))
        reason = fault.refusal(dataclasses.replace(kernel, release="7.3.0"), str(path), "xfs")
        self.assertEqual(reason, f"{path} is built for 6.12.1, not for 7.3.0")

    def test_what_is_none_is_refused(self):
        for said in (b"", b"x\0name=mine\0"):
            with self.subTest(said), self.assertRaisesRegex(Failure, "is no kernel module"):
                fault.known(str(self.module(said)))
        with self.assertRaisesRegex(Failure, "No such file"):
            fault.known("/no/such.ko")


class Key(unittest.TestCase):
    def test_a_tree_that_was_built_anew_gets_modules_of_its_own(self):
        made: list[str] = []

        class Store(cache.Cache):
            def put(self, name, make):
                made.append(name)
                return self.path / name

        with tempfile.TemporaryDirectory() as folder, mock.patch.object(fault.host, "prepare"):
            tree = Path(folder, "linux")
            tree.mkdir()
            first = Kernel("tree", tree, "7.3.0", "1-abc")
            with mock.patch.object(fault, "say"):
                fault.build(Store(Path(folder, "cache")), first, "retry")
                # The same folder and the same release.
                fault.build(Store(Path(folder, "cache")), dataclasses.replace(first, build="2-def"), "retry")
                (tree / "Module.symvers").write_text("0x1\tdax_layout_busy_page\tvmlinux\tEXPORT_SYMBOL_GPL\t\n")
                fault.build(Store(Path(folder, "cache")), first, "retry")
        self.assertEqual(len(set(made)), 3, made)

    def test_one_that_does_not_build_for_a_kernel_keeps_no_other_from_it(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(fault.host, "prepare"), mock.patch.object(fault, "say"):
            # A kernel for which longterm-pin does not build.
            tree = Path(folder, "linux")
            tree.mkdir()
            (tree / "Makefile").write_text(
                "include $(M)/Kbuild\n"
                "modules: $(obj-m)\n"
                "%.o: $(M)/%.c\n\ttest $* != longterm-pin\n\ttouch $(M)/$*.ko\n"
            )
            booted = Kernel("tree", tree, "7.3.0", "1-abc")
            store = cache.Cache(Path(folder, "cache"))
            self.assertTrue(fault.build(store, booted, "no-unmap").exists())
            with self.assertRaises(Failure):
                fault.build(store, booted, "longterm-pin")
            self.assertTrue(fault.build(store, booted, "retry").exists())
