//! Files that are made immutable while they are mapped.
//!
//! Whether that ends the stores through a mapping is the file system's to say. It says so for files in the page
//! cache, and DAX files are no others.

use nix::libc;

use crate::action::{Action, MapId, Medium, Reply, Whole, page};
use crate::case::case;
use crate::lifecycle::checked;
use crate::origin;
use crate::system::{Errno, MAIN};
use crate::test::{Checked, Ending, File, Stop, Test, answer, fail};

/// Makes a file immutable whose page 0 was stored to through `map`, stores to it again, and lets it be changed
/// again. What became of the store.
fn stored_to_immutable(t: &mut Test<'_>, file: File, map: MapId) -> Checked<Result<Reply, Errno>> {
    t.run(Action::Store { map, span: page(0), byte: b'x' })?;
    t.run(Action::Immutable { file: file.id, on: true })?;
    let store = Action::Store { map, span: page(0), byte: b'y' };
    let words = t.names.say(&store);
    t.say(&words);
    let stored = t.quietly(MAIN, store)?;
    t.run(Action::Immutable { file: file.id, on: false })?;
    Ok(stored)
}

case! {
    /// A file is made immutable while it is mapped. If a store through the mapping fails then where the file is
    /// in the page cache, it fails where that is a DAX file.
    store: "lifecycle/store-to-immutable",
    groups: ["quick"], needs: [Spare, PageCache, Immutable], limit: 240, origin: origin::IMMUTABLE,
}
fn store(t: &mut Test<'_>) -> Checked {
    let cached = t.file_on(Medium::PageCache, "cached", "a")?;
    let map = t.map(cached)?;
    if stored_to_immutable(t, cached, map)? != Err(Errno(libc::EFAULT)) {
        let why = "this file system lets immutable files be stored to";
        return Err(Stop(Ending::NotRun(why.to_owned())));
    }
    t.say("it failed: EFAULT");
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", "a")?;
    let map = t.map(data)?;
    let stored = stored_to_immutable(t, data, map)?;
    if stored != Err(Errno(libc::EFAULT)) {
        return fail("the store to data, which is immutable: EFAULT", &answer(&stored), "");
    }
    t.say("it failed: EFAULT");
    t.run(Action::Unmap { map })?;
    t.reads(data, "x")?;
    checked(t, &[data])
}
