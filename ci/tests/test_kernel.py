"""Which kernel a row of the table means."""

import re
import tempfile
import unittest
from pathlib import Path

from harness import kernel
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


class BroughtAlong(unittest.TestCase):
    def test_a_build_tree_must_be_built(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(Failure, "no arch/x86/boot/bzImage"):
                kernel.brought_along(Path(folder))

    def test_a_build_tree_is_named_after_its_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "linux" / "arch/x86/boot/bzImage"
            image.parent.mkdir(parents=True)
            image.touch()
            known = kernel.brought_along(Path(folder) / "linux")
            self.assertTrue(known.is_tree)
            self.assertEqual(known.name, "linux")
            self.assertEqual(known.vmlinuz, image)

    def test_an_image_is_named_after_its_release(self):
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "boot" / "vmlinuz-6.9.1-custom"
            image.parent.mkdir()
            image.touch()
            (Path(folder) / "lib/modules/6.9.1-custom").mkdir(parents=True)
            self.assertEqual(kernel.brought_along(image).release, "6.9.1-custom")
