//! A break makes progress, whatever load of new pins it meets.

use crate::action::{Action, Direction, FileId, Mode, PAGE, Span, page};
use crate::case::case;
use crate::origin;
use crate::system::{Kinship, MAIN};
use crate::test::{Checked, Test, check_result, fail};

/// Seconds that one operation may take under the load. A pin lasts 2 ms, so in this time each
/// of the 64 in flight is replaced thousands of times.
const BOUND: u64 = 30;

/// Pages of the file, and of one I/O: 64 in flight, four on each piece.
const FILE: u64 = 256;
const PIECE: u64 = 16;

/// Runs `there` and `back` against 64 direct I/Os from the mapped file, kept in flight for good.
fn under_load(
    t: &mut Test<'_>,
    rounds: u64,
    there: fn(FileId) -> Action,
    back: fn(FileId) -> Action,
) -> Checked {
    let data = t.file("data", &"a".repeat(FILE as usize))?;
    let map = t.map(data)?;
    let span = Span { at: 0, len: FILE * PAGE };
    t.run(Action::Store { map, span, byte: b'b' })?;
    let [submitted, stop] = t.new_vars();
    let load = t.begin(Action::DirectLoad {
        map,
        span,
        piece: PIECE * PAGE,
        inflight: 64,
        direction: Direction::FromMemory,
        submitted,
        stop,
    })?;
    t.say("keep 64 direct I/Os in flight from the mapped file");
    let mut most = 0;
    let bound = t.patience(BOUND);
    for round in 0..rounds {
        for action in [there(data.id), back(data.id)] {
            // Only against a load that runs does it show anything.
            t.await_var(&load, submitted, t.var(submitted) + 64)?;
            let before = t.var(submitted);
            let op = t.begin(action)?;
            let done = t.returned_within(&op, bound)?;
            let newer = t.var(submitted) - before;
            most = most.max(newer);
            if done.is_none() {
                let state = t.describe();
                t.set_var(stop, 1);
                t.succeeded(&load)?;
                t.succeeded(&op)?;
                return fail(
                    "the break ends although new pins keep coming",
                    &format!(
                        "in round {} it had not ended after {bound} s, in which {newer} newer pins \
                         were taken; it ended when the load stopped",
                        round + 1
                    ),
                    &state,
                );
            }
            check_result(done.as_ref())?;
        }
    }
    t.note("most pins taken while an operation waited", &most);
    t.set_var(stop, 1);
    t.succeeded(&load)?;
    t.note("pins taken", &t.var(submitted));
    t.say("every operation ended under the load");
    Ok(())
}

case! {
    /// The load of 2018: 64 AIO direct I/Os from a mapped file are in flight for good while the
    /// file is truncated down and up. New I/Os keep taking references; truncate must get past
    /// its break all the same.
    aio_dio_truncate: "livelock/aio-dio-truncate",
    groups: ["stress"], needs: [SlowIo], limit: 900, origin: origin::LIVELOCK,
}
fn aio_dio_truncate(t: &mut Test<'_>) -> Checked {
    under_load(
        t,
        4,
        |file| Action::Truncate { file, size: FILE / 2 * PAGE },
        |file| Action::Truncate { file, size: FILE * PAGE },
    )
}

case! {
    /// As livelock/aio-dio-truncate, with punch in place of truncate; the hole is filled again
    /// by writing.
    aio_dio_punch: "livelock/aio-dio-punch",
    groups: ["stress"], needs: [SlowIo], limit: 900, origin: origin::LIVELOCK,
}
fn aio_dio_punch(t: &mut Test<'_>) -> Checked {
    under_load(
        t,
        4,
        |file| Action::Fallocate {
            file,
            mode: Mode::Punch,
            span: Span { at: 0, len: FILE / 2 * PAGE },
        },
        |file| Action::Write { file, span: Span { at: 0, len: FILE / 2 * PAGE }, byte: b'c' },
    )
}

case! {
    /// While a break waits it keeps the inode lock: a write and a punch elsewhere in the file, which
    /// need it, wait for its end. If they went on, so could those that pin anew, for ever.
    inode_lock_stays: "livelock/inode-lock-stays",
    groups: ["quick"], needs: [], limit: 240, origin: origin::LIVELOCK,
}
fn inode_lock_stays(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abc")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(0))?;
    let writer = t.spawn(MAIN, Kinship::Thread)?;
    let puncher = t.spawn(MAIN, Kinship::Thread)?;
    let punch = |span| Action::Fallocate { file: data.id, mode: Mode::Punch, span };
    let op = t.begin(punch(page(0)))?;
    t.blocked(&op)?;
    let write = t.begin_as(writer, Action::Write { file: data.id, span: page(1), byte: b'x' })?;
    t.blocked(&write)?;
    let other = t.begin_as(puncher, punch(page(2)))?;
    t.blocked(&other)?;
    t.ends_with(&op, pin)?;
    t.finished(&write)?;
    t.finished(&other)?;
    t.transferred(pin, "a")?;
    t.reads(data, ".x.")
}
