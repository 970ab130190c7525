//! The block of a pinned page is nobody else's: it is neither free nor another file's, whatever
//! is done to the file and whether or not that waits.

use std::collections::BTreeSet;

use crate::action::{Action, PAGE};
use crate::axis::operation::Operation;
use crate::axis::pin::{self, Pin};
use crate::axis::place::Last as _;
use crate::axis::place::Place;
use crate::axis::value::Value as _;
use crate::cell::{Concerns, Law};
use crate::test::{Checked, Test, fail};

pub(crate) const LAW: Law<Pin, Place> = Law {
    name: "kept",
    // One that is read and one that is written.
    pins: pin::PAIR,
    others: Some(
        "what becomes of a block does not depend on how its page is pinned: splice and aio-read stand for all",
    ),
    last: Place::ALL,
    about: |operation, pin, place| {
        format!(
            "While {} pins a page {}, {} must not free its block: the file system does not count \
             it as free, and a file written meanwhile does not get it.",
            pin.phrase(),
            place.phrase(),
            operation.phrase()
        )
    },
    concerns: Concerns::Freed,
    body,
};

/// What the other file is filled with, and how many pages it has: as many as the operation
/// takes in a small file, and some.
const CANARY: &str = "kkkkkkkk";

fn body(t: &mut Test<'_>, operation: &Operation, pin: &Pin, place: &'static Place) -> Checked {
    place.stage(t, operation, pin, &|t, scene| {
        let file = scene.mapped.file;
        let first = (scene.pin.span.at / PAGE) as usize;
        let count = (scene.pin.span.len / PAGE) as usize;
        let blocks = t.blocks(file)?[first..first + count].to_vec();
        let op = t.begin(scene.mapped.action(operation))?;
        // Whether it waits is another law.
        t.settled(&op)?;
        let canary = t.file("canary", CANARY)?;
        let given = t.blocks(canary)?;
        let (mut states, mut wrong) = (BTreeSet::new(), None);
        for block in &blocks {
            let free = t.ask(Action::IsFree { file: canary.id, block: *block })? == 1;
            let (word, seen) = match () {
                () if given.contains(block) => ("given away", "another file got it"),
                () if free => ("free", "the file system counts it as free"),
                () => ("kept", "it is given to nobody"),
            };
            states.insert(word);
            if word != "kept" {
                wrong.get_or_insert(seen);
            }
        }
        let states: Vec<_> = states.into_iter().collect();
        t.observe(states.join(" and "));
        t.say(&format!("the block: {}", states.join(" and ")));
        if let Some(seen) = wrong {
            return fail(
                "the block is given to nobody while its page is pinned",
                seen,
                "the operation, which must wait for the pin before it frees blocks",
            );
        }
        scene.ends(t, &op, operation)?;
        t.reads(canary, CANARY)
    })
}
