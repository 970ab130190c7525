//! One row per step of the protocol: which kernel functions can carry it, newest first.
//!
//! What a kernel lacks is found by looking at its symbols, never at its version.

use std::fs;

use crate::symbols::Symbols;
use crate::tracefs::tracepoint_exists;
use crate::unseen;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// To any instruction that is a function's first; reaches modules.
    Kprobe,
    /// To the return of such a function.
    Kretprobe,
    /// To the entry of a function of the kernel itself: cheaper.
    Fentry,
    /// To its exit.
    Fexit,
    /// To a function that nothing else reaches: a hardware breakpoint on each processor.
    Breakpoint,
    /// To a tracepoint's own arguments.
    RawTracepoint,
    /// To a tracepoint's record.
    Tracepoint,
}

/// One way to see a step.
#[derive(Clone, Copy, Debug)]
pub struct Alternative {
    /// The kernel's function, or `category:name` of a tracepoint.
    pub symbol: &'static str,
    /// The compiler may have derived the function's name (`.isra.0`).
    pub derived: bool,
    /// The programs, and how each is attached.
    pub programs: &'static [(&'static str, Attach)],
    /// A global of the probes that tells them which alternative it is, and its value.
    pub tells: Option<(&'static str, u32)>,
}

/// When a hook is of use. At other times it is detached, since every call of the function pays for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At all times.
    Always,
    /// While a break waits.
    BesideWait,
    /// For who reads a timeline; no rule asks for it.
    InDetail,
    /// Until the kernel has warned for the first time since it was booted. What warns then is
    /// printed, and he who prints it can be asked.
    UntilWarned,
    /// From then on: a WARN_ON_ONCE that has been printed is not printed again.
    OnceWarned,
}

impl When {
    /// As it stands behind a hook in a list; empty for most.
    pub fn words(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::BesideWait => ", while a break waits",
            Self::InDetail => ", for a timeline",
            Self::UntilWarned => ", until the kernel has warned",
            Self::OnceWarned => ", once the kernel has warned",
        }
    }
}

/// A step of the protocol.
#[derive(Clone, Copy, Debug)]
pub struct ProtocolStep {
    /// What happens there.
    pub name: &'static str,
    /// The only file system that has it, if not all.
    pub file_system: Option<&'static str>,
    /// Without it the rules cannot judge, and the tracer refuses to work.
    pub needed: bool,
    /// When it is of use.
    pub when: When,
    /// What the self-check misses if this hook is blind, if it can tell.
    pub blind: Option<&'static str>,
    /// The ways to see it, the best first.
    pub alternatives: &'static [Alternative],
}

impl Alternative {
    /// Whether a task that is preempted in one of the programs keeps the others on its processor
    /// out of it.
    fn may_be_kept_out(&self) -> bool {
        let any = |ways: &[Attach]| self.programs.iter().any(|(_, how)| ways.contains(how));
        // Beside a kprobe it stands in.
        any(&[Attach::Fentry, Attach::Fexit]) && !any(&[Attach::Kprobe])
    }
}

/// A function by its own name.
pub(crate) const fn at(
    symbol: &'static str,
    programs: &'static [(&'static str, Attach)],
) -> Alternative {
    Alternative { symbol, derived: false, programs, tells: None }
}

