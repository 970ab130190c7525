//! Blocks that go back to the allocator: whose page is still in use is the surest oracle.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use protocol::{Kind, counters};

use crate::blocks::frame_of;
use crate::globals::{
    DEVICE, FREE_BLOCK, FREE_BY_GROUP, FREE_DEVICE, FREE_GROUP, FREE_LENGTH, GROUP_BLOCKS, IDLE,
    get,
};
use crate::memory::{Lost, argument_at};
use crate::page::TracedPage;
use crate::repeat::repeat;
use crate::ring::{count, emit, lose, page, record, stack};
use crate::task::in_detail;

/// Pages of one extent that are looked at: 2 GiB of 4 KiB pages. What a longer extent has beyond
/// that counts as one lost record.
const PAGES: u64 = 1 << 19;

/// An extent was freed and its pages are not known: no rule judges it.
fn unplaced() {
    count(counters::UNPLACED);
}

/// The search for a page that is still in use.
struct InUseSearch {
    /// The next block.
    block: u64,
    /// Its page frame, and how many lie one behind the other from it on; none if it is to be looked
    /// up.
    frame: u64,
    row: u64,
    found: u64,
    /// It came to a block whose page is not known.
    lost_way: bool,
}

extern "C" fn look(_: u64, search: *mut InUseSearch) -> i64 {
    // SAFETY: `repeat` hands over the context it was given.
    let search = unsafe { &mut *search };
    if search.row == 0 {
        let Some((frame, row)) = frame_of(search.block) else {
            search.lost_way = true;
            return 1;
        };
        search.frame = frame;
        search.row = row;
    }
    let frame = search.frame;
    search.block += 1;
    search.frame += 1;
    search.row -= 1;
    let Some(page) = TracedPage::numbered(frame) else {
        return 1;
    };
    if page.refs().is_ok_and(|refs| refs > get(&IDLE) as i32)
        && page.settled_counts().is_ok_and(|counts| counts.refs > get(&IDLE) as i32)
    {
        search.found = frame;
        return 1;
    }
    0
}

/// The file system's tracepoint of a freed extent.
#[tracepoint]
pub(crate) fn free_blocks(context: TracePointContext) -> u32 {
    record!(|| try_free(&context))
}

fn try_free(context: &TracePointContext) -> Result<(), Lost> {
    let device: u32 = argument_at(context, &FREE_DEVICE)?;
    if u64::from(device) != get(&DEVICE) {
        return Ok(());
    }
    let (block, length) = if get(&FREE_BY_GROUP) != 0 {
        let group: u32 = argument_at(context, &FREE_GROUP)?;
        let block: u32 = argument_at(context, &FREE_BLOCK)?;
        let length: u32 = argument_at(context, &FREE_LENGTH)?;
        (u64::from(group) * get(&GROUP_BLOCKS) + u64::from(block), u64::from(length))
    } else {
        (argument_at(context, &FREE_BLOCK)?, argument_at(context, &FREE_LENGTH)?)
    };
    let Some((frame, row)) = frame_of(block) else {
        unplaced();
        return Ok(());
    };
    let Some(start) = TracedPage::numbered(frame) else {
        return Err(Lost);
    };
    let mut search = InUseSearch { block, frame, row, found: 0, lost_way: false };
    repeat(length.min(PAGES) as u32, look, &mut search);
    if search.lost_way {
        unplaced();
    }
    let worst = TracedPage::numbered(search.found).unwrap_or(start);
    let counts = worst.settled_counts()?;
    if length > PAGES {
        lose();
    }
    // A rule asks only for what is pinned or mapped.
    if !counts.busy() && counts.maps <= 0 && !in_detail() {
        return Ok(());
    }
    let trace = if counts.busy() { stack(context) } else { -1 };
    let (inode, index) = if counts.busy() { worst.mapped_at() } else { (0, 0) };
    emit(Kind::Free, |event| {
        page(event, worst);
        event.count = length;
        event.inode = inode;
        event.index = index;
        event.refs = counts.refs;
        event.maps = counts.maps;
        event.stack = trace;
    })
}
