//! The timeline for Perfetto (ui.perfetto.dev): a track per task and per page, and a flow from a
//! release to the wake and the scan after it.
//!
//! The few messages that are used, with the field numbers of perfetto's
//! protos/perfetto/trace/trace_packet.proto and track_event/*.proto.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use protocol::{Event, Kind};

use super::slice::{Lasting, Slice, slices};
use super::{Timeline, fields, name};

#[derive(Clone, PartialEq, Message)]
struct PerfettoTrace {
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

/// The track of what no task did: an interrupt on an idle processor, a loss. Perfetto takes 0 for
/// another.
const NOBODY: u64 = 1 << 62;

/// The trace file's bytes.
pub fn write(timeline: &Timeline) -> Vec<u8> {
    let slices = slices(&timeline.events);
    let mut writer = PerfettoWriter {
        trace: PerfettoTrace::default(),
        tracks: BTreeSet::new(),
        wakes: BTreeMap::new(),
        woken: BTreeMap::new(),
        begins: by_place(slices.iter().filter(|slice| !slice.begun), |slice| slice.from),
        ends: by_place(slices.iter(), |slice| slice.until),
    };
    let mut before = timeline.begin();
    for ((place, event), number) in timeline.events.iter().enumerate().zip(timeline.first..) {
        writer.begin_unseen(timeline, place, before);
        writer.track(task_track(event.task), &label(timeline, event.task));
        if event.page != 0 {
            writer.track(PAGE | event.page, &format!("page {:#x}", event.page));
        }
        writer.event(event, place, number);
        for finding in timeline.found_at(number) {
            writer.instant(event, format!("✗ {}", finding.rule), &finding.text);
        }
        writer.end_unseen(place, event.time, false);
        before = event.time;
    }
    writer.trace.encode_to_vec()
}

/// A task's track.
fn task_track(task: u32) -> u64 {
    if task == 0 { NOBODY } else { u64::from(task) }
}

fn label(timeline: &Timeline, task: u32) -> String {
    if task == 0 { "no task".to_owned() } else { timeline.task(task) }
}

/// Slices by the place where something is to be told of them.
fn by_place<'s>(
    slices: impl Iterator<Item = &'s Slice>,
    place: impl Fn(&Slice) -> usize,
) -> BTreeMap<usize, Vec<&'s Slice>> {
    let mut places: BTreeMap<usize, Vec<&Slice>> = BTreeMap::new();
    for slice in slices {
        places.entry(place(slice)).or_default().push(slice);
    }
    places
}

struct PerfettoWriter<'s> {
    trace: PerfettoTrace,
    tracks: BTreeSet<u64>,
    /// The flow that a page's last wake begins.
    wakes: BTreeMap<u64, u64>,
    /// The flow that woke a task which has not scanned again yet.
    woken: BTreeMap<u32, u64>,
    /// Slices that are drawn from before an event, because where they began is not known.
    begins: BTreeMap<usize, Vec<&'s Slice>>,
    /// Slices that end with an event.
    ends: BTreeMap<usize, Vec<&'s Slice>>,
}

