//! What others do while a break waits. Most of it must go on; what changes the file must wait for
//! its turn.

use super::pin::SPLICE;
use super::place::Last;
use super::place::{self, Place, Scene};
use super::value::Value;
use crate::action::{Action, PAGE, page, pages};
use crate::origin;
use crate::test::{Checked, Op, Test};

/// Something that is done while a break waits.
#[derive(Debug)]
pub(crate) struct Activity {
    name: &'static str,
    phrase: &'static str,
    origin: &'static str,
    /// Does it while `op` waits for the pin of `scene`, and notes there what changed.
    pub(crate) go_on: fn(&mut Test<'_>, &mut Scene, &Op) -> Checked<Vec<Later>>,
}

/// What was begun and has still to end.
#[derive(Debug)]
pub(crate) struct Later {
    pub(crate) op: Op,
    /// What it writes to the first page when its turn has come.
    pub(crate) writes: Option<u8>,
}

/// All pages of the file.
const FILE: crate::action::Span = pages(0, 4);

/// All of them.
pub(crate) const ALL: &[Activity] = &[
    Activity {
        name: "fault",
        phrase: "page faults on the file are served: the invalidate lock is not held",
        origin: origin::LIVELOCK,
        go_on: |t, scene, _| {
            let map = scene.mapped.map;
            t.progresses(Action::Touch { map, span: FILE })?;
            t.progresses(Action::Store { map, span: page(3), byte: b'x' })?;
            scene.mapped.content[3] = b'x';
            Ok(Vec::new())
        },
    },
    Activity {
        name: "map",
        phrase: "the file can be mapped and unmapped; the pin still counts once nothing maps the page",
        origin: origin::LIVELOCK,
        go_on: |t, scene, _| {
            let again = t.map(scene.mapped.file)?;
            t.progresses(Action::Touch { map: again, span: FILE })?;
            t.progresses(Action::Unmap { map: again })?;
            t.progresses(Action::Unmap { map: scene.mapped.map })?;
            Ok(Vec::new())
        },
    },
    Activity {
        name: "fsync",
        phrase: "fsync, fdatasync and msync of the file return",
        origin: origin::WRITEBACK,
        go_on: |t, scene, _| {
            let (file, map) = (scene.mapped.file.id, scene.mapped.map);
            t.progresses(Action::Store { map, span: page(0), byte: b'x' })?;
            scene.mapped.content[0] = b'x';
            t.progresses(Action::Fsync { file, data_only: false })?;
            t.progresses(Action::Fsync { file, data_only: true })?;
            t.progresses(Action::Msync { map })?;
            Ok(Vec::new())
        },
    },
    Activity {
        name: "stat",
        phrase: "fstat of the file returns",
        origin: origin::WRITEBACK,
        go_on: |t, scene, _| {
            t.progresses(Action::Stat { file: scene.mapped.file.id })?;
            Ok(Vec::new())
        },
    },
    Activity {
        name: "other-file",
        phrase: "other files can be read, written, mapped and truncated",
        origin: origin::LIVELOCK,
        go_on: |t, _, _| {
            let other = t.file("other", "wxyz")?;
            let map = t.map(other)?;
            t.progresses(Action::Write { file: other.id, span: page(1), byte: b'v' })?;
            t.progresses(Action::Touch { map, span: FILE })?;
            t.progresses(Action::Truncate { file: other.id, size: 3 * PAGE })?;
            t.reads(other, "wvy")?;
            Ok(Vec::new())
        },
    },
    Activity {
        name: "read",
        phrase: "a read of the file may wait, but returns afterwards",
        origin: origin::LIVELOCK,
        go_on: |t, scene, _| {
            let read = Action::Read { file: scene.mapped.file.id, span: page(0) };
            Ok(vec![Later { op: t.begin(read)?, writes: None }])
        },
    },
    Activity {
        name: "write",
        phrase: "a write to the file waits, because the inode lock is held, and completes afterwards",
        origin: origin::LIVELOCK,
        go_on: |t, scene, _| {
            let file = scene.mapped.file.id;
            let op = t.begin(Action::Write { file, span: page(0), byte: b'x' })?;
            t.blocked(&op)?;
            Ok(vec![Later { op, writes: Some(b'x') }])
        },
    },
    Activity {
        name: "pin",
        phrase: "more pages can be faulted in and pinned, and the wait is for those pins, too",
        origin: origin::LIVELOCK,
        go_on: |t, scene, op| {
            // The break has unmapped the whole file, so each page must fault. What a pipe holds is
            // read when it is released: after the first pin has written.
            let mut content = scene.mapped.content.clone();
            scene.pin.leaves(&mut content);
            let (holder, map) = (scene.mapped.holder, scene.mapped.map);
            let more = SPLICE.take(t, holder, map, pages(2, 2), &content[2..4])?;
            scene.pin.release(t)?;
            scene.mapped.content = content;
            scene.pin = more;
            t.blocked(op)?;
            Ok(Vec::new())
        },
    },
];

impl Value for Activity {
    const AXIS: &'static str = "activity";

    fn name(&self) -> &'static str {
        self.name
    }

    fn phrase(&self) -> &'static str {
        self.phrase
    }

    fn origin(&self) -> Option<&'static str> {
        Some(self.origin)
    }
}

impl Last for Activity {
    const ALL: &'static [Self] = ALL;

    fn place(&self) -> &'static Place {
        &place::MAPPED
    }
}
