//! Watches the layout break in a running kernel and judges it.
//!
//! [`session`] attaches the probes of `tracer-ebpf` as [`hook`] says and [`offsets`] fills them
//! in; [`stream`] feeds what they record to the rules of `protocol`; [`selfcheck`] makes sure
//! that they see anything at all, and the right pages, which [`layout`] tells them; [`timeline`] draws
//! it. It knows nothing of test cases.

pub mod device;
mod drain;
pub mod hook;
pub mod layout;
pub mod load;
pub mod offsets;
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
pub mod unseen;
