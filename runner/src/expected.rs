//! What each case must print: the golden transcripts.

use similar::TextDiff;

static TRANSCRIPTS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/transcripts.rs"));

/// The golden transcript of `case`.
pub(crate) fn transcript(case: &str) -> Option<&'static str> {
    TRANSCRIPTS.iter().find(|(name, _)| *name == case).map(|(_, text)| *text)
}

/// How `seen` differs from `golden`, as a unified diff. `whole` says that the case came to its
/// end; a case that stopped early need only have begun as expected.
pub(crate) fn difference(golden: &str, seen: &str, whole: bool) -> Option<String> {
    let same = if whole { golden == seen } else { golden.starts_with(seen) };
    if same {
        return None;
    }
    let diff = TextDiff::from_lines(golden, seen);
    Some(diff.unified_diff().context_radius(3).header("expected", "seen").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_equal() {
        assert_eq!(difference("a\nb\n", "a\nb\n", true), None);
        assert!(difference("a\nb\n", "a\n", true).is_some());
    }

    #[test]
    fn a_case_that_stopped_must_have_begun_as_expected() {
        assert_eq!(difference("a\nb\n", "a\n", false), None);
        assert!(difference("a\nb\n", "x\n", false).is_some());
    }

    #[test]
    fn the_diff_is_unified() {
        let diff = difference("a\nb\nc\n", "a\nB\nc\n", true).unwrap();
        assert_eq!(diff, "--- expected\n+++ seen\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    }

    #[test]
    fn every_transcript_belongs_to_a_case() {
        for (name, text) in TRANSCRIPTS {
            assert!(
                cases::all().iter().any(|case| case.name == *name),
                "expected/{name}.out belongs to no case"
            );
            assert!(text.ends_with('\n'), "expected/{name}.out is cut off");
        }
    }
}
