//! Rules, and the ways in which they are broken, in JSON and TOML: by their identifiers.

use alloc::format;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::how::How;
use crate::rule::Rule;

/// Reads one of the identifiers.
struct ById<T> {
    /// What it is of, for a message.
    what: &'static str,
    from_id: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for ById<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the identifier of {}", self.what)
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<T, E> {
        (self.from_id)(id).ok_or_else(|| E::custom(format!("\"{id}\" is not {}", self.what)))
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ById { what: "a rule", from_id: Self::from_id })
    }
}

impl Serialize for How {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for How {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ById { what: "a way to break a rule", from_id: Self::from_id })
    }
}
