//! Kinds of pins, and what is known of each whoever takes it.
//!
//! How one is taken, held and let go, a file on each side says (`system/kernel/pin`,
//! `system/reference/pin`), and how that is said in C, the exports.

use std::fmt;

use reference::Direction;
use serde::{Deserialize, Serialize};

use crate::origin;

/// Which interface submits direct I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Engine {
    /// Linux native AIO: io_submit(2).
    Aio,
    /// io_uring.
    Uring,
}

/// How pages are pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PinKind {
    /// vmsplice(2) into a pipe: held until the pipe is closed.
    Splice,
    /// The same into a pipe of the process's own.
    OwnPipe,
    /// Direct I/O against a device that withholds completion. `byte` fills the device's side.
    Direct {
        /// The interface.
        engine: Engine,
        /// Which way.
        direction: Direction,
        /// What the device's sectors hold before the transfer.
        byte: u8,
    },
    /// process_vm_readv(2) or process_vm_writev(2) by another process, whose own memory
    /// userfaultfd(2) withholds. `byte` fills that memory at the release.
    Remote {
        /// Which way: a read of the pages, or a write to them.
        direction: Direction,
        /// What is written to them.
        byte: u8,
    },
    /// send(2) with MSG_ZEROCOPY over loopback TCP, to a peer that does not read.
    Zerocopy,
    /// tee(2) of a pipe that vmsplice(2) has filled and that is closed then.
    Tee,
    /// read(2) or write(2) of a file on FUSE by a thread of its own, with direct I/O and a server that
    /// does not answer.
    Fuse {
        /// Which way.
        direction: Direction,
        /// What the server has read(2) return.
        byte: u8,
    },
}

/// What ends a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinEnd {
    /// Its release, before that returns: what went through it is known then.
    Release,
    /// The device, some time after its release: [`Action::Reap`] waits for that, and the process
    /// that took it cannot end before.
    Device,
    /// The end of the process that took it. `System::release` cannot help it.
    Process,
}

/// A kind that the catalogue has cells of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatalogueKind {
    pub(crate) kind: PinKind,
    /// In the names of cells.
    pub(crate) name: &'static str,
    /// In their descriptions.
    pub(crate) phrase: &'static str,
    /// The mail thread or commit that asked for it, if one did.
    pub(crate) origin: Option<&'static str>,
}

/// What a page gets, where it is written.
const DEVICE: u8 = b'z';

/// The kinds that last until they are released, in the order of their cells.
pub(crate) const CATALOGUE: &[CatalogueKind] = &[
    SPLICE,
    CatalogueKind { kind: PinKind::Tee, name: "tee", phrase: "tee of a pipe", origin: None },
    AIO_READ,
    aio(Direction::FromMemory, "aio-write", "an AIO direct write"),
    uring(Direction::IntoMemory, "uring-read", "an io_uring direct read"),
    uring(Direction::FromMemory, "uring-write", "an io_uring direct write"),
    VM_READ,
    remote(Direction::IntoMemory, "vm-write", "process_vm_writev by another process"),
    ZEROCOPY,
    fuse(Direction::IntoMemory, "fuse-read", "a read from FUSE"),
    fuse(Direction::FromMemory, "fuse-write", "a write to FUSE"),
];

/// vmsplice(2), for which nothing is needed.
pub(crate) const SPLICE: CatalogueKind =
    CatalogueKind { kind: PinKind::Splice, name: "splice", phrase: "vmsplice", origin: None };

/// A pin through which the page is written.
pub(crate) const AIO_READ: CatalogueKind =
    aio(Direction::IntoMemory, "aio-read", "an AIO direct read");

/// A pin that another process takes.
pub(crate) const VM_READ: CatalogueKind =
    remote(Direction::FromMemory, "vm-read", "process_vm_readv by another process");

/// A pin that a socket's buffer has.
pub(crate) const ZEROCOPY: CatalogueKind = CatalogueKind {
    kind: PinKind::Zerocopy,
    name: "zerocopy",
    phrase: "a MSG_ZEROCOPY send",
    origin: None,
};

