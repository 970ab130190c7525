//! Tasks as /proc shows them, and the evidence taken from those that do not go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cases::system::kernel::{ProcStat, numbers};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The living processes that descend from process `root`, which must be a subreaper so that
/// none escapes. A process whose first thread has ended lives on while another thread does.
pub(crate) fn descendants(root: i32) -> BTreeSet<i32> {
    let proc = Path::new("/proc");
    let parents: BTreeMap<i32, i32> = numbers(proc)
        .into_iter()
        .filter_map(|pid| Some((pid, ProcStat::read(&proc.join(pid.to_string())).ok()?.parent)))
        .collect();
    let mut found = BTreeSet::new();
    loop {
        let more: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| {
                (**parent == root || found.contains(*parent)) && !found.contains(*pid)
            })
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.retain(|pid| lives(*pid));
    found
}

fn lives(pid: i32) -> bool {
    threads(pid).into_iter().any(|(_, stat)| !stat.is_dead())
}

fn threads(pid: i32) -> Vec<(i32, ProcStat)> {
    let folder = Path::new("/proc").join(pid.to_string()).join("task");
    numbers(&folder)
        .into_iter()
        .filter_map(|tid| Some((tid, ProcStat::read(&folder.join(tid.to_string())).ok()?)))
        .collect()
}

/// Sends `SIGKILL` to each.
pub(crate) fn kill_all(pids: &BTreeSet<i32>) {
    for pid in pids {
        // One that is gone already is what is wanted.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

/// Name, state and place of each living thread of `pids`, one a line.
pub(crate) fn brief(pids: &BTreeSet<i32>) -> String {
    let mut lines = Vec::new();
    for pid in pids {
        for (tid, stat) in threads(*pid) {
            if !stat.is_dead() {
                let folder = thread_folder(*pid, tid);
                let place = read_line(&folder.join("wchan"));
                lines.push(format!(
                    "task {tid} ({}) in state {}, in {place}",
                    stat.name, stat.state
                ));
            }
        }
    }
    lines.join("; ")
}

/// Everything that helps to see why `pids`, and every task of the system that sleeps
/// uninterruptibly, do not go on: states, wait channels, kernel stacks, system calls, open files.
///
/// Nothing here takes a lock that a stuck task may hold: not cmdline, not maps.
pub(crate) fn evidence(pids: &BTreeSet<i32>) -> String {
    let mut text = String::new();
    for pid in pids {
        describe(&mut text, *pid, |_| true);
        open_files(&mut text, *pid);
    }
    let mut others = String::new();
    for pid in numbers(Path::new("/proc")) {
        if !pids.contains(&pid) {
            describe(&mut others, pid, |stat| stat.state == 'D');
        }
    }
    if !others.is_empty() {
        let _ = writeln!(text, "Other tasks in state D:\n\n{others}");
    }
    if text.is_empty() {
        text.push_str("no task of the case is left, and no task of the system is in state D\n");
    }
    text
}

fn describe(text: &mut String, pid: i32, wanted: impl Fn(&ProcStat) -> bool) {
    for (tid, stat) in threads(pid) {
        if !wanted(&stat) {
            continue;
        }
        let folder = thread_folder(pid, tid);
        let _ = writeln!(
            text,
            "task {tid} ({}) of process {pid}, child of {}: state {}, wait channel {}",
            stat.name,
            stat.parent,
            stat.state,
            read_line(&folder.join("wchan")),
        );
        let _ = writeln!(text, "  system call: {}", read_line(&folder.join("syscall")));
        if let Ok(status) = fs::read_to_string(folder.join("status")) {
            for line in status.lines() {
                let kept = ["SigPnd", "ShdPnd", "SigBlk", "voluntary_ctxt", "nonvoluntary_ctxt"];
                if kept.iter().any(|key| line.starts_with(key)) {
                    let _ = writeln!(text, "  {}", line.replace('\t', " "));
                }
            }
        }
        match fs::read_to_string(folder.join("stack")) {
            Ok(stack) => {
                let _ = writeln!(text, "  kernel stack:");
                for line in stack.lines() {
                    let _ = writeln!(text, "    {}", line.trim_start_matches("[<0>] "));
                }
            }
            Err(error) => {
                let _ = writeln!(text, "  kernel stack: {error}");
            }
        }
        text.push('\n');
    }
}

fn open_files(text: &mut String, pid: i32) {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    let files = numbers(&folder);
    if files.is_empty() {
        return;
    }
    let _ = writeln!(text, "open files of process {pid}:");
    for fd in files {
        if let Ok(target) = fs::read_link(folder.join(fd.to_string())) {
            let _ = writeln!(text, "  {fd} -> {}", target.display());
        }
    }
    text.push('\n');
}

fn thread_folder(pid: i32, tid: i32) -> std::path::PathBuf {
    Path::new("/proc").join(format!("{pid}/task/{tid}"))
}

fn read_line(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => format!("({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_seen_described_and_killed() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let own: BTreeSet<i32> = [child.id().cast_signed()].into();
        let me = std::process::id().cast_signed();
        assert!(descendants(me).is_superset(&own));
        let text = evidence(&own);
        assert!(text.contains("open files of process"), "{text}");
        assert!(text.contains("state"), "{text}");
        assert!(brief(&own).contains("in state"));
        kill_all(&own);
        child.wait().unwrap();
        assert!(descendants(me).is_disjoint(&own));
    }
}
