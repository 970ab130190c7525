//! What lies right behind what is written belongs to somebody else.
//!
//! The oracle *bystanders* has a file there in every case ([`crate::oracle`]). These are about nothing
//! else: they write up to it.

use crate::action::{Action, Mode, PAGE, Span, page, pages};
use crate::case::case;
use crate::origin;
use crate::space::in_a_row;
use crate::test::{Checked, Test, fail};

case! {
    /// A write to the last page of a file, whole or in part, leaves alone what lies behind that.
    write: "beside/write",
    groups: ["quick"], needs: [], limit: 120, origin: origin::BESIDE,
}
fn write(t: &mut Test<'_>) -> Checked {
    t.until("did the blocks of one file begin where those of another end", write_once)
}
fn write_once(t: &mut Test<'_>) -> Checked<bool> {
    // With bystanders behind the first ones only, the last are neighbours wherever room is given
    // out in order; and a file system may give it out from either side.
    let mut files = Vec::new();
    for name in ["one", "two", "three", "four", "five", "six"] {
        files.push(t.file(name, "abcd")?);
    }
    for file in &files {
        t.run(Action::Write { file: file.id, span: page(3), byte: b'w' })?;
        let half = Span { at: 3 * PAGE + PAGE / 2, len: PAGE / 2 };
        t.run(Action::Write { file: file.id, span: half, byte: b'x' })?;
    }
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for file in files {
        t.reads(file, "abc[wwwwxxxx]")?;
        let blocks = t.blocks(file)?;
        begins.push(blocks[0]);
        ends.push(blocks[3] + 1);
    }
    Ok(ends.iter().any(|end| begins.contains(end)))
}

case! {
    /// Files that are written to where they have no blocks get blocks of their own, and no more of
    /// others'.
    hole_write: "beside/hole-write",
    groups: ["quick"], needs: [], limit: 120, origin: origin::BESIDE,
}
fn hole_write(t: &mut Test<'_>) -> Checked {
    let (one, two) = (t.file("one", "....")?, t.file("two", "....")?);
    for (file, byte) in [(one, b'o'), (two, b't')] {
        t.run(Action::Write { file: file.id, span: pages(0, 2), byte })?;
    }
    t.reads(one, "oo..")?;
    t.reads(two, "tt..")?;
    // What a file has behind its end counts as well: it shows as soon as the file is longer.
    for (file, other, name) in [(one, two, "one"), (two, one, "two")] {
        for block in t.blocks(other)?.into_iter().filter(|block| *block != 0) {
            let found = t.ask(Action::FindBlock { file: file.id, block })?;
            if found != 0 {
                let seen = format!("page {} of {name} lies in block {block}", found - 1);
                return fail("no block is in both files", &seen, "");
            }
        }
    }
    Ok(())
}

/// Pages of a file that is copied as a whole: as many as an oracle looks at.
const MANY: u64 = 64;

case! {
    /// A write to many pages that two files share goes to new blocks of these, and leaves alone what
    /// lies behind, whatever the device below is made of.
    cow_write: "beside/cow-write",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::COW,
}
fn cow_write(t: &mut Test<'_>) -> Checked {
    t.until("did the new blocks lie before those of near", cow_write_once)
}
fn cow_write_once(t: &mut Test<'_>) -> Checked<bool> {
    let filled = |byte: &str| byte.repeat(MANY as usize);
    let data = t.file("data", &filled("d"))?;
    // Where the new blocks find room, and what is behind them then.
    let gap = t.file("gap", &filled("g"))?;
    let near = t.file("near", &filled("n"))?;
    let copy = t.file("copy", ".")?;
    let all = pages(0, MANY);
    t.run(Action::Clone { from: data.id, span: all, to: copy.id, at: 0 })?;
    t.run(Action::Fallocate { file: gap.id, mode: Mode::Punch, span: all })?;
    t.run(Action::Fsync { file: gap.id, data_only: false })?;
    t.run(Action::Write { file: data.id, span: all, byte: b'w' })?;
    t.reads(data, &format!("w*{MANY}"))?;
    t.reads(copy, &format!("d*{MANY}"))?;
    t.reads(near, &format!("n*{MANY}"))?;
    let (new, there) = (t.blocks(data)?, t.blocks(near)?);
    let last = new[new.len() - 1];
    let is_close = there[0] > last && there[0] - last < MANY;
    Ok(is_close && in_a_row(&new))
}
