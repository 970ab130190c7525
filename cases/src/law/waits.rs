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
            "{} waits while {} pins a page {}. The release of the pin ends the wait; what the pin \
             transferred, the contents of the file and its size are right afterwards.",
            operation.phrase(),
            pin.phrase(),
            place.phrase()
        )
    },
    concerns: Concerns::Anything,
    body,
};

fn body(t: &mut Test<'_>, operation: &Operation, pin: &Pin, place: &'static Place) -> Checked {
    place.stage(t, operation, pin, &|t, scene| {
        let op = t.begin(scene.mapped.action(operation))?;
        t.blocked(&op)?;
        scene.ends(t, &op, operation)
    })
}
