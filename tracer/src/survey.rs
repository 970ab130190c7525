//! The ground truth of where a device's blocks lie in memory: blocks of scratch files whose page
//! this process maps and looks up.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::sys::{self, Map};
use crate::untraceable::{Error, PAGE, failed};

/// The length of a scratch file, if there is room.
const LENGTH: u64 = 16 << 20;

/// Files are made until all is known, but not more than this. The first are made in any case.
const LEAST: u32 = 3;
const MOST: u32 = 16;

/// From this one on a file takes half of what is free: a device may lie behind others, where small
/// files do not come.
const LARGE: u32 = 8;

/// A block of a scratch file, which has it until the survey is over.
#[derive(Debug)]
pub(crate) struct Point {
    file: File,
    /// Where in its file it is, in bytes.
    at: u64,
    /// Its number on the file system's device, in pages.
    pub(crate) block: u64,
    /// Its page frame.
    pub(crate) frame: u64,
}

impl Point {
    /// As if it were measured.
    #[cfg(test)]
    pub(crate) fn at(block: u64, frame: u64) -> Self {
        Self { file: File::open("/dev/null").unwrap(), at: 0, block, frame }
    }

    /// Gives the block back to the file system.
    pub(crate) fn free(&self) -> io::Result<()> {
        sys::punch(&self.file, self.at as usize, PAGE as usize)
    }
}

/// Measures blocks in different places of the file system on `mount`, until `enough`.
pub(crate) fn measure(
    mount: &Path,
    enough: impl Fn(&[Point]) -> bool,
) -> Result<Vec<Point>, Error> {
    let mut points = Vec::new();
    for number in 0..MOST {
        if number >= LEAST && enough(&points) {
            break;
        }
        // Each in a new directory: both file systems put the files of different directories into
        // different groups of blocks.
        let folder = mount.join(format!(".tracer-{}-{number}", std::process::id()));
        fs::create_dir(&folder).map_err(failed("creating", &folder))?;
        let path = folder.join("scratch");
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&folder);
        points.extend(measured(&file.map_err(failed("creating", &path))?, &path, number)?);
    }
    Ok(points)
}

/// Points of one file, far from each other.
fn measured(file: &File, path: &Path, number: u32) -> Result<Vec<Point>, Error> {
    let length = room(file, number).map_err(failed("allocating", path))?;
    // Not all at the same place of a stripe.
    let odd = u64::from(number);
    let last = length / PAGE - 1;
    let mut places =
        BTreeSet::from([0, last / 4 + 1 + odd, last / 2 + 2, last.saturating_sub(odd), last]);
    places.retain(|page| *page <= last);
    for page in &places {
        file.write_all_at(&[0x5a; PAGE as usize], page * PAGE).map_err(failed("writing", path))?;
    }
    file.sync_all().map_err(failed("syncing", path))?;
    if !sys::is_dax(file).map_err(failed("looking at", path))? {
        return Err(Error::NotDax(path.to_owned()));
    }
    let whole = NonZeroUsize::new(length as usize).expect("a file of at least a page");
    let map = Map::new(file, whole).map_err(io::Error::from).map_err(failed("mapping", path))?;
    let mut points = Vec::new();
    for page in places {
        let at = page * PAGE;
        map.load(at as usize);
        let frame =
            frame(map.address() + at as usize).map_err(failed("finding the frame of", path))?;
        let block = sys::physical(file, at)
            .and_then(|block| block.ok_or_else(|| io::Error::other("it has no block")))
            .map_err(failed("finding the block of", path))?
            / PAGE;
        let file = file.try_clone().map_err(failed("opening", path))?;
        points.push(Point { file, at, block, frame });
    }
    Ok(points)
}

/// Allocates what file `number` is to have, or as much as there is room for, a page at least.
fn room(file: &File, number: u32) -> io::Result<u64> {
    let mut length = LENGTH;
    if number >= LARGE {
        let space = nix::sys::statvfs::fstatvfs(file)?;
        let half = space.blocks_available() * space.fragment_size() / 2;
        length = length.max(half / PAGE * PAGE);
    }
    loop {
        match sys::allocate(file, length) {
            Ok(()) => return Ok(length),
            Err(error) if error.kind() == io::ErrorKind::StorageFull && length > PAGE => {
                length /= 2;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The frame that an address of this process is mapped to.
///
/// Documentation/admin-guide/mm/pagemap.rst: 8 bytes a page, bits 0 to 54 are the frame number,
/// bit 63 says that it is present.
fn frame(address: usize) -> io::Result<u64> {
    let mut pagemap = File::open("/proc/self/pagemap")?;
    pagemap.seek(SeekFrom::Start(address as u64 / PAGE * 8))?;
    let mut entry = [0; 8];
    pagemap.read_exact(&mut entry)?;
    let entry = u64::from_ne_bytes(entry);
    let frame = entry & ((1 << 55) - 1);
    if entry >> 63 == 0 || frame == 0 {
        return Err(io::Error::other("/proc/self/pagemap does not tell"));
    }
    Ok(frame)
}
