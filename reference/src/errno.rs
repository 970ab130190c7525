//! How an operation fails.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error number, as Linux on x86-64 numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::errno::Errno::from_raw(self.0) {
            nix::errno::Errno::UnknownErrno => write!(f, "errno {}", self.0),
            known => write!(f, "{known:?}"),
        }
    }
}

/// Interrupted by a signal.
pub(crate) const EINTR: Errno = Errno(4);
/// Input/output error.
pub(crate) const EIO: Errno = Errno(5);
/// Not an open file.
pub(crate) const EBADF: Errno = Errno(9);
/// Bad address.
pub(crate) const EFAULT: Errno = Errno(14);
/// In use.
pub(crate) const EBUSY: Errno = Errno(16);
/// Across file systems.
pub(crate) const EXDEV: Errno = Errno(18);
/// Invalid argument.
pub(crate) const EINVAL: Errno = Errno(22);
/// No space left.
pub(crate) const ENOSPC: Errno = Errno(28);
/// Nothing may be changed.
pub(crate) const EROFS: Errno = Errno(30);
/// Not supported.
pub(crate) const EOPNOTSUPP: Errno = Errno(95);

/// Why an operation did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed.
    Errno(Errno),
    /// The run was ended while it was under way.
    Cancelled,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// What an operation answers.
pub type Answer<T> = Result<T, Failure>;

/// The result as an event carries it.
pub(crate) fn code<T>(answer: &Answer<T>) -> i64 {
    match answer {
        Ok(_) => 0,
        Err(Failure::Errno(errno)) => -i64::from(errno.0),
        Err(Failure::Cancelled) => -i64::from(EINTR.0),
    }
}
