//! A case as a program of the fuzzer, which can be shrunk: a case itself cannot, for what it checks
//! is code.
//!
//! What it did on the reference becomes steps ([`cases::record`]); what it demanded does not: what
//! must come of each step, a run beside the reference says. So a case that leaves more than one
//! outcome open has no such program.

use cases::Deed;
use cases::action::Action;
use cases::system::Signal;

use crate::fuzz::program::{Program, Step};

/// The program of what a case did; why there is none.
pub(super) fn program(deeds: &[Deed]) -> Result<Program, String> {
    let mut steps = Vec::new();
    for deed in deeds {
        steps.extend(step(deed)?);
    }
    Ok(Program { steps, seed: 0, huge: 0, bare: true })
}

fn step(deed: &Deed) -> Result<Option<Step>, String> {
    Ok(Some(match deed {
        Deed::Spawn { task, of, kinship } => {
            Step::Spawn { task: task.0, of: of.0, kinship: *kinship }
        }
        Deed::Start { action: Action::Run(_) | Action::DirectLoad { .. }, words, .. } => {
            return Err(format!("it goes on beside the rest: {words}"));
        }
        Deed::Start {
            action:
                Action::Whole(_)
                | Action::CreateSpare { .. }
                | Action::Poison { .. }
                | Action::PoisonBlock { .. }
                | Action::SoftOffline { .. }
                | Action::SpoilBlocks { .. }
                | Action::SpoilBlock { .. }
                | Action::Remap { .. },
            words,
            ..
        } => return Err(format!("it is done to a whole file system: {words}")),
        // The fuzzer collects direct I/O when it lets it go, where blocks lie is nobody's business, and
        // what must come of it the reference says again.
        Deed::Start { action: Action::Reap { .. } | Action::Blocks { .. }, .. }
        | Deed::Blocked(_)
        | Deed::End { .. }
        | Deed::Transferred { .. } => return Ok(None),
        Deed::Start { task, action, .. } => Step::Do(task.0, action.clone()),
        Deed::Signal { task, signal: Signal::Handled } => Step::Signal(task.0),
        Deed::Signal { signal: Signal::Kill, .. } => return Err("it kills a process".to_owned()),
        Deed::Release(pin) => Step::Release(*pin),
        Deed::Settled(_) | Deed::Open(_) | Deed::Whatever(_) | Deed::InOrder(_) => {
            return Err("more than one outcome is right, and the reference has one".to_owned());
        }
        Deed::HoldInCopy(_) | Deed::Stands(_) | Deed::Go(_) => {
            return Err("it holds a task in a copy, which no program of the fuzzer does".to_owned());
        }
    }))
}
