//! Holds: which kernel function carries each point at which a task can be held, and the probes there.
//!
//! They have nothing to do with tracing and share only the object file: a case needs them whether or
//! not it is traced. Who arms them is the case, through the control page ([`protocol::hold`]); here
//! they are attached, and [`check`] holds a task at each point to show that it can be done.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::Map as BpfMap;
use aya::util::online_cpus;
use aya::{Btf, EbpfLoader};
use protocol::HoldPoint;
use protocol::hold::{End, LONGEST, Slots, slot};

use crate::attach::{Programs, Site};
use crate::device::TracedFs;
use crate::error::Error;
use crate::hook::{Alternative, Attach, at};
use crate::load::{self, failed};
use crate::session::{OBJECT, preconditions};
use crate::symbols::Symbols;
use crate::sys::{self, HoldPage, Map};
use crate::untraceable::PAGE;

/// A function in which tasks can be held.
#[derive(Debug)]
struct HoldSite {
    /// Its place in the control page.
    slot: u32,
    /// The ways to stop a task there, the best first. A kprobe is second choice, for where it is an
    /// int3 it runs with interrupts off, and then nothing on the machine goes on that needs one of
    /// this processor's.
    ways: &'static [Alternative],
}

const HELD: &[HoldSite] = &[
    HoldSite {
        slot: slot::UNMAP,
        ways: &[
            at("unmap_mapping_pages", &[("hold_unmap", Attach::Fexit)]),
            at("unmap_mapping_pages", &[("hold_unmap_probe", Attach::Kretprobe)]),
        ],
    },
    HoldSite {
        slot: slot::SCAN,
        ways: &[
            at("dax_layout_busy_page_range", &[("hold_scan", Attach::Fexit)]),
            at("dax_layout_busy_page_range", &[("hold_scan_probe", Attach::Kretprobe)]),
        ],
    },
    HoldSite {
        slot: slot::WAIT,
        ways: &[
            at("init_wait_var_entry", &[("hold_wait", Attach::Fentry)]),
            at("init_wait_var_entry", &[("hold_wait_probe", Attach::Kprobe)]),
        ],
    },
    HoldSite {
        slot: slot::FAULT,
        ways: &[
            at("dax_iomap_fault", &[("hold_fault", Attach::Fentry)]),
            at("dax_iomap_fault", &[("hold_fault_probe", Attach::Kprobe)]),
        ],
    },
    HoldSite {
        slot: slot::WRITE,
        ways: &[
            at("dax_flush", &[("hold_write", Attach::Fentry)]),
            at("dax_flush", &[("hold_write_probe", Attach::Kprobe)]),
        ],
    },
    HoldSite {
        slot: slot::INVALIDATE,
        ways: &[
            at("invalidate_inode_pages2_range", &[("hold_invalidate", Attach::Fentry)]),
            at("invalidate_inode_pages2_range", &[("hold_invalidate_probe", Attach::Kprobe)]),
        ],
    },
    HoldSite {
        slot: slot::REMAP,
        ways: &[
            at("xfs_reflink_end_cow", &[("hold_remap", Attach::Fentry)]),
            at("xfs_reflink_end_cow", &[("hold_remap_probe", Attach::Kprobe)]),
        ],
    },
    HoldSite {
        slot: slot::ACCESS,
        ways: &[
            at("dax_direct_access", &[("hold_access", Attach::Fentry)]),
            at("dax_direct_access", &[("hold_access_probe", Attach::Kprobe)]),
        ],
    },
    HoldSite {
        slot: slot::ENTER,
        ways: &[
            at("dax_insert_entry", &[("hold_enter", Attach::Fentry)]),
            at("dax_insert_entry", &[("hold_enter_probe", Attach::Kprobe)]),
        ],
    },
    HoldSite {
        slot: slot::COMPARE,
        ways: &[
            at("dax_dedupe_file_range_compare", &[("hold_compare", Attach::Fexit)]),
            at("dax_dedupe_file_range_compare", &[("hold_compare_probe", Attach::Kretprobe)]),
        ],
    },
];

/// The PID namespace that all others are in: `PROC_PID_INIT_INO`, include/linux/proc_ns.h.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// The smallest ring there is: nobody writes to it.
const RING: u32 = 4096;