impl PerfettoWriter<'_> {
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
            track_uuid: Some(task_track(event.task)),
            categories: vec!["finding".to_owned()],
            name: Some(name),
            debug_annotations: vec![annotation("finding", text)],
            ..TrackEvent::default()
        };
        self.push(event.time, track_event);
    }

    /// Begins what is not seen to begin and must have before the event at `place`.
    fn begin_unseen(&mut self, timeline: &Timeline, place: usize, time: u64) {
        let mut slices = self.begins.remove(&place).unwrap_or_default();
        // The outer ones first.
        slices.sort_by_key(|slice| std::cmp::Reverse(slice.until));
        for slice in slices {
            self.track(task_track(slice.task), &label(timeline, slice.task));
            self.edge(kind::BEGIN, slice, time, "it began before, unseen");
        }
    }

    /// Ends what is not seen to end and must with the event at `place`: what lies within a slice
    /// that this ends, or else all.
    fn end_unseen(&mut self, place: usize, time: u64, within: bool) {
        let Some(ending) = self.ends.get_mut(&place) else {
            return;
        };
        let own = ending.iter().find(|slice| slice.ended).map(|slice| (slice.task, slice.from));
        let inner = |slice: &Slice| {
            own.is_some_and(|(task, from)| slice.task == task && slice.from >= from)
        };
        let unseen = |slice: &mut &Slice| !slice.ended && (!within || inner(slice));
        let mut slices: Vec<&Slice> = ending.extract_if(.., unseen).collect();
        // The inner ones first.
        slices.sort_by_key(|slice| std::cmp::Reverse(slice.from));
        for slice in slices {
            self.edge(kind::END, slice, time, "it ended later, or unseen");
        }
    }

    fn edge(&mut self, r#type: i32, slice: &Slice, time: u64, why: &str) {
        let track_event = TrackEvent {
            r#type: Some(r#type),
            track_uuid: Some(task_track(slice.task)),
            categories: vec!["dax".to_owned()],
            name: Some(slice.what.name().to_owned()),
            debug_annotations: vec![annotation("cut", why)],
            ..TrackEvent::default()
        };
        self.push(time, track_event);
    }

    fn event(&mut self, event: &Event, place: usize, number: u64) {
        let what = Kind::from_number(event.kind);
        let (r#type, label) = match Lasting::of(event) {
            Some((lasting, true)) => (kind::BEGIN, lasting.name()),
            Some((lasting, false)) => (kind::END, lasting.name()),
            None => (kind::INSTANT, name(event)),
        };
        if r#type == kind::END {
            self.end_unseen(place, event.time, true);
        }
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
            track_uuid: Some(task_track(event.task)),
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
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::example;
    use super::*;

    #[test]
    fn a_missed_wait_is_the_golden_trace() {
        let bytes = write(&example::missed_wait());
        example::golden("missed-wait.pftrace", &bytes);
        let trace = PerfettoTrace::decode(bytes.as_slice()).unwrap();
        assert!(trace.packet.len() > 20);
    }
    /// What Perfetto takes offence at, or draws wrongly without a word.
    fn complaints(bytes: &[u8]) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut tracks = HashMap::new();
        let mut open: HashMap<u64, Vec<String>> = HashMap::new();
        let mut time = 0;
        for packet in PerfettoTrace::decode(bytes).unwrap().packet {
            if let Some(track) = &packet.track_descriptor {
                tracks.insert(track.uuid(), track.name().to_owned());
            }
            let Some(event) = &packet.track_event else {
                continue;
            };
            let (track, what) = (event.track_uuid(), event.name());
            if !tracks.contains_key(&track) || track == 0 {
                complaints.push(format!("{what} is on track {track}, which is not declared"));
            }
            if packet.timestamp() < time {
                complaints.push(format!("{what} comes after what happened later"));
            }
            time = packet.timestamp();
            let open = open.entry(track).or_default();
            match event.r#type() {
                kind::BEGIN => open.push(what.to_owned()),
                kind::END if open.last().is_some_and(|inner| inner == what) => {
                    open.pop();
                }
                kind::END => complaints.push(format!("{what} ends within {open:?}")),
                _ => {}
            }
        }
        let left = open.into_iter().filter(|(_, open)| !open.is_empty());
        complaints.extend(left.map(|(track, open)| format!("{open:?} on {track} do not end")));
        complaints
    }

    /// Histories as they are after a cut and losses: anything of anybody in any order.
    fn timelines() -> impl Strategy<Value = Timeline> {
        let event = (0..4_u32, 1..19_u16, 1..12_u16, 0..3_u64, 0..2_u64);
        prop::collection::vec(event, 0..60).prop_map(|events| {
            let mut time = 1_000;
            let event = |(task, kind, detail, page, pause)| {
                time += pause;
                let kind = Kind::from_number(kind).unwrap();
                Event { time, task, detail, page, stack: -1, ..Event::new(kind) }
            };
            Timeline { events: events.into_iter().map(event).collect(), ..Timeline::default() }
        })
    }

    proptest! {
        #[test]
        fn every_slice_begins_and_ends_on_a_declared_track(timeline in timelines()) {
            prop_assert_eq!(complaints(&write(&timeline)), Vec::<String>::new());
        }
    }

    #[test]
    fn a_timeline_is_whole_wherever_it_is_cut() {
        let whole = example::missed_wait();
        for begin in 0..whole.events.len() {
            for end in begin..=whole.events.len() {
                let events = whole.events[begin..end].to_vec();
                let cut = Timeline { events, first: begin as u64, ..whole.clone() };
                assert_eq!(complaints(&write(&cut)), Vec::<String>::new(), "{begin}..{end}");
            }
        }
    }
}
