//! Memory that a program withholds, so that a read(2) or a write(2) stands in its copy.

use std::fmt::Write as _;

use cases::action::{Action, TaskId};
use cases::system::OpId;

use super::call::{descriptor, operation};
use super::{CWriter, Sayable};

/// The memory of one operation.
#[derive(Clone, Debug)]
pub(super) struct CBuffer {
    /// Its variable.
    name: String,
    /// Who waits for it.
    op: OpId,
    /// The statement that makes it, or finds that it cannot be had.
    pub(super) tries: String,
}

impl CWriter {
    /// The expression that does `action` of a task that is to be held in its copy; none of one that is not.
    pub(super) fn held_call(
        &mut self,
        op: OpId,
        task: TaskId,
        action: &Action,
        words: &str,
    ) -> Sayable<Option<String>> {
        let (Action::Read { file, span } | Action::Write { file, span, .. }) = action else {
            return Ok(None);
        };
        if !self.to_be_held.remove(&task) {
            return Ok(None);
        }
        let (name, file) = (format!("buffer{}", op.0), descriptor(*file));
        let (byte, call) = if let Action::Write { byte, .. } = action {
            (char::from(*byte), format!("write_from(&{name}, {file}, {})", span.at))
        } else {
            let (expected, what) = self.read_later(op, words)?;
            ('x', format!("read_into(&{name}, {file}, {}, \"{expected}\", {what})", span.at))
        };
        let _ = writeln!(self.globals, "static struct buffer {name};");
        let tries =
            format!("need(make_buffer(&{name}, {}, '{byte}'), \"userfaultfd(2)\");\n", span.len);
        self.buffers.insert(task, CBuffer { name, op, tries });
        Ok(Some(call))
    }

    /// Waits until a task stands in its copy.
    pub(super) fn stands(&mut self, task: TaskId) -> Sayable<()> {
        let CBuffer { name, op, .. } = self.buffer(task)?;
        self.line(&format!("expect_asked(&{name}, {});", operation(op)));
        Ok(())
    }

    /// Lets it go on.
    pub(super) fn goes(&mut self, task: TaskId) -> Sayable<()> {
        let CBuffer { name, .. } = self.buffer(task)?;
        self.line(&format!("provide(&{name});"));
        Ok(())
    }

    fn buffer(&self, task: TaskId) -> Sayable<CBuffer> {
        self.buffers.get(&task).cloned().ok_or_else(|| format!("task {} is not held", task.0))
    }
}
