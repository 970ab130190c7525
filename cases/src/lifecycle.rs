//! What becomes of pins and of breaks that wait for them when something happens to the whole file
//! system, or to the memory that it is on.
//!
//! Each case makes a file system of its own. A pinned page is in use whatever happens: its block is
//! given to nobody, who waits for it waits until it is let go, and no longer.

use nix::libc;

use crate::action::{Action, MapId, Mode, PAGE, Reply, Sharing, Span, TaskId, Whole, page, pages};
use crate::case::case;
use crate::directed::STOOD;
use crate::huge::MAPPED;
use crate::origin;
use crate::pinned::PinnedFile;
use crate::space::Given;
use crate::system::{HoldPoint, Kinship, MAIN, Signal};
use crate::test::{Checked, Ending, File, Op, Stop, Test, answer, check_result, fail};

/// A file with a pinned page, on a new file system.
fn pinned(t: &mut Test<'_>) -> Checked<PinnedFile> {
    t.run(Action::Whole(Whole::Make))?;
    PinnedFile::on_spare(t)
}

impl PinnedFile {
    /// What is done `meanwhile`, while a truncate waits for the pin, does not end its wait, nor has
    /// the block given away; the release of the pin does.
    fn under_break(
        &self,
        t: &mut Test<'_>,
        look: &str,
        meanwhile: impl FnOnce(&mut Test<'_>) -> Checked,
    ) -> Checked {
        let truncate = self.breaking(t)?;
        meanwhile(t)?;
        t.blocked(&truncate)?;
        self.kept(t, look)?;
        t.ends_with(&truncate, self.pin)
    }

    /// After the truncate: the holder had the page to the end.
    fn over(&self, t: &mut Test<'_>) -> Checked {
        t.transferred(self.pin, "c")?;
        self.emptied(t)
    }

    /// Nothing of this process is left that uses the file but the pin.
    fn let_go(&self, t: &mut Test<'_>) -> Checked {
        t.run(Action::Unmap { map: self.map })?;
        for file in [self.data, self.other] {
            t.run(Action::Close { file: file.id })?;
        }
        Ok(())
    }

    /// The block of the pinned page was given to nobody.
    fn kept(&self, t: &mut Test<'_>, look: &str) -> Checked {
        // ext4 counts what it has freed as free once that is committed.
        t.quietly(MAIN, Action::Fsync { file: self.other.id, data_only: false })?.ok();
        let free = t.ask(Action::IsFree { file: self.other.id, block: self.block })? == 1;
        let given = if free { Given::Free } else { Given::Hidden };
        given.kept(look)
    }

    /// Both files are as they were, and so is the file system.
    fn intact(&self, t: &mut Test<'_>) -> Checked {
        t.reads(self.data, "abcd")?;
        t.reads(self.other, "o")?;
        self.consistent(t)
    }

    /// The file is empty, the other as it was, and the file system consistent.
    fn emptied(&self, t: &mut Test<'_>) -> Checked {
        t.reads(self.data, "")?;
        t.reads(self.other, "o")?;
        self.consistent(t)
    }

    /// What checks the file system finds nothing, once it is unmounted.
    fn consistent(&self, t: &mut Test<'_>) -> Checked {
        t.run(Action::Unmap { map: self.map })?;
        checked(t, &[self.data, self.other])
    }
}

/// These are all that is open, and what checks the file system finds nothing.
pub(crate) fn checked(t: &mut Test<'_>, files: &[File]) -> Checked {
    for file in files {
        t.run(Action::Close { file: file.id })?;
    }
    t.run(Action::Whole(Whole::Unmount))?;
    t.run(Action::Whole(Whole::Check))?;
    Ok(())
}

case! {
    /// A file system is unmounted while a page is pinned that nobody has mapped or open any more.
    /// If that does not wait for the pin, a truncate of the file must, once it is mounted again:
    /// else whoever gets the block finds in it what DMA writes there.
    unmount_pinned: "lifecycle/unmount-pinned",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::EVICT,
}
fn unmount_pinned(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    it.let_go(t)?;
    unmounted(t, &it)?;
    let map = t.map(it.other)?;
    PinnedFile { map, ..it }.emptied(t)
}

/// The file system is unmounted, mounted and the file truncated, which together wait for the pin.
fn unmounted(t: &mut Test<'_>, it: &PinnedFile) -> Checked {
    let unmount = t.begin(Action::Whole(Whole::Unmount))?;
    let early = t.settled(&unmount)?;
    t.is_open(&unmount);
    let truncate = if early {
        t.succeeded(&unmount)?;
        let truncate = mount_and_truncate(t, it)?;
        t.settled(&truncate)?;
        it.kept(t, "the unmount, which has the inode leave memory, and with it what was pinned")?;
        Some(truncate)
    } else {
        None
    };
    t.release(it.pin)?;
    let truncate = if let Some(truncate) = truncate {
        truncate
    } else {
        t.succeeded(&unmount)?;
        mount_and_truncate(t, it)?
    };
    t.finished(&truncate)?;
    t.transferred(it.pin, "c")
}

/// Mounts it again and truncates the file; without a word, for when it happens is open.
fn mount_and_truncate(t: &mut Test<'_>, it: &PinnedFile) -> Checked<Op> {
    let reopen = |file: File| Action::Reopen { file: file.id };
    for action in [Action::Whole(Whole::Mount), reopen(it.data), reopen(it.other)] {
        let words = t.names.say(&action);
        if let Err(errno) = t.quietly(MAIN, action)? {
            return fail(&format!("{words}: success"), &errno.to_string(), "");
        }
    }
    it.truncate(t)
}

case! {
    /// A freeze waits for a break that waits for a pin, for that will change the file system; and
    /// both end with the pin.
    freeze_waits: "lifecycle/freeze-waits-for-break",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::FREEZE,
}
fn freeze_waits(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    let truncate = it.breaking(t)?;
    let freeze = t.begin(Action::Whole(Whole::Freeze))?;
    t.blocked(&freeze)?;
    t.ends_with(&truncate, it.pin)?;
    t.finished(&freeze)?;
    t.run(Action::Whole(Whole::Thaw))?;
    t.transferred(it.pin, "c")?;
    it.emptied(t)
}

case! {
    /// A file system with a pinned page can be frozen, and what is pinned stays so: a truncate waits
    /// for the thaw first, and then for the pin.
    frozen_pinned: "lifecycle/truncate-of-frozen",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::FREEZE,
}
fn frozen_pinned(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    t.run(Action::Whole(Whole::Freeze))?;
    let look = "what became of the pin while the file system was frozen";
    it.under_break(t, look, |t| t.run(Action::Whole(Whole::Thaw)).map(drop))?;
    it.over(t)
}

case! {
    /// A file system is shut down while a break waits for a pin. That must not succeed before the
    /// pin is gone, and must have ended then; the file system can be unmounted, and mounted again it
    /// has what it had.
    shutdown: "lifecycle/shutdown-under-break",
    groups: ["quick"], needs: [Spare, ShutDown], limit: 240, origin: origin::SHUTDOWN,
}
fn shutdown(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    let truncate = it.breaking(t)?;
    t.run(Action::Whole(Whole::ShutDown))?;
    if t.settled(&truncate)? && t.returned(&truncate)?.result.is_ok() {
        return fail(
            "the truncate waits for the pin, or fails",
            "it succeeded while the page was pinned",
            "who ends the wait of a file system that is shut down",
        );
    }
    t.release(it.pin)?;
    // Whether it notices is open; that it ends is not.
    t.returned(&truncate)?;
    t.say("the truncate has ended");
    t.transferred(it.pin, "c")?;
    it.let_go(t)?;
    mounted_again(t, [it.data, it.other])?;
    let map = t.map(it.data)?;
    PinnedFile { map, ..it }.intact(t)
}

case! {
    /// A file system that was shut down is not unmounted while a page of it is mapped, and then not
    /// before its last pin is gone; or it is, and the pin is still respected when it is mounted again.
    shutdown_pinned: "lifecycle/unmount-of-shut-down",
    groups: [], needs: [Spare, ShutDown], limit: 240, origin: origin::SHUTDOWN,
}
fn shutdown_pinned(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    t.run(Action::Whole(Whole::ShutDown))?;
    for file in [it.data, it.other] {
        t.run(Action::Close { file: file.id })?;
    }
    t.refused_as(MAIN, Action::Whole(Whole::Unmount), libc::EBUSY)?;
    t.run(Action::Unmap { map: it.map })?;
    unmounted(t, &it)?;
    let map = t.map(it.other)?;
    PinnedFile { map, ..it }.emptied(t)
}

case! {
    /// The memory of a pinned page fails while a break waits for the pin. Who maps the page is told;
    /// the break waits on, and ends with the pin.
    poison: "lifecycle/poison-under-break",
    groups: ["quick"], needs: [Spare, Poison], limit: 240, origin: origin::MEMORY_FAILURE,
}
fn poison(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    let other = t.fork()?;
    let map = t.map_as(other, it.data, Sharing::Shared)?;
    let look = "who ends the wait for a page whose memory has failed";
    let poison = Action::Poison { map, span: page(2) };
    it.under_break(t, look, |t| t.run_as(other, poison).map(drop))?;
    t.transferred(it.pin, "c")?;
    t.say("the other process ends");
    t.signal(other, Signal::Kill)?;
    it.emptied(t)
}

case! {
    /// The memory of a pinned page fails, and is then to be taken out of use. A truncate that begins
    /// afterwards waits for the pin as before.
    poisoned: "lifecycle/truncate-of-poisoned",
    groups: ["quick"], needs: [Spare, Poison], limit: 240, origin: origin::MEMORY_FAILURE,
}
fn poisoned(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    let map = it.map;
    // It cannot be moved: the page is the block.
    t.refused_as(MAIN, Action::SoftOffline { map, span: page(2) }, libc::EIO)?;
    t.loads(map, pages(0, 4), "abcd")?;
    t.run(Action::Poison { map, span: page(2) })?;
    let truncate = it.breaking(t)?;
    it.kept(t, "what has a break take a page whose memory has failed for idle")?;
    t.ends_with(&truncate, it.pin)?;
    it.over(t)
}

case! {
    /// The memory of a page fails that two files share, of which one is on its way out: it was unlinked
    /// and closed while the page was pinned. Who maps the other is told, and that is all: the file
    /// system goes on.
    poison_shared: "lifecycle/poison-shared-with-unlinked",
    groups: ["quick"], needs: [Spare, Poison, Reflink], limit: 240, origin: origin::MEMORY_FAILURE,
}
fn poison_shared(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", "abcd")?;
    let copy = t.file_on_spare("copy", "....")?;
    t.run(Action::Clone { from: data.id, span: pages(0, 4), to: copy.id, at: 0 })?;
    let map = t.map(data)?;
    t.run(Action::Touch { map, span: page(2) })?;
    let other = t.fork()?;
    let theirs = t.map_as(other, copy, Sharing::Shared)?;
    t.run_as(other, Action::Touch { map: theirs, span: page(2) })?;
    // It has the first file open, too, since the fork.
    t.run_as(other, Action::Unmap { map })?;
    t.run_as(other, Action::Close { file: data.id })?;
    let pin = t.pin(map, page(2))?;
    t.run(Action::Unmap { map })?;
    t.run(Action::Unlink { file: data.id })?;
    let close = t.begin(Action::Close { file: data.id })?;
    // Whether close itself waits is open.
    t.settled(&close)?;
    t.is_open(&close);
    t.run_as(other, Action::Poison { map: theirs, span: page(2) })?;
    let later = t.file_on_spare("later", "l")?;
    t.reads(copy, "abcd")?;
    t.signal(other, Signal::Kill)?;
    t.release(pin)?;
    t.finished(&close)?;
    t.transferred(pin, "c")?;
    checked(t, &[copy, later])
}

case! {
    /// A file system grows, and its files are scrubbed, while a page is pinned; it grows while a
    /// break waits for the pin. Nothing is found corrupt, and the break ends with the pin.
    grow: "lifecycle/grow-under-break",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::GROW,
}
fn grow(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    let look = "the growth of the file system";
    it.under_break(t, look, |t| t.progresses(Action::Whole(Whole::Grow)))?;
    it.over(t)
}

case! {
    /// Online scrub finds nothing corrupt in a file with a pinned page, nor in the space that it has
    /// while a break of it waits for the pin.
    scrub: "lifecycle/scrub-under-break",
    groups: ["quick"], needs: [Spare, Scrub], limit: 240, origin: origin::SCRUB,
}
fn scrub(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    sound(t, it.data)?;
    it.under_break(t, "online scrub", |t| sound(t, it.other))?;
    sound(t, it.data)?;
    it.over(t)
}

/// Scrub finds nothing corrupt in the file, or in what its file system knows of the space.
fn sound(t: &mut Test<'_>, file: File) -> Checked {
    let scrub = Action::Scrub { file: file.id };
    let words = t.names.say(&scrub);
    if t.ask(scrub)? != 0 {
        return fail(&format!("{words}: nothing is corrupt"), "it says that something is", "");
    }
    t.say(&format!("{words}: sound"));
    Ok(())
}

case! {
    /// The kernel drops its caches while a page is pinned that nobody has mapped or open any more.
    /// Whoever needs memory does not wait for a pin, and a truncate of the file, opened again, does.
    drop_caches: "lifecycle/drop-caches-pinned",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::EVICT,
}
fn drop_caches(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    // Entries of an inode keep it in memory, but for a single one of its first page.
    let data = t.file_on_spare("data", "a")?;
    let other = t.file_on_spare("other", "o")?;
    let block = t.blocks(data)?[0];
    let map = t.map(data)?;
    t.run(Action::Store { map, span: page(0), byte: b'a' })?;
    let pin = t.pin(map, page(0))?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    t.run(Action::Unmap { map })?;
    t.run(Action::Close { file: data.id })?;
    // Twice: an inode that was used a moment ago is spared once.
    for _ in 0..2 {
        t.progresses(Action::DropCaches)?;
    }
    t.run(Action::Reopen { file: data.id })?;
    let map = t.map(data)?;
    let it = PinnedFile { data, other, block, map, pin };
    let truncate = it.breaking(t)?;
    it.kept(t, "an inode that left memory, and with it what was pinned")?;
    t.ends_with(&truncate, pin)?;
    t.transferred(pin, "a")?;
    it.emptied(t)
}

case! {
    /// A file system does not become read-only while a break waits for a pin.
    remount: "lifecycle/remount-under-break",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::REMOUNT,
}
fn remount(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    let read_only = Action::Whole(Whole::ReadOnly);
    let look = "the remount, which is refused";
    it.under_break(t, look, |t| t.refused_as(MAIN, read_only, libc::EBUSY))?;
    it.over(t)
}

case! {
    /// The driver is taken from a device while a page of it is pinned. The memory does not go before
    /// the pin does: else whoever holds it has what is no page any more.
    unbind_pinned: "lifecycle/unbind-pinned",
    groups: ["dangerous"], needs: [Spare, Unbind], limit: 300, origin: origin::UNBIND,
}
fn unbind_pinned(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    t.run(Action::Unmap { map: it.map })?;
    let unbind = t.begin(Action::Whole(Whole::Unbind))?;
    if t.settled(&unbind)? {
        t.succeeded(&unbind)?;
        // What comes in place of the memory takes the release of the pin better than nothing does.
        t.quietly(MAIN, Action::Whole(Whole::Bind))?.ok();
        return fail(
            "the device keeps its memory until the last page is let go",
            "its driver was taken from it while a page was pinned",
            "memunmap_pages, and who it waits for",
        );
    }
    t.release(it.pin)?;
    t.finished(&unbind)?;
    t.transferred(it.pin, "c")?;
    for file in [it.data, it.other] {
        t.run(Action::Close { file: file.id })?;
    }
    t.run(Action::Whole(Whole::Unmount))?;
    t.run(Action::Whole(Whole::Bind))?;
    Ok(())
}

case! {
    /// The driver is taken from a device of which a page is mapped, and nobody has it pinned. Nobody
    /// is to have the memory mapped any more when it is gone, and the file system can be unmounted.
    unbind_mapped: "lifecycle/unbind-mapped",
    groups: ["dangerous"], needs: [Spare, Unbind], limit: 300, origin: origin::UNBIND,
}
fn unbind_mapped(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    t.release(it.pin)?;
    t.transferred(it.pin, "c")?;
    // Somebody else, for those who have it mapped may be killed.
    let other = t.fork()?;
    let map = t.map_as(other, it.data, Sharing::Shared)?;
    t.run_as(other, Action::Store { map, span: page(2), byte: b'd' })?;
    t.run(Action::Unmap { map: it.map })?;
    let unbind = t.begin(Action::Whole(Whole::Unbind))?;
    let early = t.settled(&unbind)?;
    t.is_open(&unbind);
    if early {
        t.succeeded(&unbind)?;
        let load = Action::Load { map, span: page(2) };
        if let Ok(reply) = t.quietly(other, load)? {
            t.quietly(MAIN, Action::Whole(Whole::Bind))?.ok();
            return fail(
                "nobody has memory mapped that the device does not have any more",
                &format!("a load of it shows {reply}"),
                "who unmaps what is mapped before memunmap_pages",
            );
        }
    }
    t.signal(other, Signal::Kill)?;
    t.succeeded(&unbind)?;
    t.say("unbind its device: done");
    for file in [it.data, it.other] {
        t.run(Action::Close { file: file.id })?;
    }
    t.run(Action::Whole(Whole::Unmount))?;
    t.run(Action::Whole(Whole::Bind))?;
    Ok(())
}

case! {
    /// A file with a pinned page is repaired online, which finds nothing to do. If that does not wait for
    /// the pin, it must not forget it: a truncate waits.
    repair: "lifecycle/repair-of-pinned",
    groups: ["quick"], needs: [Spare, Repair], limit: 240, origin: origin::SCRUB,
}
fn repair(t: &mut Test<'_>) -> Checked {
    let it = pinned(t)?;
    let repair = t.begin(Action::Repair { file: it.data.id })?;
    let early = t.settled(&repair)?;
    t.is_open(&repair);
    if early {
        t.succeeded(&repair)?;
        let truncate = it.truncate(t)?;
        t.settled(&truncate)?;
        it.kept(t, "the repair, which forgets what was mapped, and with it what is pinned")?;
        t.release(it.pin)?;
        t.finished(&truncate)?;
    } else {
        t.release(it.pin)?;
        t.succeeded(&repair)?;
        let truncate = it.truncate(t)?;
        t.finished(&truncate)?;
    }
    t.transferred(it.pin, "c")?;
    it.emptied(t)
}

case! {
    /// The memory of a page fails that one process has mapped by itself, of a file that another has mapped by
    /// huge pages and does not map any more. The first is told.
    poison_small: "lifecycle/poison-once-mapped-huge",
    groups: ["quick"], needs: [Spare, Huge, Poison], limit: 240, origin: origin::MEMORY_FAILURE,
}
fn poison_small(t: &mut Test<'_>) -> Checked {
    let all = pages(0, 512);
    t.until(MAPPED, |t| {
        t.run(Action::Whole(Whole::Make))?;
        let data = t.file_on_spare("data", "")?;
        t.run(Action::Fallocate { file: data.id, mode: Mode::Allocate, span: all })?;
        t.run(Action::Write { file: data.id, span: all, byte: b'h' })?;
        let other = t.fork()?;
        let theirs = t.map_span(other, data, page(100), Sharing::Shared)?;
        let map = t.map_span(MAIN, data, all, Sharing::Shared)?;
        let touched = t.run(Action::Touch { map, span: all })?;
        t.note("touching it took", &touched);
        t.run_as(other, Action::Touch { map: theirs, span: page(0) })?;
        t.run(Action::Unmap { map })?;
        let was_huge = touched == Reply::Count(1);
        if was_huge {
            let poison = Action::Poison { map: theirs, span: page(0) };
            if t.run_as(other, poison)? != Reply::Count(1) {
                return fail("who maps the page is told, by SIGBUS", "it is not", "collect_procs");
            }
        }
        t.say("the other process ends");
        t.signal(other, Signal::Kill)?;
        t.run(Action::Close { file: data.id })?;
        t.run(Action::Whole(Whole::Unmount))?;
        Ok(was_huge)
    })
}

/// Two files on a new file system that share all they hold.
pub(crate) fn sharing(t: &mut Test<'_>, fill: &str) -> Checked<[File; 2]> {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", fill)?;
    let copy = t.file_on_spare("copy", &".".repeat(fill.len()))?;
    let span = pages(0, fill.len() as u64);
    t.run(Action::Clone { from: data.id, span, to: copy.id, at: 0 })?;
    Ok([data, copy])
}

/// The memory of page 0 of a mapping fails: `task`, which has it mapped, is told, and ends.
fn is_told(t: &mut Test<'_>, task: TaskId, map: MapId) -> Checked {
    if t.run_as(task, Action::Poison { map, span: page(0) })? != Reply::Count(1) {
        return fail("who maps the page is told, by SIGBUS", "it is not", "memory_failure");
    }
    t.say("the process that was told ends");
    t.signal(task, Signal::Kill)
}

case! {
    /// The memory of a page fails that two files share, and have both mapped. Who maps it is told. Kernels
    /// that get it wrong stop in the middle of it, so this runs only if it is asked for.
    poison_both: "lifecycle/poison-mapped-by-two",
    groups: ["dangerous"], needs: [Spare, Poison, Reflink], limit: 240, origin: origin::MEMORY_FAILURE,
}
fn poison_both(t: &mut Test<'_>) -> Checked {
    let [data, copy] = sharing(t, "ab")?;
    let other = t.fork()?;
    let theirs = t.map_as(other, data, Sharing::Shared)?;
    t.run_as(other, Action::Touch { map: theirs, span: page(0) })?;
    let map = t.map(copy)?;
    t.run(Action::Touch { map, span: page(0) })?;
    is_told(t, other, theirs)?;
    t.run(Action::Unmap { map })?;
    goes_on(t, [(data, "ab"), (copy, "ab")])
}

case! {
    /// The memory of a page fails that is one file's own, since a store copied it from one that two files
    /// shared. Who maps it is told. Kernels that get it wrong stop in the middle of it, so this runs only if
    /// it is asked for.
    poison_copied: "lifecycle/poison-copied",
    groups: ["dangerous"], needs: [Spare, Poison, Reflink], limit: 240, origin: origin::MEMORY_FAILURE,
}
fn poison_copied(t: &mut Test<'_>) -> Checked {
    let [data, copy] = sharing(t, "ab")?;
    let other = t.fork()?;
    let theirs = t.map_as(other, data, Sharing::Shared)?;
    t.run_as(other, Action::Store { map: theirs, span: page(0), byte: b's' })?;
    is_told(t, other, theirs)?;
    goes_on(t, [(data, "sb"), (copy, "ab")])
}

/// A file can be made, these have what they had, and what checks the file system finds nothing.
pub(crate) fn goes_on<const N: usize>(t: &mut Test<'_>, files: [(File, &str); N]) -> Checked {
    let later = t.file_on_spare("later", "l")?;
    for (file, expected) in files {
        t.reads(file, expected)?;
    }
    let files = files.map(|(file, _)| file).into_iter().chain([later]);
    checked(t, &files.collect::<Vec<_>>())
}

case! {
    /// A write to a page that two files share prepares the blocks behind it for what may be written next.
    /// The memory of one of them fails, in which nothing is kept: the file system goes on.
    poison_prepared: "lifecycle/poison-prepared-block",
    groups: ["quick"], needs: [Spare, PoisonBlock, Reflink], limit: 240, origin: origin::MEMORY_FAILURE,
}
fn poison_prepared(t: &mut Test<'_>) -> Checked {
    let [data, copy] = sharing(t, "abcd")?;
    t.run(Action::Write { file: data.id, span: page(0), byte: b'w' })?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    let block = t.blocks(data)?[0] + 1;
    let free = t.ask(Action::IsFree { file: data.id, block })?;
    t.note("blocks behind it that are free", &free);
    for file in [data, copy] {
        if t.ask(Action::FindBlock { file: file.id, block })? != 0 {
            return Err(Stop(Ending::NotRun("not exercised: the block has data".to_owned())));
        }
    }
    let poison = Action::PoisonBlock { file: data.id, block };
    let words = t.names.say(&poison);
    t.say(&words);
    // What becomes of nothing is told to nobody.
    let failed = t.quietly(MAIN, poison)?;
    t.note("the failure", &answer(&failed));
    goes_on(t, [(data, "wbcd"), (copy, "abcd")])
}

case! {
    /// A file system is on a part of a device that device-mapper maps, and comes to be on another part, which
    /// holds the same. What is written afterwards shows in a mapping that was made before. A kernel need not
    /// allow it.
    moved: "lifecycle/moved-under-mapping",
    groups: ["quick"], needs: [Spare, Mapper], limit: 300, origin: origin::MAPPER,
}
fn moved(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::MakeMapped))?;
    let data = t.file_on_spare("data", "ab")?;
    let map = t.map(data)?;
    t.loads(map, pages(0, 2), "ab")?;
    let moves = Action::Whole(Whole::Move);
    let words = t.names.say(&moves);
    t.say(&format!("{words}, if the kernel does that"));
    let moved = t.quietly(MAIN, moves)?;
    t.note("the move", &answer(&moved));
    t.run(Action::Write { file: data.id, span: page(0), byte: b'w' })?;
    t.loads(map, pages(0, 2), "wb")?;
    t.run(Action::Unmap { map })?;
    goes_on(t, [(data, "wb")])
}

