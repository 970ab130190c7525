//! The layout break of filesystem DAX as running code.
//!
//! Pages with reference counts, page tables, the two locks of an inode, get-user-pages, the
//! break, and the operations that need it, small enough to read in an afternoon and close
//! enough to the kernel that the same cases run on both. [`Variant`] switches in the bugs of
//! history. It runs on real threads and, unchanged, under a model checker ([`sync`]).
//!
//! What happens is recorded as [`protocol`] events; what must hold is said there, not here.

#![forbid(unsafe_code)]

mod device;
mod errno;
mod extent;
mod fault;
mod fs;
mod fsync;
mod gup;
mod hold;
mod inode;
mod io;
mod layout;
mod log;
mod mm;
mod page;
mod pins;
mod process;
mod remap;
mod rwsem;
mod task;
mod truncate;
mod variant;
mod waitqueue;
mod whole;

#[cfg(feature = "shuttle")]
pub mod scenario;
pub mod sync;

pub use device::{Device, Direction, Ring, Transfer};
pub use errno::{Answer, Errno, Failure};
pub use extent::{Extent, Extents, Scatter, Volume};
pub use fs::{Fs, FsSetup};
pub use hold::{Holds, Stage};
pub use inode::{Inode, InodeState, Locked, Medium};
pub use io::Stat;
pub use log::Log;
pub use mm::{Anon, Mm, Pte, Sharing, Vma};
pub use page::{Counts, Page, PageContent};
pub use pins::{Dropper, Pins};
pub use process::Process;
pub use remap::Remap;
pub use rwsem::{Exclusive, Rwsem, Shared};
pub use task::{Board, BoardView, Interruptible, Sleep, Standing, Task};
pub use truncate::Mode;
pub use variant::Variant;
pub use waitqueue::WaitQueue;
