//! What /proc says of a task: its state, where it sleeps, whether it has moved.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::stat::{ProcStat, numbers};
use super::sys;
use crate::system::WaitChannel;

/// The innermost function of a task that waits in the layout break for a page, in kernels that are
/// known. To find one here only spares the control experiment: see [`super::observe`].
///
/// Older kernels open-code the wait in each file system; `dax_break_layout` came with Linux
/// commit d5b3afea22a5 ("fs/dax: create a common implementation to break DAX layouts"), in
/// v6.15, and calls back to drop the invalidate lock.
const WAITS: &[&str] = &[
    "xfs_break_dax_layouts",
    "ext4_break_layouts",
    "fuse_dax_break_layouts",
    "xfs_wait_dax_page",
    "ext4_wait_dax_page",
    "fuse_wait_dax_page",
    "dax_break_layout",
    "dax_break_layout_final",
];

/// The innermost function of a task that waits for a lock of a file or of an address space, in
/// kernels that are known: the locks' own functions are the scheduler's, which /proc leaves out.
///
/// None of these sleeps for anything else by itself: waits for a journal, for a page or for a
/// device have functions of their own.
const LOCKERS: &[&str] = &[
    "do_truncate",
    "do_user_addr_fault",
    "ext4_collapse_range",
    "ext4_dax_fault",
    "ext4_dax_huge_fault",
    "ext4_fallocate",
    "ext4_file_read_iter",
    "ext4_file_write_iter",
    "ext4_insert_range",
    "ext4_punch_hole",
    "ext4_setattr",
    "ext4_zero_range",
    "lock_mm_and_find_vma",
    "lock_two_nondirectories",
    "xfs_ilock",
    "xfs_ilock_iocb",
    "xfs_lock_two_inodes",
];

/// One look at a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// The state letter of /proc/PID/stat.
    pub(crate) state: char,
    /// Clock ticks (1/100 s) that it has run in the kernel.
    pub(crate) ran: u64,
    /// How often it has been switched away from, willingly or not.
    pub(crate) switches: u64,
    /// Function names, innermost first.
    pub(crate) stack: Vec<String>,
    /// Whether it is a thread that the kernel made for io_uring.
    pub(crate) is_io_worker: bool,
}

/// `PF_IO_WORKER`: Linux include/linux/sched.h. Set before the thread is there to be seen, unlike
/// its name, which it gives itself once it runs.
const IO_WORKER: u32 = 0x10;

impl Glance {
    /// Looks; `None` if the task is gone.
    pub(crate) fn at(pid: i32, tid: i32) -> Option<Self> {
        let folder = format!("/proc/{pid}/task/{tid}");
        let ProcStat { state, flags, ran, .. } =
            ProcStat::parse(&read(&format!("{folder}/stat"))?)?;
        let is_io_worker = flags & IO_WORKER != 0;
        let status = read(&format!("{folder}/status"))?;
        let switches = status
            .lines()
            .filter_map(|line| line.split_once("ctxt_switches:")?.1.trim().parse::<u64>().ok())
            .sum();
        // Root only, and empty where the kernel was built without it; wchan is the fall-back.
        let mut stack: Vec<String> = read(&format!("{folder}/stack"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| Some(line.split_once("] ")?.1.split('+').next()?.to_owned()))
            .collect();
        if stack.is_empty() {
            let channel = read(&format!("{folder}/wchan")).unwrap_or_default();
            stack.extend((!channel.is_empty() && channel != "0").then_some(channel));
        }
        Some(Self { state, ran, switches, stack, is_io_worker })
    }

    /// Whether it sleeps, interruptibly or not.
    pub(crate) fn sleeps(&self) -> bool {
        matches!(self.state, 'S' | 'D')
    }

    /// Whether it is known to sleep for a lock of a file or of an address space.
    pub(crate) fn waits_for_lock(&self) -> bool {
        let innermost = self.stack.first().map(|function| plain(function));
        self.sleeps() && innermost.is_some_and(|function| LOCKERS.contains(&function))
    }

    /// Whether nothing of it is left but its number.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Where it sleeps.
    pub(crate) fn wait_channel(&self) -> WaitChannel {
        match self.stack.first() {
            Some(function) if WAITS.iter().any(|wait| plain(function) == *wait) => {
                WaitChannel::LayoutBreak
            }
            Some(function) => WaitChannel::Elsewhere(function.clone()),
            None => WaitChannel::Elsewhere("a place that the kernel does not tell".to_owned()),
        }
    }

    /// Where it is, for a person to read.
    fn whereabouts(&self) -> String {
        if !self.stack.is_empty() {
            return self.stack.join(" < ");
        }
        if self.sleeps() {
            return "no stack".to_owned();
        }
        // The kernel unwinds no task that runs. Whether it spins there, its time tells.
        let (seconds, hundredths) = (self.ran / 100, self.ran % 100);
        format!("no stack; {seconds}.{hundredths:02} s in the kernel so far")
    }
}

/// A file of /proc; `None` if its task is gone.
///
/// A task is looked at many times in a row. [`fs::read_to_string`] asks for the size, which /proc
/// does not know, and then begins with small pieces: three times the system calls.
fn read(path: &str) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Some(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// A function name without the suffixes that compilers and live patches add.
fn plain(function: &str) -> &str {
    let function = function.split('.').next().unwrap_or(function);
    ["klp_", "livepatch_", "fault_"]
        .iter()
        .find_map(|prefix| function.strip_prefix(prefix))
        .unwrap_or(function)
}

/// All threads of a process.
pub(crate) fn threads(pid: i32) -> Vec<i32> {
    numbers(&Path::new("/proc").join(format!("{pid}/task")))
}

/// Whether nothing of a process is left to run.
pub(crate) fn is_gone(pid: i32) -> bool {
    threads(pid).into_iter().filter_map(|tid| Glance::at(pid, tid)).all(|glance| glance.is_dead())
}

/// Waits until nothing of a process is left to run, until `end` at most. Whether that is so.
pub(crate) fn ends(pid: i32, end: Instant) -> bool {
    let Ok(process) = sys::process(pid) else {
        // It is gone, or this kernel has no such descriptors.
        while !is_gone(pid) {
            if Instant::now() >= end {
                return false;
            }
            std::thread::yield_now();
        }
        return true;
    };
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        // It can be read from when the last of its threads has ended.
        match poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(0) if !left.is_zero() => {}
            Err(Errno::EINTR) => {}
            said => return said.is_ok_and(|count| count > 0),
        }
    }
}

