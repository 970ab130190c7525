//! Operations on a file from beginning to end, and the rules about them: *fsync*, and *lock held
//! while waiting* where an operation does not progress.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Rules, numbers};
use crate::event::{Event, OperationKind};
use crate::finding::Finding;
use crate::how::How;
use crate::mark::Mark;

/// An operation under way that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub(super) device: u32,
    pub(super) inode: u64,
    pub(super) begun: Mark,
    pub(super) whole: bool,
    /// A pin of the file that was there while it ran.
    pub(super) pinned: Option<(u64, Mark)>,
    /// Indices that were dirty when it began and were not written back since.
    pub(super) dirty: BTreeSet<u64>,
    pub(super) told: bool,
}

impl Rules {
    pub(super) fn begin(&mut self, event: &Event, mark: Mark) {
        let Some(operation) = OperationKind::from_number(event.detail) else {
            return;
        };
        let end = if event.count == 0 { u64::MAX } else { event.index.saturating_add(event.count) };
        let dirty = if operation == OperationKind::Fsync {
            self.dirty
                .range((event.inode, event.index)..(event.inode, end))
                .map(|&(_, index)| index)
                .collect()
        } else {
            BTreeSet::new()
        };
        self.running.insert(
            (event.task, operation),
            Running {
                device: event.device,
                inode: event.inode,
                begun: mark,
                whole: true,
                pinned: self.pins.of_inode(event.inode),
                dirty,
                told: false,
            },
        );
    }

    pub(super) fn end(&mut self, event: &Event, mark: Mark) -> Vec<Finding> {
        let Some(operation) = OperationKind::from_number(event.detail) else {
            return Vec::new();
        };
        let Some(running) = self.running.remove(&(event.task, operation)) else {
            return Vec::new();
        };
        if operation != OperationKind::Fsync {
            return Vec::new();
        }
        if let (true, Some((page, pinned))) = (event.value < 0, running.pinned) {
            return vec![running.violates(
                How::Fails,
                event.task,
                page,
                None,
                &[pinned, running.begun, mark],
                format!(
                    "fsync of inode {} by task {} failed with {} while page {page:#x} was pinned",
                    running.inode, event.task, event.value
                ),
            )];
        }
        match running.dirty.first() {
            Some(&index) if event.value >= 0 && running.whole => vec![running.violates(
                How::SkipsDirty,
                event.task,
                0,
                Some(index),
                &[running.begun, mark],
                format!(
                    "fsync of inode {} by task {} succeeded without writing back the page at \
                     index {index}, which was dirty before it began",
                    running.inode, event.task
                ),
            )],
            _ => Vec::new(),
        }
    }

    pub(super) fn clean(&mut self, inode: u64, index: u64) {
        self.dirty.remove(&(inode, index));
        for running in self.running.values_mut().filter(|running| running.inode == inode) {
            running.dirty.remove(&index);
        }
    }

    /// Operations that should be over by now, or, if `ever`, that never will be.
    pub(super) fn stuck(&mut self, mark: Mark, ever: bool) -> Vec<Finding> {
        let progress = self.bounds.progress;
        let mut findings = Vec::new();
        for (&(task, operation), running) in &mut self.running {
            if running.told || !running.whole || !must_progress(operation) {
                continue;
            }
            let waiting = self
                .breaks
                .iter()
                .filter(|((breaker, inode), a_break)| {
                    *inode == running.inode && *breaker != task && a_break.whole
                })
                .find_map(|(&(breaker, _), a_break)| a_break.wait.map(|wait| (breaker, wait)));
            if let Some((breaker, wait)) = waiting {
                let seen = wait.seen.time;
                let since = running.begun.age(seen).min(wait.begun.age(seen));
                if !ever && since < progress {
                    continue;
                }
                running.told = true;
                findings.push(Finding {
                    rule: How::NoProgress.rule(),
                    how: How::NoProgress,
                    tasks: vec![breaker, task],
                    device: running.device,
                    inode: running.inode,
                    page: wait.page,
                    index: Some(wait.index),
                    function: None,
                    events: numbers(&[running.begun, wait.begun, mark]),
                    absence: true,
                    text: format!(
                        "{} of inode {} by task {task} does not progress while the break by task \
                         {breaker} waits for page {:#x} (index {})",
                        operation.name(),
                        running.inode,
                        wait.page,
                        wait.index
                    ),
                });
            } else if operation == OperationKind::Fsync {
                let Some((page, pinned)) = self.pins.of_inode(running.inode) else {
                    continue;
                };
                let since = running.begun.age(mark.time).min(pinned.age(mark.time));
                if !ever && since < progress {
                    continue;
                }
                running.told = true;
                findings.push(running.violates(
                    How::DoesNotEnd,
                    task,
                    page,
                    None,
                    &[running.begun, pinned, mark],
                    format!(
                        "fsync of inode {} by task {task} does not end while page {page:#x} is \
                         pinned",
                        running.inode
                    ),
                ));
            }
        }
        findings
    }
}

impl Running {
    pub(super) fn violates(
        &self,
        how: How,
        task: u32,
        page: u64,
        index: Option<u64>,
        rests_on: &[Mark],
        text: String,
    ) -> Finding {
        Finding {
            rule: how.rule(),
            how,
            tasks: vec![task],
            device: self.device,
            inode: self.inode,
            page,
            index,
            function: None,
            events: numbers(rests_on),
            // Each needs an end that was not seen: of the fsync, of a write-back, of a pin.
            absence: true,
            text,
        }
    }
}

fn must_progress(operation: OperationKind) -> bool {
    matches!(
        operation,
        OperationKind::Fault
            | OperationKind::Map
            | OperationKind::Unmap
            | OperationKind::Fsync
            | OperationKind::Stat
    )
}
