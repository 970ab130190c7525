//! The kernel log, followed by sequence number.
//!
//! Records that the kernel overwrote before they could be read are counted: a log with a hole
//! in it proves nothing.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::errno::Errno;

/// What the kernel logged in a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelLog {
    /// The kernel's own records, oldest first, each as "[seconds] text".
    pub(crate) records: Vec<Record>,
    /// How many records could not be read.
    pub(crate) lost: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Microseconds since boot.
    pub(crate) time: u64,
    /// How bad the kernel takes it for: from 0, KERN_EMERG, to 7, KERN_DEBUG.
    pub(crate) level: u8,
    /// What it says, in one line or several.
    pub(crate) text: String,
}

impl KernelLog {
    /// As dmesg prints it.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for Record { time, text: line, .. } in &self.records {
            for line in line.split('\n') {
                let _ = writeln!(text, "[{:5}.{:06}] {line}", time / 1_000_000, time % 1_000_000);
            }
        }
        if self.lost > 0 {
            let _ = writeln!(text, "({} records were lost)", self.lost);
        }
        text
    }
}

/// Reads /dev/kmsg from where it was opened on.
#[derive(Debug)]
pub(crate) struct Kmsg {
    file: File,
    expected: Option<u64>,
    log: KernelLog,
}

impl Kmsg {
    /// Opens the log behind its last record.
    pub(crate) fn open() -> io::Result<Self> {
        let mut file = File::options()
            .read(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, expected: None, log: KernelLog::default() })
    }

    /// Reads what there is, without waiting.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        // Linux: CONSOLE_EXT_LOG_MAX, now PRINTK_MESSAGE_MAX, in kernel/printk/internal.h.
        let mut buffer = [0; 8192];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => self.take(&String::from_utf8_lossy(&buffer[..length])),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return Ok(()),
                    // The reader was overtaken; the next read gives the oldest record left,
                    // whose number tells how many are gone.
                    Some(Errno::EPIPE) => {
                        if self.expected.is_none() {
                            self.log.lost += 1;
                        }
                    }
                    Some(Errno::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Everything read since the last time this was asked, after reading what there is.
    pub(crate) fn drain(&mut self) -> io::Result<KernelLog> {
        self.read()?;
        Ok(std::mem::take(&mut self.log))
    }

    fn take(&mut self, raw: &str) {
        let Some(parsed) = parse(raw) else {
            // What it said nobody knows.
            self.log.lost += 1;
            return;
        };
        if let Some(expected) = self.expected {
            self.log.lost += parsed.sequence.saturating_sub(expected);
        }
        self.expected = Some(parsed.sequence + 1);
        if parsed.kernel {
            self.log.records.push(parsed.record);
        }
    }
}

impl AsFd for Kmsg {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

struct Parsed {
    sequence: u64,
    kernel: bool,
    record: Record,
}

/// The record in `raw`, and whether it is the kernel's own.
#[cfg(test)]
pub(crate) fn record(raw: &str) -> Option<(Record, bool)> {
    parse(raw).map(|parsed| (parsed.record, parsed.kernel))
}

/// Takes one record of /dev/kmsg apart.
///
/// Linux, Documentation/ABI/testing/dev-kmsg: "priority,sequence,microseconds,flags[,...];text",
/// then lines that begin with a space and hold properties. The priority's upper bits are the
/// facility; 0 is the kernel.
fn parse(raw: &str) -> Option<Parsed> {
    let (head, body) = raw.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let time = fields.next()?.parse().ok()?;
    let text = body.lines().next().unwrap_or_default();
    Some(Parsed {
        sequence,
        kernel: priority >> 3 == 0,
        record: Record { time, level: (priority & 7) as u8, text: unescape(text) },
    })
}

/// Undoes "\x1b" and the like, which the kernel writes for bytes that are not printable.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 2..at + 4);
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            out.push(if byte.is_ascii() { char::from(byte) } else { char::REPLACEMENT_CHARACTER });
            rest = &rest[at + 4..];
        } else {
            out.push_str("\\x");
            rest = &rest[at + 2..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower() -> Kmsg {
        Kmsg { file: File::open("/dev/null").unwrap(), expected: None, log: KernelLog::default() }
    }

    #[test]
    fn a_record_is_taken_apart() {
        let parsed = parse(
            "4,1204,81234567,-,caller=T88;WARNING: CPU: 0 PID: 1 at fs/dax.c:390 \
             dax_disassociate_entry+0x61/0x80\n SUBSYSTEM=x\n",
        )
        .unwrap();
        assert_eq!(parsed.sequence, 1204);
        assert!(parsed.kernel);
        assert_eq!(parsed.record.time, 81_234_567);
        assert!(parsed.record.text.ends_with("dax_disassociate_entry+0x61/0x80"));
    }

    #[test]
    fn what_users_write_is_not_the_kernel() {
        assert!(!parse("12,3,4,-;BUG: says systemd\n").unwrap().kernel);
    }

    #[test]
    fn a_gap_is_counted() {
        let mut kmsg = follower();
        kmsg.take("6,10,1,-;a\n");
        kmsg.take("6,11,2,-;b\n");
        assert_eq!(kmsg.log.lost, 0);
        kmsg.take("6,15,3,-;c\n");
        assert_eq!(kmsg.log.lost, 3);
        assert_eq!(kmsg.log.records.len(), 3);
        assert!(kmsg.log.text().contains("3 records were lost"));
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(r"a\x09b\x5cx"), "a\tb\\x");
        assert_eq!(unescape(r"\xzz \x4"), r"\xzz \x4");
    }
}
