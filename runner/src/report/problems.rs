//! What is wrong with an execution, in a text of its own: for JUnit and for KCIDB.

use crate::verdict::Problem;

/// Each with its title, its fields if a rule found it, and its text.
pub(super) fn text(problems: &[Problem]) -> String {
    let texts = problems.iter().map(|problem| {
        let fields = problem.finding.as_ref();
        let fields = fields.map_or(String::new(), |found| format!("{}\n", found.fields()));
        format!("{}\n{fields}\n{}\n", problem.title, problem.text.trim_end())
    });
    texts.collect::<Vec<_>>().join("\n")
}
