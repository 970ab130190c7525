//! "did you mean": the known word that a mistyped one is nearest to.

/// How much two words must be alike, from 0 to 1. Below, what is offered is mostly nonsense.
const ALIKE: f64 = 0.8;

/// The word of `known` that `typed` was probably to be.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(typed, word), word))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_is_seen_and_nonsense_is_not() {
        let known = ["skip-unmapped", "no-unmap", "lost-wakeup"];
        assert_eq!(nearest("skip-unmaped", known), Some("skip-unmapped"));
        assert_eq!(nearest("lostwakeup", known), Some("lost-wakeup"));
        assert_eq!(nearest("xyz", known), None);
    }
}
