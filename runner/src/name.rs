//! The name by which the user called this program: what it prints names it so. An installed one is
//! `daxtests`.

use std::sync::OnceLock;

static NAME: OnceLock<String> = OnceLock::new();

/// Keeps the name. It is told once, before anything is printed.
pub(crate) fn keep(name: String) {
    let _ = NAME.set(name);
}

/// The name.
pub(crate) fn own() -> &'static str {
    NAME.get().map_or("runner", String::as_str)
}
