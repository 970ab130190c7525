//! Blocks that go back to the allocator: whose page is still in use is the surest oracle.

use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;
use protocol::Kind;

use crate::layout::{
    DEVICE, FIRST_FRAME, FREE_BLOCK, FREE_BY_GROUP, FREE_DEVICE, FREE_GROUP, FREE_LENGTH,
    GROUP_BLOCKS, IDLE, Lost, Page, argument_at, get, get64, in_detail, repeat,
};
use crate::ring::{emit, lose, page, record, stack};

/// Pages of one extent that are looked at: 2 GiB of 4 KiB pages. What a longer extent has beyond
/// that counts as one lost record.
const PAGES: u64 = 1 << 19;

/// The search for a page that is still in use.
struct Search {
    first: u64,
    found: u64,
}

extern "C" fn look(n: u64, search: *mut Search) -> i64 {
    // SAFETY: `repeat` hands over the context it was given.
    let search = unsafe { &mut *search };
    let frame = search.first + n;
    let Some(page) = Page::numbered(frame) else {
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
    let first = get64(&FIRST_FRAME) + block;
    let Some(start) = Page::numbered(first) else {
        return Ok(());
    };
    let mut search = Search { first, found: 0 };
    repeat(length.min(PAGES) as u32, look, &mut search);
    let worst = Page::numbered(search.found).unwrap_or(start);
    let counts = worst.settled_counts()?;
    if length > PAGES {
        lose();
    }
    // A rule asks only for what is pinned or mapped.
    if !counts.busy() && counts.maps <= 0 && !in_detail() {
        return Ok(());
    }
    let trace = if counts.busy() { stack(context) } else { -1 };
    let (inode, index) = if counts.busy() { worst.place() } else { (0, 0) };
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
