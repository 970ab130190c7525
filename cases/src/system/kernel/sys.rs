//! The system calls that have no safe wrapper elsewhere, by what they are about.
//!
//! All `unsafe` of the kernel back end is below here. Each function makes one call, checks what the
//! kernel says and returns its error as `io::Error`; none keeps state but the fault recovery of
//! its thread.

#![allow(
    unsafe_code,
    reason = "this module is where the kernel back end touches raw memory and calls"
)]

mod aio;
mod aligned;
mod check;
mod fault;
mod file;
mod futex;
mod hold_page;
mod mapper;
mod mapping;
mod protect;
mod shared;
mod stores;
mod thread;
mod uring;
pub(crate) mod userfault;
mod whole;
mod withheld;

pub(crate) use self::aio::Aio;
pub(crate) use self::aligned::Aligned;
pub(crate) use self::fault::install_handlers;
pub(crate) use self::file::{
    blocks, cached, clone_range, dedupe_range, exchange_range, find_block, free_one, is_free,
    move_extents, swap_boot, swap_extents, written_block, written_blocks, xflags,
};
pub(crate) use self::hold_page::HoldPage;
pub(crate) use self::mapper::{Dm, device_mapper};
pub(crate) use self::mapping::{Buffer, Mapping, can_poison};
pub(crate) use self::protect::can_write_protect;
pub(crate) use self::shared::SharedVars;
pub(crate) use self::stores::can_track;
pub(crate) use self::thread::{faults, fork, kill_thread, process, sleeps};
pub(crate) use self::uring::Uring;
pub(crate) use self::whole::{
    bulkstat, freeze, grow_ext4, grow_xfs, repair, scrub, shut_down, thaw,
};
pub(crate) use self::withheld::{Withheld, WithheldRange};
