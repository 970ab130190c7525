//! The C program of a case that was written down.
//!
//! What it needs of `pieces.c` goes before it, and nothing else: the program is meant to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cases::Deed;
use cases::action::{
    Action, Content, Direction, FileId, MapId, Medium, Partner, PinId, Reply, Sector, Sharing,
    Span, TaskId, Whole,
};
use cases::system::{Errno, Kinship, MAIN, OpId, Signal};

use super::Recorded;
use super::pin::PinCode;
use super::requirement::{self, Requirement};
use crate::target::{DAX, PER_FILE};
use crate::wrap;

/// Parts of programs. Each begins with a line `//: NAME NEEDED...`.
static PIECES: &str = include_str!("pieces.c");

/// How often a program tries what depends on where blocks lie: as often as a case does.
const ATTEMPTS: u32 = 8;

/// How wide a comment is, tabs apart.
const WIDTH: usize = 90;

type Sayable<T> = Result<T, String>;

/// A process of the program, and what it has.
#[derive(Clone, Debug, Default)]
struct CProcess {
    files: BTreeSet<FileId>,
    maps: BTreeSet<MapId>,
}

#[derive(Debug, Default)]
struct CWriter {
    /// How its file system must be mounted.
    mount: &'static str,
    /// Where each task is: in the process that begins, 0, or in one forked from it.
    place: BTreeMap<TaskId, u32>,
    processes: BTreeMap<u32, CProcess>,
    names: BTreeMap<FileId, String>,
    /// Files of the page cache that may as well be in memory alone.
    in_memory: BTreeSet<FileId>,
    /// Files of which the program knows the name only when it runs.
    swapped: BTreeSet<FileId>,
    pins: BTreeMap<PinId, PinCode>,
    /// Operations that are begun and waited for apart.
    apart: BTreeSet<OpId>,
    /// Those that have not ended.
    under_way: BTreeMap<OpId, TaskId>,
    begun: BTreeMap<OpId, (Action, String)>,
    /// Whether it depends on where blocks lie if the case can show anything.
    is_by_luck: bool,
    globals: String,
    calls: String,
    body: String,
}

/// Whom a program is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Audience {
    /// Somebody who compiles and runs it.
    Anybody,
    /// A test of xfstests, which does both.
    Xfstests,
}

/// The mount option with which a file system has the files that are made by `deeds`.
pub(super) fn mount(deeds: &[Deed]) -> &'static str {
    let per_file = |deed: &Deed| {
        let Deed::Start { action, .. } = deed else { return false };
        matches!(action, Action::CreateWithoutDax { .. } | Action::FlipDax { .. })
    };
    if deeds.iter().any(per_file) { PER_FILE } else { DAX }
}

/// The program of what was recorded; why there is none.
pub(super) fn program(recorded: &Recorded, reader: Audience) -> Sayable<String> {
    let deeds = &recorded.deeds;
    let mut writer =
        CWriter { mount: mount(deeds), in_memory: in_memory(deeds), ..CWriter::default() };
    writer.place.insert(MAIN, 0);
    writer.processes.insert(0, CProcess::default());
    for (index, deed) in deeds.iter().enumerate() {
        writer.deed(deed, deeds.get(index + 1))?;
    }
    let requirements = Requirement::all(recorded)?;
    Ok(writer.text(recorded, &requirements, reader))
}

