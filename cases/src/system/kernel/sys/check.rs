//! How a raw system call fails.

use std::io;

/// Turns `-1` into the error that the C library left.
pub(super) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
