//! The timeline as text, in the columns of ftrace, which people who read kernel traces know.

use std::fmt::Write as _;

use super::{Timeline, fields, name};

/// All of it, and at the end what was violated, by whom, with the stacks.
pub fn write(timeline: &Timeline) -> String {
    let mut out = String::from(
        "#           TASK-PID     CPU#     TIMESTAMP  EVENT\n#              | |         |          |      |\n",
    );
    for (event, number) in timeline.events.iter().zip(timeline.first..) {
        let comm = timeline.names.get(&event.task).map_or("<...>", String::as_str);
        let comm = if comm.is_empty() { "<...>" } else { comm };
        let _ = writeln!(
            out,
            "{comm:>16}-{:<7} [{:03}] {:>6}.{:06}: {}: {}",
            event.task,
            event.cpu,
            event.time / 1_000_000_000,
            event.time / 1000 % 1_000_000,
            name(event),
            fields(event),
        );
        for finding in timeline.found_at(number) {
            let _ = writeln!(out, "# ^^^ {finding}");
        }
    }
    if timeline.unseen.total() > 0 {
        let _ = writeln!(out, "# not seen: {}", timeline.unseen);
    }
    if timeline.needless > 0 {
        let _ =
            writeln!(out, "# {} calls were not seen, none that a verdict needs", timeline.needless);
    }
    for finding in &timeline.findings {
        let _ = writeln!(out, "\n{finding}");
        let mut place = Vec::new();
        let (inode, index) = timeline.page_of(finding).unwrap_or_default();
        if inode != 0 {
            place.push(format!("inode {inode}"));
        }
        if finding.page != 0 {
            let offset = match index {
                Some(index) => format!(" at file offset {:#x}", index * 4096),
                None => String::new(),
            };
            place.push(format!("page {:#x}{offset}", finding.page));
        }
        let tasks: Vec<String> = finding.tasks.iter().map(|&task| timeline.task(task)).collect();
        let mut parts = vec![format!("by {}", tasks.join(", "))];
        parts.extend((!place.is_empty()).then(|| place.join(", ")));
        let _ = writeln!(out, "  {}", parts.join("; "));
        for (what, stack) in timeline.stacks_of(finding) {
            let _ = writeln!(out, "  {what}:");
            for frame in stack {
                let _ = writeln!(out, "    {frame}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::example;

    #[test]
    fn a_missed_wait_reads_like_a_trace() {
        let timeline = example::missed_wait();
        example::golden("missed-wait.txt", super::write(&timeline).as_bytes());
    }
}
