//! The one reader of /proc/PID/stat and of the numbers that /proc's folders list.

use std::fs;
use std::io;
use std::path::Path;

/// A process, or a thread, as its stat file has it: proc_pid_stat(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcStat {
    /// Its name, which may hold anything, parentheses included.
    pub name: String,
    /// The letter of its state.
    pub state: char,
    /// The process that it descends from.
    pub parent: i32,
    /// The kernel's flags of it (`PF_*`).
    pub(super) flags: u32,
    /// Clock ticks that it has run in the kernel.
    pub(super) ran: u64,
    /// When it began, in clock ticks since boot.
    pub(super) began: u64,
}

impl ProcStat {
    /// Of the process or thread whose folder this is; [`io::ErrorKind::NotFound`] if it is gone.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let path = folder.join("stat");
        Self::parse(&fs::read_to_string(&path)?)
            .ok_or_else(|| io::Error::other(format!("{} is not as expected", path.display())))
    }

    /// Of the text of its file: "pid (name) state parent ...".
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('(')?;
        let (name, rest) = rest.rsplit_once(')')?;
        // The first is the third field of all.
        let mut fields = rest.split_whitespace();
        Some(Self {
            name: name.to_owned(),
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            flags: fields.nth(4)?.parse().ok()?,
            ran: fields.nth(5)?.parse().ok()?,
            began: fields.nth(6)?.parse().ok()?,
        })
    }

    /// Whether nothing of it is left but its number.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The names in a folder that are numbers, in order: processes, threads, or open files.
pub fn numbers(folder: &Path) -> Vec<i32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_parentheses() {
        let text = "12 (a) b (c)) D 3 4 5 6 7 80 9 10 11 12 13 14 15 16 17 18 19 20 2100 22";
        let stat = ProcStat::parse(text).unwrap();
        assert_eq!((&*stat.name, stat.state, stat.parent), ("a) b (c)", 'D', 3));
        // Fields 9, 15 and 22.
        assert_eq!((stat.flags, stat.ran, stat.began), (80, 14, 2100));
        assert!(ProcStat::parse("12 (short) R").is_none());
    }

    #[test]
    fn this_process_is_there_and_one_without_a_number_is_not() {
        let stat = ProcStat::read(Path::new("/proc/self")).unwrap();
        assert_eq!(stat.parent.cast_unsigned(), std::os::unix::process::parent_id());
        assert!(!stat.is_dead());
        let gone = ProcStat::read(Path::new("/proc/0")).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        assert!(numbers(Path::new("/proc")).contains(&std::process::id().cast_signed()));
    }
}