case! {
    /// The memory of a page that two files share fails while a store through one of them copies it. Both come
    /// to an end. On kernels that get it wrong nobody can allocate there any more, nor can a task be killed
    /// that tries, so this runs only if it is asked for.
    poison_in_copy: "lifecycle/poison-in-copy",
    groups: ["dangerous"], needs: [Spare, Poison, Reflink, Hold(CopyWritten)], limit: 240,
    origin: origin::MEMORY_FAILURE,
}
fn poison_in_copy(t: &mut Test<'_>) -> Checked {
    t.until(STOOD, |t| {
        let [data, copy] = sharing(t, "ab")?;
        let map = t.map(data)?;
        let other = t.fork()?;
        t.run_as(other, Action::Unmap { map })?;
        let theirs = t.map_as(other, copy, Sharing::Shared)?;
        t.run_as(other, Action::Touch { map: theirs, span: page(0) })?;
        let storer = t.spawn(MAIN, Kinship::Thread)?;
        let hold = t.hold(storer, HoldPoint::CopyWritten)?;
        let store = t.begin_as(storer, Action::Store { map, span: page(0), byte: b's' })?;
        t.arrived(&hold)?;
        let poison = t.begin_as(other, Action::Poison { map: theirs, span: page(0) })?;
        // Whether it waits for the store is open.
        t.rests(&poison)?;
        let stood = t.go(&hold)?;
        t.finished(&store)?;
        t.finished(&poison)?;
        t.say("the other process ends");
        t.signal(other, Signal::Kill)?;
        t.run(Action::Unmap { map })?;
        goes_on(t, [(data, "sb"), (copy, "ab")])?;
        Ok(stood)
    })
}

