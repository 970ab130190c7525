//! All blocks of a file exchanged for those of another, while pages of it are pinned or mapped.
//!
//! What is mapped then belongs to somebody else, as after a collapse: the exchange must wait for pins,
//! and nothing may stay mapped.

use crate::action::{Action, MapId, Partner, page, pages};
use crate::case::case;
use crate::origin;
use crate::test::{Checked, File, Op, Test};

/// Two files, of which the first is mapped and will be exchanged for the second.
struct Pair {
    data: File,
    other: File,
    map: MapId,
}

/// `xfs_swap_extents_check_format` refuses a donor with more extents than the file has.
const FEWER: &str = "had the donor no more extents than the file";

impl Pair {
    /// For [`Partner::File`].
    fn of_files(t: &mut Test<'_>) -> Checked<(Self, Partner)> {
        let pair = Self::new(t)?;
        let with = Partner::File(pair.other.id);
        Ok((pair, with))
    }

    /// Whether the kernel takes `donor` for `file`.
    fn fits(t: &mut Test<'_>, donor: File, file: File) -> Checked<bool> {
        // What begins an extent but the first.
        let gap = |pair: &[u64]| pair[0] + 1 != pair[1];
        let mut gaps = |file| -> Checked<usize> {
            Ok(t.blocks(file)?.windows(2).filter(|pair| gap(pair)).count())
        };
        Ok(gaps(donor)? <= gaps(file)?)
    }

    /// For [`Partner::BootLoader`], which has the blocks of the second file from now on.
    fn of_boot_loader(t: &mut Test<'_>) -> Checked<(Self, Partner)> {
        let pair = Self::new(t)?;
        t.run(Action::Exchange { file: pair.other.id, with: Partner::BootLoader })?;
        Ok((pair, Partner::BootLoader))
    }

    fn new(t: &mut Test<'_>) -> Checked<Self> {
        let data = t.file("data", "abcd")?;
        let other = t.file("other", "wxyz")?;
        let map = t.map(data)?;
        Ok(Self { data, other, map })
    }

    fn begin(&self, t: &mut Test<'_>, with: Partner) -> Checked<Op> {
        t.begin(Action::Exchange { file: self.data.id, with })
    }

    /// It waits for a pin of a page of the first file.
    fn waits(&self, t: &mut Test<'_>, with: Partner) -> Checked {
        let pin = t.pin(self.map, page(2))?;
        let op = self.begin(t, with)?;
        t.blocked(&op)?;
        t.ends_with(&op, pin)?;
        t.transferred(pin, "c")?;
        self.exchanged(t, with)
    }

    /// What was mapped before shows what the file has now, and takes stores for it.
    fn stays_coherent(&self, t: &mut Test<'_>, with: Partner) -> Checked {
        t.run(Action::Touch { map: self.map, span: pages(0, 4) })?;
        t.run(Action::Exchange { file: self.data.id, with })?;
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

case! {
    /// Online defragmentation, which exchanges all blocks of two files, waits for a pin of the file.
    swapext_pinned: "exchange/swapext-pinned",
    groups: ["quick"], needs: [SwapExtents], limit: 120, origin: origin::SWAPEXT,
}
fn swapext_pinned(t: &mut Test<'_>) -> Checked {
    t.until(FEWER, |t| {
        let (pair, with) = Pair::of_files(t)?;
        let fits = Pair::fits(t, pair.other, pair.data)?;
        if fits {
            pair.waits(t, with)?;
        }
        Ok(fits)
    })
}

case! {
    /// Online defragmentation waits for a pin of the file that the new blocks come from.
    swapext_donor_pinned: "exchange/swapext-donor-pinned",
    groups: [], needs: [SwapExtents], limit: 120, origin: origin::SWAPEXT,
}
fn swapext_donor_pinned(t: &mut Test<'_>) -> Checked {
    let (pair, _) = Pair::of_files(t)?;
    let pin = t.pin(pair.map, page(2))?;
    let op =
        t.begin(Action::Exchange { file: pair.other.id, with: Partner::File(pair.data.id) })?;
    t.blocked(&op)?;
    t.ends_with(&op, pin)?;
    t.transferred(pin, "c")?;
    pair.exchanged(t, Partner::File(pair.other.id))
}

case! {
    /// After online defragmentation a mapping made before shows the new blocks.
    swapext_mapped: "exchange/swapext-mapped",
    groups: ["quick"], needs: [SwapExtents], limit: 120, origin: origin::SWAPEXT,
}
fn swapext_mapped(t: &mut Test<'_>) -> Checked {
    t.until(FEWER, |t| {
        let (pair, with) = Pair::of_files(t)?;
        let fits = Pair::fits(t, pair.other, pair.data)?;
        if fits {
            pair.stays_coherent(t, with)?;
        }
        Ok(fits)
    })
}

case! {
    /// A file that is exchanged for the boot loader's waits for a pin.
    swap_boot_pinned: "exchange/swap-boot-pinned",
    groups: ["quick"], needs: [SwapBoot], limit: 120, origin: origin::SWAP_BOOT,
}
fn swap_boot_pinned(t: &mut Test<'_>) -> Checked {
    let (pair, with) = Pair::of_boot_loader(t)?;
    pair.waits(t, with)
}

case! {
    /// After a file was exchanged for the boot loader's, a mapping made before shows the new blocks and
    /// takes stores for them.
    swap_boot_mapped: "exchange/swap-boot-mapped",
    groups: ["quick"], needs: [SwapBoot], limit: 120, origin: origin::SWAP_BOOT,
}
fn swap_boot_mapped(t: &mut Test<'_>) -> Checked {
    let (pair, with) = Pair::of_boot_loader(t)?;
    pair.stays_coherent(t, with)
}
