//! What keeps the running kernel from reporting faults: its log is clean only as far as it
//! speaks.
//!
//! Debugging code switches itself off, once for all, when it has reported or when something else
//! has gone wrong. The cases go on, but from there on they prove less.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::machine;
use crate::world;

/// `TAINT_BAD_PAGE`, which KASAN, SLUB and bad pages set: include/linux/panic.h.
const BAD_PAGE: u64 = 1 << 5;

/// What is looked at.
#[derive(Debug, Default)]
struct Reporting {
    /// /proc/lockdep_stats, if the kernel has lockdep.
    lockdep: Option<String>,
    /// /proc/sys/kernel/tainted.
    tainted: u64,
    /// /proc/sys/kernel/hung_task_warnings, if the kernel looks for hung tasks.
    hung_task_warnings: Option<i64>,
    /// The kernel has KASAN, which reports one fault a boot.
    kasan: bool,
    /// Each WARN_ON_ONCE can be made to warn again.
    warns_again: bool,
}

/// What the running kernel does not report, one sentence each.
pub(crate) fn here() -> anyhow::Result<BTreeSet<String>> {
    let number = |path| fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
    let tainted = number("/proc/sys/kernel/tainted").and_then(|bits| bits.try_into().ok());
    let mut facts = Reporting {
        lockdep: fs::read_to_string("/proc/lockdep_stats").ok(),
        tainted: tainted.unwrap_or_default(),
        hung_task_warnings: number("/proc/sys/kernel/hung_task_warnings"),
        kasan: false,
        warns_again: Path::new(world::WARN_AGAIN).exists(),
    };
    if facts.tainted & BAD_PAGE != 0 {
        let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        facts.kasan = !line.contains("kasan_multi_shot")
            && !machine::symbols(&["kasan_report"].into())?.is_empty();
    }
    Ok(facts.silent())
}

impl Reporting {
    fn silent(&self) -> BTreeSet<String> {
        let off = |text: &String| {
            text.lines().any(|line| {
                let mut words = line.split_whitespace();
                (words.next(), words.next()) == (Some("debug_locks:"), Some("0"))
            })
        };
        let mut silent = BTreeSet::new();
        let mut say = |what: &str| silent.insert(what.to_owned());
        if self.lockdep.as_ref().is_some_and(off) {
            say("lockdep is off until a reboot (debug_locks: 0 in /proc/lockdep_stats)");
        }
        if self.hung_task_warnings == Some(0) {
            say("hung tasks are no longer reported (kernel.hung_task_warnings is 0)");
        }
        if self.kasan {
            say(
                "KASAN may be silent until a reboot: the kernel is tainted by a bad page or object, \
                 and KASAN reports once a boot unless booted with kasan_multi_shot",
            );
        }
        if !self.warns_again {
            say(
                "a WARN_ON_ONCE that fired before the run is silent: there is no clear_warn_once in \
                 debugfs",
            );
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Reporting {
        Reporting { warns_again: true, hung_task_warnings: Some(10), ..Reporting::default() }
    }

    /// The kernel pads what kernel/locking/lockdep_proc.c prints.
    fn lockdep(on: u8) -> Reporting {
        let text = format!(
            " lock-classes:                         1702 [max: 8192]\n\
             \x20debug_locks:                             {on}\n"
        );
        Reporting { lockdep: Some(text), ..usual() }
    }

    #[test]
    fn a_kernel_that_speaks_needs_no_word() {
        assert_eq!(usual().silent(), BTreeSet::new());
        assert_eq!(lockdep(1).silent(), BTreeSet::new());
    }

    #[test]
    fn what_has_switched_itself_off_is_told() {
        let silent = lockdep(0).silent();
        assert!(silent.first().unwrap().starts_with("lockdep is off"));
        assert_eq!(Reporting { hung_task_warnings: Some(0), ..usual() }.silent().len(), 1);
        assert_eq!(Reporting { kasan: true, ..usual() }.silent().len(), 1);
        assert_eq!(Reporting { warns_again: false, ..usual() }.silent().len(), 1);
    }
}