case! {
    /// A huge page that two files share has a block that cannot be read. A store to another page of it, through
    /// one of the files, cannot copy all of it; whether it succeeds is open, but the files have what they had.
    store_over_bad: "lifecycle/huge-store-beside-bad-block",
    groups: ["quick"], needs: [Spare, Huge, BadBlocks, Reflink], limit: 240, origin: origin::BAD_BLOCKS,
}
fn store_over_bad(t: &mut Test<'_>) -> Checked {
    let all = pages(0, 512);
    t.until(MAPPED, |t| {
        t.run(Action::Whole(Whole::Make))?;
        let old = t.file_on_spare("old", "")?;
        let data = t.file_on_spare("data", "")?;
        let copy = t.file_on_spare("copy", "")?;
        // What is free then does not hold zeros.
        t.run(Action::Write { file: old.id, span: pages(0, OLD), byte: b'o' })?;
        t.run(Action::Fsync { file: old.id, data_only: false })?;
        t.run(Action::Truncate { file: old.id, size: 0 })?;
        t.run(Action::Fallocate { file: data.id, mode: Mode::Allocate, span: all })?;
        t.run(Action::Write { file: data.id, span: all, byte: b'h' })?;
        t.run(Action::Fsync { file: data.id, data_only: false })?;
        t.run(Action::Clone { from: data.id, span: all, to: copy.id, at: 0 })?;
        let map = t.map_span(MAIN, data, all, Sharing::Shared)?;
        let touched = t.run(Action::Touch { map, span: all })?;
        t.note("touching it took", &touched);
        t.run(Action::Unmap { map })?;
        t.run(Action::SpoilBlocks { file: copy.id, span: page(7) })?;
        let map = t.map_span(MAIN, data, all, Sharing::Shared)?;
        let store = Action::Store { map, span: page(100), byte: b's' };
        let words = t.names.say(&store);
        t.say(&words);
        let stored = t.quietly(MAIN, store)?;
        t.note("the store", &answer(&stored));
        t.run(Action::Unmap { map })?;
        let (before, behind) = (pages(0, 7), Span { at: 101 * PAGE, len: 411 * PAGE });
        let reply = t.quietly(MAIN, Action::Read { file: data.id, span: before })?;
        t.same("pages 0..7 of data read", reply, "hhhhhhh")?;
        let reply = t.quietly(MAIN, Action::Read { file: data.id, span: behind })?;
        t.same("pages 101..512 of data read", reply, "h*411")?;
        let reply = t.quietly(MAIN, Action::Read { file: copy.id, span: page(100) })?;
        t.same("page 100 of copy reads", reply, "h")?;
        checked(t, &[old, data, copy])?;
        Ok(touched == Reply::Count(1))
    })
}

