//! A share of the cases, so that several machines run a suite together.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Share `number` of `of`. A case belongs to the same share whatever else is selected: a suite that
/// grows moves none from one machine to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) of: u32,
}

/// What a run of a share is a share of: it takes the others to tell of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    #[serde(flatten)]
    pub(crate) shard: Shard,
    /// The names of all cases that were selected, in their order.
    pub(crate) selected: Vec<String>,
}

impl Shard {
    /// Whether the case of this name is in it.
    pub(crate) fn has(self, case: &str) -> bool {
        crc32fast::hash(case.as_bytes()) % self.of == self.number - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').and_then(|(number, of)| {
            Some(Self { number: number.parse().ok()?, of: of.parse().ok()? })
        });
        parts
            .filter(|shard| (1..=shard.of).contains(&shard.number))
            .ok_or("say I/N, such as 1/3, with I from 1 to N")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_the_whole_and_none_has_two_thirds() {
        for of in 1..6 {
            let shards: Vec<Shard> =
                (1..=of).map(|number| format!("{number}/{of}").parse().unwrap()).collect();
            let cases = cases::all();
            for case in &cases {
                assert_eq!(shards.iter().filter(|shard| shard.has(case.name)).count(), 1);
            }
            let largest =
                shards.iter().map(|shard| cases.iter().filter(|case| shard.has(case.name)).count());
            assert!(largest.max().unwrap() * 3 <= cases.len() * 2 || of == 1);
        }
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        for text in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "one/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
