//! While a break waits the rest of the world goes on, and goes in turn.

use crate::axis::activity::Activity;
use crate::axis::operation::Operation;
use crate::axis::pin::{self, Pin};
use crate::axis::place::Last;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::test::{Checked, Test};

pub(crate) const LAW: Law<Pin, Activity> = Law {
    name: "progress",
    // One that is read and one that is written.
    pins: pin::PAIR,
    others: Some(
        "what is locked during a wait does not depend on the pin: splice and aio-read stand for all",
    ),
    last: Activity::ALL,
    about: |operation, pin, activity| {
        format!(
            "While {} waits for a page pinned by {}, {}.",
            operation.phrase(),
            pin.phrase(),
            activity.phrase()
        )
    },
    concerns: Concerns::Anything,
    body,
};

fn body(
    t: &mut Test<'_>,
    operation: &Operation,
    pin: &Pin,
    activity: &'static Activity,
) -> Checked {
    activity.place().stage(t, operation, pin, &|t, mut scene| {
        let op = t.begin(scene.mapped.action(operation))?;
        t.blocked(&op)?;
        let later = (activity.go_on)(t, &mut scene, &op)?;
        t.blocked(&op)?;
        if later.is_empty() {
            return scene.ends(t, &op, operation);
        }
        let mut mapped = scene.ends_with(t, &op)?;
        mapped.change(operation);
        for later in later {
            t.finished(&later.op)?;
            if let Some(byte) = later.writes {
                mapped.write_first(byte);
            }
        }
        mapped.is_unchanged(t)
    })
}
