//! One history, drawn: what each task did, which pin was held, who released it, what was broken.
//!
//! [`Timeline`] holds what every drawing needs; each format has a file of its own.

mod field;
pub mod json;
pub mod perfetto;
mod slice;
pub mod svg;
pub mod text;

use std::collections::BTreeMap;

use protocol::{Event, Finding, Kind, OperationKind, flag};

use crate::unseen::Unseen;

/// A history with the names and stacks that its events refer to.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Events in the order of their times.
    pub events: Vec<Event>,
    /// The number of the first event, to which [`Finding::events`] count.
    pub first: u64,
    /// Events that findings rest on, by number, also those before the first.
    pub evidence: BTreeMap<u64, Event>,
    /// Names of tasks.
    pub names: BTreeMap<u32, String>,
    /// Functions of the stacks that findings rest on, the innermost first.
    pub stacks: BTreeMap<i32, Vec<String>>,
    /// What was violated.
    pub findings: Vec<Finding>,
    /// What was not seen that a verdict needs.
    pub unseen: Unseen,
    /// How many calls were not seen that no verdict needs.
    pub needless: u64,
}

impl Timeline {
    /// `name/123`, or `task 123`.
    pub fn task(&self, task: u32) -> String {
        match self.names.get(&task).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name}/{task}"),
            None => format!("task {task}"),
        }
    }

    /// The event of this number, if it is there.
    pub fn event(&self, number: u64) -> Option<&Event> {
        let drawn = number
            .checked_sub(self.first)
            .and_then(|place| self.events.get(usize::try_from(place).ok()?));
        drawn.or_else(|| self.evidence.get(&number))
    }

    /// The time of the first event.
    pub fn begin(&self) -> u64 {
        self.events.first().map_or(0, |event| event.time)
    }

    /// The time of the last event.
    pub fn end(&self) -> u64 {
        self.events.last().map_or(0, |event| event.time)
    }

    /// Findings that rest on the event of this number last: where a drawing marks them.
    pub fn found_at(&self, number: u64) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.events.last() == Some(&number))
    }

    /// The file and the index of a finding's page. A page whose mapping entry is gone names no file;
    /// then the last event before that did counts.
    pub fn page_of(&self, finding: &Finding) -> Option<(u64, Option<u64>)> {
        if finding.inode != 0 || finding.page == 0 {
            return (finding.inode != 0).then_some((finding.inode, finding.index));
        }
        let end = finding.events.last().copied().unwrap_or(u64::MAX);
        let before = self.events.iter().zip(self.first..).take_while(|&(_, number)| number <= end);
        let last =
            before.filter(|(event, _)| event.page == finding.page && event.inode != 0).last();
        last.map(|(event, _)| (event.inode, Some(event.index)))
    }

    /// The stacks that a finding's events carry, each with what the event says.
    pub fn stacks_of(&self, finding: &Finding) -> Vec<(String, &[String])> {
        finding
            .events
            .iter()
            .filter_map(|&number| self.event(number))
            .filter_map(|event| {
                let stack = self.stacks.get(&event.stack).filter(|stack| !stack.is_empty())?;
                Some((format!("{} by {}", name(event), self.task(event.task)), stack.as_slice()))
            })
            .collect()
    }
}

/// What an event is called in a drawing.
pub fn name(event: &Event) -> &'static str {
    match Kind::from_number(event.kind) {
        Some(Kind::Begin) => "begin",
        Some(Kind::End) => "end",
        Some(Kind::BreakBegin) => "break_begin",
        Some(Kind::BreakEnd) => "break_end",
        Some(Kind::Scan) if event.page == 0 => "scan_clean",
        Some(Kind::Scan) => "scan_busy",
        Some(Kind::WaitBegin) => "wait_begin",
        Some(Kind::Sleep) => "sleep",
        Some(Kind::WaitEnd) => "wait_end",
        Some(Kind::Wake) => "wake",
        Some(Kind::Pin) => "pin",
        Some(Kind::Unpin) => "unpin",
        Some(Kind::Remove) => "remove",
        Some(Kind::Free) => "free",
        Some(Kind::Warning) => "warning",
        Some(Kind::Lost) => "lost",
        Some(Kind::Sample) => "sample",
        Some(Kind::Dirty) => "dirty",
        Some(Kind::Clean) => "clean",
        None => "unknown",
    }
}

