//! Watches the layout break in a running kernel and judges it.
//!
//! [`session`] attaches the probes of `tracer-ebpf` as [`hook`] says and [`offsets`] fills them
//! in; [`stream`] feeds what they record to the rules of `protocol`; [`selfcheck`] makes sure
//! that they see anything at all, and the right pages, which [`blockmap`] tells them; [`timeline`] draws
//! it. It knows nothing of test cases.

mod attach;
pub mod blockmap;
mod breaks;
mod calls;
pub mod device;
mod drain;
pub mod error;
pub mod globals;
pub mod holds;
pub mod hook;
mod hooks;
mod kprobe;
pub mod load;
pub mod offsets;
pub mod options;
pub mod preemption;
mod probelog;
pub mod selfcheck;
pub mod session;
pub mod stream;
pub mod summary;
mod survey;
pub mod symbols;
mod sys;
mod table;
pub mod timeline;
mod tracefs;
pub mod unseen;
pub mod untraceable;
