//! What waits for a pin is cancelled by io_uring.

use nix::libc;

use crate::action::{Action, Mode, page};
use crate::case::case;
use crate::origin;
use crate::system::{Errno, MAIN};
use crate::test::{Checked, Test, answer, fail};

case! {
    /// A punch that io_uring waits for ends when it is cancelled, with an error that user space
    /// knows, and leaves no lock behind.
    uring_punch: "cancel/uring-punch",
    groups: ["quick"], needs: [Uring], limit: 120, origin: origin::URING_FALLOCATE,
}
fn uring_punch(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let (file, mode, span) = (data.id, Mode::Punch, page(2));
    let reply = t.quietly(MAIN, Action::CancelledFallocate { file, mode, span })?;
    match reply {
        Err(Errno(libc::EINTR | libc::ECANCELED)) => {}
        other => {
            return fail(
                "a punch that is cancelled reports EINTR or ECANCELED",
                &answer(&other),
                "",
            );
        }
    }
    t.say("punch page 2 of data by io_uring and cancel it");
    t.reads(data, "abcd")?;
    t.release(pin)?;
    t.transferred(pin, "c")?;
    t.run(Action::Fallocate { file, mode, span })?;
    t.reads(data, "ab.d")
}
