//! Of several pins the last one ends the wait, and none before it.

use crate::action::page;
use crate::axis::operation::{Operand, Operation};
use crate::axis::order::Order;
use crate::axis::pin::{self, Pin};
use crate::axis::place::Last as _;
use crate::axis::place::signs;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::system::MAIN;
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

/// The pages of the file. A page is left behind those that are pinned: a range that reaches the
/// end cannot be collapsed.
const CONTENT: &str = "abcde";

fn body(t: &mut Test<'_>, operation: &Operation, pin: &Pin, order: &'static Order) -> Checked {
    let data = t.file("data", CONTENT)?;
    let map = t.map(data)?;
    let mut content = Vec::from(CONTENT);
    let target = Operand { file: data.id, pages: data.pages, span: crate::action::pages(1, 3) };
    let mut pins = Vec::new();
    for index in 1..4 {
        let letter = &content[index as usize..][..1];
        pins.push(pin.take(t, MAIN, map, page(index), letter)?);
    }
    let op = t.begin((operation.action)(target))?;
    t.blocked(&op)?;
    let [first, second, last] = order.release.map(|at| &pins[at]);
    for pin in [first, second] {
        pin.release(t)?;
        t.blocked(&op)?;
    }
    last.ends(t, &op)?;
    for pin in &pins {
        pin.saw(t)?;
        pin.leaves(&mut content);
    }
    operation.change(&mut content, target);
    t.reads(data, &signs(&content))
}
