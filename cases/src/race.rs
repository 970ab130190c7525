//! Races against the break, built for their windows.
//!
//! Each runs many short rounds in which the operation meets a pin at a different moment. The
//! oracle is exact: the operation returned while a page that it gave away was provably pinned.

use crate::action::{
    Action, Direction, Engine, Instruction, MapId, Mode, PAGE, Span, VarId, page, pages,
};
use crate::case::case;
use crate::origin;
use crate::scripts::exercised;
use crate::space::{Given, Taker};
use crate::system::MAIN;
use crate::test::{Checked, Test, answer, fail};

/// Rounds of race/retry. With `ci/faults/retry`, one in 20 (ext4) to 140 (XFS) meets the window
/// in an emulated machine of two processors.
const RETRY_ROUNDS: u64 = 1000;

/// Rounds of race/new-pin: enough that a window of one in a few hundred is all but sure to be met.
const ROUNDS: u64 = 2000;

/// The longest pause, in turns of a spin loop: some multiples of what a break takes.
const LONGEST: u64 = 1 << 14;

/// Idle pages that the break scans first. The break unmaps before it scans, and the interrupt
/// with which it does so stops the task that pins; by the end of these pages that task is on its
/// way again.
const IDLE: u64 = 8;

/// Pages that are pinned and let go as fast as possible. They go idle in the order in which they
/// are scanned, so the first that the scan finds busy is the next to go idle.
const CHURNED: u64 = 12;

/// The longest time that a page is held against a break, in microseconds: some multiples of
/// what the break takes until it has scanned.
const HOLD: u64 = 2000;

case! {
    /// Race B of 2018: pages are pinned and let go as fast as possible, the one behind them stays
    /// pinned, all are punched. When one goes idle between being found and being waited for, the
    /// break must look again and find the last.
    retry: "race/retry",
    groups: ["race"], needs: [], limit: 600, origin: origin::RACE,
}
fn retry(t: &mut Test<'_>) -> Checked {
    let (churned, last) = (pages(IDLE, CHURNED), page(IDLE + CHURNED));
    let punched = pages(IDLE, CHURNED + 1);
    let fill = ["i".repeat(IDLE as usize), "c".repeat(CHURNED as usize), "h".into()].concat();
    let data = t.file("data", &fill)?;
    let map = t.map(data)?;
    t.loads(map, pages(0, IDLE), &fill[..IDLE as usize])?;
    let race = t.new_race();
    let [filled, ready, begun, held, slept, pinned] = t.new_vars();
    let churner = t.begin_script(
        vec![Instruction::PinUnpin { map, span: churned }, Instruction::Count(pinned)],
        u64::MAX,
        race.stop,
    )?;
    let holder = t.begin_script(
        hold_against_break(map, last, [filled, ready, begun, held]),
        RETRY_ROUNDS,
        race.stop,
    )?;
    let breaker = t.begin_script(
        vec![
            Instruction::Do(Action::Store { map, span: punched, byte: b'r' }),
            Instruction::Mark(filled),
            Instruction::AwaitRound(ready),
            Instruction::Mark(begun),
            Instruction::Do(Action::Fallocate { file: data.id, mode: Mode::Punch, span: punched }),
            Instruction::CountIf { var: held, into: race.missed },
            Instruction::CountSleeps { into: slept },
            Instruction::Mark(race.rounds),
        ],
        RETRY_ROUNDS,
        race.stop,
    )?;
    let rounds = t.race(&breaker, &[&holder, &churner], &race)?;
    t.note("breaks seen waiting", &t.var(slept));
    t.note("pins of the other pages", &t.var(pinned));
    if t.var(race.missed) != 0 {
        return fail(
            "punch returns only when the last page is no longer pinned",
            &format!("in round {rounds} or so it returned while the page was pinned"),
            "the retry of the break after a page that went idle early",
        );
    }
    exercised("breaks waited for a pin", t.var(slept))?;
    exercised("the other pages were pinned meanwhile", t.var(pinned))?;
    t.say("no punch returned while a page was pinned");
    Ok(())
}

