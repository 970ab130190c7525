//! The oracle *no foreign bytes*: what was written to each file, and what it shows.
//!
//! Not where in the file each value was written: what a block held before is told by its value
//! alone, for free space is filled with one that nobody writes.

use std::collections::{BTreeMap, BTreeSet};

use protocol::How;
use protocol::oracle::Written;

use super::{After, Found, Inspected};
use crate::action::{Action, Direction, FileId, Instruction, MapId, PAGE, Partner, Sharing, Span};
use crate::effect::Effect;

/// A mapping: of which bytes of which file, and how.
#[derive(Clone, Debug)]
struct MappedBytes {
    file: FileId,
    span: Span,
    sharing: Sharing,
    /// What was stored to a private mapping; whoever transfers from it may write that to a file.
    private: Written,
}

/// What files may show.
#[derive(Debug, Default)]
pub(super) struct Contents {
    written: BTreeMap<FileId, Written>,
    maps: BTreeMap<MapId, MappedBytes>,
    /// Copies under way: what comes to be written to their source may come to where they go, too.
    copies: Vec<Action>,
    /// Files of which it was told already.
    told: BTreeSet<FileId>,
}

impl Contents {
    /// Learns what `action`, which begins, may write.
    pub(super) fn learn(&mut self, action: &Action) {
        self.note(action);
        // Once for each that may be fed by another.
        for _ in 0..self.copies.len() {
            for copy in self.copies.clone() {
                self.carry(&copy);
            }
        }
    }

    /// `action` has ended.
    pub(super) fn end(&mut self, action: &Action) {
        if let Action::Run(script) = action {
            for step in &script.steps {
                if let Instruction::Do(action) = step {
                    self.end(action);
                }
            }
        } else if let Some(at) = self.copies.iter().position(|copy| copy == action) {
            self.copies.swap_remove(at);
        }
    }

    /// Has what may be in a copy's source be in its destination.
    fn carry(&mut self, copy: &Action) {
        match copy {
            Action::DirectIo { file, map, direction: Direction::FromMemory, .. } => {
                let source = self.read_through(*map);
                self.of(*file).add_all(&source);
            }
            Action::DirectIo { file, map, direction: Direction::IntoMemory, .. } => {
                let source = self.of(*file).clone();
                self.add_through(*map, &source);
            }
            Action::Clone { from, to, .. } => {
                let source = self.of(*from).clone();
                self.of(*to).add_all(&source);
            }
            Action::Exchange { file, with: Partner::File(other) | Partner::Range(other) } => {
                let (one, two) = (self.of(*file).clone(), self.of(*other).clone());
                self.of(*file).add_all(&two);
                self.of(*other).add_all(&one);
            }
            _ => {}
        }
    }

    fn note(&mut self, action: &Action) {
        match action {
            Action::Create { file, fill, .. } | Action::CreateWithoutDax { file, fill, .. } => {
                self.written.insert(*file, fill.iter().copied().collect());
            }
            Action::CreateHuge { file, byte, .. } | Action::Write { file, byte, .. } => {
                self.of(*file).add(*byte);
            }
            Action::Map { map, file, span, sharing } => {
                let (file, span, sharing) = (*file, *span, *sharing);
                let mapped = MappedBytes { file, span, sharing, private: Written::default() };
                self.maps.insert(*map, mapped);
            }
            Action::Store { map, byte, .. } => {
                self.add_through(*map, &[*byte].into_iter().collect());
            }
            Action::Pin { map, kind, .. } if kind.writes() => {
                self.add_through(*map, &[kind.byte()].into_iter().collect());
            }
            Action::DirectIo { .. }
            | Action::Clone { .. }
            | Action::Exchange { with: Partner::File(_) | Partner::Range(_), .. } => {
                self.copies.push(action.clone());
            }
            // What was there is another case's, or the boot loader.
            Action::Exchange { file, with: Partner::BootLoader } => self.of(*file).add_any(),
            Action::DirectLoad { map, direction: Direction::IntoMemory, .. } => {
                let mut any = Written::default();
                any.add_any();
                self.add_through(*map, &any);
            }
            Action::Run(script) => {
                for step in &script.steps {
                    if let Instruction::Do(action) = step {
                        self.note(action);
                    }
                }
            }
            // Dedupe shares what is equal, so nothing comes to be written.
            _ => {}
        }
    }

    fn of(&mut self, file: FileId) -> &mut Written {
        self.written.entry(file).or_default()
    }

