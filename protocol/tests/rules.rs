//! The rules against generated histories: a legal one raises nothing, each illegal edit of one
//! raises the finding it should, and lost records leave the verdict open.

use proptest::prelude::*;
use protocol::{
    Bounds, Counting, Event, Finding, How, Judge, Kind, OperationKind, Rule, Ruling, flag, judge,
};

const FILE: u64 = 7;
const BREAKER: u32 = 100;
const PINNER: u32 = 200;
const FAULTER: u32 = 300;

/// A small model of a kernel that keeps the protocol: pages with pins, and one file.
#[derive(Clone, Debug)]
struct ToyKernel {
    shape: Counting,
    events: Vec<Event>,
    /// Holders of each page's pins; the page's number is its index plus one.
    pins: Vec<Vec<i64>>,
    holder: i64,
    time: u64,
}

/// What the world does next.
#[derive(Clone, Debug)]
enum Act {
    Pin(usize),
    Unpin(usize),
    /// A break that waits until no page is pinned, then removes and frees them all.
    Break {
        /// While it waits: which page is pinned anew before the old pin goes, at most once a wait.
        repins: Vec<bool>,
        /// It is interrupted at its first wait.
        interrupted: bool,
    },
    Fsync,
    Fault,
}

impl ToyKernel {
    fn new(shape: Counting, pages: usize) -> Self {
        Self { shape, events: Vec::new(), pins: vec![Vec::new(); pages], holder: 0, time: 0 }
    }

    fn emit(&mut self, kind: Kind, task: u32, fill: impl FnOnce(&mut Event)) {
        self.time += 1;
        let mut event =
            Event { time: self.time, task, process: task, inode: FILE, ..Event::new(kind) };
        fill(&mut event);
        self.events.push(event);
    }

    fn counts(&self, page: usize) -> (i32, i32) {
        let pins = self.pins[page].len() as i32;
        match self.shape {
            Counting::IdleAtOne => (pins + 1, 0),
            Counting::IdleAtZero => (pins + 2, 2),
        }
    }

    fn about(&self, page: usize) -> impl FnOnce(&mut Event) + use<> {
        let (refs, maps) = self.counts(page);
        move |event| {
            event.page = page as u64 + 1;
            event.index = page as u64;
            event.refs = refs;
            event.maps = maps;
        }
    }

    fn pin(&mut self, page: usize) {
        self.holder += 1;
        let holder = self.holder;
        self.pins[page].push(holder);
        let about = self.about(page);
        self.emit(Kind::Pin, PINNER, |event| {
            about(event);
            event.value = holder;
        });
    }

    fn unpin(&mut self, page: usize) {
        if self.pins[page].is_empty() {
            return;
        }
        let holder = self.pins[page].remove(0);
        let about = self.about(page);
        self.emit(Kind::Unpin, PINNER, |event| {
            about(event);
            event.value = holder;
        });
        if self.pins[page].is_empty() {
            let about = self.about(page);
            self.emit(Kind::Wake, PINNER, about);
        }
    }

    fn scan(&mut self) -> Option<usize> {
        let busy = self.pins.iter().position(|pins| !pins.is_empty());
        match busy {
            Some(page) => {
                let about = self.about(page);
                self.emit(Kind::Scan, BREAKER, about);
            }
            None => self.emit(Kind::Scan, BREAKER, |_| {}),
        }
        busy
    }

    fn wait_begin(&mut self, page: usize) {
        let about = self.about(page);
        self.emit(Kind::WaitBegin, BREAKER, about);
        self.emit(Kind::Sleep, BREAKER, |event| {
            event.detail = flag::INODE_LOCK;
        });
    }

    fn operation(&mut self, kind: Kind, operation: OperationKind, task: u32, value: i64) {
        self.emit(kind, task, |event| {
            event.detail = operation as u16;
            event.value = value;
        });
    }

    fn break_layout(&mut self, repins: &[bool], interrupted: bool) {
        self.emit(Kind::BreakBegin, BREAKER, |_| {});
        let mut repins = repins.iter();
        while let Some(page) = self.scan() {
            self.wait_begin(page);
            if interrupted {
                self.emit(Kind::WaitEnd, BREAKER, |event| event.value = -512);
                self.emit(Kind::BreakEnd, BREAKER, |event| event.value = -512);
                return;
            }
            self.operation(Kind::Begin, OperationKind::Fault, FAULTER, 0);
            if repins.next() == Some(&true) {
                self.pin(page);
            }
            self.operation(Kind::End, OperationKind::Fault, FAULTER, 0);
            while !self.pins[page].is_empty() {
                self.unpin(page);
            }
            self.emit(Kind::WaitEnd, BREAKER, |_| {});
        }
        self.emit(Kind::BreakEnd, BREAKER, |_| {});
        for page in 0..self.pins.len() {
            let (refs, maps) = self.idle();
            let about = self.about(page);
            self.emit(Kind::Remove, BREAKER, |event| {
                about(event);
                (event.refs, event.maps) = (refs, maps);
                event.detail = flag::BREAK;
            });
            self.emit(Kind::Free, BREAKER, |event| {
                event.page = page as u64 + 1;
                event.count = 1;
                (event.refs, event.maps) = (refs, maps);
            });
        }
    }

