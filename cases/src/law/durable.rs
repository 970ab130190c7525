//! What was stored to a file before an operation is written back by the fsync after it, whatever
//! page was pinned meanwhile.
//!
//! A break unmaps the file and a kernel may take its pages out of the mapping; it must not forget
//! which of them are dirty. That they were written back is for the oracle to say.

use crate::action::Action;
use crate::axis::operation::Operation;
use crate::axis::pin::{self, Pin};
use crate::axis::place::Last as _;
use crate::axis::place::Place;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::test::{Checked, Test};

pub(crate) const LAW: Law<Pin, Place> = Law {
    name: "durable",
    pins: &[pin::SPLICE],
    others: Some("what is dirty does not depend on how a page is pinned: splice stands for all"),
    last: Place::ALL,
    about: |operation, pin, place| {
        format!(
            "While {} pins a page {}, {} runs on a file whose pages are all dirty. The next fsync \
             writes back every page that is left.",
            pin.phrase(),
            place.phrase(),
            operation.phrase()
        )
    },
    concerns: Concerns::Left,
    body,
};

fn body(t: &mut Test<'_>, operation: &Operation, pin: &Pin, place: &'static Place) -> Checked {
    place.map(t, operation, &|t, mut mapped| {
        mapped.is_stored_to(t, b'x')?;
        let scene = mapped.pinned_by(t, pin)?;
        let op = t.begin(scene.mapped.action(operation))?;
        // Whether it waits is another law.
        t.settled(&op)?;
        let mut mapped = scene.ends_with(t, &op)?;
        mapped.change(operation);
        let sync = t.begin(Action::Fsync { file: mapped.file.id, data_only: false })?;
        t.finished(&sync)?;
        mapped.is_unchanged(t)
    })
}