/// What `act` says is done with a file that was unlinked, in a folder of its own, and closed while a page of
/// it is pinned. Who does it may have to wait, but can be killed.
fn can_be_killed(t: &mut Test<'_>, act: fn(File, u64) -> Action) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_in_folder("data", "a")?;
    let inode = t.inode(data.id)?;
    let other = t.fork()?;
    t.run_as(other, Action::Close { file: data.id })?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(0))?;
    t.run(Action::Unmap { map })?;
    t.run(Action::Unlink { file: data.id })?;
    let close = t.begin(Action::Close { file: data.id })?;
    // Whether close itself waits is open, and so is whether others do.
    t.settled(&close)?;
    t.is_open(&close);
    let op = t.begin_as(other, act(data, inode))?;
    t.settled(&op)?;
    t.is_open(&op);
    t.signal(other, Signal::Kill)?;
    t.say("the process is gone");
    t.release(pin)?;
    t.succeeded(&close)?;
    t.transferred(pin, "a")?;
    checked(t, &[])
}

case! {
    /// A file is unlinked, and closed while a page of it is pinned. Whoever removes the folder that it was in
    /// may have to wait, but can be killed.
    folder: "lifecycle/folder-of-unlinked",
    groups: ["quick"], needs: [Spare], limit: 240, origin: origin::EVICT,
}
fn folder(t: &mut Test<'_>) -> Checked {
    can_be_killed(t, |data, _| Action::RemoveFolder { file: data.id })
}

