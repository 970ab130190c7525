//! A tracer that sees nothing says nothing: before a traced run it provokes one break and must
//! see every step of it. Nor is one believed that takes a block for another: it frees some whose
//! pages are known.

use std::io::Read;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use protocol::{Bounds, Event, Finding, Kind, Ruling, judge};

use crate::device::TracedFs;
use crate::session::Session;
use crate::survey::Point;
use crate::sys::Map;
use crate::untraceable::{self, PAGE};

/// What the self-check found wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The break could not be provoked.
    #[error("self-check: {0}")]
    File(#[from] untraceable::Error),
    /// A system call of it failed.
    #[error("self-check: {doing}")]
    System {
        /// What it was for.
        doing: &'static str,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The break happened and steps of it were not seen.
    #[error(
        "self-check: a break on {device} happened, but no {steps} was seen: tracing it would \
             prove nothing (`tracer hooks` shows what carries each step)"
    )]
    Blind {
        /// The device.
        device: String,
        /// The steps that were missing, in words.
        steps: String,
        /// The same, one by one.
        missing: Vec<&'static str>,
    },
    /// Blocks were freed, and something was missed meanwhile: nothing is known of them.
    #[error(
        "self-check: {missed} records or calls were missed while blocks were freed, so it is not known \
             whether the probes saw the right pages freed: use a larger --ring-size"
    )]
    Missed {
        /// How much.
        missed: u64,
    },
    /// Freed blocks are told as other pages than those they are.
    #[error(
        "self-check: block {block} of {device} (page {frame:#x}) was freed, but the probes saw \
             {seen} freed"
    )]
    Misplaced {
        /// The device.
        device: String,
        /// The block.
        block: u64,
        /// Its page frame.
        frame: u64,
        /// Page frames, or nothing.
        seen: String,
    },
}

/// How long a step may take; emulated machines are slow. Multiplied by `Options::patience`.
const DEADLINE: Duration = Duration::from_secs(20);

/// How often it is tried if the kernel kept a program from seeing something meanwhile.
const TRIES: usize = 5;

/// Provokes one break on the device and looks for its steps among the records.
///
/// A kernel that breaks the protocol even here passes, if the records show that it does: the
/// tracer sees it. Only if nothing was missed meanwhile, for what was not seen is no evidence.
///
/// What this break violated is returned.
pub fn check(device: &TracedFs, session: &Session, patience: f64) -> Result<Vec<Finding>, Error> {
    let mut tries = 1;
    let (missing, findings) = loop {
        let before = session.unseen();
        let (missing, findings) = attempt(device, session, patience)?;
        if session.unseen().since(&before).missed() == 0 {
            break (missing, findings);
        }
        if missing.is_empty() || tries == TRIES {
            break (missing, Vec::new());
        }
        tries += 1;
    };
    // Steps are also missing where the kernel does not take them. Who sees that is not blind.
    if missing.is_empty() || !findings.is_empty() {
        return Ok(findings);
    }
    Err(Error::Blind {
        device: device.path.display().to_string(),
        steps: missing.join(", no "),
        missing,
    })
}

/// The steps of one break that are not among the records, and what it violated.
fn attempt(
    device: &TracedFs,
    session: &Session,
    patience: f64,
) -> Result<(Vec<&'static str>, Vec<Finding>), Error> {
    let limit = DEADLINE.mul_f64(patience);
    let (file, _) = device.scratch()?;
    let length = NonZeroUsize::new(PAGE as usize).expect("a page is not empty");
    let map = Map::new(&file, length).map_err(system("mapping its file"))?;
    map.touch();
    let (reader, writer) = nix::unistd::pipe().map_err(system("making a pipe"))?;
    let pinned = map.splice(&writer, PAGE as usize);
    pinned.map_err(|source| Error::System { doing: "pinning its page", source })?;

    let (tell, tasks) = mpsc::channel();
    let breaker = thread::spawn(move || {
        // Nobody listens any more if the deadline is over.
        let _ = tell.send(nix::unistd::gettid().as_raw() as u32);
        file.set_len(0)
    });
    let mut seen = Vec::new();
    // The pin may go only when the break sleeps, or there is nothing to see.
    let slept = collect(session, limit, &mut seen, |events| has(events, Kind::Sleep));
    release(reader).map_err(|source| Error::System { doing: "releasing its pin", source })?;
    // Where it is not known which page was freed, no free is told.
    let knows_frees = device.blocks.unknown.is_none();
    let ended = collect(session, limit, &mut seen, |events| {
        has(events, Kind::BreakEnd) && (!knows_frees || has(events, Kind::Free))
    });
    drop((slept, ended, writer));
    let mut task = tasks.recv_timeout(limit).unwrap_or_default();
    if breaker.is_finished() {
        let joined = breaker.join().expect("the breaker does not panic");
        joined.map_err(|source| Error::System { doing: "truncating its file", source })?;
    } else if task == 0 {
        task = std::process::id();
    }
    session.sweep();
    collect(session, limit, &mut seen, |_| true);

    let mut missing = missing(&seen, task);
    missing.retain(|step| knows_frees || *step != "block free");
    let bounds = Bounds::kernel(session.counting());
    let findings = match judge(bounds, &seen) {
        Ruling::Violated(findings) => findings,
        Ruling::Holds | Ruling::Undecided => Vec::new(),
    };
    Ok((missing, findings))
}