    fn idle(&self) -> (i32, i32) {
        match self.shape {
            Counting::IdleAtOne => (1, 0),
            Counting::IdleAtZero => (0, 0),
        }
    }

    fn fsync(&mut self) {
        self.emit(Kind::Dirty, FAULTER, |event| event.index = 0);
        self.operation(Kind::Begin, OperationKind::Fsync, FAULTER, 0);
        self.emit(Kind::Clean, FAULTER, |event| event.index = 0);
        self.operation(Kind::End, OperationKind::Fsync, FAULTER, 0);
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Pin(page) => self.pin(page % self.pins.len()),
            Act::Unpin(page) => self.unpin(page % self.pins.len()),
            Act::Break { repins, interrupted } => self.break_layout(repins, *interrupted),
            Act::Fsync => self.fsync(),
            Act::Fault => {
                self.operation(Kind::Begin, OperationKind::Fault, FAULTER, 0);
                self.operation(Kind::End, OperationKind::Fault, FAULTER, 0);
            }
        }
    }

    fn drop_pins(&mut self) {
        for page in 0..self.pins.len() {
            while !self.pins[page].is_empty() {
                self.unpin(page);
            }
        }
    }

    fn ruling(&self) -> Ruling {
        judge(Bounds::reference(self.shape), &self.events)
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_usize).prop_map(Act::Pin),
        2 => (0..4_usize).prop_map(Act::Unpin),
        2 => (proptest::collection::vec(any::<bool>(), 0..4), any::<bool>())
            .prop_map(|(repins, interrupted)| Act::Break { repins, interrupted }),
        1 => Just(Act::Fsync),
        1 => Just(Act::Fault),
    ]
}

fn shape() -> impl Strategy<Value = Counting> {
    prop_oneof![Just(Counting::IdleAtOne), Just(Counting::IdleAtZero)]
}

fn world() -> impl Strategy<Value = ToyKernel> {
    (shape(), 1..5_usize, proptest::collection::vec(act(), 0..40)).prop_map(
        |(shape, pages, acts)| {
            let mut world = ToyKernel::new(shape, pages);
            for act in &acts {
                world.act(act);
            }
            world
        },
    )
}

#[track_caller]
fn only(verdict: Ruling, rule: Rule) -> Finding {
    match verdict {
        Ruling::Violated(findings) => {
            assert!(findings.iter().all(|finding| finding.rule == rule), "{findings:#?}");
            findings[0].clone()
        }
        other => panic!("expected a {rule}, got {other:?}"),
    }
}