case! {
    /// A file is unlinked, and closed while a page of it is pinned. Whoever asks what inodes there are may
    /// have to wait, but can be killed.
    listed: "lifecycle/bulkstat-of-unlinked",
    groups: [], needs: [Spare, BulkStat], limit: 240, origin: origin::EVICT,
}
fn listed(t: &mut Test<'_>) -> Checked {
    can_be_killed(t, |data, inode| Action::BulkStat { file: data.id, inode })
}

/// How many pages a file has that leaves its blocks to others, with what was in them.
const OLD: u64 = 16 << 10;

/// How many files leave memory together: more than others leave behind meanwhile.
const MANY: u64 = 64;

/// How often caches are dropped: an inode that was used a moment ago is spared once.
const DROPS: u32 = 5;

case! {
    /// Inodes that nobody uses leave memory when that is needed, although one of them is of a DAX
    /// file of which the first page was mapped.
    inodes: "lifecycle/inodes-leave-memory",
    groups: ["quick"], needs: [Spare], limit: 300, origin: origin::SHRINK,
}
fn inodes(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    if unused_inodes(t)? >= MANY {
        let why = "not exercised: inodes stay in memory here, whatever they are of";
        return Err(Stop(Ending::NotRun(why.to_owned())));
    }
    let data = t.file_on_spare("data", "a")?;
    let map = t.map(data)?;
    t.run(Action::Store { map, span: page(0), byte: b'a' })?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    t.run(Action::Unmap { map })?;
    t.run(Action::Close { file: data.id })?;
    let left = unused_inodes(t)?;
    t.note("unused inodes in memory", &left);
    if left >= MANY {
        return fail(
            "inodes that nobody uses leave memory when caches are dropped",
            "those of the files made since a page of data was mapped stay",
            "inode_lru_isolate, which does not get past the inode of data",
        );
    }
    t.say("the inodes of the files left memory");
    Ok(())
}

