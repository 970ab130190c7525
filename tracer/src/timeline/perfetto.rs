//! The timeline for Perfetto (ui.perfetto.dev): what each task did, in the group of its process; what
//! happened to each page, and how long it was pinned by whom; and a flow from a release to the wake and
//! the scan after it.
//!
//! Each field of an event is an argument with a type of its own, by the name that it has in the JSON,
//! so that SQL finds it: `extract_arg(arg_set_id, 'debug.inode')`. What an end tells that a beginning
//! tells as well has `end_` before its name, for both are arguments of one slice.

mod message;
mod track;

use std::collections::BTreeMap;

use prost::Message;
use protocol::{Event, Finding, Kind};

use super::field::{FieldValue, fields_of};
use super::slice::{Lasting, Slice, slices};
use super::{Timeline, name};
use message::{Annotation, Packet, PerfettoTrace, TrackEvent, kind};
use track::{Pinned, Tracks};

/// The trace file's bytes.
pub fn write(timeline: &Timeline) -> Vec<u8> {
    let slices = slices(&timeline.events);
    let mut writer = PerfettoWriter {
        trace: PerfettoTrace::default(),
        tracks: Tracks::new(timeline),
        wakes: BTreeMap::new(),
        woken: BTreeMap::new(),
        begins: by_place(slices.iter().filter(|slice| !slice.begun), |slice| slice.from),
        ends: by_place(slices.iter(), |slice| slice.until),
        pinned: BTreeMap::new(),
    };
    let mut before = timeline.begin();
    for ((place, event), number) in timeline.events.iter().enumerate().zip(timeline.first..) {
        writer.begin_unseen(place, before);
        writer.event(event, place, number);
        writer.page(event, number);
        for finding in timeline.found_at(number) {
            writer.finding(timeline, event, finding);
        }
        writer.end_unseen(place, event.time, false);
        before = event.time;
    }
    writer.end_pins(before);
    writer.trace.encode_to_vec()
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

/// What `event` tells.
fn arguments(event: &Event, number: u64) -> Vec<Annotation> {
    let who = [
        ("number", FieldValue::Unsigned(number)),
        ("cpu", FieldValue::Unsigned(event.cpu.into())),
        ("task", FieldValue::Unsigned(event.task.into())),
    ];
    let fields = who.into_iter().chain(fields_of(event));
    fields.map(|(name, value)| Annotation::from(value).named(name)).collect()
}

/// What `event`, the end of something, tells beside its beginning, if that is there.
fn at_end(event: &Event, number: u64, begun: bool) -> Vec<Annotation> {
    let later = |mut argument: Annotation| {
        let name = argument.name.take().unwrap_or_default();
        let is_of_end = ["number", "cpu", "task", "refs", "maps"].contains(&name.as_str());
        let named = if is_of_end { format!("end_{name}") } else { name };
        let told = begun && !is_of_end && named != "result";
        (!told).then(|| argument.named(named))
    };
    arguments(event, number).into_iter().filter_map(later).collect()
}

struct PerfettoWriter<'t> {
    trace: PerfettoTrace,
    tracks: Tracks<'t>,
    /// The flow that a page's last wake begins.
    wakes: BTreeMap<u64, u64>,
    /// The flow that woke a task which has not scanned again yet.
    woken: BTreeMap<u32, u64>,
    /// Slices that are drawn from before an event, because where they began is not known.
    begins: BTreeMap<usize, Vec<&'t Slice>>,
    /// Slices that end with an event.
    ends: BTreeMap<usize, Vec<&'t Slice>>,
    /// How often a page is pinned by a holder.
    pinned: BTreeMap<Pinned, usize>,
}

impl<'t> PerfettoWriter<'t> {
    fn push(&mut self, time: u64, track_event: TrackEvent) {
        self.trace.packet.append(&mut self.tracks.fresh());
        self.trace.packet.push(Packet {
            timestamp: Some(time),
            trusted_packet_sequence_id: Some(1),
            track_event: Some(track_event),
            track_descriptor: None,
        });
    }

    fn finding(&mut self, timeline: &Timeline, event: &Event, finding: &Finding) {
        let numbers = |numbers: &[u64]| Annotation::array(numbers.iter().map(|&it| it.into()));
        let tasks: Vec<u64> = finding.tasks.iter().map(|&task| task.into()).collect();
        let (inode, index) = timeline.page_of(finding).unwrap_or_default();
        let arguments = [
            ("rule", Some(finding.rule.id().into())),
            ("how", Some(finding.how.id().into())),
            ("text", Some(finding.text.as_str().into())),
            ("tasks", Some(numbers(&tasks))),
            ("inode", (inode != 0).then(|| inode.into())),
            ("page", (finding.page != 0).then(|| finding.page.into())),
            ("index", index.map(Annotation::from)),
            ("function", finding.function.as_deref().map(Annotation::from)),
            ("events", Some(numbers(&finding.events))),
            ("absence", Some(finding.absence.into())),
        ];
        let arguments = arguments.into_iter().filter_map(|(name, value)| Some(value?.named(name)));
        let track_event = TrackEvent {
            r#type: Some(kind::INSTANT),
            track_uuid: Some(self.tracks.task(event.task)),
            categories: vec!["finding".to_owned()],
            name: Some(format!("✗ {}", finding.rule)),
            debug_annotations: arguments.collect(),
            ..TrackEvent::default()
        };
        self.push(event.time, track_event);
    }

