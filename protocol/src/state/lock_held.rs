//! The rule *lock held while waiting*, where it shows at once: a break that goes to sleep with the
//! invalidate lock. That an operation really does not progress is told in [`super::operation`].

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::Rules;
use crate::event::{Event, flag};
use crate::finding::Finding;
use crate::how::How;
use crate::mark::Mark;
use crate::rule::Rule;

impl Rules {
    pub(super) fn sleep(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        let Some(((task, inode), a_break)) = self.break_of(event) else {
            return Vec::new();
        };
        a_break.rescans = 0;
        if event.detail & flag::ELSEWHERE != 0 {
            // What it waits for, and what it holds meanwhile, is another lock's matter.
            return Vec::new();
        }
        a_break.unlocked |= event.detail & flag::INODE_LOCK == 0;
        let Some(wait) = a_break.wait.as_mut() else {
            return Vec::new();
        };
        wait.seen = mark;
        if let Some((_, from)) = wait.idle.as_mut() {
            // It looked again, and saw something to sleep for.
            *from = mark;
        }
        let wait = *wait;
        if event.detail & flag::INVALIDATE_LOCK == 0 || !a_break.told.insert(Rule::LockHeld) {
            return Vec::new();
        }
        let text = format!(
            "the break of inode {inode} by task {task} sleeps for page {:#x} (index {}) with the \
             invalidate lock held: no fault of the file can progress",
            wait.page, wait.index
        );
        let marks = [a_break.begun, wait.begun, mark];
        vec![a_break.violates(How::SleepsWithLock, (task, inode), wait, &marks, false, text)]
    }
}
