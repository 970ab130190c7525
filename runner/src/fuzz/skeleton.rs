//! The beginning of a case from a program that diverged.

use std::fmt::Write as _;

use super::program::{Program, Step};

/// Rust to start from: the steps as a case does them, for a person to name and to check.
pub(crate) fn of(program: &Program, kind: &str) -> String {
    let mut text = format!(
        "case! {{\n    /// Found by fuzzing, seed {}: {kind}.\n    \
         found: \"fuzz/found\",\n    groups: [], needs: [], limit: 180, origin: origin::BREAK,\n\
         }}\nfn found(t: &mut Test<'_>) -> Checked {{\n",
        program.seed
    );
    if program.huge > 0 {
        text.push_str("    // Files 1 and 2 are huge_file()s here.\n");
    }
    for step in &program.steps {
        // Writing to a string cannot fail.
        let _ = match step {
            Step::Do(0, action) => writeln!(text, "    t.run(Action::{action:?})?;"),
            Step::Do(task, action) => {
                writeln!(text, "    let op = t.begin_as(TaskId({task}), Action::{action:?})?;")
            }
            Step::Release(pin) => writeln!(text, "    t.release({pin:?})?;"),
            Step::Signal(task) => {
                writeln!(text, "    t.signal(TaskId({task}), Signal::Handled)?;")
            }
            Step::Hold { task, point, .. } => {
                writeln!(
                    text,
                    "    let held{task} = t.hold(TaskId({task}), HoldPoint::{point:?})?;"
                )
            }
            Step::Spawn { task, of, kinship } => {
                writeln!(text, "    let task{task} = t.spawn(TaskId({of}), Kinship::{kinship:?})?;")
            }
            Step::Go(task) => writeln!(text, "    t.go(&held{task})?;"),
            Step::Load(action) => writeln!(text, "    let load = t.begin(Action::{action:?})?;"),
        };
    }
    text.push_str("    Ok(())\n}\n");
    text
}
