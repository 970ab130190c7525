//! The rule *livelock*: a break does not rescan without sleeping, and is not starved past its bound
//! by pins taken after it began.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::{Break, Rules, Scan, absence};
use crate::bounds::Bounds;
use crate::event::Event;
use crate::finding::Finding;
use crate::how::How;
use crate::mark::Mark;
use crate::rule::Rule;

impl Rules {
    pub(super) fn scan(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        let limit = self.bounds.rescans;
        let key = (event.task, event.inode);
        let busy = (event.page != 0).then_some((event.page, event.index));
        if busy.is_some() {
            self.observe(event, mark);
        } else if self.breaks.get(&key).is_none_or(|a_break| !a_break.whole) {
            // The end of a break whose beginning was not seen; nothing to remember.
            self.breaks.remove(&key);
            return Vec::new();
        }
        let a_break = self.breaks.entry(key).or_insert_with(|| Break::new(event, mark, false));
        let before = a_break.scan.replace(Scan { mark, busy });
        a_break.wait = None;
        let Some((page, index)) = busy else {
            a_break.rescans = 0;
            return Vec::new();
        };
        a_break.rescans = a_break.rescans.saturating_add(1).min(limit.saturating_add(1));
        if a_break.rescans <= limit || !a_break.told.insert(Rule::Livelock) {
            return Vec::new();
        }
        let rests_on = [a_break.begun, before.map_or(a_break.begun, |scan| scan.mark), mark];
        let text = format!(
            "the break of inode {} by task {} spins: it found a busy page {} times without \
             sleeping, last page {page:#x} (index {index}, refs={} maps={})",
            event.inode, event.task, a_break.rescans, event.refs, event.maps
        );
        vec![absence(How::Spins, event, &rests_on, text)]
    }

    /// Breaks that newer pins hold up past the bound.
    pub(super) fn starved(&mut self, mark: Mark) -> Vec<Finding> {
        let Bounds { newer_pins, patience, .. } = self.bounds;
        let mut findings = Vec::new();
        for (&(task, inode), a_break) in &mut self.breaks {
            let Some(wait) = a_break.wait else {
                continue;
            };
            if a_break.held_up <= newer_pins
                || a_break.begun.age(wait.seen.time) < patience
                || !a_break.told.insert(Rule::Livelock)
            {
                continue;
            }
            let locks = if a_break.unlocked {
                "; it sleeps without the inode lock, so that nothing holds new pins off"
            } else {
                ""
            };
            let text = format!(
                "the break of inode {inode} by task {task} starves: no older pin is left, but more \
                 than {newer_pins} pins taken after it began keep page {:#x} (index {}) busy{locks}",
                wait.page, wait.index
            );
            let marks = [a_break.begun, wait.begun, mark];
            let who = (task, inode);
            findings.push(a_break.violates(How::Starves, who, wait, &marks, true, text));
        }
        findings
    }
}
