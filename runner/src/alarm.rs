//! What in a kernel log is a failure, and what it is called.
//!
//! Titles are made the way syzkaller makes them: the same bug gives the same title, without
//! addresses, processes or times, so that it can be searched for and be known.

use std::sync::LazyLock;

use regex::Regex;

use crate::kmsg::{Log, Record};
use crate::verdict::Problem;

/// How a report ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// With "---[ end trace"; what alarms inside it belongs to it.
    Trace,
    /// Somewhere in the next lines, a stack.
    Stack,
    /// With its line.
    Line,
}

struct Pattern {
    regex: Regex,
    /// The title, with `$1` from the match and `{place}` for the function that follows in an
    /// "RIP:" line.
    title: &'static str,
    extent: Extent,
}

/// In this order; the first match names the record.
///
/// Sources: pkg/report/linux.go of syzkaller for the forms; Linux lib/bug.c and kernel/panic.c
/// for the two forms of WARNING.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    use Extent::{Line, Stack, Trace};
    let table: &[(&str, &str, Extent)] = &[
        // Until 6.18 or so.
        (r"WARNING: CPU: \d+ PID: \d+ at \S+ ([A-Za-z0-9_]+)", "WARNING in $1", Trace),
        // Since: "WARNING: fs/dax.c:390 at dax_disassociate_entry+0x61/0x80, CPU#1: comm/123".
        // With a message it may stand before " at".
        (
            r"WARNING: .*\bat ([A-Za-z0-9_]+)(?:\.[A-Za-z0-9_.]+)?\+0x[0-9a-f]+/0x[0-9a-f]+, CPU#\d+",
            "WARNING in $1",
            Trace,
        ),
        (
            r"WARNING: (possible [a-z -]*(?:locking|lock|deadlock)[a-z -]*(?:detected)?|inconsistent lock state|suspicious RCU usage|bad unlock balance detected|bad contention detected|held lock freed|lock held when returning to user space|Nested lock was not taken|[A-Za-z-]+ lock order detected|.*irq lock inversion dependency detected)",
            "lockdep: $1",
            Stack,
        ),
        (r"INFO: trying to register non-static key", "lockdep: non-static key", Stack),
        (r"BUG: (KASAN|KCSAN|KFENCE|KMSAN): (.*?)(?:\+0x.*)?$", "$1: $2", Trace),
        (r"(UBSAN): (.*?)(?: in (\S+?)(?::\d+)*)?$", "$1: $2 in $3", Stack),
        (
            r"BUG: (unable to handle (?:kernel )?(?:page fault|paging request|NULL pointer dereference)|kernel NULL pointer dereference)",
            "BUG: $1{place}",
            Trace,
        ),
        (r"kernel BUG at (\S+?)[!:]?(?::\d+!)?$", "kernel BUG at $1{place}", Trace),
        (r"BUG: soft lockup", "soft lockup{place}", Stack),
        (r"detected hard LOCKUP", "hard lockup{place}", Stack),
        (r"BUG: workqueue lockup", "workqueue lockup", Stack),
        (r"BUG: (Bad (?:page|rss-counter|swap)(?: (?:state|map|entry|file))?)", "BUG: $1", Stack),
        (r"\bbad p[gmut4]?[gmud]d\b", "bad page table entry", Line),
        (r"BUG: ([A-Za-z][A-Za-z -]*)", "BUG: $1{place}", Trace),
        (r"general protection fault", "general protection fault{place}", Trace),
        (r"\bOops: ", "Oops{place}", Trace),
        (
            r"(invalid opcode|divide error|stack segment|double fault|int3): [0-9a-f]{4} ",
            "$1{place}",
            Trace,
        ),
        (r"Unable to handle kernel ([A-Za-z ]+)", "unable to handle kernel $1", Trace),
        (r"Kernel panic - not syncing: (.*)", "kernel panic: $1", Stack),
        (
            r"INFO: task (.+):\d+ blocked (?:in I/O wait )?(?:on .* )?for more than",
            "hung task $1",
            Stack,
        ),
        (r"rcu.*(?:detected (?:expedited )?stalls?|self-detected stall)", "RCU stall", Stack),
        (r"rcu_\w+ kthread (?:starved|timer wakeup)", "RCU stall", Stack),
        (r"(refcount_t: [a-z ,-]+)", "$1", Line),
        (r"(list_(?:add|del)) corruption", "$1 corruption", Line),
        (r"EXT4-fs error \(device [^)]+\): ([A-Za-z0-9_]+)", "EXT4-fs error in $1", Line),
        (r"JBD2: .*(?:error|abort)|Aborting journal on device", "JBD2 abort", Line),
        (r"XFS: Assertion failed: (.*?), file", "XFS assertion failed: $1", Stack),
        (
            r"XFS \([^)]+\): (Metadata corruption detected|Metadata CRC error detected|Internal error|Corruption of in-memory data|Corruption detected|Corruption warning|Filesystem has been shut down|[Ll]og I/O error|[Mm]etadata I/O [Ee]rror|Unmount and run xfs_repair|Please u(?:n)?mount the filesystem)",
            "XFS: $1",
            Stack,
        ),
        (r"Memory failure: ", "memory failure", Line),
    ];
    table
        .iter()
        .map(|(regex, title, extent)| Pattern {
            regex: Regex::new(regex).expect("the patterns are tested"),
            title,
            extent: *extent,
        })
        .collect()
});

