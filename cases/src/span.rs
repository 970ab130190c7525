//! Ranges of bytes, most often of whole pages.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes in a page. The file systems are made with blocks of this size.
pub const PAGE: u64 = 4096;

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub at: u64,
    /// Number of bytes.
    pub len: u64,
}

/// `count` pages from page `first`.
pub const fn pages(first: u64, count: u64) -> Span {
    Span { at: first * PAGE, len: count * PAGE }
}

/// The one page `index`.
pub const fn page(index: u64) -> Span {
    pages(index, 1)
}

impl Span {
    /// First byte behind the range.
    pub const fn end(self) -> u64 {
        self.at + self.len
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, end) = (self.at, self.end());
        if at % PAGE == 0 && self.len == PAGE {
            write!(f, "page {}", at / PAGE)
        } else if at % PAGE == 0 && end % PAGE == 0 {
            write!(f, "pages {}..{}", at / PAGE, end / PAGE)
        } else {
            write!(f, "bytes {at}..{end}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_in_pages_where_they_are_pages() {
        assert_eq!(page(3).to_string(), "page 3");
        assert_eq!(pages(1, 2).to_string(), "pages 1..3");
        assert_eq!(Span { at: 1, len: 2 }.to_string(), "bytes 1..3");
    }
}
