//! Small programs of a few tasks, for the model checker to run in every order it can think of.
//!
//! Each puts one part of the protocol under pressure. What must hold is what the rules say; a
//! deadlock the checker sees by itself; what a file or a mapping must show a program asserts.

use protocol::Finding;
use protocol::event::Counting;
use protocol::oracle::durable::Durable;

use crate::device::Direction;
use crate::device::{Ring, Transfer};
use crate::errno::Answer;
use crate::fs::{Fs, FsSetup};
use crate::inode::{Inode, Medium};
use crate::mm::Sharing;
use crate::pins::Dropper;
use crate::process::Process;
use crate::remap::Remap;
use crate::sync::{Arc, thread};
use crate::task::Task;
use crate::truncate::Mode;
use crate::variant::Variant;

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    run: fn(&ScenarioWorld) -> Answer<()>,
}

/// All programs.
pub const ALL: &[Scenario] = &[
    Scenario { name: "punch", about: "punch against pin, unpin, pin, unpin", run: punch },
    Scenario { name: "retry", about: "punch of two pages that are pinned in turn", run: retry },
    Scenario { name: "insert", about: "insert against a pin", run: insert },
    Scenario { name: "fault", about: "truncate against a pin that must fault", run: fault },
    Scenario { name: "device", about: "truncate against a device that lets go", run: device },
    Scenario { name: "reflink", about: "two files cloned onto each other", run: reflink },
    Scenario { name: "cow", about: "a write fault on a shared, pinned block", run: cow },
    Scenario { name: "fsync", about: "fsync of a pinned page against punch", run: fsync },
    Scenario { name: "signal", about: "a signal during truncate, then a fault", run: signal },
    Scenario { name: "evict", about: "the last close of a pinned file", run: evict },
    Scenario { name: "load", about: "truncate against direct I/O that overlaps", run: load },
    Scenario {
        name: "own-buffer",
        about: "direct I/O between a file and its map",
        run: own_buffer,
    },
    Scenario { name: "longterm", about: "truncate after a long-term pin", run: longterm },
    Scenario { name: "zeros", about: "a write to a hole that is mapped", run: zeros },
    Scenario { name: "copy", about: "a write to a shared, pinned, mapped block", run: copy },
    Scenario { name: "dedupe", about: "dedupe of blocks that were never written", run: dedupe },
    Scenario { name: "second", about: "dedupe of pages of which the second differ", run: second },
    Scenario { name: "parts", about: "parts of shared and of new pages", run: parts },
    Scenario { name: "beside", about: "writes and a punch right before another file", run: beside },
    Scenario { name: "map", about: "mmap under a pin against truncate", run: map },
    Scenario {
        name: "dirty",
        about: "fsync after part of a page was written and another punched",
        run: dirty,
    },
    Scenario { name: "interrupt", about: "a signal must end a truncate", run: interrupt },
];

/// Pins newer than a break that may hold it up: `load` would go on for ever with more.
const NEWER_PINS: u32 = 3;

/// Runs a program; what the rules found.
pub fn run(scenario: &Scenario, shape: Counting, variant: Option<Variant>) -> Vec<Finding> {
    let fs = Fs::new(&FsSetup {
        shape,
        variant,
        looks_first: false,
        blocks: 16,
        scatter: None,
        newer_pins: NEWER_PINS,
    });
    let process = Process::new(&fs);
    let world = ScenarioWorld { fs: Arc::clone(&fs), process };
    // What fails because of a bug is found by the rules.
    let _ = (scenario.run)(&world);
    fs.log.findings_at_end()
}

struct ScenarioWorld {
    fs: Arc<Fs>,
    process: Arc<Process>,
}

type Tasks = Vec<thread::JoinHandle<()>>;

impl ScenarioWorld {
    /// Does something as a task of its own, in this thread.
    fn set_up<T>(&self, run: impl FnOnce(&Fs, &Process, &Task) -> Answer<T>) -> Answer<T> {
        let task = self.fs.board.add(self.process.number);
        let answer = run(&self.fs, &self.process, &task);
        task.end();
        answer
    }

