//! What a mapping shows: the file, whatever was there when it was first looked at.

use crate::action::{Action, Mode, page, pages};
use crate::case::case;
use crate::origin;
use crate::test::{Checked, Test};

case! {
    /// What write(2) puts where a mapping has read zeros shows in that mapping, in each of two
    /// pages of blocks that were never written.
    write_shows: "mapping/write-to-unwritten-shows",
    groups: ["quick"], needs: [], limit: 120, origin: origin::INVALIDATE,
}
fn write_shows(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Punch, span: pages(1, 3) })?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Zero, span: pages(2, 2) })?;
    t.loads(map, pages(1, 3), "...")?;
    t.run(Action::Write { file: data.id, span: page(2), byte: b'x' })?;
    t.loads(map, pages(1, 3), ".x.")?;
    t.run(Action::Write { file: data.id, span: page(3), byte: b'y' })?;
    t.reads(data, "a.xy")?;
    t.loads(map, pages(1, 3), ".xy")
}
