//! Of several pins the last one ends the wait, and none before it.

use crate::action::page;
use crate::axis::operation::Operation;
use crate::axis::order::Order;
use crate::axis::pin::{self, Pin};
use crate::axis::place::Last as _;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::test::{Checked, Test};

pub(crate) const LAW: Law<Pin, Order> = Law {
    name: "several",
    // One whose end drops the references at once, and one whose end does so when the device comes to it.
    pins: pin::PAIR,
    others: Some(
        "in which order pins go does not depend on what they are: splice and aio-read stand for all",
    ),
    last: Order::ALL,
    about: |operation, pin, order| {
        format!(
            "Three pages are each pinned by {} and released in the order {}; {} waits for all of \
             them.",
            pin.phrase(),
            order.phrase(),
            operation.phrase()
        )
    },
    concerns: Concerns::Anything,
    body,
};

fn body(t: &mut Test<'_>, operation: &Operation, pin: &Pin, order: &'static Order) -> Checked {
    order.place().map(t, operation, &|t, mut mapped| {
        let mut pins = Vec::new();
        for index in 1..4 {
            let letter = &mapped.content[index as usize..][..1];
            pins.push(pin.take(t, mapped.holder, mapped.map, page(index), letter)?);
        }
        let op = t.begin(mapped.action(operation))?;
        t.blocked(&op)?;
        let [first, second, last] = order.release.map(|at| &pins[at]);
        for pin in [first, second] {
            pin.release(t)?;
            t.blocked(&op)?;
        }
        last.ends(t, &op)?;
        for pin in &pins {
            pin.saw(t)?;
            pin.leaves(&mut mapped.content);
        }
        mapped.is_changed_by(t, operation)
    })
}
