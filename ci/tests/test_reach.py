"""Which functions belong to the protocol, and which of them a trace says were entered."""

import importlib.machinery
import importlib.util
import sys
import unittest
from pathlib import Path

from harness.cache import ROOT

PATH = str(Path(ROOT) / "ci" / "reach")
loader = importlib.machinery.SourceFileLoader("reach", PATH)
reach = importlib.util.module_from_spec(importlib.util.spec_from_loader("reach", loader))
# Its dataclasses look for the module that they are of.
sys.modules["reach"] = reach
loader.exec_module(reach)

AVAILABLE = """schedule
__traceiter_dax_pte_fault
dax_iomap_pte_fault
dax_layout_busy_page_range
fuse_dax_break_layouts
xfs_break_dax_layouts [xfs]
xfs_reflink_convert_unwritten.isra.0 [xfs]
__probestub_xfs_reflink_unshare [xfs]
ext4_break_layouts [ext4]"""


class Reach(unittest.TestCase):
    def found(self, fs):
        return {function.name: function for function in reach.candidates(AVAILABLE.splitlines(), fs)}

    def test_only_what_belongs_to_the_protocol_is_watched(self):
        found = self.found("xfs")
        self.assertEqual(
            {name: (function.group, function.number) for name, function in found.items()},
            {
                "dax_iomap_pte_fault": ("faults", 3),
                "dax_layout_busy_page_range": ("breaks", 4),
                "xfs_break_dax_layouts": ("breaks", 6),
                "xfs_reflink_convert_unwritten.isra.0": ("sharing", 7),
            },
        )
        self.assertEqual(set(self.found("ext4")) - set(found), {"ext4_break_layouts"})

    def test_a_trace_tells_who_was_first(self):
        seen = reach.Reach(list(self.found("xfs").values()))
        lines = [
            b"# tracer: function",
            b"    daxtests-case-1234    [000] .....   103.208434: dax_iomap_pte_fault <-__xfs_filemap_fault",
            b" kworker/0:1-99 [001] d..1. 104.0: xfs_reflink_convert_unwritten.isra.0 [xfs] <-xfs_reflink_end_cow",
            b"           <...>-7 [000] ..... 105.0: dax_iomap_pte_fault <-x",
            b"           <...>-7 [000] ..... 105.0: vfs_write <-ksys_write",
        ]
        self.assertTrue(reach.read(seen, lines))
        self.assertFalse(reach.read(seen, lines))
        first = {"dax_iomap_pte_fault": "daxtests-case", "xfs_reflink_convert_unwritten.isra.0": "kworker/0:1"}
        self.assertEqual(seen.entered, first)
        self.assertEqual({function.name for function in seen.never()}, {"dax_layout_busy_page_range", "xfs_break_dax_layouts"})
        said = reach.told(seen)
        self.assertIn("entered 2 of 4 functions, 0 need not be\n", said)
        self.assertIn("breaks: 0 of 2\n  never dax_layout_busy_page_range\n  never xfs_break_dax_layouts", said)
        self.assertNotIn("lost", said)

    def test_what_need_not_be_entered_says_why(self):
        self.assertIn("recovery", reach.reason("xfs_reflink_recover_cow"))
        self.assertIn("media", reach.reason("dax_holder_notify_failure"))
        self.assertIsNone(reach.reason("xfs_break_layouts"))
        self.assertIsNone(reach.reason("dax_unlock_entry"))

    def test_what_was_lost_is_told(self):
        seen = reach.Reach(list(self.found("xfs").values()))
        reach.read(seen, [b"CPU:1 [LOST 12 EVENTS]"])
        self.assertEqual(seen.lost, 12)
        self.assertIn("12 entries were lost", reach.told(seen))