impl CWriter {
    fn deed(&mut self, deed: &Deed, next: Option<&Deed>) -> Sayable<()> {
        match deed {
            Deed::Spawn { task, of, kinship } => self.spawn(*task, *of, *kinship),
            Deed::Start { op, task, action, words } => {
                self.begun.insert(*op, (action.clone(), words.clone()));
                let at_once = matches!(next, Some(Deed::End { op: other, .. }) if other == op);
                if at_once && self.process(*task)? == 0 {
                    // Told when it ends: what it answers is part of the call.
                    self.knows(0, action, words)
                } else {
                    self.begin(*op, *task, action, words, next)
                }
            }
            Deed::Blocked(op) => {
                self.line(&format!("expect_blocked({});", operation(*op)));
                Ok(())
            }
            Deed::Settled(op) => {
                self.line(&format!("settle({});", operation(*op)));
                Ok(())
            }
            Deed::Open(_) => {
                Err("more than one outcome is right, and a program expects one".to_owned())
            }
            Deed::InOrder([first, second]) => {
                self.line(&format!("in_order(&{}, &{});", descriptor(*first), descriptor(*second)));
                self.swapped.extend([*first, *second]);
                Ok(())
            }
            Deed::End { op, result } => self.end(*op, result),
            Deed::Signal { task, signal } => self.signal(*task, *signal),
            Deed::Release(pin) => {
                let line = self.pins.get(pin).map_or(String::new(), |pin| pin.releases.clone());
                if line.is_empty() {
                    return Err("it lets go of a pin that is not exported".to_owned());
                }
                self.line(&line);
                Ok(())
            }
            Deed::Transferred { pin, content } => {
                let expected = signs(content)?;
                let seen = self.pins.get(pin).map_or("", |pin| &pin.seen);
                self.line(&format!("same({seen}, \"{expected}\", \"what went through the pin\");"));
                Ok(())
            }
        }
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.body, "\t{line}");
    }

    fn process(&self, task: TaskId) -> Sayable<u32> {
        self.place.get(&task).copied().ok_or_else(|| format!("nobody made task {}", task.0))
    }

    fn spawn(&mut self, task: TaskId, of: TaskId, kinship: Kinship) -> Sayable<()> {
        let from = self.process(of)?;
        match kinship {
            // Threads come with what they do.
            Kinship::Thread if from == 0 => {
                self.place.insert(task, 0);
            }
            Kinship::Process if from == 0 => {
                self.place.insert(task, task.0);
                let copy = self.processes[&0].clone();
                self.processes.insert(task.0, copy);
                let _ = writeln!(self.globals, "static struct process process{};", task.0);
                self.line(&format!("fork_process(&process{});", task.0));
            }
            _ => return Err("a forked process makes tasks of its own".to_owned()),
        }
        Ok(())
    }

    /// Begins what is not over at once, or is done by another process.
    fn begin(
        &mut self,
        op: OpId,
        task: TaskId,
        action: &Action,
        words: &str,
        next: Option<&Deed>,
    ) -> Sayable<()> {
        let process = self.process(task)?;
        self.knows(process, action, words)?;
        // What is read is compared where it is read.
        let result = match next {
            Some(Deed::End { op: other, result }) if *other == op => Some(result),
            _ => None,
        };
        let call = self.call(action, result, words)?;
        let _ = writeln!(
            self.calls,
            "/* {words} */\nstatic long call{}(void)\n{{\n\treturn {call};\n}}\n",
            op.0
        );
        self.apart.insert(op);
        self.under_way.insert(op, task);
        let (name, words) = (operation(op), quoted(words));
        self.line(&if process == 0 {
            format!("begin_operation({name}, {words}, call{});", op.0)
        } else {
            format!("begin_in(&process{process}, {name}, {words}, call{});", op.0)
        });
        Ok(())
    }

    fn end(&mut self, op: OpId, result: &Result<Reply, Errno>) -> Sayable<()> {
        let (action, words) =
            self.begun.get(&op).cloned().ok_or("an operation ends that nobody began")?;
        if self.apart.contains(&op) {
            self.under_way.remove(&op);
            let expected = expected(&action, result)?;
            self.line(&format!("expect_end({}, {expected});", operation(op)));
            return Ok(());
        }
        if matches!(action, Action::Whole(Whole::Make)) {
            // It is there.
            return Ok(());
        }
        if matches!(action, Action::Blocks { .. }) {
            // Where they lie decides whether what comes can show anything, and differs from place to place.
            self.is_by_luck = true;
            return Ok(());
        }
        let call = self.call(&action, Some(result), &words)?;
        if matches!(action, Action::Create { .. } | Action::CreateSpare { .. }) {
            self.line(&format!("{call};"));
        } else {
            let expected = expected(&action, result)?;
            self.line(&format!("expect({call}, {expected}, {});", quoted(&words)));
        }
        Ok(())
    }

    fn signal(&mut self, task: TaskId, signal: Signal) -> Sayable<()> {
        let process = self.process(task)?;
        match signal {
            Signal::Kill if process != 0 => {
                self.under_way.retain(|_, whose| *whose != task);
                self.line(&format!("kill_process(&process{process});"));
            }
            Signal::Kill => return Err("it kills the process that began".to_owned()),
            Signal::Handled => {
                let Some((op, _)) = self.under_way.iter().find(|(_, whose)| **whose == task) else {
                    return Err("it signals a task that is idle".to_owned());
                };
                let line = format!("interrupt({});", operation(*op));
                self.line(&line);
            }
        }
        Ok(())
    }

    /// Refuses an action of a process on what came to be after it was forked; learns what it makes.
    fn knows(&mut self, process: u32, action: &Action, words: &str) -> Sayable<()> {
        let (files, maps) = (files(action), maps(action));
        let has = self.processes.entry(process).or_default();
        if let Action::Create { file, medium: Medium::PageCache, .. } = action
            && !self.in_memory.contains(file)
        {
            return Err(format!("{words}: needs a second file system"));
        }
        if let Action::Create { file, name, .. }
        | Action::CreateSpare { file, name, .. }
        | Action::CreateWithoutDax { file, name, .. } = action
        {
            has.files.insert(*file);
            self.names.insert(*file, name.clone());
            let _ = writeln!(self.globals, "static int {};", descriptor(*file));
            return Ok(());
        }
        if named(action).is_some_and(|file| self.swapped.contains(&file)) {
            return Err(format!("{words}: which of two files it is, the program does not know"));
        }
        if files.iter().any(|file| !has.files.contains(file)) {
            return Err(format!("{words}: the file was made after the process was forked"));
        }
        if let Action::Map { map, .. } = action {
            has.maps.insert(*map);
            let line = format!("static struct map {};\n", mapping(*map));
            if !self.globals.contains(&line) {
                self.globals.push_str(&line);
            }
            return Ok(());
        }
        if maps.iter().any(|map| !has.maps.contains(map)) {
            return Err(format!("{words}: the mapping was made after the process was forked"));
        }
        if let Action::Pin { pin, map, span, kind } = action {
            let name = format!("pin{}", pin.0);
            let buffer = format!("&{}, {}", mapping(*map), range(*span));
            let said =
                PinCode::of(*kind, &name, &buffer).map_err(|why| format!("{words}: {why}"))?;
            self.globals.push_str(&said.variable);
            self.pins.insert(*pin, said);
        }
        Ok(())
    }

    /// The expression that does an action, and compares what it reads.
    #[expect(clippy::too_many_lines, reason = "one arm per action")]
    fn call(
        &mut self,
        action: &Action,
        result: Option<&Result<Reply, Errno>>,
        words: &str,
    ) -> Sayable<String> {
        let what = quoted(words);
        let name = |file: &FileId| quoted(self.names.get(file).map_or("", String::as_str));
        let content = || match result {
            Some(Ok(Reply::Content(content))) => signs(content),
            Some(Err(_)) => Ok(String::new()),
            _ => Err(format!("{words}: the result is not known in advance")),
        };
        Ok(match action {
            Action::Create { file, medium: Medium::PageCache, fill, .. } => {
                format!("create_in_memory(&{}, {})", descriptor(*file), letters(fill)?)
            }
            Action::Create { file, fill, .. } => {
                format!("create(&{}, {}, {})", descriptor(*file), name(file), letters(fill)?)
            }
            Action::CreateWithoutDax { file, fill, .. } => {
                let fill = letters(fill)?;
                format!("create_without_dax(&{}, {}, {fill})", descriptor(*file), name(file))
            }
            // The file system that the program is given is its own.
            Action::CreateSpare { file, name, fill } => {
                format!("create(&{}, {}, {})", descriptor(*file), quoted(name), letters(fill)?)
            }
            Action::Gather { file, span, maps: [first, second] } => format!(
                "gather({}, {}, {}.at, {}.at)",
                descriptor(*file),
                range(*span),
                mapping(*first),
                mapping(*second)
            ),
            Action::FutexWait { map } => format!("futex_wait(&{})", mapping(*map)),
            Action::FutexWake { map } => format!("futex_wake(&{})", mapping(*map)),
            Action::Whole(Whole::Unmount) => "unmount()".to_owned(),
            Action::Whole(Whole::Mount) => format!("mount_again(\"{}\")", self.mount),
            Action::Whole(Whole::ShutDown) => "shut_down()".to_owned(),
            Action::WriteProtect { map } => format!("write_protect(&{})", mapping(*map)),
            Action::CacheStat { file } => format!("pages_cached({})", descriptor(*file)),
            Action::Track { .. } | Action::StoredTo { .. } | Action::Remap { .. } => {
                return Err(format!("no program does this yet: {words}"));
            }
            Action::Whole(_)
            | Action::DropCaches
            | Action::Poison { .. }
            | Action::SoftOffline { .. }
            | Action::SpoilBlocks { .. }
            | Action::Scrub { .. }
            | Action::Repair { .. } => {
                return Err(format!(
                    "a program cannot do this to a file system of its own: {words}"
                ));
            }
            Action::Close { file } => format!("answer(close({}))", descriptor(*file)),
            Action::Reopen { file } => format!("reopen(&{}, {})", descriptor(*file), name(file)),
            Action::FlipDax { file } => format!("flip_dax({})", descriptor(*file)),
            Action::Unlink { file } => format!("unlink_file({})", name(file)),
            Action::Read { file, span } => {
                let (file, expected) = (descriptor(*file), content()?);
                format!("holds({file}, {}, \"{expected}\", {what})", range(*span))
            }
            Action::Write { file, span, byte } => {
                format!("fill({}, {}, '{}')", descriptor(*file), range(*span), char::from(*byte))
            }
            Action::DirectIo { file, span, map, buffer, direction } => format!(
                "direct({}, {}, {}.at + {buffer}, {}, {})",
                name(file),
                span.at,
                mapping(*map),
                span.len,
                u8::from(*direction == Direction::FromMemory),
            ),
            Action::Truncate { file, size } => {
                format!("answer(ftruncate({}, {size}))", descriptor(*file))
            }
            Action::OpenTruncate { file } => format!("open_truncated({})", name(file)),
            Action::Fallocate { file, mode, span } => {
                format!(
                    "answer(fallocate({}, {}, {}))",
                    descriptor(*file),
                    requirement::flags(*mode),
                    range(*span)
                )
            }
            Action::CancelledFallocate { .. } | Action::CancelledOpenTruncate { .. } => {
                return Err(format!("{words}: requests of io_uring are not exported yet"));
            }
            Action::Clone { from, span, to, at } => format!(
                "clone_range({}, {}, {}, {at})",
                descriptor(*from),
                range(*span),
                descriptor(*to)
            ),
            Action::Dedupe { from, span, to, at } => format!(
                "dedupe_range({}, {}, {}, {at})",
                descriptor(*from),
                range(*span),
                descriptor(*to)
            ),
            Action::MoveExtents { file, donor } => {
                format!("move_extents({}, {})", descriptor(*file), descriptor(*donor))
            }
            Action::Exchange { file, with: Partner::File(other) } => {
                format!("swap_extents({}, {})", descriptor(*file), descriptor(*other))
            }
            Action::Exchange { file, with: Partner::Range(other) } => {
                format!("exchange_range({}, {})", descriptor(*file), descriptor(*other))
            }
            Action::Exchange { file, with: Partner::BootLoader } => {
                format!("swap_boot({})", descriptor(*file))
            }
            Action::Fsync { file, data_only } => {
                let call = if *data_only { "fdatasync" } else { "fsync" };
                format!("answer({call}({}))", descriptor(*file))
            }
            Action::Stat { file } => match result {
                Some(Ok(Reply::Stat { size, .. })) => {
                    format!("size_is({}, {size}, {what})", descriptor(*file))
                }
                _ => return Err(format!("{words}: the result is not known in advance")),
            },
            Action::Map { map, file, span, sharing } => {
                let flags = match sharing {
                    Sharing::Shared => "MAP_SHARED",
                    Sharing::Private => "MAP_PRIVATE",
                    Sharing::Sync => "MAP_SHARED_VALIDATE | MAP_SYNC",
                };
                let (map, file) = (mapping(*map), descriptor(*file));
                format!("map_file(&{map}, {file}, {}, {flags})", range(*span))
            }
            Action::Unmap { map } => {
                let map = mapping(*map);
                format!("answer(munmap({map}.at, {map}.length))")
            }
            Action::Touch { map, span } => {
                format!("touch(&{}, {})", mapping(*map), range(*span))
            }
            Action::Store { map, span, byte } => {
                format!("store(&{}, {}, '{}')", mapping(*map), range(*span), char::from(*byte))
            }
            Action::Load { map, span } => {
                let expected = content()?;
                format!("shows(&{}, {}, \"{expected}\", {what})", mapping(*map), range(*span))
            }
            Action::Msync { map } => {
                let map = mapping(*map);
                format!("answer(msync({map}.at, {map}.length, MS_SYNC))")
            }
            Action::Pin { pin, .. } => {
                self.pins.get(pin).map_or(String::new(), |pin| pin.takes.clone())
            }
            Action::PinLongterm { map, span } => {
                format!("register_buffer(&{}, {})", mapping(*map), range(*span))
            }
            Action::Reap { pin } => match self.pins.get(pin) {
                Some(pin) if !pin.reaps.is_empty() => pin.reaps.clone(),
                _ => return Err(format!("{words}: the pin is not exported")),
            },
            Action::DirectLoad { .. } => {
                return Err(format!("{words}: direct I/O needs a device that is slow"));
            }
            Action::Blocks { .. }
            | Action::FindBlock { .. }
            | Action::IsFree { .. }
            | Action::Stored { .. } => {
                return Err(format!("{words}: blocks are not looked up by exports yet"));
            }
            Action::CreateHuge { .. } => {
                return Err(format!("{words}: huge files are not exported yet"));
            }
            Action::Run(_) => return Err(format!("{words}: a script is not exported")),
        })
    }

    /// What must be there before the case acts, and before any file is mapped.
    fn needs(&self, requirements: &[Requirement]) -> String {
        let mut lines = requirement::tries(requirements, self.mount);
        lines.extend(self.pins.values().map(|pin| &pin.tries[..]));
        let lines: String = lines
            .lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("\t{line}\n") })
            .collect();
        format!(
            "/* What is missing is no fault of the kernel's. */\n\
             static void check_needs(void)\n{{\n{lines}}}\n"
        )
    }

    fn text(&self, recorded: &Recorded, requirements: &[Requirement], reader: Audience) -> String {
        let mut body: String = self.pins.values().map(|pin| &pin.begins[..]).collect();
        let calls = |names: &[&str]| {
            names.iter().any(|name| self.body.contains(name) || self.calls.contains(name))
        };
        let mut handle = |signal, handler| {
            let _ = writeln!(
                body,
                "\tif (sigaction({signal}, &(struct sigaction){{ .sa_handler = {handler} }}, NULL))\n\
                 \t\tcannot(\"sigaction\");"
            );
        };
        let mut handlers = "";
        if calls(&["touch(", "store(", "shows("]) {
            handle("SIGBUS", "on_bus");
        }
        if calls(&["interrupt("]) {
            handle("SIGUSR1", "on_signal");
            handlers = "static void on_signal(int signal)\n{\n\t(void)signal;\n}\n\n";
        }
        if !self.apart.is_empty() {
            body.push_str(
                "\toperations = mmap(NULL, sizeof(*operations) * OPERATIONS, PROT_READ | PROT_WRITE,\n\
                 \t\t\t  MAP_SHARED | MAP_ANONYMOUS, -1, 0);\n\
                 \tif (operations == MAP_FAILED)\n\t\tcannot(\"mmap\");\n",
            );
        }
        // What waits takes too long, and waits wherever the blocks are.
        let attempts = if self.is_by_luck && self.apart.is_empty() { ATTEMPTS } else { 1 };
        if attempts > 1 {
            let _ = writeln!(
                body,
                "\t/* Where the file system puts the blocks decides whether this can show anything. */\n\
                 \tfor (attempt = 0; attempt < {attempts}; attempt++) {{"
            );
            for line in self.body.lines() {
                let _ = writeln!(body, "\t{line}");
            }
            body.push_str("\t}\n");
        } else {
            body.push_str(&self.body);
        }
        let mut ends = String::new();
        for pin in self.pins.values().filter(|pin| !pin.ends.is_empty()) {
            let _ = writeln!(ends, "\t{}", pin.ends);
        }
        let needs = self.needs(requirements);
        let mut text = head(recorded, requirements, self.mount, reader);
        let mut globals = self.globals.clone();
        let most = self.apart.iter().map(|op| op.0 + 1).max();
        if let Some(most) = most {
            let _ = writeln!(
                globals,
                "\n/* Shared with forked processes. */\n#define OPERATIONS {most}\nstatic struct operation *operations;"
            );
        }
        text.push_str(&pieces(&format!("{needs}{body}{}{globals}{ends}", self.calls)));
        let _ = write!(text, "{globals}\n{handlers}{}{needs}\n", self.calls);
        let names: Vec<_> = self.names.values().map(|name| quoted(name)).collect();
        let _ = write!(
            text,
            "static void run(void)\n{{\n{body}}}\n\n{}",
            last(&names, attempts, &ends)
        );
        text
    }
}

