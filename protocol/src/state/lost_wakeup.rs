//! The rule *lost wake-up*: a break still waiting once no pin is left on its page is woken.

use alloc::format;
use alloc::vec::Vec;

use super::Rules;
use crate::event::Event;
use crate::finding::Finding;
use crate::how::How;
use crate::mark::Mark;
use crate::rule::Rule;

impl Rules {
    pub(super) fn wake(&mut self, event: &Event, mark: Mark) {
        for wait in self.breaks.values_mut().filter_map(|a_break| a_break.wait.as_mut()) {
            if wait.page == event.page
                && let Some((_, from)) = wait.idle.as_mut()
            {
                *from = mark;
            }
        }
    }

    /// The break was woken by now.
    pub(super) fn woken(&mut self, key: (u32, u64), mark: Mark) {
        let wait = self.breaks.get_mut(&key).and_then(|a_break| a_break.wait.as_mut());
        if let Some((_, from)) = wait.and_then(|wait| wait.idle.as_mut()) {
            *from = mark;
        }
    }

    /// Breaks that should be up by now, or, if `ever`, that never will be.
    ///
    /// At a sample only the break of its task is judged: of the others it is not known that they
    /// still wait.
    pub(super) fn asleep(&mut self, mark: Mark, only: Option<u32>, ever: bool) -> Vec<Finding> {
        let wake = self.bounds.wake;
        let mut findings = Vec::new();
        for (&(task, inode), a_break) in &mut self.breaks {
            if only.is_some_and(|only| only != task) || (only.is_none() && !a_break.whole) {
                continue;
            }
            let Some((wait, (idle, from))) =
                a_break.wait.and_then(|wait| wait.idle.map(|idle| (wait, idle)))
            else {
                continue;
            };
            if (ever || from.age(mark.time) >= wake) && a_break.told.insert(Rule::LostWakeup) {
                let text = format!(
                    "the break of inode {inode} by task {task} still waits for page {:#x} (index \
                     {}) though no pin is left on it",
                    wait.page, wait.index
                );
                let marks = [wait.begun, idle, mark];
                let who = (task, inode);
                // That it still waits is known from its end only, which was not seen.
                findings.push(a_break.violates(How::StillWaits, who, wait, &marks, true, text));
            }
        }
        findings
    }
}
