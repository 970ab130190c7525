//! What waits for a pin is cancelled by io_uring.

use nix::libc;

use crate::action::{Action, FileId, Mode, page};
use crate::case::case;
use crate::origin;
use crate::system::{Errno, MAIN};
use crate::test::{Checked, Test, answer, fail};

/// What waits for a pin, and is cancelled, reports an error that user space knows, and leaves no lock behind.
fn cancelled(t: &mut Test<'_>, act: fn(FileId) -> Action) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let action = act(data.id);
    let words = t.names.say(&action);
    match t.quietly(MAIN, action)? {
        Err(Errno(libc::EINTR | libc::ECANCELED)) => {}
        other => {
            let expected = format!("{words}: it reports EINTR or ECANCELED");
            return fail(&expected, &answer(&other), "");
        }
    }
    t.say(&words);
    t.reads(data, "abcd")?;
    t.release(pin)?;
    t.transferred(pin, "c")?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Punch, span: page(2) })?;
    t.reads(data, "ab.d")
}

case! {
    /// A punch that io_uring waits for ends when it is cancelled, with an error that user space
    /// knows, and leaves no lock behind.
    uring_punch: "cancel/uring-punch",
    groups: ["quick"], needs: [Uring], limit: 120, origin: origin::URING,
}
fn uring_punch(t: &mut Test<'_>) -> Checked {
    cancelled(t, |file| Action::CancelledFallocate { file, mode: Mode::Punch, span: page(2) })
}

case! {
    /// The same of an open that truncates the file.
    uring_open: "cancel/uring-open-truncate",
    groups: ["quick"], needs: [Uring], limit: 120, origin: origin::URING,
}
fn uring_open(t: &mut Test<'_>) -> Checked {
    cancelled(t, |file| Action::CancelledOpenTruncate { file })
}
