//! Mapping entries lose their pages.

use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::tracing::StackIdContext;
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use protocol::{Kind, flag};

use crate::call::Arguments;
use crate::globals::{IDLE, REMOVE_HAS_MAPPING, get};
use crate::inode::TracedInode;
use crate::memory::Lost;
use crate::page::{PageCounts, TracedPage};
use crate::repeat::repeat;
use crate::ring::{emit, page, record, stack};
use crate::task::{in_detail, task};
use crate::under_way::BREAKS;

/// A mapping entry loses its page.
#[kprobe]
pub(crate) fn remove_entry(context: ProbeContext) -> u32 {
    record!(|| try_remove(&context, |n| context.arg(n as usize).ok_or(Lost)))
}

/// The same where it is a function of its own: a kprobe would cost more.
#[fentry]
pub(crate) fn remove_entry_fast(context: FEntryContext) -> u32 {
    record!(|| try_remove(&context, |n| match n {
        // A pointer to nothing in particular is a number to the verifier, too.
        0 => Ok(context.arg(0)),
        _ => context.argument(n as usize),
    }))
}

/// Bits of a DAX mapping entry, after the bit that makes it a value.
///
/// Linux fs/dax.c, "DAX pagecache entries use XArray value entries".
mod entry {
    pub(super) const PMD: u64 = 1 << 1;
    pub(super) const ZERO_PAGE: u64 = 1 << 2;
    pub(super) const EMPTY: u64 = 1 << 3;
    pub(super) const SHIFT: u32 = 4;
}

/// Pages of a huge entry, each counted on its own where idle is one reference.
const HUGE: u32 = 512;

/// The search for a busy page in a huge entry.
struct BusySearch {
    first: u64,
    found: u64,
}

extern "C" fn look(n: u64, search: *mut BusySearch) -> i64 {
    // SAFETY: `repeat` hands over the context it was given.
    let search = unsafe { &mut *search };
    let frame = search.first + n;
    let Some(page) = TracedPage::numbered(frame) else {
        return 1;
    };
    if page.settled_counts().is_ok_and(PageCounts::busy) {
        search.found = frame;
        return 1;
    }
    0
}

fn try_remove(
    context: &impl StackIdContext,
    argument: impl Fn(u64) -> Result<u64, Lost>,
) -> Result<(), Lost> {
    let value = argument(0)? >> 1;
    if value & (entry::ZERO_PAGE | entry::EMPTY) != 0 {
        return Ok(());
    }
    let Some(first) = TracedPage::numbered(value >> entry::SHIFT) else {
        return Ok(());
    };
    let pages = if value & entry::PMD != 0 && get(&IDLE) == 1 { HUGE } else { 1 };
    let mut search = BusySearch { first: first.frame, found: 0 };
    if pages > 1 {
        repeat(pages, look, &mut search);
    }
    let worst = TracedPage::numbered(search.found).unwrap_or(first);
    let counts = worst.settled_counts()?;
    // First of all, for a file's pages are removed one by one.
    if !counts.busy() && !in_detail() {
        return Ok(());
    }
    let task = task();
    // SAFETY: the map's values are plain data that only their own task changes.
    let breaking = unsafe { BREAKS.get(&task) }.is_some();
    let (mut number, index) = first.mapped_at();
    let mut detail = 0;
    if get(&REMOVE_HAS_MAPPING) != 0 {
        let mapping = argument(1)?;
        let truncating = argument(2)?;
        if let Some(inode) = TracedInode::of_mapping(mapping)? {
            number = inode.number;
        }
        if truncating & 1 != 0 {
            detail = flag::BREAK;
        }
    } else if breaking {
        detail = flag::BREAK | flag::UNENDED;
    }
    let trace = if counts.busy() { stack(context) } else { -1 };
    emit(Kind::Remove, |event| {
        event.inode = number;
        event.index = index + (worst.frame - first.frame);
        page(event, worst);
        event.refs = counts.refs;
        event.maps = counts.maps;
        event.detail = detail;
        event.stack = trace;
    })
}
