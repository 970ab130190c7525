//! What in a kernel log is a failure, and what it is called.
//!
//! Titles are made the way syzkaller makes them: the same bug gives the same title, without
//! addresses, processes or times, so that it can be searched for and be known.

#[cfg(test)]
mod corpus;
mod pattern;

use crate::kmsg::{KernelLog, Record};
use crate::verdict::{Problem, Witness};

use self::pattern::ReportEnd;

/// How far a report without an end mark is taken to reach.
const REACH: usize = 60;
/// How far an end mark is looked for.
const LONGEST: usize = 400;
/// How many lines a WARN() may say something in before it comes to its "WARNING: ".
const MESSAGE: usize = 8;

/// What the tracer makes the kernel say although nothing is wrong: see
/// [`tracer::stream::OWN_WARNING`].
const OWN: &str = "WARNING in rethook_find_ret_addr";

/// Every failure in `log`.
pub(crate) fn alarms(log: &KernelLog) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    let (mut at, mut done) = (0, 0);
    while at < log.records.len() {
        let Some((pattern, title)) = pattern::name(&log.records[at..]) else {
            at += 1;
            continue;
        };
        let end = end_of(&log.records, at, pattern.extent);
        let begin = begin_of(&log.records[done..at]) + done;
        let text = KernelLog { records: log.records[begin..end].to_vec(), lost: 0 }.text();
        // The first is the one to read; of the others only that they were there.
        let told = problems.iter().any(|problem| problem.title == title);
        if !told && title != OWN {
            problems.push(Problem::new(Witness::KernelLog, title, text));
        }
        (at, done) = (end, end);
    }
    problems
}

/// Where the report begins whose title follows `before`: at its mark, or at the line that is
/// drawn above it.
fn begin_of(before: &[Record]) -> usize {
    let from = before.len().saturating_sub(MESSAGE);
    let marked = before[from..].iter().rposition(is_mark).map(|at| from + at);
    let ruled = before.len().checked_sub(1).filter(|last| is_rule(&before[*last]));
    marked.or(ruled).unwrap_or(before.len())
}

fn is_mark(record: &Record) -> bool {
    record.text.contains("[ cut here ]")
}

fn is_rule(record: &Record) -> bool {
    record.text.len() >= 20 && record.text.bytes().all(|byte| byte == b'=')
}

fn end_of(records: &[Record], at: usize, extent: ReportEnd) -> usize {
    let rest = &records[at + 1..];
    // Another report begins, whose title stands a few lines on.
    let mark = rest.iter().position(is_mark).unwrap_or(rest.len());
    let next = rest.iter().position(|record| pattern::row(record).is_some()).unwrap_or(rest.len());
    let length = match extent {
        ReportEnd::Line => 0,
        ReportEnd::Trace => match rest
            .iter()
            .take(LONGEST.min(mark))
            .position(|record| record.text.contains("---[ end trace"))
        {
            Some(end) => end + 1,
            None => next.min(mark).min(REACH),
        },
        ReportEnd::Stack => next.min(mark).min(REACH),
    };
    at + 1 + length.min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> KernelLog {
        KernelLog {
            records: text
                .lines()
                .map(|line| Record { time: 1_500_000, level: 4, text: line.to_owned() })
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
