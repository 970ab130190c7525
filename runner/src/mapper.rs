//! The device-mapper device that a shape puts between the devices and the file system.
//!
//! It carries the run in its name, as the cases' own devices do: it goes with the run, and what a
//! run that was killed left behind, the next one removes.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cases::system::kernel::Owner;

use crate::shape::{BEGIN, DmTable};
use crate::signature;
use crate::tool::{self, Tool};

/// Why it could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Tool(#[from] tool::Error),
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error("{dev} is too small for a shape: {size} MiB, and the first {} MiB are not used", BEGIN >> 11)]
    Small { dev: PathBuf, size: u64 },
}

/// A device that this run made.
#[derive(Debug)]
pub(crate) struct Mapper {
    name: String,
    /// Where the kernel shows it.
    pub(crate) node: PathBuf,
    patience: Duration,
}

impl Mapper {
    /// Makes it of `devices`, which are marked as ours. The run is `owner`.
    pub(crate) fn make(
        dm_table: DmTable,
        devices: &[PathBuf],
        owner: Owner,
        patience: Duration,
    ) -> Result<Self, Error> {
        // Of a realtime device only that is made.
        let devices = if dm_table == DmTable::Realtime { &devices[1..] } else { devices };
        let mut usable = Vec::new();
        for dev in devices {
            let io = |why| Error::Io { path: dev.clone(), why };
            let file = File::options().read(true).write(true).open(dev).map_err(io)?;
            let size = (&file).seek(SeekFrom::End(0)).map_err(io)? / 512;
            let rest = size.saturating_sub(BEGIN);
            if rest < BEGIN {
                return Err(Error::Small { dev: dev.clone(), size: size >> 11 });
            }
            // Before anything lies where it would be taken for somebody's data.
            file.write_all_at(&signature::mark(), 0).and_then(|()| file.sync_all()).map_err(io)?;
            usable.push(rest);
        }
        let name = owner.shape();
        // name,uuid,minor,flags and the table, one target after the other: dmsetup(8).
        let concise = format!("{name},,,rw,{}", table(dm_table, devices, &usable).join(","));
        Tool::new("dmsetup")
            .args(["create", "--noudevsync", "--concise"])
            .arg(concise)
            .run(patience)?;
        let mut made = Self { name, node: PathBuf::new(), patience };
        // The node that the kernel makes: no udev is needed.
        let asked = Tool::new("dmsetup")
            .args(["info", "--columns", "--noheadings", "--options", "blkdevname"])
            .arg(&made.name)
            .run(patience)?;
        made.node = Path::new("/dev").join(asked.trim());
        Ok(made)
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        // Busy while the file system is mounted, as on a machine that needs a reboot; and udev may
        // look into it for a moment. What is left then goes when the next run begins.
        let _ = Tool::new("dmsetup")
            .args(["remove", "--retry", "--noudevsync"])
            .arg(&self.name)
            .output(self.patience);
    }
}

/// The lines of the table: Linux Documentation/admin-guide/device-mapper, linear and striped.
fn table(dm_table: DmTable, devices: &[PathBuf], usable: &[u64]) -> Vec<String> {
    let place = |dev: &PathBuf| format!("{} {BEGIN}", dev.display());
    match dm_table {
        DmTable::Concat | DmTable::Realtime => {
            let mut at = 0;
            let line = |(dev, length): (&PathBuf, &u64)| {
                let line = format!("{at} {length} linear {}", place(dev));
                at += length;
                line
            };
            devices.iter().zip(usable).map(line).collect()
        }
        DmTable::Stripe(chunk) => {
            let each = usable.iter().min().copied().unwrap_or(0) / chunk * chunk;
            let count = devices.len() as u64;
            let places: Vec<_> = devices.iter().map(place).collect();
            vec![format!("0 {} striped {count} {chunk} {}", each * count, places.join(" "))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_as_device_mapper_has_them() {
        let devices = ["/dev/pmem0", "/dev/pmem1"].map(PathBuf::from);
        assert_eq!(
            table(DmTable::Concat, &devices[..1], &[1000]),
            ["0 1000 linear /dev/pmem0 135168"]
        );
        assert_eq!(
            table(DmTable::Concat, &devices, &[1000, 500]),
            ["0 1000 linear /dev/pmem0 135168", "1000 500 linear /dev/pmem1 135168"]
        );
        assert_eq!(
            table(DmTable::Stripe(8), &devices, &[1001, 1000]),
            ["0 2000 striped 2 8 /dev/pmem0 135168 /dev/pmem1 135168"]
        );
    }
}