    /// A file of `pages` pages, mapped and dirty; file and mapping are called `name`.
    fn file(&self, name: u32, pages: u64) -> Answer<Arc<Inode>> {
        self.set_up(|fs, process, task| {
            let inode = fs.create(Medium::Dax);
            process.open(name, Arc::clone(&inode));
            fs.write(task, &inode, 0, &vec![b'a'; (pages * crate::page::SIZE) as usize])?;
            fs.map(task, &process.mm, name, &inode, 0..pages, Sharing::Shared)?;
            let vma = process.mm.find(name)?;
            fs.store(task, &process.mm, &vma, (0, pages * crate::page::SIZE), b'b')?;
            Ok(inode)
        })
    }

    /// Begins a task; its number on the board.
    fn spawn(
        &self,
        tasks: &mut Tasks,
        run: impl FnOnce(&Fs, &Process, &Task) -> Answer<()> + Send + 'static,
    ) -> u32 {
        let (fs, process) = (Arc::clone(&self.fs), Arc::clone(&self.process));
        let task = fs.board.add(process.number);
        let id = task.id();
        tasks.push(thread::spawn(move || {
            // Errors are part of the game: a hole may be where a page was.
            let _ = run(&fs, &process, &task);
            task.end();
        }));
        id
    }
}

fn join(tasks: Tasks) {
    for task in tasks {
        task.join().expect("a task panicked");
    }
}

const PAGE: u64 = crate::page::SIZE;

/// Does `act` while the task itself pins `span` of the first mapping.
fn while_pinned(
    fs: &Fs,
    process: &Process,
    task: &Task,
    span: (u64, u64),
    act: impl FnOnce() -> Answer<()>,
) -> Answer<()> {
    let vma = process.mm.find(1)?;
    let pins = fs.pin(task, &process.mm, &vma, span, false)?;
    let done = act();
    fs.unpin(task, &pins, Dropper::Process);
    done
}

fn pin_once(fs: &Fs, process: &Process, task: &Task, span: (u64, u64)) -> Answer<()> {
    while_pinned(fs, process, task, span, || {
        // Locked for a moment, or no other task would ever see it.
        thread::yield_now();
        Ok(())
    })
}

fn punch(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| {
        pin_once(fs, process, task, (0, PAGE))?;
        pin_once(fs, process, task, (0, PAGE))
    });
    world.spawn(&mut tasks, move |fs, _, task| fs.fallocate(task, &inode, Mode::Punch, (0, PAGE)));
    join(tasks);
    Ok(())
}

fn retry(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 2)?;
    let mut tasks = Tasks::new();
    for page in [0, 1] {
        world.spawn(&mut tasks, move |fs, process, task| {
            pin_once(fs, process, task, (page * PAGE, PAGE))
        });
    }
    world.spawn(&mut tasks, move |fs, _, task| {
        fs.fallocate(task, &inode, Mode::Punch, (0, 2 * PAGE))
    });
    join(tasks);
    Ok(())
}

fn insert(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 2)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| pin_once(fs, process, task, (0, PAGE)));
    world.spawn(&mut tasks, move |fs, _, task| fs.fallocate(task, &inode, Mode::Insert, (0, PAGE)));
    join(tasks);
    Ok(())
}

fn fault(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 2)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| pin_once(fs, process, task, (0, 2 * PAGE)));
    world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &inode, PAGE));
    join(tasks);
    Ok(())
}

/// Pins for a transfer into a page and lets it happen.
fn transfer(fs: &Fs, process: &Process, task: &Task) -> Answer<()> {
    let vma = process.mm.find(1)?;
    let pins = fs.pin(task, &process.mm, &vma, (0, PAGE), true)?;
    let ring = Arc::new(Ring::default());
    fs.device.submit(Transfer {
        pins,
        direction: Direction::IntoMemory,
        byte: b'z',
        tag: 0,
        ring: Arc::clone(&ring),
    });
    ring.reap(task).map(drop)
}

/// Runs the device until the other tasks are done.
fn with_device(world: &ScenarioWorld, tasks: Tasks) {
    let mut serving = Tasks::new();
    world.spawn(&mut serving, |fs, _, task| fs.serve_device(task));
    join(tasks);
    world.fs.board.cancel();
    join(serving);
}

fn device(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, transfer);
    world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &inode, 0));
    with_device(world, tasks);
    Ok(())
}