case! {
    /// Race A of 2018: pages look idle, and are pinned before they are given away. The break
    /// unmaps them first, so a new pin must fault and wait; if it does not, it pins a page that
    /// is about to be freed.
    new_pin: "race/new-pin",
    groups: ["race"], needs: [], limit: 600, origin: origin::RACE,
}
fn new_pin(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "a")?;
    let map = t.map(data)?;
    let race = t.new_race();
    let [filled, go, begun, punched, dropped, slept, pinned] = t.new_vars();
    let pinner = t.begin_script(
        vec![
            Instruction::AwaitRound(filled),
            Instruction::Mark(go),
            Instruction::Pause { most: LONGEST },
            Instruction::Hold { map, span: page(0), slot: 0 },
            Instruction::Count(pinned),
            // Else one processor could do all of this before the punch begins.
            Instruction::AwaitRound(begun),
            Instruction::Pause { most: LONGEST },
            // Holding what was filled, and not a hole, proves that the pin came before the
            // punch; then the punch must not have returned yet.
            Instruction::DropAfter { slot: 0, byte: b'f', var: punched, into: race.missed },
            Instruction::Mark(dropped),
        ],
        ROUNDS,
        race.stop,
    )?;
    let breaker = t.begin_script(
        vec![
            Instruction::Do(Action::Store { map, span: page(0), byte: b'f' }),
            Instruction::Mark(filled),
            Instruction::AwaitRound(go),
            Instruction::Pause { most: LONGEST },
            Instruction::Mark(begun),
            Instruction::Do(Action::Fallocate { file: data.id, mode: Mode::Punch, span: page(0) }),
            Instruction::Mark(punched),
            Instruction::CountSleeps { into: slept },
            Instruction::AwaitRound(dropped),
            Instruction::Mark(race.rounds),
        ],
        ROUNDS,
        race.stop,
    )?;
    t.race(&breaker, &[&pinner], &race)?;
    t.note("sleeps of the breaker", &t.var(slept));
    let missed = t.var(race.missed);
    if missed != 0 {
        return fail(
            "punch returns only when the page it freed is no longer pinned",
            &format!("{missed} times it returned while the page was pinned"),
            "the unmapping of pages before the break looks for busy ones",
        );
    }
    exercised("breaks waited for a pin", t.var(slept))?;
    exercised("pins were taken", t.var(pinned))?;
    t.say("no punch returned while its page was pinned");
    Ok(())
}

case! {
    /// fsync locks the entry of each page while it writes the page back. A break that looks for
    /// busy pages at that moment must wait for such an entry: if it skips the entry, it misses the
    /// pin.
    fsync_beside_punch: "race/fsync-beside-punch",
    groups: ["race"], needs: [], limit: 600,
    origin: origin::LOCKED,
}
fn fsync_beside_punch(t: &mut Test<'_>) -> Checked {
    let (dirty, pinned) = (pages(0, IDLE), page(IDLE - 1));
    let data = t.file("data", &"d".repeat(IDLE as usize))?;
    let map = t.map(data)?;
    let race = t.new_race();
    let [filled, ready, begun, held, synced, slept] = t.new_vars();
    let syncer = t.begin_script(
        vec![
            Instruction::AwaitRound(ready),
            Instruction::Pause { most: LONGEST },
            Instruction::Do(Action::Fsync { file: data.id, data_only: false }),
            Instruction::Mark(synced),
        ],
        ROUNDS,
        race.stop,
    )?;
    let holder = t.begin_script(
        hold_against_break(map, pinned, [filled, ready, begun, held]),
        ROUNDS,
        race.stop,
    )?;
    let breaker = t.begin_script(
        vec![
            Instruction::Do(Action::Store { map, span: dirty, byte: b'd' }),
            Instruction::Mark(filled),
            Instruction::AwaitRound(ready),
            Instruction::Pause { most: LONGEST },
            Instruction::Mark(begun),
            Instruction::Do(Action::Fallocate { file: data.id, mode: Mode::Punch, span: dirty }),
            Instruction::CountIf { var: held, into: race.missed },
            Instruction::CountSleeps { into: slept },
            Instruction::AwaitRound(synced),
            Instruction::Mark(race.rounds),
        ],
        ROUNDS,
        race.stop,
    )?;
    let rounds = t.race(&breaker, &[&syncer, &holder], &race)?;
    t.note("breaks seen waiting", &t.var(slept));
    if t.var(race.missed) != 0 {
        return fail(
            "punch returns only when the last page is no longer pinned",
            &format!("in round {rounds} or so it returned while the page was pinned"),
            "what the break does with an entry that write-back has locked",
        );
    }
    exercised("breaks waited for a pin", t.var(slept))?;
    t.say("no punch returned while a page was pinned");
    Ok(())
}