/// Frees measured blocks, and checks that the probes report just their pages.
pub(crate) fn frees(
    device: &TracedFs,
    session: &Session,
    points: &[Point],
    patience: f64,
) -> Result<(), Error> {
    let limit = DEADLINE.mul_f64(patience);
    let known: Vec<&Point> =
        points.iter().filter(|point| device.blocks.frame(point.block).is_some()).collect();
    let before = session.unseen();
    for point in &known {
        let freed = point.free();
        freed.map_err(|source| Error::System { doing: "freeing a block", source })?;
    }
    let mut seen = Vec::new();
    let told = |events: &[Event], point: &Point| {
        events.iter().any(|event| event.kind == Kind::Free as u16 && event.page == point.frame)
    };
    collect(session, limit, &mut seen, |events| known.iter().all(|point| told(events, point)));
    let Some(point) = known.iter().find(|point| !told(&seen, point)) else {
        return Ok(());
    };
    let missed = session.unseen().since(&before).missed();
    if missed > 0 {
        return Err(Error::Missed { missed });
    }
    let frees = seen.iter().filter(|event| event.kind == Kind::Free as u16);
    let pages: Vec<String> = frees.map(|event| format!("{:#x}", event.page)).collect();
    Err(Error::Misplaced {
        device: device.path.display().to_string(),
        block: point.block,
        frame: point.frame,
        seen: if pages.is_empty() { "nothing".to_owned() } else { pages.join(", ") },
    })
}

fn system(doing: &'static str) -> impl FnOnce(nix::Error) -> Error {
    move |error| Error::System { doing, source: error.into() }
}

fn release(reader: OwnedFd) -> std::io::Result<()> {
    let mut byte = [0; PAGE as usize];
    std::fs::File::from(reader).read_exact(&mut byte)
}

fn has(events: &[Event], kind: Kind) -> bool {
    events.iter().any(|event| event.kind == kind as u16)
}

/// Takes records until `enough`, or as long as `limit`; says which.
fn collect(
    session: &Session,
    limit: Duration,
    seen: &mut Vec<Event>,
    enough: impl Fn(&[Event]) -> bool,
) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        seen.extend(session.take_events(usize::MAX));
        if enough(seen) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        // Nobody tells that there is a record; one looks.
        thread::sleep(Duration::from_millis(2));
    }
}

/// The steps of the break by `task` that are not among the records.
fn missing(events: &[Event], task: u32) -> Vec<&'static str> {
    let by = |kind: Kind, extra: fn(&Event) -> bool| {
        events.iter().any(|event| event.kind == kind as u16 && event.task == task && extra(event))
    };
    let anyone = |kind: Kind| has(events, kind);
    [
        ("pin", anyone(Kind::Pin)),
        ("break", by(Kind::BreakBegin, |_| true)),
        ("scan that finds the pinned page", by(Kind::Scan, |event| event.page != 0)),
        ("wait", by(Kind::WaitBegin, |_| true)),
        ("sleep", by(Kind::Sleep, |_| true)),
        ("unpin", anyone(Kind::Unpin)),
        ("wake", anyone(Kind::Wake)),
        ("end of the wait", by(Kind::WaitEnd, |_| true)),
        ("scan that finds nothing", by(Kind::Scan, |event| event.page == 0)),
        ("end of the break", by(Kind::BreakEnd, |_| true)),
        ("entry removal", by(Kind::Remove, |_| true)),
        ("block free", anyone(Kind::Free)),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(step, _)| step)
    .collect()
}
