//! The rule *missed wait*: no block is freed, and no mapping entry removed by a break, while its
//! page is pinned; and a break that succeeded ends with a scan that found nothing busy.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Rules, Scan, absence, finding};
use crate::event::{Event, flag};
use crate::finding::Finding;
use crate::how::How;
use crate::mark::Mark;

impl Rules {
    pub(super) fn break_end(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        let Some(ended) = self.breaks.remove(&(event.task, event.inode)) else {
            return Vec::new();
        };
        if event.value < 0 || !ended.whole {
            return Vec::new();
        }
        let (how, place, rests_on, why) = match ended.scan {
            Some(Scan { busy: None, .. }) => return Vec::new(),
            Some(Scan { mark: scan, busy: Some((page, index)) }) => (
                How::StillBusy,
                Some((page, index)),
                vec![ended.begun, scan, mark],
                format!("its last scan found page {page:#x} (index {index}) busy"),
            ),
            None => (
                How::NoScan,
                None,
                vec![ended.begun, mark],
                String::from("it never looked for one"),
            ),
        };
        let text = format!(
            "the break of inode {} by task {} succeeded without a scan that found no busy page: \
             {why}",
            event.inode, event.task
        );
        let found = absence(how, event, &rests_on, text);
        let (page, index) = place.unzip();
        vec![Finding { page: page.unwrap_or_default(), index, ..found }]
    }

    pub(super) fn remove(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        self.clean(event.inode, event.index);
        let pins = self.bounds.shape.pins(event.refs, event.maps);
        if event.detail & flag::BREAK == 0 || event.page == 0 || pins <= 0 {
            return Vec::new();
        }
        let mut rests_on = vec![mark];
        if let Some(scan) =
            self.breaks.get(&(event.task, event.inode)).and_then(|a_break| a_break.scan)
        {
            rests_on.insert(0, scan.mark);
        }
        let text = format!(
            "task {} removed the mapping entry of inode {} at index {} while its page {:#x} was \
             pinned (refs={} maps={})",
            event.task, event.inode, event.index, event.page, event.refs, event.maps
        );
        let found = finding(How::EntryRemoved, event, &rests_on, text);
        // The break may have ended unseen.
        vec![Finding { absence: event.detail & flag::UNENDED != 0, ..found }]
    }

    pub(super) fn free(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        let pins = self.bounds.shape.pins(event.refs, event.maps);
        if event.page == 0 || (pins <= 0 && event.maps <= 0) {
            return Vec::new();
        }
        let (how, state) =
            if pins > 0 { (How::FreedPinned, "pinned") } else { (How::FreedMapped, "mapped") };
        let text = format!(
            "task {} freed the block of page {:#x} while it was {state} (refs={} maps={})",
            event.task, event.page, event.refs, event.maps
        );
        // Blocks that are freed are no longer at an index of a file.
        vec![Finding { index: None, ..finding(how, event, &[mark], text) }]
    }
}