/// Holds a page from `filled` on until the break has `begun`, and a while longer: `held` is 1 only
/// while it is pinned, and `ready` marks that it is.
fn hold_against_break(
    map: MapId,
    span: Span,
    [filled, ready, begun, held]: [VarId; 4],
) -> Vec<Instruction> {
    vec![
        Instruction::AwaitRound(filled),
        Instruction::Hold { map, span, slot: 0 },
        Instruction::Set(held, 1),
        Instruction::Mark(ready),
        Instruction::AwaitRound(begun),
        // Sleeping, so that those who race have a processor while the break scans.
        Instruction::Sleep { most: HOLD },
        // Before the pin goes, so that seeing 1 proves the pin.
        Instruction::Set(held, 0),
        Instruction::Drop { slot: 0 },
    ]
}

/// Direct I/O into a mapped page, held in flight, while `action` gives the page's block away
/// and another file takes all space that is free.
fn canary_after(
    t: &mut Test<'_>,
    action: fn(crate::action::FileId) -> Action,
    after: &str,
) -> Checked {
    t.until("was the block given away once its pin was gone", |t| {
        let data = t.file("data", "abcd")?;
        let block = t.blocks(data)?[2];
        let map = t.map(data)?;
        let pin = t.pin_direct(map, page(2), Engine::Aio, Direction::IntoMemory, b'z')?;
        let op = t.begin(action(data.id))?;
        t.settled(&op)?;
        let (taker, given) = Taker::new(t, data, block)?;
        let file = taker.file.id;
        if let Given::Taken(index) = given {
            t.run(Action::Write { file, span: page(index), byte: b'k' })?;
        }
        t.release(pin)?;
        t.finished(&op)?;
        t.reap(pin, PAGE)?;
        if let Given::Taken(index) = given {
            let seen = t.quietly(MAIN, Action::Read { file, span: page(index) })?;
            t.note("what taker wrote as \"k\" reads after the I/O", &answer(&seen));
        }
        given.kept("the break before the block was freed")?;
        t.say("taker did not get the block of the I/O in flight");
        t.reads(data, after)?;
        taker.has_it_now(t)
    })
}

case! {
    /// Direct I/O into a mapped page is in flight while the page is punched out and all free
    /// space goes to another file: the I/O must never show in that file.
    canary: "race/canary",
    groups: ["quick"], needs: [HeldIo], limit: 240, origin: origin::BREAK,
}
fn canary(t: &mut Test<'_>) -> Checked {
    canary_after(t, |file| Action::Fallocate { file, mode: Mode::Punch, span: pages(1, 2) }, "a..d")
}

case! {
    /// Direct I/O into a mapped page is in flight while the page is truncated away and all free
    /// space goes to another file: the I/O must never show in that file.
    canary_truncate: "race/canary-truncate",
    groups: ["quick"], needs: [HeldIo], limit: 240, origin: origin::BREAK,
}
fn canary_truncate(t: &mut Test<'_>) -> Checked {
    canary_after(t, |file| Action::Truncate { file, size: PAGE }, "a")
}
