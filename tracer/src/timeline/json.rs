//! The timeline for programs: an event a line, with the fields that it has.

use protocol::{Event, Kind, OperationKind, flag};
use serde::Serialize;

use super::{Timeline, locks, name};

/// An event. A field that its kind does not have is not there.
#[derive(Debug, Default, Serialize)]
struct Line<'t> {
    /// By which findings refer to it.
    number: u64,
    /// Nanoseconds.
    time: u64,
    cpu: u16,
    task: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<&'t str>,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    /// Absent: one, or all to the end of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refs: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maps: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<i64>,
    /// The locks that the task holds while it sleeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<Vec<&'static str>>,
    /// Whether the task sleeps for the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    asleep: Option<bool>,
}

/// All events, the oldest first.
pub fn write(timeline: &Timeline) -> String {
    let mut out = String::new();
    for (event, number) in timeline.events.iter().zip(timeline.first..) {
        let comm = timeline.names.get(&event.task).map(String::as_str);
        let line = Line { number, comm: comm.filter(|comm| !comm.is_empty()), ..of(event) };
        out.push_str(&serde_json::to_string(&line).expect("it has string keys only"));
        out.push('\n');
    }
    out
}

fn of(event: &Event) -> Line<'static> {
    let kind = Kind::from_number(event.kind);
    let is = |kinds: &[Kind]| kind.is_some_and(|kind| kinds.contains(&kind));
    let value = |kinds: &[Kind]| is(kinds).then_some(event.value);
    let is_ranged = is(&[Kind::Begin, Kind::Free]) && event.count != 0;
    let has_page = event.page != 0;
    Line {
        time: event.time,
        cpu: event.cpu,
        task: event.task,
        event: name(event),
        operation: is(&[Kind::Begin, Kind::End]).then(|| {
            OperationKind::from_number(event.detail).map_or("unknown", OperationKind::name)
        }),
        inode: (event.inode != 0).then_some(event.inode),
        page: has_page.then_some(event.page),
        index: ((has_page && event.inode != 0) || (!has_page && is_ranged)).then_some(event.index),
        count: (is_ranged && event.count != u64::MAX).then_some(event.count),
        refs: has_page.then_some(event.refs),
        maps: has_page.then_some(event.maps),
        result: value(&[Kind::End, Kind::BreakEnd, Kind::WaitEnd]),
        holder: value(&[Kind::Pin, Kind::Unpin]).filter(|holder| *holder != 0),
        address: value(&[Kind::Warning]),
        records: value(&[Kind::Lost]),
        holds: is(&[Kind::Sleep]).then(|| locks(event)),
        asleep: is(&[Kind::Sleep, Kind::Sample]).then_some(event.detail & flag::ELSEWHERE == 0),
        ..Line::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;

    #[test]
    fn a_missed_wait_is_told_in_fields() {
        let timeline = example::missed_wait();
        example::golden("missed-wait.jsonl", super::write(&timeline).as_bytes());
    }
}
