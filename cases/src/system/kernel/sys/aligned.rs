//! Page-aligned memory, as direct I/O wants it.

use crate::action::PAGE;

/// A page-aligned buffer for direct I/O.
pub(crate) struct Aligned {
    address: *mut u8,
    layout: std::alloc::Layout,
}

impl Aligned {
    /// `count` bytes of `byte`.
    pub(crate) fn filled(count: usize, byte: u8) -> Self {
        let layout = std::alloc::Layout::from_size_align(count.max(1), PAGE as usize)
            .expect("a page is a valid alignment");
        // SAFETY: the layout's size is not 0.
        let address = unsafe { std::alloc::alloc(layout) };
        if address.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        // SAFETY: just allocated with that size.
        unsafe { address.write_bytes(byte, layout.size()) };
        Self { address, layout }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: allocated, initialised, and owned by `self`.
        unsafe { std::slice::from_raw_parts(self.address, self.layout.size()) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.layout.size()) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(self.address, self.layout) };
    }
}