/// All steps.
pub const STEPS: &[ProtocolStep] = &[
    ProtocolStep {
        name: "break",
        file_system: Some("xfs"),
        needed: true,
        when: When::Always,
        blind: Some("break"),
        alternatives: &[at(
            "xfs_break_layouts",
            &[("break_begin_xfs", Attach::Kprobe), ("break_end", Attach::Kretprobe)],
        )],
    },
    ProtocolStep {
        name: "break of two files",
        file_system: Some("xfs"),
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[at(
            "xfs_ilock2_io_mmap",
            &[("break_begin_two", Attach::Kprobe), ("break_end", Attach::Kretprobe)],
        )],
    },
    ProtocolStep {
        name: "break",
        file_system: Some("ext4"),
        needed: true,
        when: When::Always,
        blind: Some("break"),
        alternatives: &[
            at(
                "ext4_break_layouts",
                &[("break_begin", Attach::Kprobe), ("break_end", Attach::Kretprobe)],
            ),
            // Where the former is inlined into its callers, which the self-check notices.
            at(
                "dax_break_layout",
                &[("break_layout_begin", Attach::Fentry), ("break_layout_end", Attach::Fexit)],
            ),
            at(
                "dax_break_layout",
                &[("break_begin", Attach::Kprobe), ("break_end", Attach::Kretprobe)],
            ),
        ],
    },
    ProtocolStep {
        name: "last break",
        file_system: None,
        needed: false,
        when: When::Always,
        blind: None,
        alternatives: &[
            at(
                "dax_break_layout_final",
                &[("break_final_begin", Attach::Fentry), ("break_final_end", Attach::Fexit)],
            ),
            at(
                "dax_break_layout_final",
                &[
                    ("break_final_begin_probe", Attach::Kprobe),
                    ("break_final_end_probe", Attach::Kretprobe),
                ],
            ),
        ],
    },
    ProtocolStep {
        name: "scan",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[
            at(
                "dax_layout_busy_page_range",
                &[("scan_begin", Attach::Fentry), ("scan_end", Attach::Fexit)],
            ),
            at(
                "dax_layout_busy_page_range",
                &[("scan_begin_probe", Attach::Kprobe), ("scan_end_probe", Attach::Kretprobe)],
            ),
        ],
    },
    ProtocolStep {
        name: "wait",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[
            at("init_wait_var_entry", &[("wait_begin", Attach::Fentry)]),
            at("init_wait_var_entry", &[("wait_begin_probe", Attach::Kprobe)]),
        ],
    },
    ProtocolStep {
        name: "sleep",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[at("sched:sched_switch", &[("switch_away", Attach::RawTracepoint)])],
    },
    ProtocolStep {
        name: "wake",
        file_system: None,
        needed: true,
        when: When::BesideWait,
        blind: None,
        alternatives: &[at("wake_up_var", &[("wake_up", Attach::Fentry)])],
    },
    ProtocolStep {
        name: "entry removal",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[
            Alternative {
                symbol: "dax_disassociate_entry",
                derived: false,
                programs: &[("remove_entry_fast", Attach::Fentry)],
                tells: Some(("REMOVE_HAS_MAPPING", 1)),
            },
            // Where the kernel's BTF does not describe it.
            Alternative {
                symbol: "dax_disassociate_entry",
                derived: false,
                programs: &[("remove_entry", Attach::Kprobe)],
                tells: Some(("REMOVE_HAS_MAPPING", 1)),
            },
            Alternative {
                symbol: "dax_disassociate_entry",
                derived: true,
                programs: &[("remove_entry", Attach::Kprobe)],
                tells: Some(("REMOVE_HAS_MAPPING", 0)),
            },
        ],
    },
    ProtocolStep {
        name: "block free",
        file_system: Some("xfs"),
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[Alternative {
            symbol: "xfs:xfs_free_extent",
            derived: false,
            programs: &[("free_blocks", Attach::Tracepoint)],
            tells: Some(("FREE_BY_GROUP", 1)),
        }],
    },
    ProtocolStep {
        name: "block free",
        file_system: Some("ext4"),
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[Alternative {
            symbol: "ext4:ext4_free_blocks",
            derived: false,
            programs: &[("free_blocks", Attach::Tracepoint)],
            tells: Some(("FREE_BY_GROUP", 0)),
        }],
    },
    ProtocolStep {
        name: "pin by direct I/O",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[
            at("bio_iov_iter_get_pages", &[("pin_bio", Attach::Fexit)]),
            at(
                "bio_iov_iter_get_pages",
                &[("pin_bio_begin_probe", Attach::Kprobe), ("pin_bio_probe", Attach::Kretprobe)],
            ),
        ],
    },
    ProtocolStep {
        name: "unpin by direct I/O",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[
            at("__bio_release_pages", &[("unpin_bio", Attach::Fentry)]),
            at(
                "__bio_release_pages",
                &[(unseen::STOOD_IN_FOR, Attach::Kprobe), (unseen::STAND_IN, Attach::Fentry)],
            ),
        ],
    },
    ProtocolStep {
        name: "pin by a pipe",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: Some("pin"),
        alternatives: &[
            at("add_to_pipe", &[("pin_pipe", Attach::Fentry)]),
            at("add_to_pipe", &[("pin_pipe_probe", Attach::Kprobe)]),
            // Where the former is inlined into vmsplice, which the self-check notices.
            at("get_user_pages_fast", &[("pin_buffer", Attach::Fexit)]),
            at(
                "get_user_pages_fast",
                &[
                    ("pin_buffer_begin_probe", Attach::Kprobe),
                    ("pin_buffer_probe", Attach::Kretprobe),
                ],
            ),
        ],
    },
    ProtocolStep {
        name: "unpin by a pipe",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        // fs/splice.c, user_page_pipe_buf_ops: what vmsplice puts into a pipe is released here.
        alternatives: &[
            at("page_cache_pipe_buf_release", &[("unpin_pipe", Attach::Fentry)]),
            at("page_cache_pipe_buf_release", &[("unpin_pipe_probe", Attach::Kprobe)]),
        ],
    },
    ProtocolStep {
        name: "warning",
        file_system: None,
        needed: true,
        when: When::UntilWarned,
        blind: None,
        alternatives: &[at("__warn", &[("warned", Attach::Fentry)])],
    },
    ProtocolStep {
        name: "oops",
        file_system: None,
        needed: false,
        when: When::UntilWarned,
        blind: None,
        alternatives: &[at("die", &[("died", Attach::Fentry)])],
    },
    ProtocolStep {
        name: "repeated warning",
        file_system: None,
        needed: false,
        when: When::OnceWarned,
        blind: None,
        alternatives: &[
            at("__report_bug", &[("trap_second", Attach::Breakpoint)]),
            at("report_bug", &[("trap", Attach::Breakpoint)]),
        ],
    },
    ProtocolStep {
        name: "fsync",
        file_system: None,
        needed: true,
        when: When::Always,
        blind: None,
        alternatives: &[
            at("vfs_fsync_range", &[("fsync_begin", Attach::Fentry), ("fsync_end", Attach::Fexit)]),
            at(
                "vfs_fsync_range",
                &[("fsync_begin_probe", Attach::Kprobe), ("fsync_end_probe", Attach::Kretprobe)],
            ),
        ],
    },
    ProtocolStep {
        name: "fallocate",
        file_system: None,
        needed: false,
        when: When::InDetail,
        blind: None,
        alternatives: &[at(
            "vfs_fallocate",
            &[("fallocate_begin", Attach::Fentry), ("fallocate_end", Attach::Fexit)],
        )],
    },
    ProtocolStep {
        name: "truncate",
        file_system: None,
        needed: false,
        when: When::InDetail,
        blind: None,
        alternatives: &[at(
            "do_truncate",
            &[("truncate_begin", Attach::Fentry), ("truncate_end", Attach::Fexit)],
        )],
    },
    ProtocolStep {
        name: "fault",
        file_system: None,
        needed: false,
        when: When::BesideWait,
        blind: None,
        alternatives: &[
            at("dax_iomap_fault", &[("fault_begin", Attach::Fentry), ("fault_end", Attach::Fexit)]),
            at(
                "dax_iomap_fault",
                &[("fault_begin_probe", Attach::Kprobe), ("fault_end_probe", Attach::Kretprobe)],
            ),
        ],
    },
];

