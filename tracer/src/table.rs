//! What a block device is made of: which of its pages are on which other device, down to devices
//! that are made of none.
//!
//! Sysfs tells of partitions, device-mapper of its tables. Whatever else is made of others is not
//! guessed at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::segment::{MEMBERS, Stripes};

use crate::sys::{self, DmTarget};

/// A device's major and minor number.
pub(crate) type MajorMinor = (u32, u32);

/// Sectors of a page.
const SECTORS: u64 = 8;

/// Why it is not known, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown(pub(crate) String);

/// Pages of a device, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) stripes: Stripes,
    /// Where each member begins.
    pub(crate) members: Vec<Location>,
}

/// A page of a device that is made of no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) device: MajorMinor,
    pub(crate) page: u64,
}

/// What a device is to the one that looks.
#[derive(Clone, Debug)]
enum Makeup {
    /// It is made of no other.
    Whole,
    /// A partition of another, which begins at this sector.
    Partition(MajorMinor, u64),
    /// A device-mapper device.
    Mapped(Vec<DmTarget>),
}

/// All parts of a device of so many pages, in their order.
pub(crate) fn parts(device: MajorMinor, pages: u64) -> Result<Vec<Part>, Unknown> {
    of(device, pages, &look)
}

/// How deep devices may lie within each other: the kernel has no such limit, and no loops.
const DEEPEST: u32 = 16;

type Lookup<'l> = &'l dyn Fn(MajorMinor) -> Result<Makeup, Unknown>;

fn of(device: MajorMinor, pages: u64, look: Lookup<'_>) -> Result<Vec<Part>, Unknown> {
    within(device, 0, pages, look, DEEPEST)
}

/// The parts of `pages` pages of a device from one on; they count from 0.
fn within(
    device: MajorMinor,
    from: u64,
    pages: u64,
    look: Lookup<'_>,
    deep: u32,
) -> Result<Vec<Part>, Unknown> {
    let deeper = deep.checked_sub(1).ok_or_else(|| unknown("it is made of too many"))?;
    let targets = match look(device)? {
        Makeup::Whole => {
            return Ok(vec![contiguous(0, pages, Location { device, page: from })]);
        }
        Makeup::Partition(parent, sector) => {
            return within(parent, from + whole(sector)?, pages, look, deeper);
        }
        Makeup::Mapped(targets) => targets,
    };
    let mut parts = Vec::new();
    for target in &targets {
        let (first, length) = (whole(target.begin)?, whole(target.sectors)?);
        let (begin, end) = (first.max(from), (first + length).min(from + pages));
        if begin >= end {
            continue;
        }
        let words: Vec<&str> = target.parameters.split_ascii_whitespace().collect();
        match (target.kind.as_str(), words.as_slice()) {
            ("linear", [on, sector]) => {
                let at = whole(number(sector)?)? + (begin - first);
                let mut below = within(device_number(on)?, at, end - begin, look, deeper)?;
                for part in &mut below {
                    part.stripes.begin += begin - from;
                }
                parts.append(&mut below);
            }
            ("striped", [count, chunk, members @ ..]) => {
                let members: Vec<Location> = members
                    .chunks(2)
                    .map(|member| match member {
                        [on, sector] => {
                            let (on, at) = (device_number(on)?, whole(number(sector)?)?);
                            let pages = length / number(count)?.max(1);
                            one_row(&within(on, at, pages, look, deeper)?)
                        }
                        _ => Err(unknown("its stripes are not pairs")),
                    })
                    .collect::<Result<_, _>>()?;
                if members.len() as u64 != number(count)? || members.len() > MEMBERS {
                    return Err(unknown(format!("it is striped over {count} devices")));
                }
                let stripes = Stripes {
                    begin: begin - from,
                    pages: end - begin,
                    skip: begin - first,
                    chunk: whole(number(chunk)?)?,
                    members: members.len() as u64,
                };
                parts.push(Part { stripes, members });
            }
            (kind, _) => {
                return Err(unknown(format!("device-mapper's target {kind} is not understood")));
            }
        }
    }
    Ok(parts)
}

/// Where the pages are, if they lie one behind the other.
fn one_row(parts: &[Part]) -> Result<Location, Unknown> {
    match parts {
        [Part { stripes, members }] if members.len() == 1 => {
            Ok(Location { page: members[0].page + stripes.skip, ..members[0] })
        }
        _ => Err(unknown("what it is striped over is in several pieces itself")),
    }
}

fn contiguous(begin: u64, pages: u64, member: Location) -> Part {
    let stripes = Stripes { begin, pages, skip: 0, chunk: u64::MAX, members: 1 };
    Part { stripes, members: vec![member] }
}

fn unknown(why: impl Into<String>) -> Unknown {
    Unknown(why.into())
}

/// Sectors in pages.
fn whole(sectors: u64) -> Result<u64, Unknown> {
    if sectors.is_multiple_of(SECTORS) {
        Ok(sectors / SECTORS)
    } else {
        Err(unknown(format!("sector {sectors} is not the first of a page")))
    }
}

fn number(text: &str) -> Result<u64, Unknown> {
    text.parse().map_err(|_| unknown(format!("{text} is not a number")))
}