/// The probes in place. Dropping it takes them off; who stands at one stays until its deadline.
pub struct HoldProbes {
    programs: Programs,
    page: HoldPage,
    /// What became of each slot.
    placed: Vec<(u32, Result<Placed, Error>)>,
}

/// Where a slot's probe is.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The function.
    pub symbol: &'static str,
    /// How the probe is attached to it.
    pub how: Attach,
}

impl HoldProbes {
    /// Attaches what this kernel takes. An error says why nothing can be held here.
    pub fn attach() -> Result<Self, Error> {
        preconditions()?;
        if fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own.as_os_str() != FIRST_NAMESPACE) {
            return Err(Error::Namespace);
        }
        let processors = online_cpus().map_or(1, |cpus| cpus.len());
        if processors < 2 {
            return Err(Error::OneProcessor);
        }
        let symbols = Symbols::read()?;
        let btf = Btf::from_sys_fs()
            .map_err(|error| Error::Lacks(format!("BTF of the kernel: {error}")))?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&btf)).map_max_entries("EVENTS", RING);
        let ebpf = loader.load(OBJECT).map_err(Box::new)?;
        let Some(BpfMap::Array(data)) = ebpf.map("HOLDS") else {
            return Err(Error::Lacks("an array HOLDS".to_owned()));
        };
        let page = HoldPage::new(data.fd().as_fd())
            .map_err(|error| Error::Lacks(format!("a map HOLDS that can be mapped: {error}")))?;
        let mut programs = Programs::new(ebpf, btf);
        let mut placed = Vec::new();
        for held in HELD {
            let result = put_probe(&mut programs, held, &symbols);
            let word = &page.slots()[held.slot as usize].attached;
            word.store(result.is_ok().into(), std::sync::atomic::Ordering::SeqCst);
            placed.push((held.slot, result));
        }
        Ok(Self { programs, page, placed })
    }

    /// The descriptor of the control page, for whoever is to map it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.programs.map_fd("HOLDS").expect("it was mapped when this was made")
    }

    /// What can be held where, with the reason if it cannot.
    pub fn placed(&self, point: HoldPoint) -> Result<&Placed, String> {
        let placed = self.placed.iter().find(|(slot, _)| *slot == point.slot());
        match placed {
            Some((_, Ok(placed))) => Ok(placed),
            Some((_, Err(error))) => Err(error.to_string()),
            None => Err("no slot is its".to_owned()),
        }
    }

    /// The points at which nobody can be held, and why.
    pub fn refused(&self) -> impl Iterator<Item = (HoldPoint, String)> {
        HoldPoint::ALL.iter().filter_map(|point| Some((*point, self.placed(*point).err()?)))
    }

    /// Lets everybody go, and holds nobody any more.
    pub fn clear(&self) {
        for slot in self.slots() {
            slot.disarm();
            slot.release();
        }
    }

    fn slots(&self) -> &Slots {
        self.page.slots()
    }
}

/// Attaches a slot's program in the first way that the kernel takes.
fn put_probe(programs: &mut Programs, held: &HoldSite, symbols: &Symbols) -> Result<Placed, Error> {
    let mut refused = None;
    for way in held.ways {
        if symbols.named(way.symbol).is_none() {
            continue;
        }
        match programs.attach(way.programs, &Site::of(symbols, way.symbol)) {
            Ok(()) => return Ok(Placed { symbol: way.symbol, how: way.programs[0].1 }),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| Error::NoHook {
        step: "a hold",
        looked_for: held.ways[0].symbol.to_owned(),
    }))
}

