//! What can happen in the layout break of filesystem DAX, and what must hold.
//!
//! The one statement of the protocol: [`event`] names the things that happen, recorded in a
//! real kernel by the tracer or emitted by the reference; [`state`] says, event by event,
//! whether a history keeps the rules named in [`rule`]; a [`finding`] says that it does not, and
//! [`how`]. The rules judge a kernel trace and a reference run alike, and drive the search of the
//! reference's state space. The crate does no I/O and depends on none of the other crates.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "rules")]
extern crate alloc;
#[cfg(any(test, feature = "search"))]
extern crate std;

#[cfg(feature = "rules")]
pub mod bounds;
pub mod counters;
pub mod event;
#[cfg(feature = "rules")]
pub mod finding;
pub mod hold;
#[cfg(feature = "rules")]
pub mod how;
#[cfg(feature = "serde")]
mod id;
#[cfg(feature = "rules")]
pub mod judge;
#[cfg(feature = "rules")]
mod mark;
#[cfg(feature = "rules")]
pub mod oracle;
#[cfg(feature = "rules")]
mod pins;
#[cfg(feature = "rules")]
pub mod rule;
#[cfg(feature = "search")]
pub mod search;
pub mod segment;
#[cfg(feature = "rules")]
pub mod state;

#[cfg(feature = "rules")]
pub use bounds::Bounds;
pub use event::{Counting, Event, Kind, OperationKind, flag};
#[cfg(feature = "rules")]
pub use finding::{Finding, Ruling};
pub use hold::HoldPoint;
#[cfg(feature = "rules")]
pub use how::How;
#[cfg(feature = "rules")]
pub use judge::{Judge, judge};
#[cfg(feature = "rules")]
pub use rule::Rule;
#[cfg(feature = "rules")]
pub use state::Rules;