/// The comment that a program begins with.
fn head(
    recorded: &Recorded,
    requirements: &[Requirement],
    mount: &str,
    reader: Audience,
) -> String {
    let licence = match reader {
        Audience::Anybody => "MIT OR Apache-2.0",
        Audience::Xfstests => "GPL-2.0",
    };
    let mut text = format!(
        "// SPDX-License-Identifier: {licence}\n/*\n * {}: made by daxtests from the {} of that name.\n *\n",
        recorded.name, recorded.what
    );
    for line in wrap::lines(&recorded.about, WIDTH) {
        let _ = writeln!(text, " * {line}");
    }
    text.push_str(" *\n");
    let build = match reader {
        Audience::Anybody => format!(
            " *\tgcc -Wall -Wextra -pthread -o repro repro.c\n\
             \x20*\t./repro /mnt\t\t{}, mounted with -o {mount}\n\
             {}\x20*\n",
            requirement::only_on(requirements).map_or("XFS or ext4", |fs| fs.title),
            if requirements.contains(&Requirement::Whole) {
                " *\n * The program unmounts and mounts it, so nobody else may use it. It wants the mount point.\n"
            } else {
                ""
            },
        ),
        Audience::Xfstests => String::new(),
    };
    text.push_str(&build);
    text.push_str(
        " * Exit status: 0 the kernel does what it must, 1 it does not, 2 it could not be tried. Run it as\n\
         \x20* root, so that warnings in the kernel log count and stacks are printed. It may leave a process\n\
         \x20* that hangs.\n */\n",
    );
    text
}

