//! Text from a case or a kernel, as a report can hold it: without what steers a terminal, ends a
//! line, or may not stand in XML.

/// Text without colours and without control characters, which XML 1.0 cannot hold (its
/// production \[2\], Char); tabs and line ends stay.
pub(crate) fn text(text: &str) -> String {
    // Nearly all of it, and the rest takes a hundred times as long.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')) {
        return text.to_owned();
    }
    anstream::adapter::strip_str(text)
        .to_string()
        .chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// The same in one line. Readers disagree about which characters end one.
pub(crate) fn line(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    self::text(text).replace(['\t', '\n', '\r', '\u{2028}', '\u{2029}'], " ")
}

/// Text that stays in its cell of a Markdown table.
pub(crate) fn cell(text: &str) -> String {
    line(text).replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_line() {
        assert_eq!(line("a\u{1b}[31mb\u{1b}[0m\r\nc\u{85}d\u{b}e\u{2028}f"), "ab  c\u{fffd}de f");
        assert_eq!(text("a\n\tb"), "a\n\tb");
    }
}