/// A process's threads for a person to read.
pub(crate) fn describe(pid: i32) -> String {
    let mut text = String::new();
    for tid in threads(pid) {
        if let Some(glance) = Glance::at(pid, tid) {
            let name =
                fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
            let _ = writeln!(
                text,
                "task {tid} of {pid} ({}) state {}: {}",
                name.trim(),
                glance.state,
                glance.whereabouts()
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_runs_is_told_by_its_time_in_the_kernel() {
        let spins = Glance { state: 'R', ran: 612, ..asleep(&[]) };
        assert_eq!(spins.whereabouts(), "no stack; 6.12 s in the kernel so far");
        assert_eq!(asleep(&["schedule", "io_submit"]).whereabouts(), "schedule < io_submit");
        assert_eq!(asleep(&[]).whereabouts(), "no stack");
    }

    fn asleep(stack: &[&str]) -> Glance {
        Glance {
            state: 'S',
            ran: 0,
            switches: 1,
            stack: stack.iter().map(|s| (*s).to_owned()).collect(),
            is_io_worker: false,
        }
    }

    #[test]
    fn only_the_innermost_function_tells_the_layout_break() {
        assert_eq!(
            asleep(&["xfs_break_dax_layouts", "xfs_break_layouts"]).wait_channel(),
            WaitChannel::LayoutBreak
        );
        assert_eq!(
            asleep(&["dax_break_layout.constprop.0"]).wait_channel(),
            WaitChannel::LayoutBreak
        );
        // Retaking the invalidate lock after the wait is not waiting for a page.
        assert_eq!(
            asleep(&["rwsem_down_write_slowpath", "xfs_ilock", "xfs_wait_dax_page"]).wait_channel(),
            WaitChannel::Elsewhere("rwsem_down_write_slowpath".to_owned())
        );
    }

    #[test]
    fn the_calling_thread_runs() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let glance = Glance::at(pid, nix::unistd::gettid().as_raw()).unwrap();
        assert_eq!(glance.state, 'R');
        assert!(!is_gone(pid));
        assert!(!ends(pid, Instant::now()));
    }

    #[test]
    fn the_end_of_a_process_is_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!ends(pid, Instant::now()));
        child.kill().unwrap();
        // It stays a zombie meanwhile.
        assert!(ends(pid, Instant::now() + std::time::Duration::from_mins(1)));
        assert!(is_gone(pid));
        child.wait().unwrap();
        assert!(ends(pid, Instant::now()));
    }
}