proptest! {
    #[test]
    fn a_legal_history_raises_nothing(world in world()) {
        prop_assert_eq!(world.ruling(), Ruling::Holds);
    }

    #[test]
    fn lost_records_leave_a_legal_history_undecided(world in world(), at: prop::sample::Index) {
        let mut events = world.events.clone();
        let at = at.index(events.len() + 1);
        events.insert(at, Event { value: 3, ..Event::new(Kind::Lost) });
        prop_assert_eq!(judge(Bounds::reference(world.shape), &events), Ruling::Undecided);
    }

    #[test]
    fn records_that_are_really_lost_raise_nothing(
        world in world(),
        from: prop::sample::Index,
        length in 0..20_usize,
    ) {
        let mut events = world.events.clone();
        let from = from.index(events.len() + 1);
        let to = (from + length).min(events.len());
        let lost = Event { value: (to - from) as i64, ..Event::new(Kind::Lost) };
        events.splice(from..to, [lost]);
        prop_assert_eq!(judge(Bounds::reference(world.shape), &events), Ruling::Undecided);
    }

    #[test]
    fn a_block_freed_under_a_pin_is_a_missed_wait(mut world in world(), page in 0..5_usize) {
        let page = page % world.pins.len();
        world.pin(page);
        let about = world.about(page);
        world.emit(Kind::Free, BREAKER, |event| { about(event); event.count = 1; });
        let finding = only(world.ruling(), Rule::MissedWait);
        prop_assert_eq!(finding.page, page as u64 + 1);
        prop_assert_eq!(finding.tasks, [BREAKER]);
    }

    #[test]
    fn an_entry_removed_by_a_break_under_a_pin_is_a_missed_wait(
        mut world in world(),
        page in 0..5_usize,
    ) {
        let page = page % world.pins.len();
        world.pin(page);
        let about = world.about(page);
        world.emit(Kind::Remove, BREAKER, |event| { about(event); event.detail = flag::BREAK; });
        let finding = only(world.ruling(), Rule::MissedWait);
        prop_assert_eq!((finding.inode, finding.index), (FILE, Some(page as u64)));
    }

    #[test]
    fn a_break_that_ends_without_a_last_scan_is_a_missed_wait(
        mut world in world(),
        scans: bool,
    ) {
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        if scans {
            let page = world.scan().expect("page 0 was just pinned");
            world.wait_begin(page);
            while !world.pins[page].is_empty() {
                world.unpin(page);
            }
            world.emit(Kind::WaitEnd, BREAKER, |_| {});
        }
        world.emit(Kind::BreakEnd, BREAKER, |_| {});
        only(world.ruling(), Rule::MissedWait);
    }

    #[test]
    fn a_break_that_spins_is_a_livelock(mut world in world()) {
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        for _ in 0..=Bounds::reference(world.shape).rescans {
            world.scan();
        }
        let finding = only(world.ruling(), Rule::Livelock);
        prop_assert_eq!(finding.page, 1);
        prop_assert!(finding.how == How::Spins);
    }

    #[test]
    fn a_break_that_newer_pins_keep_from_ending_is_a_livelock(
        mut world in world(),
        overlapping: bool,
    ) {
        world.drop_pins();
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        for _ in 0..=Bounds::reference(world.shape).newer_pins + 1 {
            let page = world.scan().expect("page 0 is pinned");
            world.wait_begin(page);
            if overlapping {
                world.pin(page);
                world.unpin(page);
            } else {
                world.unpin(page);
                world.pin(page);
            }
            world.emit(Kind::WaitEnd, BREAKER, |_| {});
        }
        let finding = only(world.ruling(), Rule::Livelock);
        prop_assert!(finding.how == How::Starves);
    }

    #[test]
    fn newer_pins_beside_an_older_one_starve_nobody(mut world in world()) {
        world.drop_pins();
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        world.scan();
        world.wait_begin(0);
        for _ in 0..1000 {
            // The newest goes first: the old pin is there all the time.
            world.pin(0);
            world.pins[0].swap(0, 1);
            world.unpin(0);
        }
        prop_assert_eq!(world.ruling(), Ruling::Holds);
    }

    #[test]
    fn a_waiter_that_nobody_wakes_is_a_lost_wakeup(mut world in world(), wake: bool) {
        world.drop_pins();
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        world.scan();
        world.wait_begin(0);
        world.unpin(0);
        if !wake {
            world.events.pop();
        }
        let finding = only(world.ruling(), Rule::LostWakeup);
        prop_assert_eq!(finding.tasks, [BREAKER]);
    }

    #[test]
    fn sleeping_with_the_invalidate_lock_is_a_lock_held(mut world in world()) {
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        let page = world.scan().expect("page 0 was just pinned");
        world.wait_begin(page);
        world.events.last_mut().expect("the sleep").detail = flag::INVALIDATE_LOCK;
        let finding = only(world.ruling(), Rule::LockHeld);
        prop_assert_eq!(finding.page, page as u64 + 1);
    }

    #[test]
    fn sleeping_for_another_lock_after_the_wait_is_none(mut world in world()) {
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        let page = world.scan().expect("page 0 was just pinned");
        world.wait_begin(page);
        let sleep = world.events.last_mut().expect("the sleep");
        sleep.detail = flag::INVALIDATE_LOCK | flag::ELSEWHERE;
        prop_assert_eq!(world.ruling(), Ruling::Holds);
    }

    #[test]
    fn a_removal_that_is_only_concluded_to_be_a_breaks_accuses_nobody_if_an_end_was_missed(
        mut world in world(), missed: bool,
    ) {
        world.pin(0);
        let about = world.about(0);
        world.emit(Kind::Remove, BREAKER, |event| {
            about(event);
            event.detail = flag::BREAK | flag::UNENDED;
        });
        let mut judge = Judge::new(Bounds::kernel(world.shape));
        for event in &world.events {
            judge.feed_if(event, || !missed);
        }
        let verdict = judge.finish(world.time);
        if missed {
            prop_assert_eq!(verdict, Ruling::Undecided);
        } else {
            only(verdict, Rule::MissedWait);
        }
    }

    #[test]
    fn a_fault_that_hangs_while_a_break_waits_is_a_lock_held(mut world in world()) {
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        let page = world.scan().expect("page 0 was just pinned");
        world.wait_begin(page);
        world.operation(Kind::Begin, OperationKind::Fault, FAULTER, 0);
        let finding = only(world.ruling(), Rule::LockHeld);
        prop_assert_eq!(finding.tasks, [BREAKER, FAULTER]);
    }

    #[test]
    fn fsync_may_not_wait_fail_or_skip(mut world in world(), how in 0..4) {
        world.pin(0);
        world.emit(Kind::Dirty, FAULTER, |event| event.index = 0);
        world.operation(Kind::Begin, OperationKind::Fsync, FAULTER, 0);
        match how {
            0 => {
                let about = world.about(0);
                world.emit(Kind::WaitBegin, FAULTER, about);
            }
            1 => {}
            2 => world.operation(Kind::End, OperationKind::Fsync, FAULTER, -16),
            _ => world.operation(Kind::End, OperationKind::Fsync, FAULTER, 0),
        }
        only(world.ruling(), Rule::Fsync);
    }

    #[test]
    fn a_warning_is_a_finding(mut world in world(), at: prop::sample::Index) {
        let at = at.index(world.events.len() + 1);
        world.events.insert(at, Event { value: 0x1234, ..Event::new(Kind::Warning) });
        let finding = only(world.ruling(), Rule::Warning);
        prop_assert_eq!(finding.events, [at as u64]);
    }
}