/// Makes files, closes them and has caches dropped; how many unused inodes are in memory then.
fn unused_inodes(t: &mut Test<'_>) -> Checked<u64> {
    t.say(&format!("make and close {MANY} files, and drop caches"));
    for _ in 0..MANY {
        let file = t.new_file_id();
        let name = format!("file-{}", file.0);
        let create = Action::CreateSpare { file, name, fill: Vec::new() };
        for action in [create, Action::Close { file }] {
            if let Err(errno) = t.quietly(MAIN, action)? {
                return fail("files can be made", &errno.to_string(), "");
            }
        }
    }
    let mut least = u64::MAX;
    for _ in 0..DROPS {
        least = least.min(t.ask(Action::DropCaches)?);
    }
    Ok(least)
}

/// The file system is unmounted and mounted, and its files opened.
fn mounted_again<const N: usize>(t: &mut Test<'_>, files: [File; N]) -> Checked {
    t.run(Action::Whole(Whole::Unmount))?;
    t.run(Action::Whole(Whole::Mount))?;
    for file in files {
        t.run(Action::Reopen { file: file.id })?;
    }
    Ok(())
}

/// A store through a `MAP_SYNC` mapping has returned, and then the file system stops: when it is mounted
/// again, the file has a block with what was stored.
fn sync_store(t: &mut Test<'_>, data: File, copy: File, expected: &str) -> Checked {
    let map = t.map_as(MAIN, data, Sharing::Sync)?;
    t.run(Action::Store { map, span: page(1), byte: b's' })?;
    crashes(t, map, [data, copy])?;
    t.reads(data, expected)
}

