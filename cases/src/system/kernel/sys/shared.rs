//! Memory that all tasks of a case share: the variables of its scripts.

use std::io;
use std::sync::atomic::AtomicU64;

/// Memory shared by a process and all that descend from it, as vars.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedVars(usize);

impl SharedVars {
    /// How many there are.
    pub(crate) const COUNT: usize = 8192;

    /// Maps them, all 0. They live as long as the process.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::COUNT * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(address as usize))
    }

    /// The var with this number.
    pub(crate) fn var(self, number: u32) -> &'static AtomicU64 {
        let number = number as usize;
        assert!(number < Self::COUNT, "a case uses fewer than {} vars", Self::COUNT);
        // SAFETY: in range, aligned, mapped for good and only ever used as an atomic.
        unsafe { &*(self.0 as *const AtomicU64).add(number) }
    }
}
