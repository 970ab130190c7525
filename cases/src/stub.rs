//! TODO: what the cases of this group have in common, and why no axis expresses it.

use crate::action::{Action, page};
use crate::case::case;
use crate::origin;
use crate::test::{Checked, Test};

case! {
    /// TODO: what must hold, and why.
    short: "stub/short",
    groups: [], needs: [], limit: 180, origin: origin::BREAK,
}
fn short(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let op = t.begin(Action::Truncate { file: data.id, size: 0 })?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.reads(data, "")
}
