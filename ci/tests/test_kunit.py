"""The kernel's reader of KTAP, taken from the package of a kernel's source."""

import shutil
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness import child, kunit, step
from harness.cache import Cache
from harness.failure import Failure, OutOfReach

TABLE = {"suites": ["stable"], "package": "linux-source-9"}

SOURCE = {
    "MAINTAINERS": "everybody",
    "tools/testing/kunit/kunit_parser.py": "",
    "tools/testing/kunit/configs/default.config": "",
    "tools/testing/selftests/kunit_parser.py": "",
}


def package(folder: Path, files: dict[str, str]) -> Path:
    """A package like the distribution's, with these files as the source of a kernel."""
    for name, text in files.items():
        path = folder / "linux-source-9" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root = folder / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: linux-source-9\nVersion: 9-1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: none\n"
    )
    (root / "usr" / "src").mkdir(parents=True)
    archive, made = root / "usr" / "src" / "linux-source-9.tar.xz", folder / "linux-source-9_9-1_all.deb"
    child.finish(["tar", "--create", "--xz", "--file", archive, "--directory", folder, "linux-source-9"], "packing")
    child.finish(["dpkg-deb", "--build", root, made], "packing", stdout=child.DEVNULL)
    return made


@unittest.skipUnless(shutil.which("dpkg-deb"), "dpkg-deb is not installed")
class Fetch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.cache = Cache(self.folder / "cache")

    def fetch(self, made: Path | Exception) -> Path:
        """Fetch from an archive that offers this package."""

        def download(_: object, packages: list[str], into: Path) -> list[Path]:
            self.assertEqual(packages, ["linux-source-9"])
            if isinstance(made, Exception):
                raise made
            return [Path(shutil.copy(made, into))]

        with mock.patch.multiple(kunit.apt.Suites, refresh=lambda _: None, download=download):
            return kunit.fetch(self.cache, TABLE)

    def kept(self) -> list[str]:
        """The files in the cache."""
        return sorted(str(path.relative_to(self.cache.path)) for path in self.cache.path.rglob("*") if path.is_file())

    def test_the_folder_is_kept_and_nothing_else(self):
        folder = self.fetch(package(self.folder, SOURCE))
        self.assertEqual(folder, self.cache.path / "kunit-linux-source-9")
        kept = ["configs/default.config", "kunit_parser.py"]
        self.assertEqual(self.kept(), [*(f"kunit-linux-source-9/{name}" for name in kept), "locks/kunit-linux-source-9"])

    def test_it_is_fetched_once(self):
        folder = self.fetch(package(self.folder, SOURCE))
        self.assertEqual(self.fetch(OutOfReach("no network")), folder)

    def test_what_is_out_of_reach_fails_and_leaves_nothing(self):
        with self.assertRaisesRegex(Failure, "^no network$"):
            self.fetch(OutOfReach("no network"))
        self.assertEqual(self.kept(), ["locks/kunit-linux-source-9"])

    def test_a_source_without_it_fails_and_says_so(self):
        what = "unpacking tools/testing/kunit from linux-source-9_9-1_all.deb"
        with self.assertRaisesRegex(Failure, f"{what}: .*Not found in archive"):
            self.fetch(package(self.folder, {"MAINTAINERS": "everybody"}))
        with self.assertRaisesRegex(Failure, "there is no kunit_parser.py in it"):
            self.fetch(package(self.folder / "other", {"tools/testing/kunit/kunit.py": ""}))
        self.assertEqual(self.kept(), ["locks/kunit-linux-source-9"])

    def test_what_is_cut_off_fails(self):
        made = package(self.folder, SOURCE)
        made.write_bytes(made.read_bytes()[:-40])
        with self.assertRaises(Failure):
            self.fetch(made)
        self.assertEqual(self.kept(), ["locks/kunit-linux-source-9"])


class Plan(unittest.TestCase):
    def test_a_step_has_the_runner_read_by_it(self):
        (reports,) = [one for one in step.listed("1/2") if one.name == "reports"]
        self.assertEqual(reports.command[-1], "--kunit")