fn device_number(text: &str) -> Result<MajorMinor, Unknown> {
    text.split_once(':')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| unknown(format!("{text} is not a device number")))
}

/// What this machine says of a device.
fn look(device: MajorMinor) -> Result<Makeup, Unknown> {
    let (major, minor) = device;
    let sysfs = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| unknown(format!("{path}: {error}"))
    };
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(failed(&path));
    let sysfs = fs::canonicalize(&sysfs).map_err(failed(&sysfs))?;
    if sysfs.join("partition").exists() {
        let begin = number(read(sysfs.join("start"))?.trim())?;
        return Ok(Makeup::Partition(device_number(read(sysfs.join("../dev"))?.trim())?, begin));
    }
    if sysfs.join("dm").exists() {
        let table = sys::device_mapper_table(device);
        return table.map(Makeup::Mapped).map_err(failed(Path::new("/dev/mapper/control")));
    }
    let slaves = sysfs.join("slaves");
    let made_of_others = fs::read_dir(&slaves).is_ok_and(|mut entries| entries.next().is_some());
    if made_of_others {
        let name = sysfs.file_name().unwrap_or_default().display().to_string();
        return Err(unknown(format!(
            "{name} consists of other devices and is not a device-mapper device"
        )));
    }
    Ok(Makeup::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PMEM0: MajorMinor = (259, 0);
    const PMEM1: MajorMinor = (259, 1);
    const PART: MajorMinor = (259, 2);
    const LOW: MajorMinor = (253, 0);
    const HIGH: MajorMinor = (253, 1);

    fn target(begin: u64, sectors: u64, kind: &str, parameters: &str) -> DmTarget {
        DmTarget { begin, sectors, kind: kind.to_owned(), parameters: parameters.to_owned() }
    }

    /// The places of a device's pages, one by one.
    fn places(parts: &[Part], pages: u64) -> Vec<(MajorMinor, u64)> {
        (0..pages)
            .map(|at| {
                let mut found = parts.iter().filter_map(|part| {
                    let spot = part.stripes.locate(at)?;
                    let member = part.members[spot.member];
                    Some((member.device, member.page + spot.page))
                });
                let place = found.next().unwrap_or_else(|| panic!("page {at} is nowhere"));
                assert_eq!(found.next(), None, "page {at} is at two places");
                place
            })
            .collect()
    }

    fn made(device: MajorMinor, low: &[DmTarget], high: &[DmTarget]) -> Makeup {
        match device {
            PART => Makeup::Partition(PMEM0, 80),
            LOW => Makeup::Mapped(low.to_vec()),
            HIGH => Makeup::Mapped(high.to_vec()),
            _ => Makeup::Whole,
        }
    }

    #[test]
    fn a_partition_begins_where_it_begins() {
        let parts = of(PART, 2, &|device| Ok(made(device, &[], &[]))).unwrap();
        assert_eq!(places(&parts, 2), [(PMEM0, 10), (PMEM0, 11)]);
    }

    #[test]
    fn a_concatenation_goes_on_on_the_next() {
        let low = [target(0, 16, "linear", "259:1 8"), target(16, 16, "linear", "259:2 0")];
        let parts = of(LOW, 4, &|device| Ok(made(device, &low, &[]))).unwrap();
        assert_eq!(places(&parts, 4), [(PMEM1, 1), (PMEM1, 2), (PMEM0, 10), (PMEM0, 11)]);
    }

    #[test]
    fn a_stripe_takes_turns() {
        let low = [target(0, 64, "striped", "2 16 259:0 8 259:1 0")];
        let parts = of(LOW, 8, &|device| Ok(made(device, &low, &[]))).unwrap();
        let turns = [1, 2].map(|page| (PMEM0, page)).into_iter().chain([0, 1].map(|p| (PMEM1, p)));
        assert_eq!(places(&parts, 8)[..4], turns.collect::<Vec<_>>());
        assert_eq!(places(&parts, 8)[4..6], [(PMEM0, 3), (PMEM0, 4)]);
    }

    #[test]
    fn a_part_of_a_stripe_is_the_stripe_from_there_on() {
        let low = [target(0, 64, "striped", "2 16 259:0 0 259:1 0")];
        let high = [target(0, 32, "linear", "253:0 24")];
        let all = of(LOW, 8, &|device| Ok(made(device, &low, &high))).unwrap();
        let part = of(HIGH, 4, &|device| Ok(made(device, &low, &high))).unwrap();
        assert_eq!(places(&part, 4), places(&all, 8)[3..7]);
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for (table, said) in [
            (target(0, 64, "crypt", "aes - 0 259:0 0"), "target crypt is not understood"),
            (target(0, 64, "linear", "259:0 4"), "sector 4 is not the first of a page"),
            (target(0, 64, "striped", "2 8 253:1 0 259:1 0"), "in several pieces itself"),
        ] {
            let high = [target(0, 64, "striped", "2 8 259:0 0 259:1 0")];
            let table = [table];
            let Unknown(why) = of(LOW, 8, &|device| Ok(made(device, &table, &high))).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
        assert!(of(LOW, 8, &|_| Ok(Makeup::Partition(LOW, 0))).is_err());
    }
}
