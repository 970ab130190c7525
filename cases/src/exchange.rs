//! All blocks of a file exchanged for those of another, while pages of it are pinned or mapped.
//!
//! What is mapped then belongs to somebody else, as after a collapse: the exchange must wait for pins,
//! and nothing may stay mapped.

use nix::libc;

use crate::action::{Action, MapId, Partner, page, pages};
use crate::case::case;
use crate::origin;
use crate::system::MAIN;
use crate::test::{Checked, File, Test, answer, fail};

/// Two files, of which the first is mapped and will be exchanged for the second.
struct ExchangePair {
    data: File,
    other: File,
    map: MapId,
}

/// `xfs_swap_extents_check_format` refuses a donor with more extents than the file has.
const FEWER: &str = "had the donor no more extents than the file";

impl ExchangePair {
    /// Has `check` exchange the first of these two for the second, once the kernel takes that as a donor.
    fn swapext(
        t: &mut Test<'_>,
        roles: fn(&Self) -> [File; 2],
        check: fn(&Self, &mut Test<'_>, File, Partner) -> Checked,
    ) -> Checked {
        t.until(FEWER, |t| {
            let pair = Self::new(t)?;
            let [file, donor] = roles(&pair);
            let fits = gaps(t, donor)? <= gaps(t, file)?;
            if fits {
                check(&pair, t, file, Partner::File(donor.id))?;
            }
            Ok(fits)
        })
    }

    /// Has `check` exchange the first file for the boot loader, which has the blocks of the second by then.
    fn swap_boot(
        t: &mut Test<'_>,
        check: fn(&Self, &mut Test<'_>, File, Partner) -> Checked,
    ) -> Checked {
        let pair = Self::new(t)?;
        t.run(Action::Exchange { file: pair.other.id, with: Partner::BootLoader })?;
        check(&pair, t, pair.data, Partner::BootLoader)
    }

    fn new(t: &mut Test<'_>) -> Checked<Self> {
        let data = t.file("data", "abcd")?;
        let other = t.file("other", "wxyz")?;
        let map = t.map(data)?;
        Ok(Self { data, other, map })
    }

    /// It waits for a pin of a page of the mapped file.
    fn waits(&self, t: &mut Test<'_>, file: File, with: Partner) -> Checked {
        let pin = t.pin(self.map, page(2))?;
        let op = t.begin(Action::Exchange { file: file.id, with })?;
        t.blocked(&op)?;
        t.ends_with(&op, pin)?;
        t.transferred(pin, "c")?;
        self.exchanged(t, with)
    }

    /// What was mapped before shows what the file has now, and takes stores for it.
    fn stays_coherent(&self, t: &mut Test<'_>, file: File, with: Partner) -> Checked {
        t.run(Action::Touch { map: self.map, span: pages(0, 4) })?;
        t.run(Action::Exchange { file: file.id, with })?;
        self.exchanged(t, with)?;
        t.run(Action::Store { map: self.map, span: page(2), byte: b's' })?;
        t.reads(self.data, "wxsz")
    }

    /// Both files have what the other had.
    fn exchanged(&self, t: &mut Test<'_>, with: Partner) -> Checked {
        t.reads(self.data, "wxyz")?;
        if with == Partner::BootLoader {
            // It is left as empty as it was.
            t.run(Action::Exchange { file: self.other.id, with })?;
        }
        t.reads(self.other, "abcd")?;
        t.loads(self.map, pages(0, 4), "wxyz")
    }
}

/// Where a new extent of a file begins but the first.
fn gaps(t: &mut Test<'_>, file: File) -> Checked<usize> {
    Ok(t.blocks(file)?.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count())
}

case! {
    /// Online defragmentation, which exchanges all blocks of two files, waits for a pin of the file.
    swapext_pinned: "exchange/swapext-pinned",
    groups: ["quick"], needs: [SwapExtents], limit: 120, origin: origin::SWAPEXT,
}
fn swapext_pinned(t: &mut Test<'_>) -> Checked {
    ExchangePair::swapext(t, |pair| [pair.data, pair.other], ExchangePair::waits)
}

case! {
    /// Online defragmentation waits for a pin of the file that the new blocks come from.
    swapext_donor_pinned: "exchange/swapext-donor-pinned",
    groups: [], needs: [SwapExtents], limit: 120, origin: origin::SWAPEXT,
}
fn swapext_donor_pinned(t: &mut Test<'_>) -> Checked {
    ExchangePair::swapext(t, |pair| [pair.other, pair.data], ExchangePair::waits)
}

case! {
    /// After online defragmentation a mapping made before shows the new blocks.
    swapext_mapped: "exchange/swapext-mapped",
    groups: ["quick"], needs: [SwapExtents], limit: 120, origin: origin::SWAPEXT,
}
fn swapext_mapped(t: &mut Test<'_>) -> Checked {
    ExchangePair::swapext(t, |pair| [pair.data, pair.other], ExchangePair::stays_coherent)
}

case! {
    /// An exchange of all of two files waits for a pin of the second.
    range_second_pinned: "exchange/range-second-pinned",
    groups: [], needs: [ExchangeRange], limit: 120, origin: origin::EXCHANGE_RANGE,
}
fn range_second_pinned(t: &mut Test<'_>) -> Checked {
    let pair = ExchangePair::new(t)?;
    pair.waits(t, pair.other, Partner::Range(pair.data.id))
}

case! {
    /// An exchange of a DAX file with one that has a page cache waits for a pin of the DAX file, or is
    /// refused: else what holds the pin writes to the other file.
    range_with_cached: "exchange/range-with-cached-pinned",
    groups: ["quick"], needs: [ExchangeRange, WithoutDax], limit: 120, origin: origin::EXCHANGE_RANGE,
}
fn range_with_cached(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let cached = t.file_without_dax("cached", "wxyz")?;
    let map = t.map(data)?;
    let pin = t.pin(map, page(2))?;
    let with = Partner::Range(cached.id);
    let op = t.begin(Action::Exchange { file: data.id, with })?;
    let sleeps = !t.settled(&op)?;
    t.is_open(&op);
    let early = if sleeps { None } else { Some(t.returned(&op)?) };
    if early.is_some_and(|done| done.result.is_ok()) {
        return fail(
            "an exchange with a file that has a page cache waits for the pin, or is refused",
            "it returned, and the pinned page is the other file's now",
            "xfs_ilock2_io_mmap, which breaks layouts only if both files are DAX files",
        );
    }
    t.release(pin)?;
    t.transferred(pin, "c")?;
    if sleeps {
        t.succeeded(&op)?;
    }
    let mut contents = Vec::new();
    for file in [data, cached] {
        let span = pages(0, 4);
        contents.push(answer(&t.quietly(MAIN, Action::Read { file: file.id, span })?));
    }
    if sleeps {
        contents.reverse();
    }
    if contents != ["\"abcd\"", "\"wxyz\""] {
        let expected = "each file has what the other had, or nothing is exchanged";
        return fail(expected, &contents.join(" and "), "");
    }
    t.say("the page was not exchanged under its pin");
    Ok(())
}

case! {
    /// A file that is exchanged for the boot loader's waits for a pin.
    swap_boot_pinned: "exchange/swap-boot-pinned",
    groups: ["quick"], needs: [SwapBoot], limit: 120, origin: origin::SWAP_BOOT,
}
fn swap_boot_pinned(t: &mut Test<'_>) -> Checked {
    ExchangePair::swap_boot(t, ExchangePair::waits)
}

case! {
    /// After a file was exchanged for the boot loader's, a mapping made before shows the new blocks and
    /// takes stores for them.
    swap_boot_mapped: "exchange/swap-boot-mapped",
    groups: ["quick"], needs: [SwapBoot], limit: 120, origin: origin::SWAP_BOOT,
}
fn swap_boot_mapped(t: &mut Test<'_>) -> Checked {
    ExchangePair::swap_boot(t, ExchangePair::stays_coherent)
}

case! {
    /// Online defragmentation goes through the page cache, so it refuses DAX files: the one whose data is
    /// to move, and the one whose blocks it is to move into.
    move_extents_refused: "exchange/move-extents-refused",
    groups: ["quick"], needs: [WithoutDax, MoveExtents], limit: 120, origin: origin::DEFRAG,
}
fn move_extents_refused(t: &mut Test<'_>) -> Checked {
    let data = t.file("data", "abcd")?;
    let cached = t.file_without_dax("cached", "wxyz")?;
    for (file, donor) in [(data, cached), (cached, data)] {
        let moved = Action::MoveExtents { file: file.id, donor: donor.id };
        t.refused_as(MAIN, moved, libc::EOPNOTSUPP)?;
    }
    t.reads(data, "abcd")?;
    t.reads(cached, "wxyz")
}
