//! What the probes are told before they are loaded: the device, and where this kernel has what they
//! read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use aya::EbpfLoader;
use protocol::Counting;
use protocol::segment::Segment;

use crate::blockmap::{RANGES, SEGMENTS};
use crate::device::TracedFs;
use crate::error::Error;
use crate::hook::Resolved;
use crate::offsets::{self, KERNEL, Types};
use crate::options::Options;
use crate::symbols::Symbols;
use crate::tracefs::{field, tracepoint_file};

/// All of it, collected before the probes are loaded.
pub(crate) struct Globals {
    narrow: Vec<(&'static str, u32)>,
    pages: u64,
    segments: Vec<u64>,
    ranges: Vec<u64>,
}

impl Globals {
    /// For this device and kernel.
    pub(crate) fn collect(
        device: &TracedFs,
        options: &Options,
        counting: Counting,
        hooks: &[Resolved],
        symbols: &Symbols,
    ) -> Result<Self, Error> {
        let mut narrow = fixed(device, options, counting, hooks)?;
        let map = &device.blocks;
        narrow.push(("SEGMENTS", map.segments.len() as u32));
        narrow.push(("RANGES", map.ranges.len() as u32));
        let pages = vmemmap(symbols).map_err(Error::Vmemmap)?;
        let segments = words(map.segments.iter().map(Segment::words), SEGMENTS);
        let ranges = words(map.ranges.iter().map(|&(first, frames)| [first, frames]), RANGES);
        narrow.extend(free_fields(hooks)?);
        Ok(Self { narrow, pages, segments, ranges })
    }

    /// Hands it to the loader.
    pub(crate) fn hand_over<'g>(&'g self, loader: &mut EbpfLoader<'g>) {
        for (name, value) in &self.narrow {
            loader.override_global(name, value, true);
        }
        loader.override_global("PAGES", &self.pages, true);
        loader.override_global("SEGMENT", self.segments.as_slice(), true);
        loader.override_global("RANGE", self.ranges.as_slice(), true);
    }
}

/// How this kernel counts references of a DAX page.
///
/// Where it is idle at one reference the last put is special and has a function of its own,
/// `__put_devmap_managed_page_refs` or `_folio_refs`.
pub fn counting(symbols: &Symbols) -> Counting {
    let special = ["__put_devmap_managed_page_refs", "__put_devmap_managed_folio_refs"];
    if special.iter().any(|name| symbols.named(name).is_some()) {
        Counting::IdleAtOne
    } else {
        Counting::IdleAtZero
    }
}

/// Rows of numbers as one, and zeros for the rows that are not there.
fn words<const N: usize>(rows: impl Iterator<Item = [u64; N]>, most: usize) -> Vec<u64> {
    let mut words: Vec<u64> = rows.flatten().collect();
    words.resize(most * N, 0);
    words
}

fn fixed(
    device: &TracedFs,
    options: &Options,
    counting: Counting,
    hooks: &[Resolved],
) -> Result<Vec<(&'static str, u32)>, Error> {
    let types = Types::kernel()?;
    let mut globals = vec![
        ("DEVICE", device.number),
        ("DETAIL", u32::from(options.detail)),
        ("GROUP_BLOCKS", device.group_blocks),
        ("PAGE_SIZE_OF", types.size("page")?),
    ];
    for &(name, fields) in KERNEL {
        globals.push((name, types.offset(fields)?));
    }
    let entry = types.offset(&["wait_bit_queue_entry.wq_entry"])?;
    globals.push(("WAIT_ENTRY", entry + types.offset(&["wait_queue_entry.entry"])?));
    let references = types.offset(&["page._refcount", "folio._refcount"])?;
    match counting {
        Counting::IdleAtOne => {
            globals.extend([
                ("IDLE", 1),
                ("WAIT_OFFSET", references),
                ("PAGE_HEAD_BIT", 64),
                ("FOLIO_LARGE_MAPS", 0),
            ]);
        }
        Counting::IdleAtZero => {
            let head = types
                .enumerator("pageflags", "PG_head")
                .ok_or_else(|| offsets::Error::Field("pageflags.PG_head".to_owned()))?;
            globals.extend([
                ("IDLE", 0),
                ("WAIT_OFFSET", 0),
                ("PAGE_HEAD_BIT", head),
                ("FOLIO_LARGE_MAPS", types.offset(&["folio._large_mapcount"])?),
            ]);
        }
    }
    let vfs = if device.file_system == "xfs" {
        types.module("xfs").or_else(|_| Types::kernel())?.offset(&["xfs_inode.i_vnode"])?
    } else {
        0
    };
    globals.push(("XFS_INODE_VFS", vfs));
    globals.extend(
        hooks.iter().filter_map(|hook| hook.chosen.as_ref()).filter_map(|(way, _)| way.tells),
    );
    Ok(globals)
}

/// Where the free tracepoint has its fields.
fn free_fields(hooks: &[Resolved]) -> Result<Vec<(&'static str, u32)>, Error> {
    let mut fields = Vec::new();
    let Some((_, symbol)) = hooks
        .iter()
        .find(|hook| hook.step.name == "block free")
        .and_then(|hook| hook.chosen.as_ref())
    else {
        return Ok(fields);
    };
    let (category, name) = symbol.split_once(':').unwrap_or(("", symbol));
    let format = tracepoint_file(category, name, "format").unwrap_or_default();
    let wanted: &[(&str, &[&'static str])] = match category {
        "xfs" => &[
            ("FREE_DEVICE", &["dev"]),
            ("FREE_GROUP", &["agno"]),
            ("FREE_BLOCK", &["agbno"]),
            ("FREE_LENGTH", &["len"]),
        ],
        _ => &[("FREE_DEVICE", &["dev"]), ("FREE_BLOCK", &["block"]), ("FREE_LENGTH", &["count"])],
    };
    for &(global, names) in wanted {
        let offset = names
            .iter()
            .find_map(|name| field(&format, name))
            .ok_or_else(|| Error::Tracepoint(symbol.clone(), names[0]))?;
        fields.push((static_name(global), offset));
    }
    Ok(fields)
}

/// The names of [`free_fields`] live as long as the program.
fn static_name(name: &str) -> &'static str {
    ["FREE_DEVICE", "FREE_GROUP", "FREE_BLOCK", "FREE_LENGTH"]
        .into_iter()
        .find(|known| *known == name)
        .expect("only these are asked for")
}

/// The address of the `struct page` of frame 0, which KASLR moves.
fn vmemmap(symbols: &Symbols) -> io::Result<u64> {
    let symbol = symbols
        .named("vmemmap_base")
        .ok_or_else(|| io::Error::other("the kernel has no symbol vmemmap_base"))?;
    kernel_word(symbol.address)
}

/// Reads eight bytes of kernel memory: /proc/kcore is an ELF core file of it.
fn kernel_word(address: u64) -> io::Result<u64> {
    let core = File::open("/proc/kcore")?;
    let word = |at: u64| -> io::Result<u64> {
        let mut bytes = [0; 8];
        core.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_ne_bytes(bytes))
    };
    // ELF-64: e_phoff at 32, e_phnum at 56; a program header of 56 bytes has its offset at 8, its
    // address at 16 and its length in memory at 40.
    let headers = word(32)?;
    let count = word(56)? & 0xffff;
    for n in 0..count {
        let header = headers + n * 56;
        let (offset, start, length) = (word(header + 8)?, word(header + 16)?, word(header + 40)?);
        if word(header)? & 0xffff_ffff == 1 && address.wrapping_sub(start) < length {
            return word(offset + (address - start));
        }
    }
    Err(io::Error::other("no segment has its address"))
}
