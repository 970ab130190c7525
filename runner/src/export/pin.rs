//! A pin in C: what a program says to make, take and release one, a row for each kind.

use cases::action::{Engine, PinKind};

/// What a program says of a pin; nothing where there is nothing to say.
#[derive(Debug, Default)]
pub(super) struct PinCode {
    /// Its variable.
    pub(super) variable: String,
    /// A statement that makes it before any file is mapped, and may find that it cannot be had.
    pub(super) tries: String,
    /// A statement that makes it when the case begins.
    pub(super) begins: String,
    /// The expression that takes it.
    pub(super) takes: String,
    /// The statement that releases it.
    pub(super) releases: String,
    /// What went through it then, and how many bytes that is.
    pub(super) seen: String,
    /// A statement that collects its end, some time after its release.
    pub(super) reaps: String,
    /// A statement of the process that the user waits for, which undoes what outlives the others.
    pub(super) ends: String,
}

impl PinCode {
    /// One of this kind, called `name`, of a mapping and its bytes; why a program cannot have it.
    pub(super) fn of(kind: PinKind, name: &str, buffer: &str) -> Result<Self, &'static str> {
        Ok(match kind {
            PinKind::Splice => Self {
                variable: format!("static struct pin {name};\n"),
                begins: format!("\tif (pipe({name}.pipe))\n\t\tcannot(\"pipe\");\n"),
                takes: format!("pin_pages(&{name}, {buffer})"),
                releases: format!("unpin(&{name});"),
                seen: format!("{name}.bytes, {name}.length"),
                ..Self::default()
            },
            PinKind::OwnPipe => Self { takes: format!("pin_own({buffer})"), ..Self::default() },
            PinKind::Direct { engine: Engine::Uring, .. } => {
                return Err("requests of io_uring are not exported yet");
            }
            PinKind::Direct { engine: Engine::Aio, byte, .. } => Self {
                variable: format!("static struct held *{name};\n"),
                tries: format!(
                    "need(make_held(&{name}, \"{name}\", '{}'), \"a device that holds direct I/O (dm-linear, loop)\");\n",
                    char::from(byte)
                ),
                takes: format!("pin_held({name}, {buffer}, {})", u8::from(!kind.writes())),
                releases: format!("unpin_held({name});"),
                reaps: format!("reap({name})"),
                seen: format!("held_bytes({name}), {name}->length"),
                ends: format!("remove_held(\"{name}\");"),
                ..Self::default()
            },
            PinKind::Remote { byte, .. } => Self {
                variable: format!("static struct remote *{name};\n"),
                tries: format!("{name} = begin_remote();\n"),
                takes: format!(
                    "pin_remote({name}, {buffer}, {}, '{}')",
                    u8::from(kind.writes()),
                    char::from(byte)
                ),
                releases: format!("unpin_remote({name});"),
                seen: format!("{name}->bytes, (long){name}->length"),
                ..Self::default()
            },
            _ => return Err("pins of this kind are not exported"),
        })
    }

    /// Whether a program tries whether it can have one of this kind.
    pub(super) fn is_tried(kind: PinKind) -> bool {
        Self::of(kind, "", "").is_ok_and(|pin| !pin.tries.is_empty())
    }
}