/// How a program ends: the process that the user waits for, which cannot hang.
fn last(names: &[String], attempts: u32, ends: &str) -> String {
    let verdict = match attempts {
        1 => "as it must be".to_owned(),
        _ => format!(
            "nothing wrong in {attempts} attempts; where the blocks lie decides whether it shows"
        ),
    };
    format!(
        r#"int main(int argc, char **argv)
{{
	static const char *const names[] = {{ {} }};
	char made[4096];
	struct pollfd verdict = {{ .events = POLLIN }};
	int ends[2], status;
	char code = 2;

	if (argc != 2) {{
		fprintf(stderr, "usage: %s FOLDER (on a DAX file system)\n", argv[0]);
		return 2;
	}}
	snprintf(made, sizeof(made), "%s/daxtests-XXXXXX", argv[1]);
	folder = mkdtemp(made);
	if (!folder || pipe(ends)) {{
		perror(argv[1]);
		return 2;
	}}
	switch (fork()) {{
	case -1:
		perror("fork");
		return 2;
	case 0:
		close(ends[0]);
		verdicts = ends[1];
		check_needs();
		watch_kernel_log();
		run();
		check_kernel_log();
		puts("{verdict}");
		fflush(stdout);
		end(0);
	}}
	close(ends[1]);
	verdict.fd = ends[0];
	if (poll(&verdict, 1, 300000) == 0) {{
		fputs("FAIL: it did not end within 5 min\n", stderr);
	{ends}	return 1;
	}}
	if (read(ends[0], &code, 1) != 1)
		fputs("cannot tell: the test died\n", stderr);
{ends}	if (code)
		return code;
	waitpid(-1, &status, 0);
	for (attempt = 0; attempt < {attempts}; attempt++)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			unlink(path_of(names[i]));
	rmdir(folder);
	return 0;
}}
"#,
        names.join(", ")
    )
}

