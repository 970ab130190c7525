//! The end of an inode, of the file with its last link or in memory only, and what was pinned before.

use crate::action::{Action, Medium, Sharing, page};
use crate::case::case;
use crate::origin;
use crate::pinned::PinnedFile;
use crate::space::Taker;
use crate::system::{Kinship, MAIN, Signal};
use crate::test::{Checked, File, Op, Test, fail};

case! {
    /// A file whose last link goes while a page of it is pinned keeps its blocks until the pin
    /// is gone: a file made next does not get them.
    unlinked_keeps_blocks: "evict/unlinked-keeps-blocks",
    groups: ["quick"], needs: [], limit: 240, origin: origin::EVICT,
}
fn unlinked_keeps_blocks(t: &mut Test<'_>) -> Checked {
    t.until("was the block given away once its pin was gone", |t| {
        let PinnedFile { data, other, block, map, pin } = PinnedFile::new(t)?;
        t.run(Action::Unmap { map })?;
        t.run(Action::Unlink { file: data.id })?;
        let close = t.begin(Action::Close { file: data.id })?;
        // Whether close itself waits is open; that the block is kept is not.
        t.settled(&close)?;
        let (taker, given) = Taker::new(t, other, block)?;
        t.release(pin)?;
        t.finished(&close)?;
        given.kept("the end of the inode, which frees its blocks")?;
        t.transferred(pin, "a")?;
        taker.has_it_now(t)
    })
}

case! {
    /// An inode that leaves memory with its last user, for somebody changed whether it uses DAX, takes no
    /// pin out of sight: a truncate of the file, opened again, waits as before.
    flipped_keeps_blocks: "evict/flipped-keeps-blocks",
    groups: ["quick"], needs: [WithoutDax], limit: 240, origin: origin::DONT_CACHE,
}
fn flipped_keeps_blocks(t: &mut Test<'_>) -> Checked {
    t.until("was the block given away once its pin was gone", |t| {
        let PinnedFile { data, other, block, map, pin } = PinnedFile::new(t)?;
        t.run(Action::FlipDax { file: data.id })?;
        t.run(Action::Unmap { map })?;
        let close = t.begin(Action::Close { file: data.id })?;
        // Whether the inode itself waits is open; if it does not, the truncate must.
        let early =
            if t.settled(&close)? { Some(reopen_and_truncate(t, data, &close)?) } else { None };
        if let Some(truncate) = &early {
            t.settled(truncate)?;
        }
        let (taker, given) = Taker::new(t, other, block)?;
        t.release(pin)?;
        let truncate = match early {
            Some(truncate) => truncate,
            None => reopen_and_truncate(t, data, &close)?,
        };
        t.finished(&truncate)?;
        given.kept("the truncate, which frees its blocks")?;
        t.transferred(pin, "a")?;
        taker.has_it_now(t)
    })
}

/// Without a word: when it happens is open.
fn reopen_and_truncate(t: &mut Test<'_>, data: File, close: &Op) -> Checked<Op> {
    t.succeeded(close)?;
    if let Err(errno) = t.quietly(MAIN, Action::Reopen { file: data.id })? {
        return fail("data can be opened again", &errno.to_string(), "");
    }
    t.begin(Action::Truncate { file: data.id, size: 0 })
}

case! {
    /// A file goes with its last link and its last descriptor while a page of it is pinned, which another file
    /// has as well and has mapped. Whoever closes it waits for the pin at most: nobody is to unmap the other.
    shared_elsewhere: "evict/shared-mapped-elsewhere",
    groups: ["quick"], needs: [Reflink], limit: 240, origin: origin::EVICT,
}
fn shared_elsewhere(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "a")?;
    let copy = t.file("copy", ".")?;
    t.run(Action::Clone { from: data.id, span: page(0), to: copy.id, at: 0 })?;
    // It can be killed, which ends its mapping, if all else hangs.
    let other = t.fork()?;
    t.run_as(other, Action::Close { file: data.id })?;
    let theirs = t.map_as(other, copy, Sharing::Shared)?;
    t.run_as(other, Action::Touch { map: theirs, span: page(0) })?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(0))?;
    t.run(Action::Unmap { map })?;
    t.run(Action::Unlink { file: data.id })?;
    let close = t.begin(Action::Close { file: data.id })?;
    t.settled(&close)?;
    t.is_open(&close);
    t.release(pin)?;
    if !t.settled(&close)? {
        let look = t.describe();
        return fail("close returns once the pin is released", "it sleeps on", &look);
    }
    t.succeeded(&close)?;
    t.transferred(pin, "a")?;
    t.reads(copy, "a")
}

case! {
    /// A file is to leave memory with its last user, for somebody changed whether it uses DAX, and a page of
    /// it is pinned. Whoever opens it then may have to wait, but can be killed.
    opened: "evict/opened-when-flipped",
    groups: [], needs: [WithoutDax], limit: 240, origin: origin::DONT_CACHE,
}
fn opened(t: &mut Test<'_>) -> Checked {
    let PinnedFile { data, map, pin, .. } = PinnedFile::new(t)?;
    let other = t.fork()?;
    t.run_as(other, Action::Unmap { map })?;
    t.run_as(other, Action::Close { file: data.id })?;
    t.run(Action::FlipDax { file: data.id })?;
    t.run(Action::Unmap { map })?;
    let close = t.begin(Action::Close { file: data.id })?;
    t.settled(&close)?;
    t.is_open(&close);
    let open = t.begin_as(other, Action::Reopen { file: data.id })?;
    t.settled(&open)?;
    t.is_open(&open);
    t.signal(other, Signal::Kill)?;
    t.say("the process is gone");
    t.release(pin)?;
    t.succeeded(&close)?;
    t.transferred(pin, "a")
}

case! {
    /// A process that keeps a pin to itself, and drops the last reference to the file first,
    /// can still end.
    selfish_exit: "evict/own-pin-at-exit",
    groups: [], needs: [], limit: 240, origin: origin::EVICT,
}
fn selfish_exit(t: &mut Test<'_>) -> Checked {
    let other = t.spawn(MAIN, Kinship::Process)?;
    let file = t.new_file_id();
    t.run_as(
        other,
        Action::Create {
            file,
            name: "data".to_owned(),
            medium: Medium::Dax,
            fill: b"abcd".to_vec(),
        },
    )?;
    let data = File { id: file, pages: 4 };
    let map = t.map_as(other, data, Sharing::Shared)?;
    t.keep_pin(other, map, page(2))?;
    t.run_as(other, Action::Unmap { map })?;
    t.run_as(other, Action::Unlink { file })?;
    let close = t.begin_as(other, Action::Close { file })?;
    t.settled(&close)?;
    t.signal(other, Signal::Kill)?;
    t.say("the process is gone");
    Ok(())
}