/// What came of holding a task at a point.
#[derive(Debug)]
pub enum HoldCheck {
    /// It stood there and was let go.
    Held,
    /// It did not come by, or was not stopped.
    Missed(&'static str),
    /// No task comes by on this file system, and why.
    Absent(&'static str),
}

/// How long a task may take to come by; emulated machines are slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// Has a task come to `point` on the mounted file system of `dev`, and holds it there.
pub fn check(holds: &HoldProbes, dev: &Path, point: HoldPoint) -> Result<HoldCheck, load::Error> {
    let (device, _) = TracedFs::find(dev)?;
    let (file, _) = device.scratch()?;
    let length = NonZeroUsize::new(PAGE as usize).expect("a page is not empty");
    let map = Map::new(&file, length).map_err(failed("mapping its file"))?;
    let pin = match point {
        HoldPoint::ScanFoundBusy | HoldPoint::WaitEntered => {
            map.touch();
            let (reader, writer) = nix::unistd::pipe().map_err(failed("making a pipe"))?;
            map.splice(&writer, PAGE as usize).map_err(failed("pinning its page"))?;
            Some((reader, writer))
        }
        HoldPoint::Unmapped | HoldPoint::ScanFoundNone => {
            map.touch();
            None
        }
        HoldPoint::EntryLocked => {
            map.store(0);
            None
        }
        HoldPoint::WriteAllocated => {
            // So that it is given a block.
            sys::punch(&file, 0, PAGE as usize).map_err(failed("punching its file"))?;
            None
        }
        HoldPoint::CopyWritten
        | HoldPoint::FaultEntered
        | HoldPoint::BlockFound
        | HoldPoint::PageFound
        | HoldPoint::Compared => None,
    };
    let (other, _) = device.scratch()?;
    if matches!(point, HoldPoint::CopyWritten | HoldPoint::Compared)
        && sys::share(&file, &other).is_err()
    {
        return Ok(HoldCheck::Absent("its files cannot share blocks"));
    }
    let (tell, told) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let task = thread::spawn(move || {
        // Nobody listens any more if something failed.
        let _ = tell.send(nix::unistd::gettid().as_raw() as u32);
        begun.recv().map_err(io::Error::other)?;
        match point {
            HoldPoint::FaultEntered | HoldPoint::PageFound => {
                map.touch();
                Ok(())
            }
            HoldPoint::EntryLocked => file.sync_all(),
            HoldPoint::WriteAllocated | HoldPoint::CopyWritten | HoldPoint::BlockFound => {
                file.write_all_at(&[0; PAGE as usize], 0)
            }
            HoldPoint::Compared => sys::dedupe(&file, &other, PAGE),
            HoldPoint::Unmapped
            | HoldPoint::ScanFoundBusy
            | HoldPoint::ScanFoundNone
            | HoldPoint::WaitEntered => sys::punch(&file, 0, PAGE as usize),
        }
    });
    let number = told.recv().map_err(io::Error::other).map_err(failed("starting a task"))?;
    let slot = &holds.slots()[point.slot() as usize];
    if !slot.arm(number, point, LONGEST) {
        return Ok(HoldCheck::Missed("somebody else stands there"));
    }
    begin.send(()).map_err(io::Error::other).map_err(failed("starting a task"))?;
    wait(|| slot.has_arrived() || task.is_finished());
    // It stands there only if it has not gone on by itself.
    let stood = slot.has_arrived() && !task.is_finished();
    slot.release();
    wait(|| !slot.has_arrived() || slot.ended().is_some());
    slot.disarm();
    if let Some((reader, _writer)) = pin {
        let mut byte = [0; PAGE as usize];
        File::from(reader).read_exact(&mut byte).map_err(failed("releasing its pin"))?;
    }
    wait(|| task.is_finished());
    if !task.is_finished() {
        return Ok(HoldCheck::Missed("it was let go and did not return"));
    }
    task.join().expect("it does not panic").map_err(failed("what its task does"))?;
    Ok(match slot.ended() {
        Some(End::Go) if stood => HoldCheck::Held,
        Some(_) => HoldCheck::Missed("it went on before it was let go"),
        None => HoldCheck::Missed("it never came by"),
    })
}

/// Waits until it is so, or too long.
fn wait(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() && Instant::now() < end {
        // Nobody tells; one looks.
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_a_function_and_each_point_a_slot() {
        let slots: Vec<_> = HELD.iter().map(|held| held.slot as usize).collect();
        assert_eq!(slots, (0..slot::COUNT).collect::<Vec<_>>());
        assert!(HoldPoint::ALL.iter().all(|point| slots.contains(&(point.slot() as usize))));
    }
}
