//! The fields that an event has, for programs: a name, and a value of its own type.
//!
//! The line of JSON and the arguments in Perfetto are both made from this list, so that a field has
//! one name and one type wherever a program meets it.

use protocol::{Event, Kind, OperationKind, flag};
use serde::Serialize;

use super::locks;

/// A field's value. A field has the same type in every event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum FieldValue {
    /// A number of something, or what is known by a number.
    Unsigned(u64),
    /// A result, or a count that may have been read while it went below zero.
    Signed(i64),
    /// Where something is in the kernel; to JSON it is a number.
    Address(i64),
    /// Yes or no.
    Truth(bool),
    /// One of a few words.
    Word(&'static str),
    /// Any number of them.
    Words(Vec<&'static str>),
}

/// A field that its kind does not have is not there. A `count` that is not there: one, or all to the
/// end of the file.
pub(crate) fn fields_of(event: &Event) -> Vec<(&'static str, FieldValue)> {
    use FieldValue::{Address, Signed, Truth, Unsigned, Word, Words};
    let kind = Kind::from_number(event.kind);
    let is = |kinds: &[Kind]| kind.is_some_and(|kind| kinds.contains(&kind));
    let value = |kinds: &[Kind]| is(kinds).then_some(Signed(event.value));
    let address = |kinds: &[Kind]| is(kinds).then_some(Address(event.value));
    let is_ranged = is(&[Kind::Begin, Kind::Free]) && event.count != 0;
    let has_page = event.page != 0;
    let has_index = (has_page && event.inode != 0) || (!has_page && is_ranged);
    let operation = || OperationKind::from_number(event.detail).map_or("unknown", |it| it.name());
    let fields = [
        ("operation", is(&[Kind::Begin, Kind::End]).then(|| Word(operation()))),
        ("inode", (event.inode != 0).then_some(Unsigned(event.inode))),
        ("page", has_page.then_some(Unsigned(event.page))),
        ("index", has_index.then_some(Unsigned(event.index))),
        ("count", (is_ranged && event.count != u64::MAX).then_some(Unsigned(event.count))),
        ("refs", has_page.then_some(Signed(event.refs.into()))),
        ("maps", has_page.then_some(Signed(event.maps.into()))),
        ("result", value(&[Kind::End, Kind::BreakEnd, Kind::WaitEnd])),
        ("holder", address(&[Kind::Pin, Kind::Unpin]).filter(|holder| *holder != Address(0))),
        ("address", address(&[Kind::Warning])),
        ("records", value(&[Kind::Lost])),
        // The locks that the task holds while it sleeps.
        ("holds", is(&[Kind::Sleep]).then(|| Words(locks(event)))),
        // Whether the task sleeps for the page.
        (
            "asleep",
            is(&[Kind::Sleep, Kind::Sample]).then_some(Truth(event.detail & flag::ELSEWHERE == 0)),
        ),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
