//! An operation waits for a pin, and for nothing else.

use crate::axis::operation::Operation;
use crate::axis::pin::{self, Pin};
use crate::axis::place::Last as _;
use crate::axis::place::Place;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::test::{Checked, Test};

pub(crate) const LAW: Law<Pin, Place> = Law {
    name: "waits",
    pins: pin::ALL,
    others: None,
    last: Place::ALL,
    about: |operation, pin, place| {
        format!(
            "{} a page {} waits while it is pinned by {}; the bytes stand until the pin goes, \
             which ends the wait, and content and size are right after it.",
            operation.phrase(),
            place.phrase(),
            pin.phrase()
        )
    },
    concerns: Concerns::Anything,
    body,
};

fn body(t: &mut Test<'_>, operation: &Operation, pin: &Pin, place: &'static Place) -> Checked {
    place.stage(t, pin, &|t, scene| {
        let op = t.begin(scene.mapped.action(operation))?;
        t.blocked(&op)?;
        scene.ends(t, &op, operation)
    })
}
