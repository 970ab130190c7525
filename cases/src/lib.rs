//! Test programs for the layout break of filesystem DAX.
//!
//! A [`Case`] is written once, against [`system::System`], and runs on every file system that
//! offers what it needs. Most are cells: a law that holds for each operation, pin and place.
//! [`perform`] runs one; the caller compares what it prints with what is expected.

mod attempt;
mod axis;
mod bad_block;
mod beside;
mod cancel;
mod case;
mod catalogue;
mod cell;
mod content;
mod copy;
mod deadlock;
mod directed;
mod evict;
mod exchange;
mod flush;
mod fsync;
mod history;
mod huge;
mod immutable;
mod kind;
mod large;
mod law;
mod lifecycle;
mod livelock;
mod mapping;
pub mod oracle;
mod origin;
mod patience;
mod perform;
mod pinned;
mod race;
mod record;
mod reflink;
mod scripts;
mod space;
mod span;
#[cfg(test)]
mod stub;
mod sync_map;
mod write;

pub mod action;
pub mod effect;
pub mod system;
pub mod test;
pub mod transcript;

pub use attempt::is_said_in_some_attempt;
pub use axis::operation;
pub use case::{Case, DANGEROUS};
pub use catalogue::{all, axes, find, find_only};
pub use cell::{Excluded, excluded};
pub use patience::{Limit, Patience, pause};
pub use perform::perform;
pub use record::{Deed, record, record_what};
pub use test::Ending;
pub use transcript::Telling;
