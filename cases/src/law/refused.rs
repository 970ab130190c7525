//! A pin that would last for good is refused, and the refusal leaves nothing pinned.

use nix::libc;

use crate::action::{Action, PAGE, Span};
use crate::axis::operation::Operation;
use crate::axis::pin::{self, Refused};
use crate::axis::place::Last as _;
use crate::axis::place::Place;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::test::{Checked, Test};

pub(crate) const LAW: Law<Refused, Place> = Law {
    name: "refused",
    pins: pin::REFUSED,
    others: None,
    last: Place::ALL,
    about: |operation, pin, place| {
        format!(
            "A long-term pin ({}) of a page {} is refused with EOPNOTSUPP and leaks no reference: \
             {} then returns without waiting.",
            pin.phrase(),
            place.phrase(),
            operation.phrase()
        )
    },
    concerns: Concerns::Anything,
    body,
};

fn body(t: &mut Test<'_>, operation: &Operation, pin: &Refused, place: &'static Place) -> Checked {
    place.map(t, operation, &|t, mut mapped| {
        let (holder, map) = (mapped.holder, mapped.map);
        let all = Span { at: 0, len: mapped.file.pages * PAGE };
        t.run_as(holder, Action::Touch { map, span: all })?;
        for span in [mapped.pinned, all] {
            t.refused_as(holder, (pin.ask)(map, span), libc::EOPNOTSUPP)?;
        }
        mapped.move_on(t)?;
        let op = t.begin(mapped.action(operation))?;
        t.finished(&op)?;
        mapped.is_changed_by(t, operation)
    })
}
