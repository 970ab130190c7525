//! The load that a benchmark of the tracer puts on a file system: fault, direct I/O, punch.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::device::TracedFs;
use crate::sys::{self, Map};
use crate::untraceable::{self, PAGE};

/// Why there is no load, or why its file cannot be used otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`untraceable::Error`].
    #[error(transparent)]
    Device(#[from] untraceable::Error),
    /// A system call of it failed.
    #[error("{doing}")]
    System {
        /// What it was for.
        doing: &'static str,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

pub(crate) fn failed<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::System { doing, source: source.into() }
}

/// Pages of the file, which are taken in turn; 64 KiB go in one direct I/O.
const PAGES: usize = 64;
const AT_ONCE: usize = 16;

/// Rounds a second.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// All of them in all of the time.
    pub mean: f64,
    /// As fast as the tenth part of the rounds that took least. On a host that runs other things as
    /// well this is nearer to what a round costs.
    pub undisturbed: f64,
}

/// Runs for so long: rounds of `AT_ONCE` faults, one direct I/O of their pages to `target`, which
/// pins them, and one punch of them.
pub fn run(dev: &Path, target: &Path, duration: Duration) -> Result<Rate, Error> {
    let (device, _) = TracedFs::find(dev)?;
    let (file, _) = device.scratch()?;
    file.set_len(PAGE * PAGES as u64).map_err(failed("extending the file"))?;
    let length = NonZeroUsize::new(PAGE as usize * PAGES).expect("the file is not empty");
    let map = Map::new(&file, length).map_err(failed("mapping it"))?;
    let sink: File = OpenOptions::new()
        .write(true)
        // O_EXCL refuses a block device that is mounted or otherwise in use (open(2)).
        .custom_flags(libc::O_DIRECT | libc::O_EXCL)
        .open(target)
        .map_err(failed("opening the target"))?;
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || begin.elapsed() < duration {
        let begun = Instant::now();
        let first = times.len() * AT_ONCE % PAGES;
        for page in first..first + AT_ONCE {
            map.store(page * PAGE as usize);
        }
        let (at, length) = (first * PAGE as usize, AT_ONCE * PAGE as usize);
        map.write_to(&sink, at, length).map_err(failed("writing to the target"))?;
        sys::punch(&file, at, length).map_err(failed("punching a hole"))?;
        times.push(begun.elapsed());
    }
    let all = begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let rounds = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Ok(Rate {
        mean: f64::from(rounds) / all,
        undisturbed: 1.0 / times[times.len() / 10].as_secs_f64(),
    })
}
