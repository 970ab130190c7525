//! The tracks, in groups: a process with its tasks; the pages, each with who holds a pin of it.
//!
//! Tasks and processes are those of Perfetto's tables `thread` and `process`. What is of neither is
//! a track that has a name.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Packet, ProcessDescriptor, ThreadDescriptor, TrackDescriptor};
use crate::timeline::Timeline;

/// A pin of a page, by whoever holds it (0: not known).
pub(super) type Pinned = (u64, i64);

/// A task is its own number; what else has a track has one of these bits.
const PROCESS: u64 = 1 << 60;
/// One for each pin, with a running number.
const PIN: u64 = 1 << 61;
/// What no task did: an interrupt on an idle processor, a loss. Perfetto takes 0 for another.
const NOBODY: u64 = 1 << 62;
/// The group of all pages.
const PAGES: u64 = PAGE;
const PAGE: u64 = 1 << 63;

/// The tracks that are declared so far.
pub(super) struct Tracks<'t> {
    timeline: &'t Timeline,
    /// The process of each task, where an event names it.
    processes: BTreeMap<u32, u32>,
    declared: BTreeSet<u64>,
    pins: BTreeMap<Pinned, u64>,
    /// Declarations that are not in the trace yet.
    fresh: Vec<Packet>,
}

impl<'t> Tracks<'t> {
    pub(super) fn new(timeline: &'t Timeline) -> Self {
        let told = timeline.events.iter().filter(|event| event.process != 0);
        Self {
            timeline,
            processes: told.map(|event| (event.task, event.process)).collect(),
            declared: BTreeSet::new(),
            pins: BTreeMap::new(),
            fresh: Vec::new(),
        }
    }

    /// The declarations since the last call; they come before what happens on the tracks.
    pub(super) fn fresh(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.fresh)
    }

    fn declare(&mut self, track: TrackDescriptor) -> u64 {
        let uuid = track.uuid.expect("a track has a number");
        if self.declared.insert(uuid) {
            let track_descriptor = Some(track);
            self.fresh.push(Packet { track_descriptor, ..Packet::default() });
        }
        uuid
    }

    /// A track with a name and nothing else.
    fn plain(&mut self, uuid: u64, name: String, parent_uuid: Option<u64>) -> u64 {
        let track = TrackDescriptor {
            uuid: Some(uuid),
            name: Some(name),
            parent_uuid,
            ..Default::default()
        };
        self.declare(track)
    }

    fn comm(&self, task: u32) -> Option<String> {
        self.timeline.names.get(&task).filter(|name| !name.is_empty()).cloned()
    }

    /// The group of a process.
    fn process(&mut self, process: u32) -> u64 {
        let name = self.comm(process);
        self.declare(TrackDescriptor {
            uuid: Some(PROCESS | u64::from(process)),
            name: name.clone(),
            process: Some(ProcessDescriptor {
                pid: Some(process.cast_signed()),
                process_name: name,
            }),
            ..TrackDescriptor::default()
        })
    }

    /// A task, in the group of its process, if that is known.
    pub(super) fn task(&mut self, task: u32) -> u64 {
        if task == 0 {
            return self.plain(NOBODY, "no task".to_owned(), None);
        }
        let name = self.timeline.task(task);
        let Some(&process) = self.processes.get(&task) else {
            return self.plain(task.into(), name, None);
        };
        let parent_uuid = Some(self.process(process));
        self.declare(TrackDescriptor {
            uuid: Some(task.into()),
            thread: Some(ThreadDescriptor {
                pid: Some(process.cast_signed()),
                tid: Some(task.cast_signed()),
                thread_name: self.comm(task),
            }),
            name: Some(name),
            parent_uuid,
            ..TrackDescriptor::default()
        })
    }

    /// A page, in the group of all of them.
    pub(super) fn page(&mut self, page: u64) -> u64 {
        let group = self.plain(PAGES, "pages".to_owned(), None);
        self.plain(PAGE | page, format!("page {page:#x}"), Some(group))
    }

    /// A pin, below its page. Pins of a page overlap, and what is on one track may only nest.
    pub(super) fn pin(&mut self, pinned: Pinned) -> u64 {
        let (page, holder) = pinned;
        let parent = self.page(page);
        let next = PIN | self.pins.len() as u64;
        let uuid = *self.pins.entry(pinned).or_insert(next);
        let name = match holder {
            0 => "pin".to_owned(),
            holder => format!("pin of {holder:#x}"),
        };
        self.plain(uuid, name, Some(parent))
    }
}
