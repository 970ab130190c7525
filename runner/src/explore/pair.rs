//! What meets what: a row for each short operation, and the pairs that are made of them.

use cases::action::{Action, FileId, MapId, Mode, PAGE, PinId, PinKind, Span, page, pages};
use cases::system::HoldPoint;

use crate::fuzz::program::{FILES, Step, first_map};

/// The file that all is about.
const FILE: FileId = FILES[0].0;

/// Another, whose blocks it can share.
const OTHER: FileId = FILES[1].0;

/// The pin that a third task holds.
pub(super) const THIRD: PinId = PinId(91);

/// The pin whose release is an operation of its own.
const FREED: PinId = PinId(92);

/// The pin that is taken as an operation of its own.
const TAKEN: PinId = PinId(93);

/// The pages that a break is about.
const BROKEN: Span = pages(0, 2);

/// A short operation.
#[derive(Debug)]
pub(super) struct Part {
    /// What it is called.
    pub(super) name: &'static str,
    /// Where its task can be held.
    pub(super) points: &'static [HoldPoint],
    /// Which task does it, if it is not the one that breaks.
    task: u32,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// It breaks the layout.
    Break(fn() -> Action),
    /// It does something else.
    Do(fn() -> Action),
    /// It lets go of a pin, which no task does.
    Release,
}

/// The points of a break.
const BREAKS: &[HoldPoint] = &[
    HoldPoint::Unmapped,
    HoldPoint::ScanFoundBusy,
    HoldPoint::ScanFoundNone,
    HoldPoint::WaitEntered,
];

/// The point of what faults.
const FAULTS: &[HoldPoint] = &[HoldPoint::FaultEntered];

fn map() -> MapId {
    first_map(FILE)
}

fn fallocate(mode: Mode, span: Span) -> Action {
    Action::Fallocate { file: FILE, mode, span }
}

/// A process other than that of the break, so that the two share no `mmap_lock`.
const ELSEWHERE: u32 = 3;

/// A thread of the process of the break.
const BESIDE: u32 = 2;

/// The task of what breaks, or stands first in its pair.
pub(super) const FIRST: u32 = 1;

/// What breaks the layout.
const BREAKING: &[Part] = &[
    Part {
        name: "punch",
        points: BREAKS,
        task: FIRST,
        what: What::Break(|| fallocate(Mode::Punch, BROKEN)),
    },
    Part {
        name: "truncate",
        points: BREAKS,
        task: FIRST,
        what: What::Break(|| Action::Truncate { file: FILE, size: 0 }),
    },
    Part {
        name: "collapse",
        points: BREAKS,
        task: FIRST,
        what: What::Break(|| fallocate(Mode::Collapse, BROKEN)),
    },
    Part {
        name: "zero",
        points: BREAKS,
        task: FIRST,
        what: What::Break(|| fallocate(Mode::Zero, BROKEN)),
    },
    Part {
        name: "insert",
        points: BREAKS,
        task: FIRST,
        what: What::Break(|| fallocate(Mode::Insert, BROKEN)),
    },
    Part {
        name: "reflink",
        points: BREAKS,
        task: FIRST,
        what: What::Break(|| Action::Clone { from: OTHER, span: BROKEN, to: FILE, at: 0 }),
    },
];

/// What writes back.
const FSYNC: Part = Part {
    name: "fsync",
    points: &[HoldPoint::EntryLocked],
    task: BESIDE,
    what: What::Do(|| Action::Fsync { file: FILE, data_only: false }),
};

/// What meets a break or a write-back, in the page that is first in their way. A store of one byte is
/// one access, so it is either there or not.
const MEETING: &[Part] = &[
    Part {
        name: "pin",
        points: FAULTS,
        task: ELSEWHERE,
        what: What::Do(|| Action::Pin {
            pin: TAKEN,
            map: map(),
            span: page(0),
            kind: PinKind::Splice,
        }),
    },
    Part {
        name: "load",
        points: FAULTS,
        task: ELSEWHERE,
        what: What::Do(|| Action::Load { map: map(), span: page(0) }),
    },
    Part {
        name: "store",
        points: FAULTS,
        task: ELSEWHERE,
        what: What::Do(|| Action::Store { map: map(), span: Span { at: 0, len: 1 }, byte: b's' }),
    },
    Part {
        name: "write",
        points: &[],
        task: BESIDE,
        what: What::Do(|| Action::Write { file: FILE, span: page(0), byte: b'w' }),
    },
    Part {
        name: "unmap",
        points: &[],
        task: BESIDE,
        what: What::Do(|| Action::Unmap { map: map() }),
    },
    Part { name: "release", points: &[], task: BESIDE, what: What::Release },
];