/// A step and the way it is seen on this kernel.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The step.
    pub step: &'static ProtocolStep,
    /// The alternative, and the name of the function as this kernel has it; none if it has none.
    pub chosen: Option<(&'static Alternative, String)>,
}

impl ProtocolStep {
    /// Chooses the first alternative that this kernel has.
    pub fn resolve(&'static self, symbols: &Symbols, preempts: bool) -> Resolved {
        Resolved { step: self, chosen: self.ways(symbols, preempts).into_iter().next() }
    }

    /// The alternatives that this kernel has, the best first, with the names it has them by.
    ///
    /// One that misses calls if the kernel preempts comes last where it does.
    pub fn ways(
        &'static self,
        symbols: &Symbols,
        preempts: bool,
    ) -> Vec<(&'static Alternative, String)> {
        let there = self.alternatives.iter().filter_map(|alternative| {
            let found = if let Some((category, name)) = alternative.symbol.split_once(':') {
                tracepoint_exists(category, name).then(|| alternative.symbol.to_owned())
            } else if alternative.derived {
                symbols.derived(alternative.symbol).map(|symbol| symbol.name.clone())
            } else {
                symbols.named(alternative.symbol).map(|symbol| symbol.name.clone())
            };
            found.map(|name| (alternative, name))
        });
        let mut ways: Vec<_> = there.collect();
        ways.sort_by_key(|(way, _)| preempts && way.may_be_kept_out());
        ways
    }
}