    /// Begins what is not seen to begin and must have before the event at `place`.
    fn begin_unseen(&mut self, place: usize, time: u64) {
        let mut slices = self.begins.remove(&place).unwrap_or_default();
        // The outer ones first.
        slices.sort_by_key(|slice| std::cmp::Reverse(slice.until));
        for slice in slices {
            self.edge(kind::BEGIN, slice, time, "begin_seen");
        }
    }

    /// Ends what is not seen to end and must with the event at `place`: what lies within a slice
    /// that this ends, or else all.
    fn end_unseen(&mut self, place: usize, time: u64, within: bool) {
        let own = self.ended_by(place).map(|slice| (slice.task, slice.from));
        let Some(ending) = self.ends.get_mut(&place) else {
            return;
        };
        let inner = |slice: &Slice| {
            own.is_some_and(|(task, from)| slice.task == task && slice.from >= from)
        };
        let unseen = |slice: &mut &Slice| !slice.ended && (!within || inner(slice));
        let mut slices: Vec<&Slice> = ending.extract_if(.., unseen).collect();
        // The inner ones first.
        slices.sort_by_key(|slice| std::cmp::Reverse(slice.from));
        for slice in slices {
            self.edge(kind::END, slice, time, "end_seen");
        }
    }

    /// The slice that the event at `place` is seen to end.
    fn ended_by(&self, place: usize) -> Option<&'t Slice> {
        self.ends.get(&place)?.iter().copied().find(|slice| slice.ended)
    }

    /// The beginning or the end of a slice where no event tells of it.
    fn edge(&mut self, r#type: i32, slice: &Slice, time: u64, what: &str) {
        let track_event = TrackEvent {
            r#type: Some(r#type),
            track_uuid: Some(self.tracks.task(slice.task)),
            categories: vec!["dax".to_owned()],
            name: Some(slice.what.name().to_owned()),
            debug_annotations: vec![Annotation::from(false).named(what)],
            ..TrackEvent::default()
        };
        self.push(time, track_event);
    }

    /// On the track of the task that did it.
    fn event(&mut self, event: &Event, place: usize, number: u64) {
        let what = Kind::from_number(event.kind);
        let (r#type, label) = match Lasting::of(event) {
            Some((lasting, true)) => (kind::BEGIN, lasting.name()),
            Some((lasting, false)) => (kind::END, lasting.name()),
            None => (kind::INSTANT, name(event)),
        };
        let debug_annotations = if r#type == kind::END {
            let begun = self.ended_by(place).is_some_and(|slice| slice.begun);
            self.end_unseen(place, event.time, true);
            at_end(event, number, begun)
        } else {
            arguments(event, number)
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
            track_uuid: Some(self.tracks.task(event.task)),
            categories: vec!["dax".to_owned()],
            name: Some(label.to_owned()),
            debug_annotations,
            flow_ids,
            terminating_flow_ids,
        };
        self.push(event.time, track_event);
    }

    /// On the track of the page that it happened to, and of its pin.
    fn page(&mut self, event: &Event, number: u64) {
        if event.page == 0 || Lasting::of(event).is_some() {
            return;
        }
        let track_event = TrackEvent {
            r#type: Some(kind::INSTANT),
            track_uuid: Some(self.tracks.page(event.page)),
            categories: vec!["page".to_owned()],
            name: Some(name(event).to_owned()),
            debug_annotations: arguments(event, number),
            ..TrackEvent::default()
        };
        self.push(event.time, track_event);
        let pin = (event.page, event.value);
        match Kind::from_number(event.kind) {
            Some(Kind::Pin) => {
                *self.pinned.entry(pin).or_default() += 1;
                self.pinned(kind::BEGIN, pin, event.time, arguments(event, number));
            }
            // One that was taken before the timeline begins is not told from one that was not seen.
            Some(Kind::Unpin) => {
                if let Some(times) = self.pinned.get_mut(&pin).filter(|times| **times > 0) {
                    *times -= 1;
                    self.pinned(kind::END, pin, event.time, at_end(event, number, true));
                }
            }
            _ => {}
        }
    }

    /// The beginning or the end of a pin.
    fn pinned(&mut self, r#type: i32, pin: Pinned, time: u64, arguments: Vec<Annotation>) {
        let track_event = TrackEvent {
            r#type: Some(r#type),
            track_uuid: Some(self.tracks.pin(pin)),
            categories: vec!["pin".to_owned()],
            name: Some("pinned".to_owned()),
            debug_annotations: arguments,
            ..TrackEvent::default()
        };
        self.push(time, track_event);
    }

    /// Ends the pins that are still held where the timeline ends.
    fn end_pins(&mut self, time: u64) {
        for (pin, times) in std::mem::take(&mut self.pinned) {
            for _ in 0..times {
                let unseen = vec![Annotation::from(false).named("end_seen")];
                self.pinned(kind::END, pin, time, unseen);
            }
        }
    }
}

#[cfg(test)]
mod tests;