/// The file system stops, and is mounted again, with these files open.
fn crashes<const N: usize>(t: &mut Test<'_>, map: MapId, files: [File; N]) -> Checked {
    t.run(Action::Whole(Whole::ShutDown))?;
    t.run(Action::Unmap { map })?;
    for file in files {
        t.run(Action::Close { file: file.id })?;
    }
    mounted_again(t, files)
}

case! {
    /// What was stored through a `MAP_SYNC` mapping where the file had a hole is there after a crash,
    /// although another file was changed just before.
    sync_hole: "lifecycle/sync-store-to-hole",
    groups: ["quick"], needs: [Spare, ShutDown, MapSync], limit: 240, origin: origin::MAP_SYNC,
}
fn sync_hole(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", "a.")?;
    let other = t.file_on_spare("other", "abcd")?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    t.run(Action::Fallocate { file: other.id, mode: Mode::Collapse, span: page(1) })?;
    sync_store(t, data, other, "as")
}

/// The file system, of which no file is in use, is mounted again as a crash would leave it. All of it is copied
/// for that, which takes a while.
fn crashed(t: &mut Test<'_>) -> Checked {
    let crash = Action::Whole(Whole::Crash);
    let words = t.names.say(&crash);
    let op = t.begin(crash)?;
    let most = t.patience(60);
    let done = t.returned_within(&op, most)?;
    if done.is_none() {
        return fail(&format!("{words}: done"), &format!("not within {most} s"), "");
    }
    check_result(done.as_ref())?;
    t.say(&format!("{words}: done"));
    Ok(())
}

