//! The timeline for Perfetto (ui.perfetto.dev): a track per task and per page, and a flow from a
//! release to the wake and the scan after it.
//!
//! The few messages that are used, with the field numbers of perfetto's
//! protos/perfetto/trace/trace_packet.proto and track_event/*.proto.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use protocol::{Event, Kind, Operation};

use super::{Timeline, fields, name};

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<Packet>,
}

#[derive(Clone, PartialEq, Message)]
struct Packet {
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<Annotation>,
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, repeated, tag = "22")]
    categories: Vec<String>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Annotation {
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
}

/// `TrackEvent.Type`.
mod kind {
    pub(super) const BEGIN: i32 = 1;
    pub(super) const END: i32 = 2;
    pub(super) const INSTANT: i32 = 3;
}

/// Tracks of pages are told from those of tasks by this bit of their number.
const PAGE: u64 = 1 << 63;

/// The trace file's bytes.
pub fn write(timeline: &Timeline) -> Vec<u8> {
    let mut writer = Writer {
        trace: Trace::default(),
        tracks: BTreeSet::new(),
        wakes: BTreeMap::new(),
        woken: BTreeMap::new(),
    };
    for (event, number) in timeline.events.iter().zip(timeline.first..) {
        let label = timeline.task(event.task);
        if event.task != 0 {
            writer.track(u64::from(event.task), &label);
        }
        if event.page != 0 {
            writer.track(PAGE | event.page, &format!("page {:#x}", event.page));
        }
        writer.event(event, number);
        for finding in timeline.found_at(number) {
            writer.instant(event, format!("✗ {}", finding.rule), &finding.text);
        }
    }
    writer.trace.encode_to_vec()
}

struct Writer {
    trace: Trace,
    tracks: BTreeSet<u64>,
    /// The flow that a page's last wake begins.
    wakes: BTreeMap<u64, u64>,
    /// The flow that woke a task which has not scanned again yet.
    woken: BTreeMap<u32, u64>,
}

impl Writer {
    fn track(&mut self, uuid: u64, name: &str) {
        if self.tracks.insert(uuid) {
            let track_descriptor =
                Some(TrackDescriptor { uuid: Some(uuid), name: Some(name.to_owned()) });
            self.trace.packet.push(Packet { track_descriptor, ..Packet::default() });
        }
    }

    fn push(&mut self, time: u64, track_event: TrackEvent) {
        self.trace.packet.push(Packet {
            timestamp: Some(time),
            trusted_packet_sequence_id: Some(1),
            track_event: Some(track_event),
            track_descriptor: None,
        });
    }

    fn instant(&mut self, event: &Event, name: String, text: &str) {
        let track_event = TrackEvent {
            r#type: Some(kind::INSTANT),
            track_uuid: Some(u64::from(event.task)),
            categories: vec!["finding".to_owned()],
            name: Some(name),
            debug_annotations: vec![annotation("finding", text)],
            ..TrackEvent::default()
        };
        self.push(event.time, track_event);
    }

    fn event(&mut self, event: &Event, number: u64) {
        let what = Kind::from_number(event.kind);
        let operation = Operation::from_number(event.detail).map_or("operation", Operation::name);
        let (r#type, label) = match what {
            Some(Kind::Begin) => (kind::BEGIN, operation),
            Some(Kind::End) => (kind::END, operation),
            Some(Kind::BreakBegin) => (kind::BEGIN, "break"),
            Some(Kind::BreakEnd) => (kind::END, "break"),
            Some(Kind::WaitBegin) => (kind::BEGIN, "wait"),
            Some(Kind::WaitEnd) => (kind::END, "wait"),
            _ => (kind::INSTANT, name(event)),
        };
        let mut flow_ids = Vec::new();
        let mut terminating_flow_ids = Vec::new();
        match what {
            // From the release of a page to its wake, and from there to the scan of who woke up. Not
            // to the wait that ends: an arrow goes to where a slice begins, here before the release.
            Some(Kind::Unpin) => {
                self.wakes.insert(event.page, number);
                flow_ids.push(number);
            }
            Some(Kind::Wake) => flow_ids.extend(self.wakes.get(&event.page)),
            Some(Kind::WaitEnd) => {
                if let Some(flow) = self.wakes.remove(&event.page) {
                    self.woken.insert(event.task, flow);
                }
            }
            Some(Kind::Scan) => {
                terminating_flow_ids.extend(self.woken.remove(&event.task));
            }
            _ => {}
        }
        let track_event = TrackEvent {
            r#type: Some(r#type),
            track_uuid: Some(u64::from(event.task)),
            categories: vec!["dax".to_owned()],
            name: Some(label.to_owned()),
            debug_annotations: vec![annotation("event", &fields(event))],
            flow_ids,
            terminating_flow_ids,
        };
        self.push(event.time, track_event);
        if event.page != 0 && r#type == kind::INSTANT {
            let track_event = TrackEvent {
                r#type: Some(kind::INSTANT),
                track_uuid: Some(PAGE | event.page),
                categories: vec!["page".to_owned()],
                name: Some(name(event).to_owned()),
                debug_annotations: vec![annotation("event", &fields(event))],
                ..TrackEvent::default()
            };
            self.push(event.time, track_event);
        }
    }
}

fn annotation(name: &str, value: &str) -> Annotation {
    Annotation { name: Some(name.to_owned()), string_value: Some(value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn a_missed_wait_is_the_golden_trace() {
        let bytes = write(&example::missed_wait());
        example::golden("missed-wait.pftrace", &bytes);
        let trace = Trace::decode(bytes.as_slice()).unwrap();
        assert!(trace.packet.len() > 20);
    }
}
