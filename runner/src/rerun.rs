//! The command that does something again, from where the user stands.
//!
//! It is read from the plan, so that a report made elsewhere or later says the same.

use std::path::Path;

use reference::Variant;

use crate::fs::FsType;
use crate::plan::{Caller, Keep, Plan, quoted};
use crate::target::Target;

/// The command that runs just `case`, as it was in `iteration`.
pub(crate) fn case(plan: &Plan, case: &str, iteration: u64) -> String {
    let target = &plan.target;
    let mut words = Vec::new();
    let called = match &plan.caller {
        Caller::Harness(called) => called,
        Caller::User(called) => {
            words.extend(["--fs".to_owned(), target.fs.name().to_owned()]);
            called
        }
    };
    // The harness has the first device.
    let has = usize::from(matches!(plan.caller, Caller::Harness(_)));
    words.extend(of_target(target, has));
    if let Some(variant) = &plan.variant {
        words.extend(["--variant".to_owned(), variant.clone()]);
    }
    if plan.require {
        words.push("--require".to_owned());
    }
    words.extend(of_patience(plan));
    words.extend(of_known(plan));
    match plan.trace {
        Some(Keep::All) => words.push("--trace".to_owned()),
        Some(Keep::Failed) => words.push("--trace=failed".to_owned()),
        None => {}
    }
    words.extend(["--seed".to_owned(), plan.seed.wrapping_add(iteration).to_string()]);
    words.push(case.to_owned());
    format!("{called} {}", quoted(words.iter().map(String::as_str)))
}

/// The command that runs a program again that `command` (fuzz or explore) left at `path`; `bug` is the
/// option that gives the reference one, and which.
pub(crate) fn program(
    plan: &Plan,
    command: &str,
    bug: Option<(&str, Variant)>,
    path: &Path,
) -> String {
    let target = &plan.target;
    let mut words = vec![command.to_owned()];
    // Against a variant it is the reference without saying so.
    if target.fs != FsType::Reference || bug.is_none_or(|(option, _)| option != AGAINST) {
        words.extend(["--fs".to_owned(), target.fs.name().to_owned()]);
    }
    words.extend(of_target(target, 0));
    if let Some((option, variant)) = bug {
        words.extend([option.to_owned(), variant.to_string()]);
    }
    words.extend(of_patience(plan));
    words.extend(of_known(plan));
    words.extend(["--replay".to_owned(), path.display().to_string()]);
    let (Caller::User(called) | Caller::Harness(called)) = &plan.caller;
    format!("{called} {}", quoted(words.iter().map(String::as_str)))
}

/// What says where it ran, but for the file system and the first `had` devices.
fn of_target(target: &Target, had: usize) -> Vec<String> {
    let devices = target.devices.iter().skip(had);
    let mut words: Vec<_> =
        devices.flat_map(|dev| ["--dev".to_owned(), dev.display().to_string()]).collect();
    words.extend(target.words());
    words
}

/// What says how patient it was.
fn of_patience(plan: &Plan) -> Vec<String> {
    match plan.timeout_factor {
        1.0 => Vec::new(),
        factor => vec!["--timeout-factor".to_owned(), factor.to_string()],
    }
}

/// What says which deviations were known besides.
fn of_known(plan: &Plan) -> impl Iterator<Item = String> {
    plan.known.iter().flat_map(|file| ["--known".to_owned(), file.path.display().to_string()])
}

/// The option of `runner fuzz` that holds the reference with a bug against the one without.
pub(crate) const AGAINST: &str = "--against-variant";

/// The command that goes on with the run in `folder`, if that is for the user to do.
pub(crate) fn resume(plan: &Plan, folder: &Path) -> Option<String> {
    match &plan.caller {
        Caller::User(called) => {
            Some(format!("{called} --resume {}", quoted([folder.to_string_lossy().as_ref()])))
        }
        Caller::Harness(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    #[test]
    fn all_that_matters_is_said_again() {
        let plan = Plan {
            target: Target {
                devices: vec!["/dev/disk/by-id/a b".into(), "/dev/pmem1".into()],
                shapes: vec!["stripe".to_owned(), "no-reflink".to_owned()],
                mkfs_options: vec!["-d".to_owned(), "agcount=2".to_owned()],
                mount_options: vec!["noatime".to_owned()],
                ..plan::example().target
            },
            require: true,
            timeout_factor: 2.5,
            trace: Some(Keep::Failed),
            iterations: Some(9),
            caller: Caller::user("", "./target/my build/runner", true),
            ..plan::example()
        };
        assert_eq!(
            case(&plan, "race/retry", 3),
            "sudo './target/my build/runner' --fs xfs --dev '/dev/disk/by-id/a b' --dev /dev/pmem1 \
             --shape stripe --shape no-reflink \"--mkfs-options=-d 'agcount=2'\" \
             '--mount-options=noatime' --require --timeout-factor 2.5 '--trace=failed' --seed 10 race/retry"
        );
        let plan = Plan {
            target: Target::reference(),
            variant: Some("skip-unmapped".to_owned()),
            caller: Caller::user("", "runner", false),
            ..plan::example()
        };
        assert_eq!(
            case(&plan, "race/retry", 0),
            "runner --fs reference --variant skip-unmapped --seed 7 race/retry"
        );
        assert_eq!(
            resume(&plan, Path::new("my results")).as_deref(),
            Some("runner --resume 'my results'")
        );
    }

    #[test]
    fn a_program_is_run_again_where_it_ran() {
        let path = Path::new("my results/punch.json");
        let mut plan = Plan {
            target: Target {
                devices: vec!["/dev/pmem0".into()],
                shapes: vec!["no-reflink".to_owned()],
                ..plan::example().target
            },
            caller: Caller::user("", "runner", true),
            ..plan::example()
        };
        assert_eq!(
            program(&plan, "fuzz", None, path),
            "sudo runner fuzz --fs xfs --dev /dev/pmem0 --shape no-reflink --replay 'my results/punch.json'"
        );
        plan.timeout_factor = 4.0;
        assert_eq!(
            program(&plan, "explore", None, Path::new("a.json")),
            "sudo runner explore --fs xfs --dev /dev/pmem0 --shape no-reflink --timeout-factor 4 --replay a.json"
        );
        plan.timeout_factor = 1.0;
        plan.target = Target::reference();
        assert_eq!(
            program(&plan, "fuzz", Some((AGAINST, Variant::NoBreak)), path),
            "sudo runner fuzz --against-variant no-break --replay 'my results/punch.json'"
        );
        assert_eq!(
            program(&plan, "explore", Some(("--variant", Variant::NoBreak)), path),
            "sudo runner explore --fs reference --variant no-break --replay 'my results/punch.json'"
        );
    }

    #[test]
    fn in_a_machine_of_the_harness_it_is_the_harness_that_is_called() {
        let plan = Plan {
            trace: Some(Keep::All),
            caller: Caller::Harness("./ci/vm --kernel 6.12 --fs xfs".to_owned()),
            ..plan::example()
        };
        assert_eq!(
            case(&plan, "race/retry", 0),
            "./ci/vm --kernel 6.12 --fs xfs --trace --seed 7 race/retry"
        );
        assert_eq!(resume(&plan, Path::new("results")), None);
    }
}