/// The fields that an event of its kind has, as `name=value`.
pub fn fields(event: &Event) -> String {
    let mut parts = Vec::new();
    let kind = Kind::from_number(event.kind);
    if matches!(kind, Some(Kind::Begin | Kind::End)) {
        let operation =
            OperationKind::from_number(event.detail).map_or("unknown", OperationKind::name);
        parts.push(format!("op={operation}"));
    }
    if event.inode != 0 {
        parts.push(format!("ino={}", event.inode));
    }
    if event.page != 0 {
        parts.push(format!("page={:#x}", event.page));
        if event.inode != 0 {
            parts.push(format!("index={}", event.index));
        }
        parts.push(format!("refs={} maps={}", event.refs, event.maps));
    }
    if matches!(kind, Some(Kind::Begin | Kind::Free)) && event.count != 0 {
        if event.page == 0 {
            parts.push(format!("index={}", event.index));
        }
        match event.count {
            u64::MAX => parts.push("count=all".to_owned()),
            count => parts.push(format!("count={count}")),
        }
    }
    match kind {
        Some(Kind::End | Kind::BreakEnd | Kind::WaitEnd) => {
            parts.push(format!("ret={}", event.value));
        }
        Some(Kind::Pin | Kind::Unpin) if event.value != 0 => {
            parts.push(format!("holder={:#x}", event.value));
        }
        Some(Kind::Warning) => parts.push(format!("address={:#x}", event.value)),
        Some(Kind::Lost) => parts.push(format!("records={}", event.value)),
        Some(Kind::Sleep) => {
            let locks = locks(event);
            parts.push(format!(
                "holds={}",
                if locks.is_empty() { "-".to_owned() } else { locks.join("+") }
            ));
        }
        Some(Kind::Sample) if event.detail & flag::ELSEWHERE != 0 => parts.push("woken".to_owned()),
        Some(Kind::Remove) if event.detail & flag::BREAK != 0 => parts.push("by=break".to_owned()),
        _ => {}
    }
    parts.join(" ")
}

/// The locks that a task holds while it sleeps.
fn locks(event: &Event) -> Vec<&'static str> {
    [("inode", flag::INODE_LOCK), ("invalidate", flag::INVALIDATE_LOCK)]
        .into_iter()
        .filter(|(_, bit)| event.detail & bit != 0)
        .map(|(lock, _)| lock)
        .collect()
}

#[cfg(test)]
pub(crate) mod example {
    use super::*;
    use protocol::{How, Rule};

    /// A missed wait: pinned, unmapped, truncated.
    pub(crate) fn missed_wait() -> Timeline {
        let at = |time: u64, task: u32, kind| Event {
            time: 5_000_000_000 + time,
            task,
            process: 41,
            cpu: (task % 2) as u16,
            inode: 131,
            stack: -1,
            ..Event::new(kind)
        };
        let page = |event: Event, refs| Event { page: 0x14_0123, index: 1, refs, ..event };
        Timeline {
            events: vec![
                Event { value: 0x1000, ..page(at(0, 41, Kind::Pin), 2) },
                Event {
                    detail: OperationKind::Truncate as u16,
                    count: u64::MAX,
                    ..at(10_000, 42, Kind::Begin)
                },
                at(12_000, 42, Kind::BreakBegin),
                page(at(15_000, 42, Kind::Scan), 2),
                page(at(16_000, 42, Kind::WaitBegin), 2),
                Event { detail: flag::INODE_LOCK, ..page(at(17_000, 42, Kind::Sleep), 2) },
                Event { value: 0x1000, ..page(at(2_000_000, 41, Kind::Unpin), 1) },
                page(at(2_001_000, 41, Kind::Wake), 1),
                page(at(2_050_000, 42, Kind::WaitEnd), 0),
                at(2_060_000, 42, Kind::Scan),
                at(2_061_000, 42, Kind::BreakEnd),
                Event { stack: 3, value: 0x2000, ..page(at(2_063_000, 41, Kind::Pin), 2) },
                Event { detail: flag::BREAK, stack: 4, ..page(at(2_070_000, 42, Kind::Remove), 2) },
                Event { count: 4, ..page(at(2_090_000, 42, Kind::Free), 2) },
                Event { detail: OperationKind::Truncate as u16, ..at(2_100_000, 42, Kind::End) },
            ],
            first: 100,
            evidence: BTreeMap::new(),
            names: BTreeMap::from([(41, "pinner".to_owned()), (42, "truncate".to_owned())]),
            stacks: BTreeMap::from([
                (3, vec!["add_to_pipe+0x5".to_owned(), "__do_sys_vmsplice+0x2f0".to_owned()]),
                (
                    4,
                    vec![
                        "dax_disassociate_entry+0x5".to_owned(),
                        "xfs_setattr_size+0x1c0 [xfs]".to_owned(),
                    ],
                ),
            ]),
            findings: vec![Finding {
                rule: Rule::MissedWait,
                how: How::EntryRemoved,
                tasks: vec![42],
                device: 1,
                inode: 131,
                page: 0x14_0123,
                index: Some(1),
                function: None,
                events: vec![111, 112],
                absence: false,
                text: "task 42 removed the mapping entry of inode 131 at index 1 while its page \
                       0x140123 was pinned (refs=2 maps=0)"
                    .to_owned(),
            }],
            unseen: Unseen::default(),
            needless: 0,
        }
    }

    /// Compares with a golden file beside the sources, byte for byte.
    #[track_caller]
    pub(crate) fn golden(name: &str, bytes: &[u8]) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert!(golden == bytes, "{name} differs; run again with BLESS=1 and look at the diff");
    }
}
