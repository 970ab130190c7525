//! The forms of the kernel's reports: one row a form, with its title and how far it reaches.
//!
//! What does not fit a row and still looks like a report is caught by its shape ([`Shape`]): a
//! kernel that is tested here is newer than this table.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::kmsg::Record;

/// How a report ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReportEnd {
    /// With "---[ end trace".
    Trace,
    /// Somewhere in the next lines, a stack.
    Stack,
    /// With its line.
    Line,
}

/// A form of report.
#[derive(Debug)]
pub(super) struct ReportForm {
    /// What makes such reports: the corpus has its files by this name.
    pub(super) kind: &'static str,
    regex: Regex,
    /// The title, with `$1` from the match and `{place}` for the function that follows in an
    /// "RIP:" line.
    title: &'static str,
    /// How far it reaches.
    pub(super) extent: ReportEnd,
}

/// Says what is no report although a row or a shape takes it for one, and why not.
const QUIET: &[&str] = &[
    // The end of what was told.
    r"^---\[ end ",
    // What was set up cannot do what is meant: kernel/workqueue.c, fs/namespace.c, init/main.c.
    r"^WARNING: (?:workqueue cpumask|Flushing system-wide|The mand mount|'bootconfig')",
    // The processor, its clock and its firmware: arch/x86/kernel, kernel/time/timekeeping.c.
    r"^WARNING: (?:polling idle|BIOS bug|[OU]\w+flow in clocksource|timekeeping: )",
    r"^(?:mce: )?CPU\d+: (?:Core|Package) temperature ",
    // An NMI that nobody asked for, as profilers and management controllers cause: nmi.c.
    r"^Uhhuh\. NMI received|^Dazed and confused",
    // What the unwinder cannot follow makes a stack less reliable, no more: unwind_orc.c.
    r"^WARNING: (?:can't access registers|stack going in the wrong direction|unknown stack regs|bad lookup)",
];

