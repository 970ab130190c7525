//! Whose a device is.
//!
//! Two runs may be at work on one machine, and one that was killed leaves its devices behind.
//! Every device carries in its name the process that answers for it, so that a run gives back
//! what is its own or nobody's any more, and leaves alone what another run is using.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use super::stat::ProcStat;

/// What every name begins with.
const PREFIX: &str = "daxtests-";

/// The PID namespace that all others are in: `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// A process that answers for devices.
///
/// A PID comes again; with the time at which its process began it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pid: u32,
    /// In clock ticks since boot.
    began: u64,
    /// It is in a PID namespace of its own, where its PID means something else to us.
    nested: bool,
}

impl Owner {
    /// This process.
    pub fn here() -> io::Result<Self> {
        Self::process(std::process::id())
    }

    /// The process that started this one.
    pub fn parent() -> io::Result<Self> {
        Self::process(std::os::unix::process::parent_id())
    }

    fn process(pid: u32) -> io::Result<Self> {
        let nested = fs::read_link("/proc/self/ns/pid")?.as_os_str() != FIRST_NAMESPACE;
        Ok(Self { pid, began: began(pid)?, nested })
    }

    /// The beginning of the names of its devices.
    pub(super) fn prefix(self) -> String {
        // A null_blk disk has a name of 31 characters at most, the rest is cut off.
        format!("{PREFIX}{self}-")
    }

    /// The name of the device that the run's own file system is on, where that is not one of the
    /// machine's.
    pub fn shape(self) -> String {
        format!("{}shape", self.prefix())
    }

    /// The name under which tracefs records for its run.
    pub(super) fn recording(self) -> String {
        format!("{}recording", self.prefix())
    }

    /// The name under which tracefs records what is flushed while a case of its run wants to know.
    pub(super) fn flushes(self) -> String {
        format!("{}flushes", self.prefix())
    }

    /// It in letters, digits and underscores.
    pub(super) fn word(self) -> String {
        self.to_string().replace('.', "_")
    }

    /// What [`Owner::word`] is of.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        word.replacen('_', ".", 1).parse().ok()
    }

    /// Whether a device is for this owner to give back: its own, or that of a process that is gone.
    pub(super) fn may_take(self, name: &str) -> bool {
        let Some(other) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else {
            return false;
        };
        other.parse().is_ok_and(|other: Self| self.may_take_of(other))
    }

    /// The same of what belongs to `other`.
    pub(super) fn may_take_of(self, other: Self) -> bool {
        other == self || (!other.nested && other.is_gone())
    }

    /// What cannot be looked at may be there. In a PID namespace of our own most processes are
    /// not to be seen.
    fn is_gone(self) -> bool {
        let first =
            fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns.as_os_str() == FIRST_NAMESPACE);
        first
            && match began(self.pid) {
                Ok(began) => began != self.began,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nested = if self.nested { "n" } else { "" };
        write!(f, "{nested}{}.{:x}", self.pid, self.began)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (nested, text) = text.strip_prefix('n').map_or((false, text), |rest| (true, rest));
        let (pid, began) = text.split_once('.').ok_or(())?;
        let began = u64::from_str_radix(began, 16).map_err(|_| ())?;
        Ok(Self { pid: pid.parse().map_err(|_| ())?, began, nested })
    }
}

/// When a process began.
fn began(pid: u32) -> io::Result<u64> {
    Ok(ProcStat::read(&Path::new("/proc").join(pid.to_string()))?.began)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_takes_its_own_and_what_is_nobodys() {
        let here = Owner::here().unwrap();
        assert!(here.may_take(&format!("{}held0", here.prefix())));
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let another = Owner::process(other.id()).unwrap();
        let device = format!("{}held0", another.prefix());
        assert!(!here.may_take(&device), "{device} is in use");
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(here.may_take(&device), !here.nested);
    }

    #[test]
    fn a_pid_that_came_again_is_somebody_else() {
        let here = Owner::here().unwrap();
        let before = Owner { began: here.began - 1, ..here };
        assert_eq!(here.may_take(&format!("{}held0", before.prefix())), !here.nested);
    }

    #[test]
    fn what_has_no_owner_or_one_out_of_sight_is_left_alone() {
        let here = Owner::here().unwrap();
        let elsewhere = Owner { pid: 1, began: u64::MAX, nested: true };
        for name in ["daxtests-held-123", "daxtests-", "home", &elsewhere.prefix()] {
            assert!(!here.may_take(name), "{name}");
        }
    }
}
