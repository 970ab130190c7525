//! Reading kernel memory: all of it is here.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_kernel_buf};

use crate::globals::get;

/// Something could not be read or recorded.
pub(crate) struct Lost;

/// Reads kernel memory; the helper turns a bad address into an error.
pub(crate) fn read<T>(address: u64) -> Result<T, Lost> {
    // SAFETY: the helper checks the address and copies.
    unsafe { bpf_probe_read_kernel(address as *const T) }.map_err(|_| Lost)
}

/// The same into memory that is too large for the stack.
pub(crate) fn read_to<T: Copy>(address: u64, to: &mut T) -> Result<(), Lost> {
    let to: *mut T = to;
    // SAFETY: the helper checks the address, and writes as many bytes as there are; what it can
    // read is a `T` that any bytes are, for it is asked for numbers only.
    unsafe {
        let bytes = core::slice::from_raw_parts_mut(to.cast::<u8>(), size_of::<T>());
        bpf_probe_read_kernel_buf(address as *const u8, bytes).map_err(|_| Lost)
    }
}

/// Reads the field at `offset` of the object at `address`.
pub(crate) fn field<T>(address: u64, offset: &'static u32) -> Result<T, Lost> {
    read(address + get(offset))
}

/// A field of a tracepoint's record.
pub(crate) fn argument_at<T>(
    context: &aya_ebpf::programs::TracePointContext,
    offset: &'static u32,
) -> Result<T, Lost> {
    read(context.as_ptr() as u64 + get(offset))
}