/// What a second break does.
const SECOND: &[Part] = &[
    Part {
        name: "punch-one",
        points: BREAKS,
        task: BESIDE,
        what: What::Break(|| fallocate(Mode::Punch, page(0))),
    },
    Part {
        name: "truncate-one",
        points: BREAKS,
        task: BESIDE,
        what: What::Break(|| Action::Truncate { file: FILE, size: PAGE }),
    },
];

impl Part {
    /// Its task.
    pub(super) const fn task(&self) -> u32 {
        self.task
    }

    /// Whether it breaks the layout.
    pub(super) const fn breaks(&self) -> bool {
        matches!(self.what, What::Break(_))
    }

    /// Whether it lets go of a pin, so that no task can be held in it.
    pub(super) const fn is_release(&self) -> bool {
        matches!(self.what, What::Release)
    }

    /// The step that does it, by `task`.
    pub(super) fn step(&self, task: u32) -> Step {
        match self.what {
            What::Break(action) | What::Do(action) => Step::Do(task, action()),
            What::Release => Step::Release(FREED),
        }
    }

    /// Whether it needs blocks that can be shared.
    fn shares(&self) -> bool {
        self.name == "reflink"
    }
}

/// Two operations that meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// The one that breaks, or writes back.
    pub(super) one: &'static Part,
    /// The other.
    pub(super) other: &'static Part,
}

impl Pair {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for one in BREAKING {
            for other in MEETING.iter().chain([&FSYNC]).chain(SECOND) {
                all.push(Self { one, other });
            }
        }
        let meets_write_back = |part: &&Part| !part.is_release();
        for other in MEETING.iter().filter(meets_write_back) {
            all.push(Self { one: &FSYNC, other });
        }
        all
    }

    /// What it is called: `punch+pin`.
    pub(super) fn name(self) -> String {
        format!("{}+{}", self.one.name, self.other.name)
    }

    /// Whether it needs blocks that can be shared.
    pub(super) fn shares(self) -> bool {
        self.one.shares() || self.other.shares()
    }

    /// The task of either: a write-back does not need to be the one of a break.
    pub(super) const fn tasks(self) -> [u32; 2] {
        [FIRST, self.other.task()]
    }

    /// Whether one of them writes back.
    fn writes_back(self) -> bool {
        [self.one, self.other].into_iter().any(|part| part.name == FSYNC.name)
    }

    /// What is done before the two begin.
    ///
    /// `mapped`: who takes page 0 has it in its page table, and faults only if it was unmapped.
    /// `pinned`: a third task holds a pin.
    pub(super) fn beginning(self, mapped: bool, pinned: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        let pin = |pin, index| {
            let kind = PinKind::Splice;
            Step::Do(0, Action::Pin { pin, map: map(), span: page(index), kind })
        };
        if self.writes_back() {
            steps.push(Step::Do(0, Action::Store { map: map(), span: page(0), byte: b'd' }));
        }
        if mapped && self.other.task() == ELSEWHERE {
            steps.push(Step::Do(ELSEWHERE, Action::Touch { map: map(), span: page(0) }));
        }
        if self.other.is_release() {
            steps.push(pin(FREED, 0));
        }
        if pinned {
            // Another page than the one that is met, so that a break must look again to find it; but
            // of a write-back the page that it writes.
            steps.push(pin(THIRD, u64::from(!self.writes_back())));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_pair_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Pair::all().into_iter().map(Pair::name).collect();
        assert_eq!(names.len(), Pair::all().len());
    }

    #[test]
    fn the_two_of_a_pair_are_two_tasks() {
        for pair in Pair::all() {
            let [one, other] = pair.tasks();
            assert!(one != other && one != 0 && other != 0, "{}", pair.name());
        }
    }
}
