//! A signal ends the wait, and nothing has changed.

use nix::libc;

use crate::axis::interruption::Interruption;
use crate::axis::operation::Operation;
use crate::axis::pin::{self, Pin};
use crate::axis::place::Last;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::system::Signal;
use crate::test::{Checked, Test};

pub(crate) const LAW: Law<Pin, Interruption> = Law {
    name: "interrupted",
    // One that is read and one that is written.
    pins: pin::PAIR,
    others: Some("a wait does not know what it waits for: splice and aio-read stand for all"),
    last: Interruption::ALL,
    about: |operation, pin, signal| {
        format!(
            "{} waits for a page pinned by {}; {}. The file is unchanged and no lock is leaked: \
             the same operation waits again.",
            operation.phrase(),
            pin.phrase(),
            signal.phrase()
        )
    },
    concerns: Concerns::Anything,
    body,
};

fn body(
    t: &mut Test<'_>,
    operation: &Operation,
    pin: &Pin,
    interruption: &'static Interruption,
) -> Checked {
    interruption.place().stage(t, operation, pin, &|t, scene| {
        let action = scene.mapped.action(operation);
        match interruption.signal {
            Signal::Handled => {
                let op = t.begin(action.clone())?;
                t.blocked(&op)?;
                let task = t.task_of(&op);
                t.signal(task, Signal::Handled)?;
                t.failed(&op, libc::EINTR)?;
            }
            Signal::Kill => {
                let victim = t.fork()?;
                let op = t.begin_as(victim, action.clone())?;
                t.blocked(&op)?;
                t.signal(victim, Signal::Kill)?;
            }
        }
        scene.mapped.is_unchanged(t)?;
        let op = t.begin(action)?;
        t.blocked(&op)?;
        scene.ends(t, &op, operation)
    })
}
