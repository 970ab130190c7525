//! The probes: each kernel function of the protocol becomes protocol events.
//!
//! Every program is a shim over a `try_` function that filters first and returns what it could
//! not record. Programs have no names of kernel functions in them: which function carries which
//! is decided when they are attached (tracer's hook table). They judge nothing.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![allow(
    unsafe_code,
    reason = "reading kernel memory is what a probe does; each read goes through memory.rs"
)]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a key or value that is not lent is copied, and the stack of a probe is small"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    reason = "aya's attributes hand a context over by value; a global is named by its address"
)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier proves that a program ends; a panic is code that it found unreachable.
    loop {}
}

/// Helpers that only programs under the GPL may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

mod blocks;
mod breaks;
mod call;
mod free;
mod globals;
mod hold;
mod inode;
mod memory;
mod operation;
mod page;
mod pin;
mod removal;
mod repeat;
mod ring;
mod scan;
mod task;
mod under_way;
mod waits;
mod warn;