    fn add_through(&mut self, map: MapId, source: &Written) {
        let Some(mapped) = self.maps.get_mut(&map) else {
            return;
        };
        if mapped.sharing == Sharing::Private {
            mapped.private.add_all(source);
        } else {
            let file = mapped.file;
            self.of(file).add_all(source);
        }
    }

    fn read_through(&mut self, map: MapId) -> Written {
        let Some(mapped) = self.maps.get(&map).cloned() else {
            return Written::default();
        };
        let mut source = self.of(mapped.file).clone();
        source.add_all(&mapped.private);
        source
    }

    /// The file of a mapping whose pages are the file's, if it is one of `files`.
    pub(super) fn shared_file(&self, map: MapId, files: &BTreeSet<FileId>) -> Option<FileId> {
        let mapped = self.maps.get(&map)?;
        let shares = mapped.sharing != Sharing::Private && files.contains(&mapped.file);
        shares.then_some(mapped.file)
    }

    /// The byte of its file at which a mapping begins.
    pub(super) fn offset(&self, map: MapId) -> u64 {
        self.maps.get(&map).map_or(0, |mapped| mapped.span.at)
    }

    /// All of a mapping, seen from its beginning.
    pub(super) fn extent(&self, map: MapId) -> Option<Span> {
        Some(Span { at: 0, len: self.maps.get(&map)?.span.len })
    }

    /// Which of `files` may show something else after `action`.
    pub(super) fn touched(&self, action: &Action, files: &BTreeSet<FileId>) -> BTreeSet<FileId> {
        let mapped = |map| self.maps.get(map).map(|mapped: &MappedBytes| mapped.file);
        let touched: BTreeSet<_> = match action {
            Action::Store { map, .. }
            | Action::DirectIo { map, direction: Direction::IntoMemory, .. } => {
                mapped(map).into_iter().collect()
            }
            Action::Run(_) | Action::DirectLoad { .. } => return files.clone(),
            _ => {
                let shown = action.effects().into_iter().filter(Effect::shows);
                shown.map(|effect| effect.file).collect()
            }
        };
        touched.intersection(files).copied().collect()
    }

    /// What a file may show, if that is still of interest.
    pub(super) fn may_show(&self, file: FileId) -> Option<&Written> {
        self.written.get(&file).filter(|_| !self.told.contains(&file))
    }

    /// What is wrong with what was seen of a file that has this name, after something was done.
    pub(super) fn judge(
        &mut self,
        file: FileId,
        seen: &Inspected,
        after: &After,
        name: &str,
    ) -> Option<Found> {
        let Inspected::Named { foreign: Some((at, byte, block)), .. } = seen else {
            return None;
        };
        self.told.insert(file);
        let index = at / PAGE;
        let wrong = format!(
            "byte {at} of {name} (page {index}, block {block}) is {byte:#04x}, which nobody wrote \
             there"
        );
        let page = Found::new(How::NotWritten, name, index, after, &wrong);
        Some(Found { block: Some(*block), byte: Some(*byte), ..page })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Medium, page, pages};

    const ONE: FileId = FileId(1);
    const OTHER: FileId = FileId(2);

    fn contents() -> Contents {
        let mut contents = Contents::default();
        for (file, byte) in [(ONE, b'a'), (OTHER, b'b')] {
            let (name, fill) = (String::new(), vec![byte]);
            contents.learn(&Action::Create { file, name, medium: Medium::Dax, fill });
            let (map, span, sharing) = (MapId(file.0), pages(0, 1), Sharing::Shared);
            contents.learn(&Action::Map { map, file, span, sharing });
        }
        contents
    }

    fn shows(contents: &Contents, file: FileId) -> String {
        let written = contents.may_show(file).unwrap();
        written.values().skip(1).map(char::from).collect()
    }

    #[test]
    fn what_is_stored_while_a_copy_is_under_way_may_be_copied() {
        let mut contents = contents();
        let direction = Direction::FromMemory;
        let copy =
            Action::DirectIo { file: ONE, span: page(0), map: MapId(2), buffer: 0, direction };
        contents.learn(&copy);
        contents.learn(&Action::Store { map: MapId(2), span: page(0), byte: b'c' });
        assert_eq!(shows(&contents, ONE), "abc");
        contents.end(&copy);
        contents.learn(&Action::Store { map: MapId(2), span: page(0), byte: b'd' });
        assert_eq!(shows(&contents, ONE), "abc");
        assert_eq!(shows(&contents, OTHER), "bcd");
    }

    #[test]
    fn dedupe_writes_nothing() {
        let mut contents = contents();
        contents.learn(&Action::Dedupe { from: ONE, span: page(0), to: OTHER, at: 0 });
        assert_eq!(shows(&contents, OTHER), "b");
    }
}