case! {
    /// What was stored through a `MAP_SYNC` mapping to a page that was allocated and never written is there after
    /// a crash.
    sync_allocated: "lifecycle/sync-store-to-allocated",
    groups: ["quick"], needs: [Spare, Mapper, MapSync], limit: 300, origin: origin::MAP_SYNC,
}
fn sync_allocated(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::MakeMapped))?;
    let data = t.file_on_spare("data", "")?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Allocate, span: pages(0, 4) })?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    let map = t.map_span(MAIN, data, pages(0, 4), Sharing::Sync)?;
    t.run(Action::Store { map, span: page(1), byte: b's' })?;
    t.run(Action::Unmap { map })?;
    t.run(Action::Close { file: data.id })?;
    crashed(t)?;
    t.run(Action::Reopen { file: data.id })?;
    t.reads(data, ".s..")?;
    checked(t, &[data])
}

case! {
    /// What was stored through a `MAP_SYNC` mapping where the file had a hole is there after a crash, also
    /// where the mapping shows the pages of the file in another order.
    sync_remapped: "lifecycle/sync-store-to-remapped",
    groups: ["quick"], needs: [Spare, ShutDown, MapSync], limit: 240, origin: origin::MAP_SYNC,
}
fn sync_remapped(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", "....")?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    let map = t.map_as(MAIN, data, Sharing::Sync)?;
    // A kernel need not offer it.
    let remapped = t.quietly(MAIN, Action::Remap { map, span: page(0), at: 3 * PAGE })?.is_ok();
    t.note("remap_file_pages", &remapped);
    t.say("have the mapping show page 3 of data in place of page 0, if the kernel does that");
    let span = page(if remapped { 0 } else { 3 });
    if let Err(errno) = t.quietly(MAIN, Action::Store { map, span, byte: b's' })? {
        return fail("page 3 can be stored to", &errno.to_string(), "");
    }
    t.say("store s to page 3 of data through it");
    crashes(t, map, [data])?;
    t.reads(data, "...s")
}

case! {
    /// What was stored through a `MAP_SYNC` mapping to a page that another file shares is there after a
    /// crash, although a write beside it had prepared the copy.
    sync_copied: "lifecycle/sync-store-to-shared",
    groups: ["quick"], needs: [Spare, ShutDown, MapSync, Reflink], limit: 240, origin: origin::MAP_SYNC,
}
fn sync_copied(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::Make))?;
    let data = t.file_on_spare("data", "ab")?;
    let copy = t.file_on_spare("copy", "..")?;
    t.run(Action::Clone { from: data.id, span: pages(0, 2), to: copy.id, at: 0 })?;
    t.run(Action::Write { file: data.id, span: page(0), byte: b'w' })?;
    t.run(Action::Fsync { file: data.id, data_only: false })?;
    sync_store(t, data, copy, "ws")?;
    t.reads(copy, "ab")
}