/// A kernel trace: times are nanoseconds and nobody promises that the end is final.
mod kernel {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn waiting(shape: Counting) -> ToyKernel {
        let mut world = ToyKernel::new(shape, 1);
        world.pin(0);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        world.scan();
        world.wait_begin(0);
        world
    }

    fn found(world: &ToyKernel) -> Vec<Rule> {
        let mut judge = Judge::new(Bounds::kernel(world.shape));
        for event in &world.events {
            judge.feed(event);
        }
        judge.findings().iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_lost_wakeup_shows_in_the_second_sample() {
        let mut world = waiting(Counting::IdleAtOne);
        world.unpin(0);
        for _ in 0..2 {
            let about = world.about(0);
            world.emit(Kind::Sample, BREAKER, about);
            assert_eq!(found(&world), []);
            world.time += SECOND / 2;
        }
        let about = world.about(0);
        world.emit(Kind::Sample, BREAKER, about);
        assert_eq!(found(&world), [Rule::LostWakeup]);
    }

    /// As on a machine that is too busy to run it.
    #[test]
    fn a_waiter_that_was_woken_and_does_not_run_yet_is_no_lost_wakeup() {
        let mut world = waiting(Counting::IdleAtOne);
        world.unpin(0);
        for _ in 0..5 {
            let about = world.about(0);
            world.emit(Kind::Sample, BREAKER, |event| {
                about(event);
                event.detail = flag::ELSEWHERE;
            });
            assert_eq!(found(&world), []);
            world.time += SECOND;
        }
    }

    #[test]
    fn a_lost_wakeup_shows_in_samples_although_records_were_lost() {
        let mut world = waiting(Counting::IdleAtOne);
        world.emit(Kind::Lost, 0, |event| event.value = 7);
        world.pins[0].clear();
        for _ in 0..2 {
            assert_eq!(found(&world), []);
            let about = world.about(0);
            world.emit(Kind::Sample, BREAKER, about);
            world.time += SECOND;
        }
        assert_eq!(found(&world), [Rule::LostWakeup]);
    }

    #[test]
    fn a_page_that_is_busy_again_is_no_lost_wakeup() {
        let mut world = waiting(Counting::IdleAtZero);
        for _ in 0..50 {
            world.unpin(0);
            let about = world.about(0);
            world.emit(Kind::Sample, BREAKER, about);
            world.time += SECOND / 10;
            world.pin(0);
            let about = world.about(0);
            world.emit(Kind::Sample, BREAKER, about);
            world.time += SECOND / 10;
        }
        assert_eq!(found(&world), []);
    }

    #[test]
    fn a_young_break_is_not_starved() {
        let mut world = waiting(Counting::IdleAtZero);
        for _ in 0..1000 {
            world.pin(0);
            world.unpin(0);
        }
        assert_eq!(found(&world), []);
        world.time += 11 * SECOND;
        world.pin(0);
        // It may have ended unseen meanwhile.
        assert_eq!(found(&world), []);
        let about = world.about(0);
        world.emit(Kind::Sample, BREAKER, about);
        assert_eq!(found(&world), [Rule::Livelock]);
    }

    /// What is found of a history in which more may have been missed than it tells.
    fn found_in_doubt(world: &ToyKernel) -> (Vec<Rule>, Ruling) {
        let mut judge = Judge::new(Bounds::kernel(world.shape));
        for event in &world.events {
            judge.feed_if(event, || false);
        }
        let found = judge.findings().iter().map(|finding| finding.rule).collect();
        (found, judge.finish_if(world.time, || false))
    }

    #[test]
    fn a_scan_that_was_not_seen_is_no_missed_wait_where_calls_are_missed() {
        let mut world = ToyKernel::new(Counting::IdleAtZero, 1);
        world.emit(Kind::BreakBegin, BREAKER, |_| {});
        world.emit(Kind::BreakEnd, BREAKER, |_| {});
        assert_eq!(found(&world), [Rule::MissedWait]);
        assert_eq!(found_in_doubt(&world), (vec![], Ruling::Undecided));
    }

    #[test]
    fn no_rule_concludes_from_what_was_not_seen_where_calls_are_missed() {
        let spins = || {
            let mut world = ToyKernel::new(Counting::IdleAtOne, 1);
            world.pin(0);
            world.emit(Kind::BreakBegin, BREAKER, |_| {});
            for _ in 0..=Bounds::kernel(world.shape).rescans {
                world.scan();
            }
            world
        };
        let starves = || {
            let mut world = waiting(Counting::IdleAtZero);
            for _ in 0..100 {
                world.pin(0);
                world.unpin(0);
            }
            world.pin(0);
            world.time += 11 * SECOND;
            let about = world.about(0);
            world.emit(Kind::Sample, BREAKER, about);
            world
        };
        let stuck = || {
            let mut world = waiting(Counting::IdleAtOne);
            world.operation(Kind::Begin, OperationKind::Fault, FAULTER, 0);
            world.time += 6 * SECOND;
            let about = world.about(0);
            world.emit(Kind::Sample, BREAKER, about);
            world
        };
        let fsync = |value| {
            let mut world = ToyKernel::new(Counting::IdleAtOne, 1);
            world.pin(0);
            world.emit(Kind::Dirty, FAULTER, |event| event.index = 0);
            world.operation(Kind::Begin, OperationKind::Fsync, FAULTER, 0);
            world.operation(Kind::End, OperationKind::Fsync, FAULTER, value);
            world
        };
        let lost = || {
            let mut world = waiting(Counting::IdleAtOne);
            world.unpin(0);
            for _ in 0..2 {
                world.time += SECOND;
                let about = world.about(0);
                world.emit(Kind::Sample, BREAKER, about);
            }
            world
        };
        for (world, rule) in [
            (spins(), Rule::Livelock),
            (starves(), Rule::Livelock),
            (stuck(), Rule::LockHeld),
            (fsync(0), Rule::Fsync),
            (fsync(-16), Rule::Fsync),
            (lost(), Rule::LostWakeup),
        ] {
            assert_eq!(found(&world), [rule]);
            assert_eq!(found_in_doubt(&world), (vec![], Ruling::Undecided), "{rule}");
        }
    }

    #[test]
    fn what_is_there_is_judged_although_calls_are_missed() {
        let mut world = ToyKernel::new(Counting::IdleAtOne, 1);
        world.pin(0);
        let about = world.about(0);
        world.emit(Kind::Free, BREAKER, |event| {
            about(event);
            event.count = 1;
        });
        assert_eq!(found_in_doubt(&world).0, [Rule::MissedWait]);
    }

    #[test]
    fn a_break_that_is_not_seen_to_wait_any_more_holds_nobody_up() {
        let mut world = waiting(Counting::IdleAtOne);
        world.operation(Kind::Begin, OperationKind::Fault, FAULTER, 0);
        world.time += 6 * SECOND;
        world.emit(Kind::Sample, BREAKER + 1, |event| event.page = 99);
        assert_eq!(found(&world), []);
    }

    #[test]
    fn the_end_of_watching_is_not_the_end_of_the_wait() {
        let mut world = waiting(Counting::IdleAtOne);
        world.unpin(0);
        assert_eq!(judge(Bounds::kernel(world.shape), &world.events), Ruling::Holds);
    }
}
