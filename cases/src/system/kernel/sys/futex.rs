//! futex(2) for words in mappings of files, which other processes may have mapped elsewhere.

use std::io;

use super::check::check;
use crate::action::Span;

/// The word, in a mapping.
pub(super) const WORD: Span = Span { at: 0, len: size_of::<u32>() as u64 };

/// Waits at `address` to be woken, if the word there is `value`.
pub(super) fn wait(address: *mut u8, value: u32) -> io::Result<()> {
    let none = std::ptr::null::<libc::timespec>();
    // SAFETY: the kernel checks the address and reports EFAULT.
    check(unsafe { libc::syscall(libc::SYS_futex, address, libc::FUTEX_WAIT, value, none) })
        .map(drop)
}

/// Wakes all who wait at `address`; how many did.
pub(super) fn wake(address: *mut u8) -> io::Result<u64> {
    let all = libc::c_int::MAX;
    // SAFETY: the kernel checks the address and reports EFAULT.
    check(unsafe { libc::syscall(libc::SYS_futex, address, libc::FUTEX_WAKE, all) })
        .map(|woken| woken as u64)
}