/// The pieces that `program` needs, each after those that it needs itself.
fn pieces(program: &str) -> String {
    let all: Vec<(&str, Vec<&str>, &str)> = PIECES
        .split("//: ")
        .skip(1)
        .map(|piece| {
            let (first, text) = piece.split_once('\n').expect("a piece has lines");
            let mut names = first.split(' ');
            (names.next().expect("a piece has a name"), names.collect(), text)
        })
        .collect();
    let mut wanted: BTreeSet<&str> = ["begin", "kernel_log"].into();
    for (name, ..) in &all {
        if program.contains(&format!("{name}(")) || program.contains(&format!("struct {name} ")) {
            wanted.insert(name);
        }
    }
    // Those that pieces need stand before them.
    for (name, needed, _) in all.iter().rev() {
        if wanted.contains(name) {
            wanted.extend(needed);
        }
    }
    all.iter().filter(|(name, ..)| wanted.contains(name)).map(|(.., text)| *text).collect()
}

/// Files of the page cache into which is only written: any will do.
fn in_memory(deeds: &[Deed]) -> BTreeSet<FileId> {
    let actions = || {
        deeds.iter().filter_map(|deed| match deed {
            Deed::Start { action, .. } => Some(action),
            _ => None,
        })
    };
    let is_plain = |action: &Action| {
        matches!(
            action,
            Action::Create { .. }
                | Action::Gather { .. }
                | Action::Read { .. }
                | Action::Stat { .. }
        )
    };
    actions()
        .filter_map(|action| match action {
            Action::Create { file, medium: Medium::PageCache, .. } => Some(*file),
            _ => None,
        })
        .filter(|file| {
            actions().all(|action| {
                is_plain(action) || !files(action).contains(file) && named(action) != Some(*file)
            })
        })
        .collect()
}