/// Whether a call that this program does not see takes nothing from a verdict.
///
/// What only a reader asks for, and wakes: to the rules a wake gives a break that waits for nothing
/// more time, so that one which is not seen hides no violation. The kernel runs no program on a
/// processor on which it runs already, and wakes come in interrupts, and in tasks that were
/// preempted within the program.
pub fn may_miss(program: &str) -> bool {
    STEPS
        .iter()
        .filter(|step| step.when == When::InDetail || step.name == "wake")
        .flat_map(|step| step.alternatives)
        .flat_map(|way| way.programs)
        .any(|(name, _)| *name == program)
}

/// Whether the kernel has this file system now: what a module has shows only once it is loaded.
pub fn is_loaded(file_system: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    lists(&known, file_system)
}

fn lists(file_systems: &str, name: &str) -> bool {
    file_systems.lines().any(|line| line.split_ascii_whitespace().next_back() == Some(name))
}

/// Every step that `file_system` has (all if none is given), resolved.
pub fn resolve(symbols: &Symbols, preempts: bool, file_system: Option<&str>) -> Vec<Resolved> {
    STEPS
        .iter()
        .filter(|step| {
            step.file_system.is_none_or(|own| file_system.is_none_or(|wanted| wanted == own))
        })
        .map(|step| step.resolve(symbols, preempts))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::untraceable::FILE_SYSTEMS;

    #[test]
    fn a_file_system_that_is_not_loaded_is_not_listed() {
        let known = "nodev\tsysfs\n\text3\n\text4\n";
        assert!(lists(known, "ext4") && lists(known, "sysfs"));
        assert!(!lists(known, "xfs") && !lists(known, "ext"));
    }

    #[test]
    fn where_the_kernel_preempts_a_task_is_watched_by_a_kprobe_first() {
        let symbols = Symbols::parse(
            "0000000000000010 T add_to_pipe\n0000000000000020 T get_user_pages_fast\n",
        );
        let step = STEPS.iter().find(|step| step.name == "pin by a pipe").unwrap();
        let programs = |preempts| {
            let ways = step.ways(&symbols, preempts).into_iter();
            ways.map(|(way, _)| way.programs.last().unwrap().0).collect::<Vec<_>>()
        };
        assert_eq!(
            programs(false),
            ["pin_pipe", "pin_pipe_probe", "pin_buffer", "pin_buffer_probe"]
        );
        assert_eq!(
            programs(true),
            ["pin_pipe_probe", "pin_buffer_probe", "pin_pipe", "pin_buffer"]
        );
    }

    #[test]
    fn only_what_no_verdict_needs_may_be_missed() {
        assert!(may_miss("wake_up") && may_miss("truncate_end"));
        assert!(!may_miss("pin_bio") && !may_miss("fault_begin") && !may_miss("sample_waiters"));
    }

    #[test]
    fn the_file_systems_with_hooks_are_those_that_can_be_traced() {
        let own = STEPS.iter().filter_map(|step| step.file_system);
        assert_eq!(own.collect::<BTreeSet<_>>(), BTreeSet::from(FILE_SYSTEMS));
    }
}
