//! What meets what: a row for each short operation, and the pairs that are made of them.

use cases::action::{Action, FileId, MapId, PinId, PinKind, Span, page, pages};
use cases::operation::{self, Operand, Operation};
use cases::system::{HoldPoint, Need};

use crate::fuzz::program::{FILES, PAGES, Step, first_map};

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
pub(super) struct ShortOperation {
    /// What it is called.
    pub(super) name: &'static str,
    /// Where its task can be held.
    pub(super) points: &'static [HoldPoint],
    /// Which task does it, if it is not the one that breaks.
    task: u32,
    /// What it cannot do without.
    needs: &'static [Need],
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// An operation, which breaks the layout, on these pages.
    Operation(Operation, Span),
    /// It writes back.
    WriteBack(fn() -> Action),
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

/// The points of what faults.
const FAULTS: &[HoldPoint] = &[HoldPoint::FaultEntered, HoldPoint::PageFound];

fn map() -> MapId {
    first_map(FILE)
}

/// A process other than that of the break, so that the two share no `mmap_lock`.
const ELSEWHERE: u32 = 3;

/// A thread of the process of the break.
const BESIDE: u32 = 2;

/// The task of what breaks, or stands first in its pair.
pub(super) const FIRST: u32 = 1;

/// An operation on the pages that a break is about.
const fn breaking(operation: Operation) -> ShortOperation {
    let needs = operation.needs;
    let what = What::Operation(operation, BROKEN);
    ShortOperation { name: operation.name, points: BREAKS, task: FIRST, needs, what }
}

/// What breaks the layout.
const BREAKING: &[ShortOperation] = &[
    breaking(operation::PUNCH),
    ShortOperation { name: "truncate", ..breaking(operation::TRUNCATE_DOWN) },
    breaking(operation::COLLAPSE),
    breaking(operation::ZERO),
    breaking(operation::INSERT),
    ShortOperation { name: "reflink", ..breaking(operation::CLONE) },
];

/// What writes back.
const FSYNC: ShortOperation = ShortOperation {
    name: "fsync",
    points: &[HoldPoint::EntryLocked],
    task: BESIDE,
    needs: &[],
    what: What::WriteBack(|| Action::Fsync { file: FILE, data_only: false }),
};

/// What meets a break or a write-back, in the page that is first in their way. A store of one byte is
/// one access, so it is either there or not.
const MEETING: &[ShortOperation] = &[
    ShortOperation {
        name: "pin",
        points: FAULTS,
        task: ELSEWHERE,
        needs: &[],
        what: What::Do(|| Action::Pin {
            pin: TAKEN,
            map: map(),
            span: page(0),
            kind: PinKind::Splice,
        }),
    },
    ShortOperation {
        name: "load",
        points: FAULTS,
        task: ELSEWHERE,
        needs: &[],
        what: What::Do(|| Action::Load { map: map(), span: page(0) }),
    },
    ShortOperation {
        name: "store",
        points: FAULTS,
        task: ELSEWHERE,
        needs: &[],
        what: What::Do(|| Action::Store { map: map(), span: Span { at: 0, len: 1 }, byte: b's' }),
    },
    ShortOperation {
        name: "write",
        points: &[],
        task: BESIDE,
        needs: &[],
        what: What::Do(|| Action::Write { file: FILE, span: page(0), byte: b'w' }),
    },
    ShortOperation {
        name: "unmap",
        points: &[],
        task: BESIDE,
        needs: &[],
        what: What::Do(|| Action::Unmap { map: map() }),
    },
    ShortOperation { name: "release", points: &[], task: BESIDE, needs: &[], what: What::Release },
];

/// What a second break does.
const SECOND: &[ShortOperation] = &[
    ShortOperation {
        name: "punch-one",
        task: BESIDE,
        what: What::Operation(operation::PUNCH, page(0)),
        ..breaking(operation::PUNCH)
    },
    ShortOperation {
        name: "truncate-one",
        task: BESIDE,
        what: What::Operation(operation::TRUNCATE_DOWN, page(1)),
        ..breaking(operation::TRUNCATE_DOWN)
    },
];

impl ShortOperation {
    /// Its task.
    pub(super) const fn task(&self) -> u32 {
        self.task
    }

    /// Whether it breaks the layout.
    pub(super) const fn breaks(&self) -> bool {
        matches!(self.what, What::Operation(..))
    }

    /// Whether it lets go of a pin, so that no task can be held in it.
    pub(super) const fn is_release(&self) -> bool {
        matches!(self.what, What::Release)
    }

    /// The step that does it, by `task`.
    pub(super) fn step(&self, task: u32) -> Step {
        match self.what {
            What::Operation(operation, span) => {
                let target = Operand { file: FILE, pages: PAGES, span, other: OTHER };
                Step::Do(task, (operation.action)(target))
            }
            What::WriteBack(action) | What::Do(action) => Step::Do(task, action()),
            What::Release => Step::Release(FREED),
        }
    }

    /// Whether it writes back.
    const fn writes_back(&self) -> bool {
        matches!(self.what, What::WriteBack(_))
    }
}

/// Two operations that meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// The one that breaks, or writes back.
    pub(super) one: &'static ShortOperation,
    /// The other.
    pub(super) other: &'static ShortOperation,
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
        let meets_write_back = |part: &&ShortOperation| !part.is_release();
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
        [self.one, self.other].into_iter().any(|part| part.needs.contains(&Need::Reflink))
    }

    /// The task of either: a write-back does not need to be the one of a break.
    pub(super) const fn tasks(self) -> [u32; 2] {
        [FIRST, self.other.task()]
    }

    /// Whether one of them writes back.
    fn writes_back(self) -> bool {
        self.one.writes_back() || self.other.writes_back()
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
