//! Files with extents of 4 GiB and more, as devices of terabytes have them.

use crate::action::{Action, Mode, PAGE, Span, Whole, page};
use crate::case::case;
use crate::lifecycle::checked;
use crate::origin;
use crate::space::silently;
use crate::test::{Checked, Ending, File, Stop, Test, fail};

/// What is one byte too long for a number of 32 bits.
const WHOLE: Span = Span { at: 0, len: 4 << 30 };

/// Bytes that are written at a time.
const PIECE: u64 = 16 << 20;

/// Pages that are looked at: in the first and the last MiB, and between.
const SAMPLE: [u64; 4] = [0, 255, WHOLE.len / PAGE / 2, WHOLE.len / PAGE - 1];

/// Fills a file, which gets one extent if there is one.
fn filled(t: &mut Test<'_>, name: &str, byte: u8) -> Checked<File> {
    let file = t.file_on_spare(name, "")?;
    t.say(&format!("allocate {WHOLE} of {name}, and fill them with {}", byte as char));
    let allocate = Action::Fallocate { file: file.id, mode: Mode::Allocate, span: WHOLE };
    let pieces = (0..WHOLE.len / PIECE).map(|piece| Action::Write {
        file: file.id,
        span: Span { at: piece * PIECE, len: PIECE },
        byte,
    });
    for action in std::iter::once(allocate).chain(pieces) {
        silently(t, action)?;
    }
    Ok(file)
}

/// The file must be one extent, as far as the sample shows.
fn in_one_extent(t: &mut Test<'_>, file: File) -> Checked {
    let mut starts = Vec::new();
    for index in SAMPLE {
        let block = t.block(file, index)?;
        starts.push(block.wrapping_sub(index));
    }
    if starts.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(());
    }
    let why = format!("not exercised: {} is in several extents", t.names.file(file.id));
    Err(Stop(Ending::NotRun(why)))
}

case! {
    /// An extent of 4 GiB that two files share is unshared. Both files have what they had, in blocks of their own.
    unshare: "lifecycle/unshare-4-gib",
    groups: [], needs: [Spare, LargeSpare, Reflink], limit: 900, origin: origin::UNSHARE,
}
fn unshare(t: &mut Test<'_>) -> Checked {
    t.run(Action::Whole(Whole::MakeLarge))?;
    let data = filled(t, "data", b'h')?;
    // What free blocks hold.
    let filler = filled(t, "filler", b'f')?;
    t.run(Action::Truncate { file: filler.id, size: 0 })?;
    t.run(Action::Fsync { file: filler.id, data_only: false })?;
    in_one_extent(t, data)?;
    let other = t.file_on_spare("other", "")?;
    t.run(Action::Clone { from: data.id, span: WHOLE, to: other.id, at: 0 })?;
    t.run(Action::Fallocate { file: data.id, mode: Mode::Unshare, span: WHOLE })?;
    for file in [data, other] {
        for index in SAMPLE {
            t.reads_at(file, page(index), "h")?;
        }
    }
    for index in SAMPLE {
        if t.block(data, index)? == t.block(other, index)? {
            let expected = format!("page {index} of data is not shared");
            return fail(
                &expected,
                "other has the same block",
                "the result of the unshare: success",
            );
        }
    }
    t.say("data shares none of these");
    in_one_extent(t, data)?;
    checked(t, &[data, other, filler])
}