fn descriptor(file: FileId) -> String {
    format!("fd{}", file.0)
}

fn mapping(map: MapId) -> String {
    format!("map{}", map.0)
}

fn operation(op: OpId) -> String {
    format!("&operations[{}]", op.0)
}

fn range(span: Span) -> String {
    format!("{}, {}", span.at, span.len)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What a call must return.
fn expected(action: &Action, result: &Result<Reply, Errno>) -> Sayable<String> {
    Ok(match result {
        Err(errno) => format!("-{:?}", nix::errno::Errno::from_raw(errno.0)),
        Ok(Reply::Count(count)) => match action {
            // It may find that it cannot share, but not share what differs.
            Action::Dedupe { .. } if *count > 0 => "SOME".to_owned(),
            Action::Dedupe { .. } | Action::DirectIo { .. } | Action::FutexWake { .. } => {
                count.to_string()
            }
            // How many faults it took is the kernel's to choose, and how much a reaped transfer moved is
            // compared where it is reaped.
            _ => "0".to_owned(),
        },
        Ok(Reply::Blocks(_)) => return Err("blocks are not looked up by exports yet".to_owned()),
        Ok(Reply::Done | Reply::Content(_) | Reply::Stat { .. }) => "0".to_owned(),
    })
}

/// What a new file holds, as `create` in `pieces.c` has it: a letter a page.
fn letters(fill: &[u8]) -> Sayable<String> {
    let letters: String =
        fill.iter().map(|byte| sign(Sector::Uniform(*byte))).collect::<Sayable<_>>()?;
    Ok(quoted(&letters))
}

/// Content as `same` in `pieces.c` has it: a sign a sector.
fn signs(content: &Content) -> Sayable<String> {
    content.0.iter().map(|sector| sign(*sector)).collect()
}

fn sign(sector: Sector) -> Sayable<char> {
    match sector {
        Sector::Uniform(0) => Ok('.'),
        Sector::Uniform(byte) if byte.is_ascii_alphanumeric() => Ok(char::from(byte)),
        Sector::Uniform(byte) => Err(format!("no letter stands for byte {byte}")),
        Sector::Torn => Ok('~'),
    }
}

pub(super) fn files(action: &Action) -> Vec<FileId> {
    match action {
        Action::Close { file }
        | Action::Reopen { file }
        | Action::FlipDax { file }
        | Action::Read { file, .. }
        | Action::Write { file, .. }
        | Action::Truncate { file, .. }
        | Action::Fallocate { file, .. }
        | Action::Fsync { file, .. }
        | Action::Stat { file }
        | Action::CacheStat { file }
        | Action::Gather { file, .. }
        | Action::Map { file, .. }
        | Action::Exchange { file, with: Partner::BootLoader } => vec![*file],
        Action::Clone { from, to, .. } | Action::Dedupe { from, to, .. } => vec![*from, *to],
        Action::Exchange { file, with: Partner::File(other) | Partner::Range(other) }
        | Action::MoveExtents { file, donor: other } => vec![*file, *other],
        // By its name, or not at all.
        _ => Vec::new(),
    }
}

/// The file that it goes to by its name.
pub(super) fn named(action: &Action) -> Option<FileId> {
    match action {
        Action::Reopen { file }
        | Action::Unlink { file }
        | Action::OpenTruncate { file }
        | Action::DirectIo { file, .. } => Some(*file),
        _ => None,
    }
}

pub(super) fn maps(action: &Action) -> Vec<MapId> {
    match action {
        Action::Unmap { map }
        | Action::Touch { map, .. }
        | Action::Store { map, .. }
        | Action::Load { map, .. }
        | Action::Msync { map }
        | Action::WriteProtect { map }
        | Action::FutexWait { map }
        | Action::FutexWake { map }
        | Action::DirectIo { map, .. }
        | Action::Pin { map, .. }
        | Action::PinLongterm { map, .. } => vec![*map],
        Action::Gather { maps, .. } => maps.to_vec(),
        _ => Vec::new(),
    }
}
