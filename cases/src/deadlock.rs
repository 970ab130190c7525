//! Locks of the break against those of direct I/O and of faults.

use crate::action::{Action, Direction, PAGE, Reply, Span, pages};
use crate::case::case;
use crate::origin;
use crate::test::{Checked, Test, answer, fail};

/// Direct I/O to a file whose buffer is a mapping of that file, from page `buffer` of the
/// mapping to or from page `at` of the file.
fn self_buffer(
    t: &mut Test<'_>,
    direction: Direction,
    at: u64,
    buffer: u64,
    after: &str,
) -> Checked {
    let data = t.file("data", "abcdefgh")?;
    let map = t.map(data)?;
    let op = t.begin(Action::DirectIo {
        file: data.id,
        span: pages(at, 4),
        map,
        buffer: buffer * PAGE,
        direction,
    })?;
    let done = t.finished(&op)?;
    // Else it returns because it gave up.
    if done.result != Ok(Reply::Count(4 * PAGE)) {
        return fail("all 4 pages are transferred", &answer(&done.result), "");
    }
    // What overlapping ranges leave is open; what lies outside of both is not.
    let first = at.min(buffer);
    let last = at.max(buffer) + 4;
    if at == buffer || at.abs_diff(buffer) >= 4 {
        t.reads(data, after)?;
    } else {
        t.reads_part(data, Span { at: 0, len: first * PAGE })?;
        t.reads_part(data, Span { at: last * PAGE, len: (8 - last) * PAGE })?;
    }
    // No lock was left behind.
    t.run(Action::Truncate { file: data.id, size: 0 })?;
    t.reads(data, "")
}

macro_rules! self_buffer {
    ($($function:ident: $name:literal, $direction:ident, $at:literal, $buffer:literal, $after:literal, $about:literal;)+) => {
        $(
            case! {
                #[doc = $about]
                $function: $name,
                groups: ["quick"], needs: [], limit: 180, origin: origin::FLUSH_DMA,
            }
            fn $function(t: &mut Test<'_>) -> Checked {
                self_buffer(t, Direction::$direction, $at, $buffer, $after)
            }
        )+
    };
}

self_buffer! {
    write_same: "deadlock/dio-self-buffer-write-same", FromMemory, 2, 2, "abcdefgh",
        " A direct write to a file from the very range of its own mapping returns.";
    write_overlap: "deadlock/dio-self-buffer-write-overlap", FromMemory, 2, 3, "",
        " A direct write to a file from an overlapping range of its own mapping returns.";
    write_distinct: "deadlock/dio-self-buffer-write-distinct", FromMemory, 4, 0, "abcdabcd",
        " A direct write to a file from another range of its own mapping returns, and copies.";
    read_same: "deadlock/dio-self-buffer-read-same", IntoMemory, 2, 2, "abcdefgh",
        " A direct read of a file into the very range of its own mapping returns.";
    read_overlap: "deadlock/dio-self-buffer-read-overlap", IntoMemory, 2, 3, "",
        " A direct read of a file into an overlapping range of its own mapping returns.";
    read_distinct: "deadlock/dio-self-buffer-read-distinct", IntoMemory, 4, 0, "efghefgh",
        " A direct read of a file into another range of its own mapping returns, and copies.";
}
