//! What Perfetto takes offence at is not in the file, whatever was cut off or lost; and the golden file.

use std::collections::{BTreeSet, HashMap};

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

/// What an argument's value is, in a word.
fn type_of(argument: &Annotation) -> &'static str {
    let types = [
        (argument.bool_value.is_some(), "bool"),
        (argument.uint_value.is_some(), "uint"),
        (argument.int_value.is_some(), "int"),
        (argument.string_value.is_some(), "string"),
        (argument.pointer_value.is_some(), "pointer"),
    ];
    let mut found = types.into_iter().filter(|(is, _)| *is).map(|(_, name)| name);
    match (found.next(), found.next()) {
        (Some(one), None) => one,
        (None, None) => "array",
        _ => "of two types",
    }
}

/// What Perfetto takes offence at, or draws wrongly without a word.
fn complaints(bytes: &[u8]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut tracks = HashMap::from([(0, String::new())]);
    let mut open: HashMap<u64, Vec<(String, Vec<String>)>> = HashMap::new();
    let mut types: HashMap<String, &str> = HashMap::new();
    let mut time = 0;
    for packet in PerfettoTrace::decode(bytes).unwrap().packet {
        if let Some(track) = &packet.track_descriptor {
            if !tracks.contains_key(&track.parent_uuid()) {
                complaints.push(format!("{} is declared before its group", track.name()));
            }
            if tracks.insert(track.uuid(), track.name().to_owned()).is_some() {
                complaints.push(format!("{} is declared again", track.name()));
            }
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
        for argument in &event.debug_annotations {
            let is = type_of(argument);
            let was = *types.entry(argument.name().to_owned()).or_insert(is);
            if is != was || is.contains(' ') || argument.name().is_empty() {
                complaints.push(format!("{} is {is} and {was}", argument.name()));
            }
        }
        let names = event.debug_annotations.iter().map(|it| it.name().to_owned());
        let open = open.entry(track).or_default();
        let told: Vec<String> = match event.r#type() {
            kind::BEGIN => {
                open.push((what.to_owned(), names.clone().collect()));
                names.collect()
            }
            kind::END if open.last().is_some_and(|(inner, _)| inner == what) => {
                open.pop().into_iter().flat_map(|(_, told)| told).chain(names).collect()
            }
            kind::END => {
                complaints.push(format!("{what} ends within {open:?}"));
                Vec::new()
            }
            _ => names.collect(),
        };
        let all: BTreeSet<&String> = told.iter().collect();
        if all.len() < told.len() {
            complaints.push(format!("{what} has an argument twice: {told:?}"));
        }
    }
    let left = open.into_iter().filter(|(_, open)| !open.is_empty());
    complaints.extend(left.map(|(track, open)| format!("{open:?} on {track} do not end")));
    complaints
}

/// Histories as they are after a cut and losses: anything of anybody in any order.
fn timelines() -> impl Strategy<Value = Timeline> {
    let event = (0..4_u32, 0..3_u32, 1..19_u16, 1..12_u16, 0..3_u64, 0..2_i64, 0..2_u64);
    prop::collection::vec(event, 0..60).prop_map(|events| {
        let mut time = 1_000;
        let event = |(task, process, kind, detail, page, value, pause)| {
            time += pause;
            let kind = Kind::from_number(kind).unwrap();
            let inode = page;
            let whose = Event { task, process, value, stack: -1, ..Event::new(kind) };
            Event { time, detail, page, inode, ..whose }
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
            let cut = Timeline { events, first: whole.first + begin as u64, ..whole.clone() };
            assert_eq!(complaints(&write(&cut)), Vec::<String>::new(), "{begin}..{end}");
        }
    }
}
