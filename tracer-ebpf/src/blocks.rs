//! Which page of memory is which block of the device.

use core::ptr::read_volatile;

use protocol::segment::{MEMBERS, Segment, Stripes};

use crate::globals::{RANGES, SEGMENTS, get, get64};
use crate::repeat::once_or_repeat;

/// Page frames of the traced device: first ones and lengths.
#[unsafe(no_mangle)]
static RANGE: [[u64; 2]; 8] = [[0; 2]; 8];

/// Where the device's blocks lie, as far as that is known.
#[unsafe(no_mangle)]
static SEGMENT: [Segment; 16] = [Segment {
    stripes: Stripes { begin: 0, pages: 0, skip: 0, chunk: 0, members: 0 },
    frames: [0; MEMBERS],
}; 16];

/// The frame of a block of the device, and how many from it on lie one behind the other; none if
/// that is not known.
pub(crate) fn frame_of(block: u64) -> Option<(u64, u64)> {
    let mut search = Placing { block, frame: 0, row: 0 };
    once_or_repeat(get(&SEGMENTS) as u32, place_in, &mut search);
    (search.frame != 0).then_some((search.frame, search.row))
}

/// The search for the segment that a block is in.
struct Placing {
    block: u64,
    frame: u64,
    row: u64,
}

extern "C" fn place_in(n: u64, search: *mut Placing) -> i64 {
    // SAFETY: `place` hands over its own.
    let search = unsafe { &mut *search };
    let Some(segment) = SEGMENT.get(n as usize) else {
        return 1;
    };
    // SAFETY: a reference is valid; volatile, because the loader and not the compiler knows it.
    let stripes = unsafe { read_volatile(&raw const segment.stripes) };
    let Some(spot) = stripes.locate(search.block) else {
        return 0;
    };
    if let Some(first) = segment.frames.get(spot.member).map(get64)
        && first != 0
    {
        search.frame = first + spot.page;
        search.row = spot.row;
    }
    1
}

/// Whether a page is one of the device's.
pub(crate) fn is_ours(frame: u64) -> bool {
    let mut search = Owning { frame, ours: false };
    once_or_repeat(get(&RANGES) as u32, is_in, &mut search);
    search.ours
}

/// The search for the range that a frame is in.
struct Owning {
    frame: u64,
    ours: bool,
}

extern "C" fn is_in(n: u64, search: *mut Owning) -> i64 {
    // SAFETY: `is_ours` hands over its own.
    let search = unsafe { &mut *search };
    let Some([first, frames]) = RANGE.get(n as usize) else {
        return 1;
    };
    search.ours = search.frame.wrapping_sub(get64(first)) < get64(frames);
    search.ours.into()
}