fn reflink(world: &ScenarioWorld) -> Answer<()> {
    let (one, other) = (world.file(1, 1)?, world.file(2, 1)?);
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| pin_once(fs, process, task, (0, PAGE)));
    for (from, to) in [(Arc::clone(&one), Arc::clone(&other)), (other, one)] {
        world.spawn(&mut tasks, move |fs, _, task| {
            let what = Remap { from: 0, len: PAGE, to: 0, dedupe: false };
            fs.remap(task, &from, &to, what).map(drop)
        });
    }
    join(tasks);
    Ok(())
}

fn cow(world: &ScenarioWorld) -> Answer<()> {
    let (one, other) = (world.file(1, 1)?, world.file(2, 1)?);
    world.set_up(|fs, _, task| {
        let what = Remap { from: 0, len: PAGE, to: 0, dedupe: false };
        fs.remap(task, &one, &other, what)
    })?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| pin_once(fs, process, task, (0, PAGE)));
    world.spawn(&mut tasks, |fs, process, task| {
        let vma = process.mm.find(1)?;
        fs.store(task, &process.mm, &vma, (0, PAGE), b'c').map(drop)
    });
    world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &other, 0));
    join(tasks);
    Ok(())
}

fn fsync(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, {
        let inode = Arc::clone(&inode);
        move |fs, process, task| {
            while_pinned(fs, process, task, (0, PAGE), || fs.fsync(task, &inode))
        }
    });
    world.spawn(&mut tasks, move |fs, _, task| fs.fallocate(task, &inode, Mode::Punch, (0, PAGE)));
    join(tasks);
    Ok(())
}

fn signal(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 2)?;
    let pins = world.set_up(|fs, process, task| {
        let vma = process.mm.find(1)?;
        fs.pin(task, &process.mm, &vma, (0, PAGE), false)
    })?;
    let mut tasks = Tasks::new();
    let victim = world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &inode, PAGE));
    world.spawn(&mut tasks, move |fs, process, task| {
        fs.board.signal(victim, false);
        let vma = process.mm.find(1)?;
        fs.touch(task, &process.mm, &vma, (0, PAGE))?;
        fs.unpin(task, &pins, Dropper::Process);
        Ok(())
    });
    join(tasks);
    Ok(())
}

fn evict(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    let pins = world.set_up(|fs, process, task| {
        let vma = process.mm.find(1)?;
        let pins = fs.pin(task, &process.mm, &vma, (0, PAGE), false)?;
        fs.unmap_all_of(task, &process.mm, 1)?;
        fs.unlink(task, &inode)?;
        Ok(pins)
    })?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| fs.close(task, process, 1));
    world.spawn(&mut tasks, move |fs, _, task| {
        fs.unpin(task, &pins, Dropper::Process);
        Ok(())
    });
    join(tasks);
    Ok(())
}

/// Direct I/O from one page, two at a time, each submitted under the inode lock and completed by
/// the device when it likes. Once the break holds that lock and keeps it, no new pin comes and
/// the last ones go; a break that drops it can be held up as long as the load lasts.
fn load(world: &ScenarioWorld) -> Answer<()> {
    const INFLIGHT: u32 = 2;
    const TRANSFERS: u32 = 10;
    let inode = world.file(1, 1)?;
    let mut tasks = Tasks::new();
    let loaded = Arc::clone(&inode);
    world.spawn(&mut tasks, move |fs, process, task| {
        let vma = process.mm.find(1)?;
        let ring = Arc::new(Ring::default());
        for number in 0..TRANSFERS {
            if number >= INFLIGHT {
                ring.reap(task)?;
            }
            let _lock = loaded.lock.read(task)?;
            let pins = fs.pin(task, &process.mm, &vma, (0, PAGE), false)?;
            let (direction, ring) = (Direction::FromMemory, Arc::clone(&ring));
            fs.device.submit(Transfer { pins, direction, byte: 0, tag: 0, ring });
        }
        Ok(())
    });
    world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &inode, 0));
    with_device(world, tasks);
    Ok(())
}

/// What a mapping shows of one page.
fn shown(fs: &Fs, process: &Process, task: &Task, map: u32, page: u64) -> Answer<u8> {
    let vma = process.mm.find(map)?;
    Ok(fs.load(task, &process.mm, &vma, (page * PAGE, 1))?[0])
}