static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\bR?IP: (?:[0-9a-f]{4}:)?([A-Za-z_][A-Za-z0-9_]*)|\bpc : ([A-Za-z_][A-Za-z0-9_]*)")
        .expect("it is tested")
});

/// How far a report without an end mark is taken to reach.
const REACH: usize = 60;
/// How far an end mark is looked for.
const LONGEST: usize = 400;

/// What the tracer makes the kernel say although nothing is wrong: see
/// [`tracer::stream::OWN_WARNING`].
const OWN: &str = "WARNING in rethook_find_ret_addr";

/// Every failure that `log` tells of.
pub(crate) fn alarms(log: &Log) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut at = 0;
    while at < log.records.len() {
        let Some((pattern, title)) = name(&log.records[at..]) else {
            at += 1;
            continue;
        };
        let end = end_of(&log.records, at, pattern.extent);
        let begin =
            if at > 0 && log.records[at - 1].text.contains("[ cut here ]") { at - 1 } else { at };
        let text = Log { records: log.records[begin..end].to_vec(), lost: 0 }.text();
        // The first is the one to read; of the others only that they were there.
        let told = problems.iter().any(|problem| problem.title == title);
        if !told && title != OWN {
            problems.push(Problem::new(title, text));
        }
        at = end;
    }
    problems
}

fn name(records: &[Record]) -> Option<(&'static Pattern, String)> {
    let text = &records[0].text;
    let (pattern, found) =
        PATTERNS.iter().find_map(|pattern| Some((pattern, pattern.regex.captures(text)?)))?;
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
    let title = title.trim_end().trim_end_matches(" in").to_owned();
    Some((pattern, title))
}

