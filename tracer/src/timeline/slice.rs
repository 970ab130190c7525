//! What lasts: operations, breaks and waits, each with its beginning and its end.
//!
//! A timeline is cut out of a longer history, and records can be missing in it: some ends have no
//! beginning there, some beginnings no end. A drawing wants both. What began unseen is drawn from
//! where it can have begun: from the timeline's start, or behind what its task is seen to have
//! ended or begun around it. What ended unseen is drawn to the end of what is around it.

use std::collections::BTreeMap;

use protocol::{Event, Kind, OperationKind};

/// Something that lasted. Those of one task lie within each other or apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Whose.
    pub(crate) task: u32,
    /// What.
    pub(crate) what: Lasting,
    /// Where among the events it begins; it was seen to, or else is drawn from before this event.
    pub(crate) from: usize,
    /// Whether its beginning was seen.
    pub(crate) begun: bool,
    /// With which event it ends.
    pub(crate) until: usize,
    /// Whether its end was seen.
    pub(crate) ended: bool,
}

/// What lasts; the greater encloses the less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// A wait for a page.
    Wait,
    /// A layout break.
    Break,
    /// An [`OperationKind`], by number.
    Operation(u16),
}

impl Lasting {
    /// What an event begins (true) or ends.
    pub(crate) fn of(event: &Event) -> Option<(Self, bool)> {
        Some(match Kind::from_number(event.kind)? {
            Kind::Begin => (Self::Operation(event.detail), true),
            Kind::End => (Self::Operation(event.detail), false),
            Kind::BreakBegin => (Self::Break, true),
            Kind::BreakEnd => (Self::Break, false),
            Kind::WaitBegin => (Self::Wait, true),
            Kind::WaitEnd => (Self::Wait, false),
            _ => return None,
        })
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Break => "break",
            Self::Operation(number) => {
                OperationKind::from_number(number).map_or("operation", OperationKind::name)
            }
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Wait => 0,
            Self::Break => 1,
            Self::Operation(_) => 2,
        }
    }
}

/// A task's slices that are under way, by number.
#[derive(Default)]
struct Track {
    /// Those that have not ended, the outermost first.
    open: Vec<usize>,
    /// By how many are open: those that ended directly within them.
    closed: Vec<Vec<usize>>,
}

impl Track {
    fn closed(&mut self, depth: usize) -> &mut Vec<usize> {
        self.closed.resize_with(self.closed.len().max(depth + 1), Vec::new);
        &mut self.closed[depth]
    }

    fn begin(&mut self, number: usize) {
        self.open.push(number);
        let depth = self.open.len();
        self.closed(depth).clear();
    }

    /// Ends the innermost with the event at `place`.
    fn end(&mut self, slices: &mut [Slice], place: usize, seen: bool) {
        if let Some(number) = self.open.pop() {
            slices[number].until = place;
            slices[number].ended = seen;
            let depth = self.open.len();
            self.closed(depth).push(number);
        }
    }
}

/// The slices of these events, in no particular order.
pub(crate) fn slices(events: &[Event]) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    let mut tracks: BTreeMap<u32, Track> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        let Some((what, begins)) = Lasting::of(event) else {
            continue;
        };
        let track = tracks.entry(event.task).or_default();
        let whole = Slice {
            task: event.task,
            what,
            from: place,
            begun: true,
            until: events.len() - 1,
            ended: false,
        };
        if begins {
            track.begin(slices.len());
            slices.push(whole);
            continue;
        }
        let own = track.open.iter().rposition(|&open| slices[open].what == what);
        // What would have to be around it, and is within it, has lost its end.
        let inner = |open: usize| slices[open].what.rank() < what.rank();
        let keep = own.map_or_else(
            || track.open.iter().rposition(|&open| !inner(open)).map_or(0, |at| at + 1),
            |at| at + 1,
        );
        while track.open.len() > keep {
            track.end(&mut slices, place, false);
        }
        if own.is_some() {
            track.end(&mut slices, place, true);
            continue;
        }
        // It was around everything less that ended since something else was.
        let around = track.open.last().map_or(0, |&open| slices[open].from + 1);
        let depth = track.open.len();
        let before = track.closed(depth);
        while before.last().is_some_and(|&number| slices[number].what.rank() < what.rank()) {
            before.pop();
        }
        let from = before.last().map_or(around, |&number| slices[number].until + 1);
        before.push(slices.len());
        slices.push(Slice { from, begun: false, until: place, ended: true, ..whole });
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(kinds: &[(u32, Kind)]) -> Vec<(&'static str, usize, bool, usize, bool)> {
        let events: Vec<Event> =
            kinds.iter().map(|&(task, kind)| Event { task, ..Event::new(kind) }).collect();
        let mut slices = slices(&events);
        slices.sort_by_key(|slice| (slice.from, usize::MAX - slice.until));
        let tell = |s: &Slice| (s.what.name(), s.from, s.begun, s.until, s.ended);
        slices.iter().map(tell).collect()
    }

    #[test]
    fn what_is_whole_is_drawn_as_it_is() {
        use Kind::{BreakBegin, BreakEnd, WaitBegin, WaitEnd};
        assert_eq!(
            drawn(&[(1, BreakBegin), (2, BreakBegin), (1, WaitBegin), (1, WaitEnd), (1, BreakEnd)]),
            [("break", 0, true, 4, true), ("break", 1, true, 4, false), ("wait", 2, true, 3, true)]
        );
    }

    #[test]
    fn what_began_before_the_timeline_is_nested_as_it_was() {
        use Kind::{BreakBegin, BreakEnd, End, Scan, WaitEnd};
        assert_eq!(
            drawn(&[(1, Scan), (1, WaitEnd), (1, BreakEnd), (1, End), (1, BreakBegin)]),
            [
                ("operation", 0, false, 3, true),
                ("break", 0, false, 2, true),
                ("wait", 0, false, 1, true),
                ("break", 4, true, 4, false),
            ]
        );
    }

    #[test]
    fn what_lost_its_end_ends_with_what_is_around_it() {
        use Kind::{Begin, BreakBegin, End, WaitBegin};
        assert_eq!(
            drawn(&[(1, Begin), (1, BreakBegin), (1, WaitBegin), (1, End)]),
            [
                ("operation", 0, true, 3, true),
                ("break", 1, true, 3, false),
                ("wait", 2, true, 3, false)
            ]
        );
    }

    #[test]
    fn what_lost_its_beginning_begins_behind_what_is_before_it() {
        use Kind::{Begin, BreakBegin, BreakEnd, End, WaitEnd};
        assert_eq!(
            drawn(&[
                (1, Begin),
                (1, BreakBegin),
                (1, BreakEnd),
                (1, WaitEnd),
                (1, BreakEnd),
                (1, End)
            ]),
            [
                ("operation", 0, true, 5, true),
                ("break", 1, true, 2, true),
                ("break", 3, false, 4, true),
                ("wait", 3, false, 3, true),
            ]
        );
    }
}