/// Direct I/O in both directions with a buffer that is a mapping of the file itself, and that has
/// to be faulted in.
fn own_buffer(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 2)?;
    // The read ends with the file, before its buffer does.
    for (direction, at, moves) in
        [(Direction::FromMemory, 0, 2 * PAGE), (Direction::IntoMemory, PAGE, PAGE)]
    {
        let inode = Arc::clone(&inode);
        let mut tasks = Tasks::new();
        world.spawn(&mut tasks, move |fs, process, task| {
            fs.map(task, &process.mm, 2, &inode, 0..2, Sharing::Shared)?;
            let vma = process.mm.find(2)?;
            let buffer = (&process.mm, &vma);
            let moved = fs.direct_io(task, &inode, at, buffer, (0, 2 * PAGE), direction)?;
            assert_eq!(moved, moves, "direct I/O moves what there is");
            fs.unmap_all_of(task, &process.mm, 2)
        });
        world.spawn(&mut tasks, |fs, process, task| shown(fs, process, task, 1, 0).map(drop));
        join(tasks);
    }
    Ok(())
}

fn longterm(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| {
        let vma = process.mm.find(1)?;
        fs.pin_longterm(task, &process.mm, &vma, (0, PAGE))
    });
    world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &inode, 0));
    join(tasks);
    Ok(())
}

fn zeros(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    world.set_up(|fs, process, task| {
        fs.fallocate(task, &inode, Mode::Punch, (0, PAGE))?;
        shown(fs, process, task, 1, 0)
    })?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| shown(fs, process, task, 1, 0).map(drop));
    world.spawn(&mut tasks, move |fs, _, task| fs.write(task, &inode, 0, &[b'w'; PAGE as usize]));
    join(tasks);
    let seen = world.set_up(|fs, process, task| shown(fs, process, task, 1, 0))?;
    assert_eq!(seen, b'w', "the mapping of a hole shows what was written to it");
    Ok(())
}

fn copy(world: &ScenarioWorld) -> Answer<()> {
    let (one, other) = (world.file(1, 1)?, world.file(2, 1)?);
    world.set_up(|fs, process, task| {
        let what = Remap { from: 0, len: PAGE, to: 0, dedupe: false };
        fs.remap(task, &one, &other, what)?;
        shown(fs, process, task, 1, 0)
    })?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| pin_once(fs, process, task, (0, PAGE)));
    world.spawn(&mut tasks, move |fs, _, task| fs.write(task, &one, 0, &[b'w'; PAGE as usize]));
    join(tasks);
    let [here, there] = [1, 2].map(|map| {
        let seen = world.set_up(|fs, process, task| shown(fs, process, task, map, 0));
        seen.expect("both files are mapped")
    });
    assert_eq!(here, b'w', "the mapping of a file shows what was written to it");
    assert_eq!(there, b'b', "a write to one file does not show in the other");
    Ok(())
}

fn dedupe(world: &ScenarioWorld) -> Answer<()> {
    let (one, other) = (world.file(1, 1)?, world.file(2, 1)?);
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| shown(fs, process, task, 2, 0).map(drop));
    world.spawn(&mut tasks, move |fs, process, task| {
        // The block freed last is the next to be given.
        fs.fallocate(task, &one, Mode::Zero, (0, PAGE))?;
        let what = Remap { from: 0, len: PAGE, to: 0, dedupe: true };
        let shared = fs.remap(task, &one, &other, what)?;
        assert_eq!(shared, 0, "a page never written and one of \"b\" differ");
        assert_eq!(shown(fs, process, task, 2, 0)?, b'b', "dedupe changes nothing");
        Ok(())
    });
    join(tasks);
    Ok(())
}

fn second(world: &ScenarioWorld) -> Answer<()> {
    let (one, other) = (world.file(1, 2)?, world.file(2, 2)?);
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| shown(fs, process, task, 2, 0).map(drop));
    world.spawn(&mut tasks, move |fs, process, task| {
        let vma = process.mm.find(2)?;
        fs.store(task, &process.mm, &vma, (PAGE, PAGE), b'c')?;
        let what = Remap { from: 0, len: 2 * PAGE, to: 0, dedupe: true };
        assert_eq!(fs.remap(task, &one, &other, what)?, 0, "the second pages differ");
        Ok(())
    });
    join(tasks);
    Ok(())
}

/// Half a page.
const HALF: u64 = PAGE / 2;

