"""What the HTML report is asked in a browser. `ci/browser` asks it; here is what needs none."""

import shlex
import tomllib
import unittest

from harness import browser, page, step
from harness.cache import ROOT

STYLE = (ROOT / "runner/src/report/html/page.css").read_text()


class Checks(unittest.TestCase):
    def test_each_is_shown_to_fail_on_a_page_that_is_broken(self):
        broken = {one.check for one in (*page.BROKEN, *page.BROKEN_LARGE)}
        self.assertEqual(broken, {*page.CHECKS, page.small})

    def test_each_says_what_it_checks(self):
        for check in (*page.CHECKS, page.small):
            self.assertTrue(check.__doc__, check.__name__)

    def test_a_page_is_broken_in_one_place_of_the_style(self):
        # Twice as where a colour is another one in the dark.
        styles = [one.old for one in page.BROKEN if one.old in STYLE]
        self.assertGreater(len(styles), 8)
        for old in styles:
            self.assertLessEqual(STYLE.count(old), 2, old)

    def test_every_verdict_that_needs_attention_has_a_style(self):
        for verdict in page.ATTENTION:
            self.assertIn(f".badge.{verdict}", STYLE)

    def test_it_is_a_step(self):
        self.assertIn("ci/browser", shlex.split(tomllib.loads(step.LIST.read_text())["shared"]["browser"]))
        self.assertEqual([need.package for need in browser.NEEDS], ["chromium", "chromium-driver", "fonts-dejavu-core"])