fn end_of(records: &[Record], at: usize, extent: Extent) -> usize {
    let rest = &records[at + 1..];
    let ends = |reach: usize| {
        rest.iter().take(reach).position(|record| record.text.contains("---[ end trace"))
    };
    let next = rest
        .iter()
        .position(|record| PATTERNS.iter().any(|p| p.regex.is_match(&record.text)))
        .unwrap_or(rest.len());
    let length = match extent {
        Extent::Line => 0,
        Extent::Trace => match ends(LONGEST) {
            Some(end) => end + 1,
            None => next.min(REACH),
        },
        Extent::Stack => next.min(REACH),
    };
    at + 1 + length.min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Log {
        Log {
            records: text
                .lines()
                .map(|line| Record { time: 1_500_000, text: line.to_owned() })
                .collect(),
            lost: 0,
        }
    }

    fn titles(text: &str) -> Vec<String> {
        alarms(&log(text)).into_iter().map(|p| p.title).collect()
    }

    #[test]
    fn each_form_has_its_title() {
        for (text, title) in [
            (
                "WARNING: CPU: 1 PID: 312 at fs/dax.c:390 dax_disassociate_entry+0x61/0x80",
                "WARNING in dax_disassociate_entry",
            ),
            (
                "WARNING: fs/dax.c:405 at dax_disassociate_entry.isra.0+0x61/0x80, CPU#1: runner/312",
                "WARNING in dax_disassociate_entry",
            ),
            (
                "WARNING: mm/truncate.c:89 at truncate_folio_batch_exceptionals+0x1a/0x2b, CPU#0: x/1",
                "WARNING in truncate_folio_batch_exceptionals",
            ),
            (
                "WARNING: possible circular locking dependency detected",
                "lockdep: possible circular locking dependency detected",
            ),
            ("WARNING: suspicious RCU usage", "lockdep: suspicious RCU usage"),
            (
                "BUG: KASAN: slab-use-after-free in xfs_wait_dax_page+0x4/0x10",
                "KASAN: slab-use-after-free in xfs_wait_dax_page",
            ),
            (
                "UBSAN: array-index-out-of-bounds in fs/ext4/inode.c:12:3",
                "UBSAN: array-index-out-of-bounds in fs/ext4/inode.c",
            ),
            (
                "BUG: kernel NULL pointer dereference, address: 0000000000000008\n\
                 #PF: supervisor read access\n\
                 Oops: 0000 [#1] PREEMPT SMP\n\
                 RIP: 0010:dax_layout_busy_page_range+0x10/0x20",
                "BUG: kernel NULL pointer dereference in dax_layout_busy_page_range",
            ),
            ("kernel BUG at fs/dax.c:123!", "kernel BUG at fs/dax.c"),
            (
                "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [runner:300]\n\
                 RIP: 0010:ext4_break_layouts+0x1/0x2",
                "soft lockup in ext4_break_layouts",
            ),
            ("mm/pgtable-generic.c:54: bad pmd 00000000deadbeef", "bad page table entry"),
            ("BUG: Bad page state in process fsx  pfn:12345", "BUG: Bad page state"),
            (
                "general protection fault, probably for non-canonical address 0xdead",
                "general protection fault",
            ),
            ("INFO: task truncate:88 blocked for more than 120 seconds.", "hung task truncate"),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", "RCU stall"),
            ("rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", "RCU stall"),
            (
                "EXT4-fs error (device pmem0): ext4_lookup:1785: inode #2: comm ls: deleted",
                "EXT4-fs error in ext4_lookup",
            ),
            (
                "XFS (pmem0): Metadata corruption detected at xfs_agf_verify+0x1/0x2 [xfs]",
                "XFS: Metadata corruption detected",
            ),
            (
                "XFS (pmem0): Filesystem has been shut down due to log error (0x2).",
                "XFS: Filesystem has been shut down",
            ),
            (
                "Kernel panic - not syncing: sysrq triggered crash",
                "kernel panic: sysrq triggered crash",
            ),
        ] {
            let seen = titles(text);
            assert_eq!(seen.first().map(String::as_str), Some(title), "{text}");
        }
    }

    #[test]
    fn what_every_machine_logs_is_no_alarm() {
        let usual = "\
            clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because the skew is too large:\n\
            clocksource:                       'hpet' wd_nsec: 511999999 wd_now: 1 wd_last: 2 mask: ffffffff\n\
            TSC found unstable after boot, most likely due to broken BIOS. Use 'tsc=unstable'.\n\
            perf: interrupt took too long (2504 > 2500), lowering kernel.perf_event_max_sample_rate to 79750\n\
            hrtimer: interrupt took 4711 ns\n\
            XFS (pmem0): DAX enabled. Warning: EXPERIMENTAL, use at your own risk\n\
            XFS (pmem0): EXPERIMENTAL online scrub feature in use. Use at your own risk!\n\
            EXT4-fs (pmem0): DAX enabled. Warning: EXPERIMENTAL, use at your own risk\n\
            EXT4-fs (pmem0): mounted filesystem 1 r/w with ordered data mode. Quota mode: none.\n\
            XFS (pmem0): Mounting V5 Filesystem 1234\n\
            XFS (pmem0): Ending clean mount\n\
            XFS (pmem0): Unmounting Filesystem 1234\n\
            workqueue: xfs_inodegc_worker hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND\n\
            null_blk: disk nullb0 created\n\
            livepatch: enabling patch 'break_returns'\n\
            break_returns: loading out-of-tree module taints kernel.\n\
            break_returns: module verification failed: signature and/or required key missing - tainting kernel\n\
            sched: DL replenish lagged too much\n\
            random: crng reseeded on system resumption\n\
            debugfs: Directory 'loop0' with parent 'block' already present!\n\
            mce: CPU0: Thermal monitoring enabled\n\
            device-mapper: ioctl: 4.48.0-ioctl initialised: dm-devel\n\
            memmap_init_zone_device initialised 262144 pages in 60ms\n\
            rcu: Hierarchical SRCU implementation.\n\
            process 'runner' launched '/bin/true' with NULL argv: empty string added";
        assert_eq!(titles(usual), Vec::<String>::new());
    }

    #[test]
    fn what_the_tracer_itself_causes_is_no_alarm() {
        assert_eq!(OWN, format!("WARNING in {}", tracer::stream::OWN_WARNING));
        let text = "------------[ cut here ]------------\n\
            WARNING: CPU: 0 PID: 5646 at kernel/trace/rethook.c:263 rethook_find_ret_addr+0x1a/0x80\n\
            RIP: 0010:rethook_find_ret_addr+0x1a/0x80\n\
            ---[ end trace 0000000000000000 ]---";
        assert!(alarms(&log(text)).is_empty());
    }

    #[test]
    fn a_trace_is_one_alarm_with_its_text() {
        let text = "------------[ cut here ]------------\n\
            WARNING: CPU: 0 PID: 1 at fs/dax.c:390 dax_disassociate_entry+0x61/0x80\n\
            Call Trace:\n <TASK>\n truncate_inode_pages_range+0x1/0x2\n\
            ---[ end trace 0000000000000000 ]---\n\
            something else\n\
            WARNING: CPU: 0 PID: 1 at fs/dax.c:390 dax_disassociate_entry+0x61/0x80\n\
            ---[ end trace 0000000000000000 ]---";
        let problems = alarms(&log(text));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].text.contains("cut here"));
        assert!(problems[0].text.contains("end trace"));
        assert!(!problems[0].text.contains("something else"));
    }

    #[test]
    fn two_alarms_are_two() {
        let text = "rcu: INFO: rcu_preempt self-detected stall on CPU\n\
            EXT4-fs error (device pmem0): ext4_lookup:1: deleted";
        assert_eq!(titles(text), ["RCU stall", "EXT4-fs error in ext4_lookup"]);
    }
}
