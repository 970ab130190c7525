//! Huge mappings, where more than one is at stake. What holds for a page inside a single one is a
//! place of the cells.

use crate::action::{Action, Mode, Reply, Span, page};
use crate::case::{case, origin};
use crate::test::{Checked, Test};

/// Bytes of a huge page.
const HUGE: u64 = 2 << 20;

case! {
    /// A page of each of two huge mappings is pinned: punching both waits for the second when the
    /// first has gone.
    two_mappings_punch: "huge/two-mappings-punch",
    groups: ["quick"], needs: [Huge], limit: 180, origin: origin::PMD,
}
fn two_mappings_punch(t: &mut Test<'_>) -> Checked {
    t.until("was the file mapped by huge pages", |t| {
        let span = Span { at: 0, len: 2 * HUGE };
        let data = t.huge_file("data", span.len, b'g')?;
        let map = t.map(data)?;
        let filled = t.run(Action::Store { map, span, byte: b'h' })?;
        t.note("filling it took", &filled);
        if filled != Reply::Count(2) {
            return Ok(false);
        }
        let first = t.pin(map, page(511))?;
        let second = t.pin(map, page(513))?;
        let op = t.begin(Action::Fallocate { file: data.id, mode: Mode::Punch, span })?;
        t.blocked(&op)?;
        t.release(first)?;
        t.blocked(&op)?;
        t.ends_with(&op, second)?;
        t.transferred(second, "h")?;
        t.reads(data, ".*1024")?;
        Ok(true)
    })
}
