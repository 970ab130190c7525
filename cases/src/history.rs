//! Data that stock kernels lost on DAX files without a word, each in the smallest form.
//!
//! No pin is needed for any of these: the bug is in what is done to blocks that two files share,
//! or in what a new block shows. A fix that is public is the case's origin.

use crate::action::{Action, Mode, PAGE, Reply, SECTOR, Span, page, pages};
use crate::case::case;
use crate::origin;
use crate::space::in_a_row;
use crate::system::MAIN;
use crate::test::{Checked, File, Test, answer, fail};

/// Who goes along the device instead of along the file comes no further than its blocks do.
const IN_A_ROW: &str = "did the blocks of a file lie in a row";

/// Compares `span` of `one` with the same of `other`, which must be found to differ, and must both
/// be as they were.
fn differ(t: &mut Test<'_>, span: Span, one: (File, &str), other: (File, &str)) -> Checked {
    let (from, to) = (one.0.id, other.0.id);
    let shared = t.quietly(MAIN, Action::Dedupe { from, span, to, at: span.at })?;
    // What it destroys says more than what it answers.
    t.reads(one.0, one.1)?;
    t.reads(other.0, other.1)?;
    if shared != Ok(Reply::Count(0)) {
        let what = format!("dedupe says that {span} of the two differ");
        return fail(&what, &answer(&shared), "which of the pages it compared");
    }
    t.say(&format!("dedupe says that {span} of the two differ"));
    Ok(())
}

case! {
    /// Dedupe of two pages of which the first are equal and the second are not leaves both files
    /// alone, also where the source's pages are two extents in the reverse order.
    two_extents: "history/dedupe-two-extents-differ",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::DEDUPE_TWO,
}
fn two_extents(t: &mut Test<'_>) -> Checked {
    // The page behind the first of the source's is "a" as well: who compares along the device
    // instead of along the file sees no difference.
    let donor = t.file("donor", "baa")?;
    let source = t.file("source", "..")?;
    for at in 0..2 {
        let (from, to) = (donor.id, source.id);
        t.run(Action::Clone { from, span: page(at), to, at: (1 - at) * PAGE })?;
    }
    let target = t.file("target", "aa")?;
    differ(t, pages(0, 2), (source, "ab"), (target, "aa"))
}

case! {
    /// Dedupe of eight pages that differ in the last leaves both files alone, whatever the device
    /// below is made of.
    eight_pages: "history/dedupe-eight-pages-differ",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::DEDUPE,
}
fn eight_pages(t: &mut Test<'_>) -> Checked {
    // Equal pages follow: who runs past the end of the eight sees no difference there.
    let [source, target] = ["abcdefghijklmnop", "abcdefgxijklmnop"];
    t.until(IN_A_ROW, |t| {
        let one = t.file("source", source)?;
        let other = t.file("target", target)?;
        let lie_in_a_row = in_a_row(&t.blocks(one)?) && in_a_row(&t.blocks(other)?);
        differ(t, pages(0, 8), (one, source), (other, target))?;
        Ok(lie_in_a_row)
    })
}

/// Two files that share both of their pages.
fn share(t: &mut Test<'_>) -> Checked<[File; 2]> {
    let one = t.file("one", "ab")?;
    let other = t.file("other", "..")?;
    t.run(Action::Clone { from: one.id, span: pages(0, 2), to: other.id, at: 0 })?;
    Ok([one, other])
}

case! {
    /// A truncate to the middle of a page that two files share zeroes what is behind it: when the
    /// file grows again it reads zeros there, and the other file has what it had.
    truncate_shared: "history/truncate-part-of-shared-page",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::ZERO_SHARED,
}
fn truncate_shared(t: &mut Test<'_>) -> Checked {
    let [one, other] = share(t)?;
    t.run(Action::Truncate { file: one.id, size: PAGE + SECTOR })?;
    t.run(Action::Truncate { file: one.id, size: 2 * PAGE })?;
    t.reads(one, "a[b.......]")?;
    t.reads(other, "ab")
}

case! {
    /// A punch of part of a page that two files share zeroes that part, and the other file has
    /// what it had.
    punch_shared: "history/punch-part-of-shared-page",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::ZERO_SHARED,
}
fn punch_shared(t: &mut Test<'_>) -> Checked {
    let [one, other] = share(t)?;
    let span = Span { at: PAGE + 2 * SECTOR, len: SECTOR };
    t.run(Action::Fallocate { file: one.id, mode: Mode::Punch, span })?;
    t.reads(one, "a[bb.bbbbb]")?;
    t.reads(other, "ab")
}

/// Files whose blocks are freed, so that free space holds what was in them. Each is about as long as
/// what a file system prepares at once for copy-on-write, so that it takes the same gaps.
const FREED: [&str; 4] = ["freed-1", "freed-2", "freed-3", "freed-4"];

case! {
    /// Part of a page is written, or stored through a mapping, where a file that shares another
    /// page has a hole: around it the page reads as zeros, and not as what its block held before.
    beside_holes: "history/part-of-hole-beside-shared-page",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::COW_EDGES,
}
fn beside_holes(t: &mut Test<'_>) -> Checked {
    t.until("did the file system give blocks again that held \"z\"", |t| {
        let (mut freed, mut before) = (Vec::new(), Vec::new());
        for name in FREED {
            let file = t.file(name, &"z".repeat(40))?;
            before.extend(t.blocks(file)?);
            freed.push(file);
        }
        for file in freed {
            t.run(Action::Truncate { file: file.id, size: 0 })?;
            t.run(Action::Fsync { file: file.id, data_only: false })?;
        }
        let data = t.file("data", &format!("a{}", ".".repeat(31)))?;
        let other = t.file("other", ".")?;
        t.run(Action::Clone { from: data.id, span: page(0), to: other.id, at: 0 })?;
        let map = t.map(data)?;
        // Makes the file system prepare blocks for copy-on-write, of the holes beside it too.
        t.run(Action::Write { file: data.id, span: page(0), byte: b'b' })?;
        let part = |index| Span { at: index * PAGE + SECTOR, len: SECTOR };
        t.run(Action::Write { file: data.id, span: part(5), byte: b'x' })?;
        t.run(Action::Store { map, span: part(7), byte: b'y' })?;
        t.reads(other, "a")?;
        t.reads(data, "b....[.x......].[.y......].*24")?;
        let now = t.blocks(data)?;
        Ok([5, 7].iter().any(|index| before.contains(&now[*index])))
    })
}

case! {
    /// Pages that two files share are given blocks of the file's own with what they held, each of
    /// them, whatever the device below is made of.
    unshare_many: "history/unshare-eight-pages",
    groups: ["quick"], needs: [Reflink], limit: 120, origin: origin::UNSHARE,
}
fn unshare_many(t: &mut Test<'_>) -> Checked {
    let held = "abcdefgh";
    t.until(IN_A_ROW, |t| {
        let data = t.file("data", held)?;
        let copy = t.file("copy", ".")?;
        let all = pages(0, 8);
        t.run(Action::Clone { from: data.id, span: all, to: copy.id, at: 0 })?;
        let before = in_a_row(&t.blocks(data)?);
        t.run(Action::Fallocate { file: data.id, mode: Mode::Unshare, span: all })?;
        t.reads(data, held)?;
        t.reads(copy, held)?;
        Ok(before && in_a_row(&t.blocks(data)?))
    })
}
