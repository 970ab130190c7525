//! Preconditions that are not the case's to make, and what becomes of a case without them.
//!
//! Which block a file system gives to a file is its own choice, and one that is built to test
//! itself (`CONFIG_XFS_DEBUG`) makes it by lot. A case that wants a certain block tries again until
//! it has it. If it never does it is *not exercised*: it ends as NOTRUN with that reason, which
//! `--require` turns into an error. That is neither a pass, for nothing was shown, nor a failure,
//! for nothing was wrong; and a deviation that is known is neither confirmed nor missing.
//!
//! A race that never met its window is another matter: its pauses are its own, so it fails.

/// How often a case tries: a lot that falls wrong once in ten falls so eight times in a row once
/// in a hundred million.
pub(crate) const MOST: u32 = 8;

/// The attempts of a case so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// The one that is under way, from 0.
    number: u32,
    /// Lines of its transcript.
    said: usize,
    /// The most lines that any before it came to.
    told: usize,
}

impl Attempts {
    /// Whether the next line is to be told, and not one that an earlier attempt said already.
    pub(crate) fn is_news(&mut self) -> bool {
        self.said += 1;
        self.said > self.told
    }

    /// What to call a file, where those of earlier attempts may still be.
    pub(crate) fn name(&self, name: &str) -> String {
        match self.number {
            0 => name.to_owned(),
            number => format!("{name}-{number}"),
        }
    }

    /// Begins the next.
    pub(crate) fn again(&mut self) {
        self.number += 1;
        self.told = self.told.max(self.said);
        self.said = 0;
    }
}

/// Whether `seen` is what some attempt says of files where `told` has their names: each word is the
/// same, but for the number of the attempt.
pub fn is_said_in_some_attempt(seen: &str, told: &str) -> bool {
    let (mut seen, mut told) = (seen.split(' '), told.split(' '));
    loop {
        match (seen.next(), told.next()) {
            (None, None) => return true,
            (Some(seen), Some(told)) => {
                let number = seen.strip_prefix(told).map(|rest| rest.strip_prefix('-'));
                let is_number = |text: &str| text.parse::<u32>().is_ok_and(|number| number < MOST);
                if seen != told && !number.flatten().is_some_and(is_number) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_said_in_some_attempt;
    use crate::case::{Body, Case};
    use crate::patience::Limit;
    use crate::perform::perform;
    use crate::system::reference::{Reference, ReferenceSetup};
    use crate::test::{Checked, Ending, Test};
    use crate::transcript::Telling;

    #[test]
    fn a_name_is_the_same_in_each_attempt() {
        for (seen, same) in [
            ("punch page 1 of data", true),
            ("punch page 1 of data-2", true),
            ("punch page 1 of data-x", false),
            ("punch page 1 of data-", false),
            ("punch page 1 of database", false),
            ("punch page 1 of", false),
            ("punch page 1 of data now", false),
        ] {
            assert_eq!(is_said_in_some_attempt(seen, "punch page 1 of data"), same, "{seen}");
        }
    }

    fn third(t: &mut Test<'_>) -> Checked {
        let mut number = 0;
        t.until("the third attempt", |t| {
            number += 1;
            let data = t.file("data", "ab")?;
            t.map(data)?;
            t.reads(data, "ab")?;
            if number > 1 {
                t.reads(data, "ab")?;
            }
            if number == 3 {
                t.say("done");
            }
            Ok(number == 3)
        })
    }

    fn never(t: &mut Test<'_>) -> Checked {
        t.until("anything", |_| Ok(false))
    }

    fn run(run: fn(&mut Test<'_>) -> Checked) -> (Ending, Vec<String>) {
        let case = Case {
            name: "test/attempts",
            coordinates: &[],
            about: &[],
            groups: &[],
            needs: &[],
            limit: Limit::secs(1),
            origin: "",
            body: Body::Function(run),
        };
        let mut lines = Vec::new();
        let ending =
            perform(&case, &mut Reference::new(&ReferenceSetup::default()), 1, &mut |report| {
                match report {
                    Telling::Line(line) => lines.push(line),
                    Telling::Note { name, value } => lines.push(format!("{name}: {value}")),
                    Telling::Observed(observed) => lines.extend(observed),
                    Telling::Found(found) => lines.push(found.to_string()),
                }
            });
        (ending, lines)
    }

    #[test]
    fn several_attempts_tell_what_one_does() {
        let (ending, lines) = run(third);
        assert_eq!(ending, Ending::Pass);
        assert_eq!(
            lines,
            [
                "create data: ab",
                "make the map of data, pages 0..2",
                "data reads \"ab\"",
                "data reads \"ab\"",
                "done",
                "attempts: 3"
            ]
        );
    }

    #[test]
    fn what_never_comes_about_is_not_exercised() {
        let (ending, _) = run(never);
        assert_eq!(
            ending,
            Ending::NotRun("not exercised: in 8 attempts never anything".to_owned())
        );
    }
}