/// In this order; the first match names the record.
///
/// Sources: the format strings of the functions named in the corpus
/// (`runner/tests/kernel-log/alarm`); pkg/report/linux.go of syzkaller for the titles.
const TABLE: &[(&str, &str, &str, ReportEnd)] = {
    use ReportEnd::{Line, Stack, Trace};
    &[
        // kernel/panic.c, __warn(). Until 6.18 or so; the file is missing without
        // CONFIG_DEBUG_BUGVERBOSE.
        (
            "warning",
            r"WARNING: CPU: \d+ PID: \d+ at (?:\S+:\d+ )?([A-Za-z0-9_]+)",
            "WARNING in $1",
            Trace,
        ),
        // Since: "WARNING: fs/dax.c:390 at dax_disassociate_entry+0x61/0x80, CPU#1: comm/123",
        // with "[xfs]" before the comma if the function is a module's.
        (
            "warning",
            r"WARNING: .*\bat ([A-Za-z0-9_]+)(?:\.[A-Za-z0-9_.]+)?\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[[^]]+\])?, CPU#\d+",
            "WARNING in $1",
            Trace,
        ),
        ("lockdep", r"WARNING: .+/\d+ (still has locks held)", "lockdep: $1", Stack),
        (
            "lockdep",
            r"WARNING: (possible [a-z -]*(?:locking|lock|deadlock)[a-z -]*(?:detected)?|inconsistent lock state|suspicious RCU usage|bad unlock balance detected|bad contention detected|held lock freed|lock held when returning to user space|Nested lock was not taken|\S+-safe -> \S+-unsafe lock order detected|[A-Za-z-]+ lock order detected|chain_key collision)",
            "lockdep: $1",
            Stack,
        ),
        ("lockdep", r"BUG: (Invalid wait context)", "lockdep: $1", Stack),
        ("lockdep", r"INFO: trying to register non-static key", "lockdep: non-static key", Stack),
        ("lockdep", r"BUG: (MAX_\w+ too low)", "lockdep: $1", Stack),
        ("lockdep", r"BUG: (looking up invalid subclass)", "lockdep: $1", Stack),
        ("lockdep", r"BUG: key \S+ (has not been registered)", "lockdep: key $1", Stack),
        ("kasan", r"BUG: (KASAN): (.*?)(?:\+0x.*)?$", "$1: $2", Trace),
        ("kfence", r"BUG: (KFENCE): (.*?)(?:\+0x.*)?$", "$1: $2", Trace),
        ("kmsan", r"BUG: (KMSAN): (.*?)(?:\+0x.*)?$", "$1: $2", Trace),
        ("kcsan", r"BUG: (KCSAN): (.*?)(?:\+0x.*)?$", "$1: $2", Trace),
        ("ubsan", r"(UBSAN): (.*?)(?: in (\S+?)(?::\d+)*)?$", "$1: $2 in $3", Stack),
        (
            "slub",
            r"\bBUG (.+?) \((?:Not tainted|Tainted: [^)]*)\): ([A-Za-z][A-Za-z _-]*?)(?:[.,(]| 0x| \d|$)",
            "BUG in slab $1: $2",
            Stack,
        ),
        // mm/slab.c, which is gone since 6.8.
        ("slub", r"slab error in (\w+)\(\): cache `([^']+)'", "slab error in $1: $2", Stack),
        (
            "oops",
            r"BUG: (unable to handle (?:kernel )?(?:page fault|paging request|NULL pointer dereference)|kernel NULL pointer dereference)",
            "BUG: $1{place}",
            Trace,
        ),
        (
            "bug",
            r"[Kk]ernel BUG at (\S+?)(?:\+0x\S+)?[!:]?(?::\d+!)?(?: \[.*)?$",
            "kernel BUG at $1{place}",
            Trace,
        ),
        ("lockup", r"BUG: soft lockup", "soft lockup{place}", Stack),
        ("lockup", r"[Dd]etected hard LOCKUP", "hard lockup{place}", Stack),
        ("lockup", r"BUG: workqueue lockup", "workqueue lockup", Stack),
        ("lockup", r"\bcsd: Detected ", "CSD lock stuck", Stack),
        (
            "page",
            r"BUG: (Bad (?:page|rss-counter|swap)(?: (?:state|map|cache|entry|file))?)",
            "BUG: $1",
            Stack,
        ),
        ("page", r"BUG: (non-zero pgtables_bytes)", "BUG: $1", Line),
        ("page", r"\bbad p[gmut4]?[gmud]d\b", "bad page table entry", Line),
        ("page", r"Corrupted page table at address", "corrupted page table", Trace),
        (
            "atomic",
            r"BUG: (sleeping function called from invalid context) at (\S+?):\d+",
            "BUG: $1 at $2",
            Stack,
        ),
        ("atomic", r"BUG: (using \S+) in preemptible", "BUG: $1 in preemptible code", Stack),
        (
            "atomic",
            r"BUG: (scheduling while atomic|scheduling in a non-blocking section)",
            "BUG: $1",
            Stack,
        ),
        ("atomic", r"BUG: (workqueue leaked [A-Za-z, ]+?):", "BUG: $1", Stack),
        ("spinlock", r"BUG: ((?:spin|rw)lock [a-z -]+?) on CPU", "BUG: $1", Stack),
        ("list", r"ODEBUG: (\w+ [a-z]+) \(active state", "ODEBUG: $1", Line),
        ("list", r"ODEBUG: object \S+ is (on|NOT on) stack", "ODEBUG: object $1 stack", Line),
        ("bug", r"BUG: ([A-Za-z][A-Za-z -]*)", "BUG: $1{place}", Trace),
        (
            "oops",
            r"general protection fault(?:,|: [0-9a-f]{4}\b)",
            "general protection fault{place}",
            Trace,
        ),
        ("oops", r"Internal error: ([A-Za-z][A-Za-z ]*)", "$1{place}", Trace),
        ("oops", r"\bOops: (?:Oops: )?[0-9a-f]{4,16} \[#", "Oops{place}", Trace),
        // arch/x86/kernel/dumpstack.c, __die_header(): "divide error: 0000 [#1] PREEMPT SMP".
        ("oops", r"^(?:Oops: )?([^:]+): [0-9a-f]{4,16} \[#\d+\]", "$1{place}", Trace),
        ("oops", r"\bOops\b.* \[#\d+\]", "Oops{place}", Trace),
        ("oops", r"PANIC: (double fault|[a-z ]+)", "$1{place}", Trace),
        (
            "oops",
            r"Unable to handle kernel (.+?)(?: at virtual address.*)?$",
            "unable to handle kernel $1",
            Trace,
        ),
        ("panic", r"Kernel panic - not syncing: (.*)", "kernel panic: $1", Stack),
        (
            "hung-task",
            r"INFO: task (.+):\d+ blocked (?:in I/O wait )?(?:on .* )?for more than",
            "hung task $1",
            Stack,
        ),
        (
            "hung-task",
            r"INFO: The task (.+):\d+ has been waiting for writeback",
            "hung task $1",
            Line,
        ),
        (
            "rcu-stall",
            r"rcu.*(?:detected (?:expedited )?stalls?\b|self-detected stall)",
            "RCU stall",
            Stack,
        ),
        ("rcu-stall", r"rcu_\w+ kthread (?:starved|timer wakeup)", "RCU stall", Stack),
        ("list", r"(refcount_t: [a-z ,;!?-]+)", "$1", Line),
        ("list", r"(list_(?:add|del)) corruption", "$1 corruption", Line),
        ("usercopy", r"Kernel memory (\w+) attempt detected", "usercopy: $1", Line),
        ("usercopy", r"CFI failure at (\w+)", "CFI failure in $1", Trace),
        ("kmemleak", r"kmemleak: \d+ (new suspected memory leaks)", "kmemleak: $1", Line),
        (
            "ext4",
            r"EXT4-fs error \(device [^)]+\)(?::| in) ([A-Za-z0-9_]+)",
            "EXT4-fs error in $1",
            Line,
        ),
        ("ext4", r"JBD2: .*(?:error|abort)|Aborting journal on device", "JBD2 abort", Line),
        ("ext4", r"VFS: (Busy inodes) after unmount", "VFS: $1", Line),
        (
            "xfs",
            r"XFS(?: \([^)]+\))?: Assertion failed: (.*?), file",
            "XFS assertion failed: $1",
            Stack,
        ),
        (
            "xfs",
            r"XFS \([^)]+\): (Metadata corruption detected|Metadata CRC error detected|Internal error|Corruption of in-memory data|Corruption detected|Corruption warning|Filesystem has been shut down|[Ll]og I/O error|[Mm]etadata I/O [Ee]rror|Unmount and run xfs_repair|Please u(?:n)?mount the filesystem)",
            "XFS: $1",
            Stack,
        ),
        (
            "xfs",
            r"XFS \([^)]+\): (.*?) \(0x[0-9a-f]+\) detected at .*Shutting down filesystem",
            "XFS: $1",
            Line,
        ),
        ("xfs", r"XFS \([^)]+\): .*[Cc]orrupt", "XFS: corruption", Stack),
        ("device", r"I/O error.*\b(?:dev|device) (pmem\w*)", "I/O error on $1", Line),
        ("device", r"Memory failure: ", "memory failure", Line),
        ("device", r"\[Hardware Error\]", "hardware error", Line),
        (
            "device",
            r"DMAR: .*(?:fault (?:addr|index|reason))|AMD-Vi: Event logged",
            "IOMMU fault",
            Line,
        ),
    ]
};