fn parts(world: &ScenarioWorld) -> Answer<()> {
    let (one, other) = (world.file(1, 1)?, world.file(2, 1)?);
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| shown(fs, process, task, 2, 0).map(drop));
    world.spawn(&mut tasks, move |fs, process, task| {
        let byte = |map, at| -> Answer<u8> {
            let vma = process.mm.find(map)?;
            Ok(fs.load(task, &process.mm, &vma, (at, 1))?[0])
        };
        let what = Remap { from: 0, len: PAGE, to: 0, dedupe: false };
        fs.remap(task, &one, &other, what)?;
        fs.truncate(task, &one, HALF)?;
        fs.truncate(task, &one, PAGE)?;
        assert_eq!(byte(1, HALF)?, 0, "what was cut off reads as zeros");
        assert_eq!(byte(2, HALF)?, b'b', "the other file has what it had");
        fs.truncate(task, &other, 0)?;
        fs.truncate(task, &other, PAGE)?;
        fs.write(task, &other, HALF, &[b'w'; HALF as usize])?;
        assert_eq!(byte(2, 0)?, 0, "beside what is written to a hole there are zeros");
        fs.truncate(task, &one, HALF)?;
        let vma = process.mm.find(1)?;
        fs.store(task, &process.mm, &vma, (HALF, 1), b's')?;
        fs.write(task, &one, PAGE, &[b'w'])?;
        assert_eq!(byte(1, HALF)?, 0, "what was stored behind the end stays behind");
        Ok(())
    });
    join(tasks);
    Ok(())
}

/// The first file's blocks lie right before the second's.
fn beside(world: &ScenarioWorld) -> Answer<()> {
    let (one, _other) = (world.file(1, 2)?, world.file(2, 1)?);
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| shown(fs, process, task, 2, 0).map(drop));
    world.spawn(&mut tasks, move |fs, process, task| {
        let last = [b'w'; PAGE as usize];
        fs.write(task, &one, PAGE, &last)?;
        assert_eq!(shown(fs, process, task, 2, 0)?, b'b', "a write stays in its file");
        // The block freed last is the next to be given.
        fs.fallocate(task, &one, Mode::Punch, (PAGE, PAGE))?;
        fs.write(task, &one, PAGE, &last)?;
        assert_eq!(shown(fs, process, task, 2, 0)?, b'b', "a punch frees what it punches");
        Ok(())
    });
    join(tasks);
    Ok(())
}

fn map(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, {
        let inode = Arc::clone(&inode);
        move |fs, process, task| {
            while_pinned(fs, process, task, (0, PAGE), || {
                fs.map(task, &process.mm, 2, &inode, 0..1, Sharing::Shared)
            })
        }
    });
    world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &inode, 0));
    join(tasks);
    Ok(())
}

fn dirty(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 2)?;
    let mut tasks = Tasks::new();
    world.spawn(&mut tasks, |fs, process, task| pin_once(fs, process, task, (0, PAGE)));
    world.spawn(&mut tasks, move |fs, _, task| {
        let mut durable = Durable::default();
        durable.stored(inode.number, 0..2);
        fs.write(task, &inode, PAGE, &[b'w'; HALF as usize])?;
        fs.fallocate(task, &inode, Mode::Punch, (0, PAGE))?;
        durable.dropped(inode.number, &(0..1));
        let promise = durable.promise(inode.number, &(0..2));
        fs.fsync(task, &inode)?;
        for (file, index) in fs.take_written_back() {
            durable.written_back(file, index..index + 1);
        }
        assert_eq!(durable.kept(promise), [], "fsync writes back what was stored");
        Ok(())
    });
    join(tasks);
    Ok(())
}

/// The pin is let go only when the truncate has ended: without the signal it would wait for good.
fn interrupt(world: &ScenarioWorld) -> Answer<()> {
    let inode = world.file(1, 1)?;
    let pins = world.set_up(|fs, process, task| {
        let vma = process.mm.find(1)?;
        fs.pin(task, &process.mm, &vma, (0, PAGE), false)
    })?;
    let mut tasks = Tasks::new();
    let victim = world.spawn(&mut tasks, move |fs, _, task| fs.truncate(task, &inode, 0));
    world.spawn(&mut tasks, move |fs, _, _| {
        fs.board.signal(victim, false);
        Ok(())
    });
    join(tasks);
    world.set_up(|fs, _, task| {
        fs.unpin(task, &pins, Dropper::Process);
        Ok(())
    })
}
