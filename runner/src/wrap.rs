//! Text in lines of a certain width, for programs and mails that are made.

/// The words of `text` in lines of `width` at the most, unless a word is longer.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_lost_or_cut() {
        assert_eq!(lines("a bb  ccc\ndddd e", 4), ["a bb", "ccc", "dddd", "e"]);
        assert_eq!(lines("longer", 4), ["longer"]);
        assert!(lines("  ", 4).is_empty());
    }
}