const fn aio(direction: Direction, name: &'static str, phrase: &'static str) -> CatalogueKind {
    let kind = PinKind::Direct { engine: Engine::Aio, direction, byte: DEVICE };
    CatalogueKind { kind, name, phrase, origin: Some(origin::LIVELOCK) }
}

const fn uring(direction: Direction, name: &'static str, phrase: &'static str) -> CatalogueKind {
    let kind = PinKind::Direct { engine: Engine::Uring, direction, byte: DEVICE };
    CatalogueKind { kind, name, phrase, origin: Some(origin::LIVELOCK) }
}

const fn remote(direction: Direction, name: &'static str, phrase: &'static str) -> CatalogueKind {
    CatalogueKind { kind: PinKind::Remote { direction, byte: DEVICE }, name, phrase, origin: None }
}

const fn fuse(direction: Direction, name: &'static str, phrase: &'static str) -> CatalogueKind {
    CatalogueKind { kind: PinKind::Fuse { direction, byte: DEVICE }, name, phrase, origin: None }
}

/// What is known of a kind, whoever takes it: what each is, the method of that name says.
struct KindRow {
    /// As a transcript has it.
    words: &'static str,
    direction: Direction,
    byte: u8,
    is_reference: bool,
    end: PinEnd,
}

impl PinKind {
    const fn facts(self) -> KindRow {
        use Direction::{FromMemory, IntoMemory};
        match self {
            Self::Splice => KindRow {
                words: "vmsplice",
                direction: FromMemory,
                byte: 0,
                is_reference: true,
                end: PinEnd::Release,
            },
            Self::OwnPipe => KindRow { end: PinEnd::Process, ..Self::Splice.facts() },
            Self::Direct { engine, direction, byte } => KindRow {
                words: match (engine, direction) {
                    (Engine::Aio, FromMemory) => "AIO direct write from it",
                    (Engine::Aio, IntoMemory) => "AIO direct read into it",
                    (Engine::Uring, FromMemory) => "io_uring direct write from it",
                    (Engine::Uring, IntoMemory) => "io_uring direct read into it",
                },
                direction,
                byte,
                is_reference: false,
                end: PinEnd::Device,
            },
            Self::Remote { direction, byte } => KindRow {
                words: match direction {
                    FromMemory => "another's process_vm_readv",
                    IntoMemory => "another's process_vm_writev",
                },
                direction,
                byte,
                is_reference: false,
                end: PinEnd::Release,
            },
            Self::Zerocopy => KindRow { words: "MSG_ZEROCOPY send of it", ..Self::Splice.facts() },
            Self::Tee => KindRow { words: "tee of a pipe with it", ..Self::Splice.facts() },
            Self::Fuse { direction, byte } => KindRow {
                words: match direction {
                    FromMemory => "write from it to FUSE",
                    IntoMemory => "read from FUSE into it",
                },
                direction,
                byte,
                is_reference: false,
                end: PinEnd::Device,
            },
        }
    }

    /// Which way data goes, seen from the pinned pages.
    pub const fn direction(self) -> Direction {
        self.facts().direction
    }

    /// Whether the pages are written.
    pub const fn writes(self) -> bool {
        matches!(self.facts().direction, Direction::IntoMemory)
    }

    /// What the pages are filled with, if they are written.
    pub const fn byte(self) -> u8 {
        self.facts().byte
    }

    /// What ends it.
    pub const fn end(self) -> PinEnd {
        self.facts().end
    }

    /// Whether it ends some time after its release: [`PinEnd::Device`].
    pub const fn is_reaped(self) -> bool {
        matches!(self.end(), PinEnd::Device)
    }

    /// Whether its task keeps it to itself: [`PinEnd::Process`].
    pub const fn is_kept(self) -> bool {
        matches!(self.end(), PinEnd::Process)
    }

    /// Whether the kernel takes a plain reference for it (`FOLL_GET`), and no pin (`FOLL_PIN`).
    pub const fn is_reference(self) -> bool {
        self.facts().is_reference
    }

    /// Whether it is direct I/O.
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Direct { .. })
    }
}

impl fmt::Display for PinKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().words)
    }
}