static PATTERNS: LazyLock<Vec<ReportForm>> = LazyLock::new(|| {
    TABLE
        .iter()
        .map(|(kind, regex, title, extent)| ReportForm {
            kind,
            regex: Regex::new(regex).expect("the patterns are tested"),
            title,
            extent: *extent,
        })
        .collect()
});

/// All rows.
#[cfg(test)]
pub(super) fn rows() -> &'static [ReportForm] {
    &PATTERNS
}

static NO_REPORT: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    QUIET.iter().map(|regex| Regex::new(regex).expect("the patterns are tested")).collect()
});

/// What a report looks like that no row knows.
static SHAPES: LazyLock<[ReportForm; 2]> = LazyLock::new(|| {
    let [begins, loud] =
        [r"^(WARNING: .+)$", r"^(.+)$"].map(|regex| Regex::new(regex).expect("it is tested"));
    [
        // Lockdep's reports begin so, and what else debugs the kernel.
        ReportForm { kind: "shape", regex: begins, title: "$1", extent: ReportEnd::Stack },
        // Of any other form, but loud.
        ReportForm { kind: "shape", regex: loud, title: "kernel: $1", extent: ReportEnd::Stack },
    ]
});

/// What is worse than an error: KERN_CRIT, KERN_ALERT, KERN_EMERG.
const LOUD: u8 = 2;

static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\bR?IP: (?:[0-9a-f]{4}:)?([A-Za-z_][A-Za-z0-9_]*)|\bpc : ([A-Za-z_][A-Za-z0-9_]*)")
        .expect("it is tested")
});

static OPERANDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|\b\d+\b").expect("it is tested")
});

/// How many records a report's place is looked for in.
const REACH: usize = 60;

/// The row that `record` fits, if it fits one.
pub(super) fn row(record: &Record) -> Option<&'static ReportForm> {
    find(record).map(|(pattern, _)| pattern)
}

fn find(record: &Record) -> Option<(&'static ReportForm, Captures<'_>)> {
    if NO_REPORT.iter().any(|quiet| quiet.is_match(&record.text)) {
        return None;
    }
    // A record may have several lines.
    record
        .text
        .lines()
        .find_map(|line| PATTERNS.iter().find_map(|p| Some((p, p.regex.captures(line)?))))
}

/// The shape of a report that `record` has although no row knows it.
fn shape(record: &Record) -> Option<(&'static ReportForm, Captures<'_>)> {
    if NO_REPORT.iter().any(|quiet| quiet.is_match(&record.text)) {
        return None;
    }
    let [begins, loud] = &*SHAPES;
    record.text.lines().find_map(|line| {
        let warns = begins.regex.captures(line).map(|found| (begins, found));
        warns.or_else(|| {
            (record.level <= LOUD).then(|| Some((loud, loud.regex.captures(line)?))).flatten()
        })
    })
}

/// What the first of `records` reports and its title, which depends on what follows.
pub(super) fn name(records: &[Record]) -> Option<(&'static ReportForm, String)> {
    let first = records.first()?;
    let (pattern, found) = find(first).or_else(|| shape(first))?;
    let mut title = String::new();
    found.expand(pattern.title, &mut title);
    if title.contains("{place}") {
        let place = records
            .iter()
            .take(REACH)
            .find_map(|record| PLACE.captures(&record.text))
            .and_then(|place| place.get(1).or(place.get(2)).map(|m| m.as_str().to_owned()))
            .map_or(String::new(), |place| format!(" in {place}"));
        title = title.replace("{place}", &place);
    }
    if pattern.kind == "shape" {
        title = OPERANDS.replace_all(&title, "N").into_owned();
    }
    let title = title.trim_end_matches([' ', '.', ':', '!']);
    let title =
        [" in", " at", " on"].iter().find_map(|end| title.strip_suffix(end)).unwrap_or(title);
    Some((pattern, title.to_owned()))
}
