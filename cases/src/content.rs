//! What bytes hold, as far as a case looks: one value per sector.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::span::PAGE;

/// The granularity at which content is observed: one byte value per sector.
pub const SECTOR: u64 = 512;

/// What a range of bytes holds, one value per sector of [`SECTOR`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content(pub Vec<Sector>);

/// What one sector holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sector {
    /// The same byte throughout.
    Uniform(u8),
    /// More than one value: torn.
    Torn,
}

impl Content {
    /// Summarises bytes; a tail shorter than a sector counts as one.
    pub fn of(bytes: &[u8]) -> Self {
        Self(
            bytes
                .chunks(SECTOR as usize)
                .map(|sector| {
                    if sector.iter().all(|byte| *byte == sector[0]) {
                        Sector::Uniform(sector[0])
                    } else {
                        Sector::Torn
                    }
                })
                .collect(),
        )
    }
}

impl fmt::Display for Content {
    /// One sign per page: a letter for the byte that fills it, `.` for zeros, `~` for a torn
    /// page; a page whose sectors differ is written as its sectors in brackets, and more than
    /// eight equal pages as `a*512`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |sector: &Sector| match sector {
            Sector::Uniform(0) => '.'.to_string(),
            Sector::Uniform(byte) if byte.is_ascii_graphic() => char::from(*byte).to_string(),
            Sector::Uniform(byte) => format!("\\x{byte:02x}"),
            Sector::Torn => '~'.to_string(),
        };
        let signs: Vec<String> = self
            .0
            .chunks((PAGE / SECTOR) as usize)
            .map(|page| {
                if page.iter().all(|sector| *sector == page[0]) {
                    sign(&page[0])
                } else {
                    format!("[{}]", page.iter().map(sign).collect::<String>())
                }
            })
            .collect();
        for run in signs.chunk_by(|a, b| a == b) {
            if run.len() > 8 {
                write!(f, "{}*{}", run[0], run.len())?;
            } else {
                write!(f, "{}", run.concat())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_written_a_sign_a_page() {
        let mut bytes = vec![b'a'; PAGE as usize];
        bytes.extend(vec![0; PAGE as usize]);
        let mut mixed = vec![b'c'; PAGE as usize];
        mixed[..2048].fill(b'd');
        bytes.extend(mixed);
        assert_eq!(Content::of(&bytes).to_string(), "a.[ddddcccc]");
        bytes[1] = b'x';
        assert_eq!(Content::of(&bytes[..4096]).to_string(), "[~aaaaaaa]");
        assert_eq!(Content::of(&vec![b'z'; 9 * 4096]).to_string(), "z*9");
    }
}
