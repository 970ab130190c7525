//! How the controller judges tasks that sleep, shown on files that need no DAX: opening a FIFO
//! that nobody reads sleeps for good, for something that is no pin.

#![expect(clippy::unwrap_used, reason = "what sets a test up is part of it")]

use std::path::Path;
use std::time::{Duration, Instant};

use cases::Patience;
use cases::action::{Action, FileId, MapId, Medium, PinId, PinKind, Reply, Sharing, TaskId, pages};
use cases::system::{Errno, Kinship, Look, MAIN, OpId, System, Trouble, WaitChannel, kernel};
use nix::libc;

/// The limits are made for an emulated machine; this is none.
const QUICK: Patience = Patience::times(0.2);

fn open(folder: &Path) -> Box<dyn System> {
    let config = kernel::KernelSetup { directory: folder.to_owned(), patience: QUICK, spare: None };
    kernel::open(&config, kernel::Owner::here().unwrap(), Err("none".to_owned())).unwrap()
}

fn did(system: &mut dyn System, action: Action) -> Result<Reply, Errno> {
    let op = system.start(MAIN, action).unwrap();
    system.wait(op).unwrap().result
}

/// Begins something that sleeps until somebody else comes.
fn sleeper(system: &mut dyn System, folder: &Path) -> (TaskId, OpId) {
    let fifo = FileId(9);
    nix::unistd::mkfifo(&folder.join("f9"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let task = system.spawn(MAIN, Kinship::Thread).unwrap();
    (task, system.start(task, Action::OpenTruncate { file: fifo }).unwrap())
}

/// A page of a file of its own, pinned.
fn pin(system: &mut dyn System) -> PinId {
    let (file, map, pin) = (FileId(1), MapId(1), PinId(1));
    let fill = b"ab".to_vec();
    let name = "data".to_owned();
    did(system, Action::Create { file, name, medium: Medium::Dax, fill }).unwrap();
    let span = pages(0, 2);
    did(system, Action::Map { map, file, span, sharing: Sharing::Shared }).unwrap();
    let kind = PinKind::Splice;
    did(system, Action::Pin { pin, map, span, kind }).unwrap();
    pin
}

fn state(trouble: Trouble) -> (String, u64, String) {
    match trouble {
        Trouble::Stuck { what, seconds, state } => (what, seconds, state),
        other => panic!("{other}"),
    }
}

#[test]
fn a_task_that_sleeps_is_blocked_wherever_it_sleeps() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = open(folder.path());
    let (_, op) = sleeper(system.as_mut(), folder.path());
    let begun = Instant::now();
    let Look::Blocked(WaitChannel::Elsewhere(_)) = system.settle(op).unwrap() else {
        panic!("it sleeps, and in no layout break");
    };
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_sleep_that_the_last_pin_does_not_end_is_told_from_a_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = open(folder.path());
    let pin = pin(system.as_mut());
    let (_, op) = sleeper(system.as_mut(), folder.path());
    assert!(matches!(system.settle(op).unwrap(), Look::Blocked(_)));
    let released = system.release_last(pin, op).unwrap();
    assert!(released.slept_on.is_some());
}

#[test]
fn who_sleeps_on_although_no_pin_is_left_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = open(folder.path());
    let (_, op) = sleeper(system.as_mut(), folder.path());
    let (what, seconds, state) = state(system.wait(op).unwrap_err());
    assert_eq!(what, "open file 9 with O_TRUNC");
    assert!(state.starts_with("it sleeps on although no pin is left"), "{state}");
    assert!((1..60).contains(&seconds), "after {seconds} s");
}

#[test]
fn a_pin_that_was_refused_is_not_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = open(folder.path());
    let kind = PinKind::Splice;
    let (pin, map, span) = (PinId(1), MapId(1), pages(0, 1));
    let refused = did(system.as_mut(), Action::Pin { pin, map, span, kind });
    assert_eq!(refused, Err(Errno(libc::EFAULT)));
    let (_, op) = sleeper(system.as_mut(), folder.path());
    let (_, _, state) = state(system.wait(op).unwrap_err());
    assert!(state.starts_with("it sleeps on although no pin is left"), "{state}");
}

#[test]
fn a_pin_that_is_held_may_be_why_and_is_let_go_to_see() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = open(folder.path());
    pin(system.as_mut());
    let (_, op) = sleeper(system.as_mut(), folder.path());
    let (_, _, state) = state(system.wait(op).unwrap_err());
    assert!(state.starts_with("it did not return when all pins were released either"), "{state}");
}

#[test]
fn pages_stay_what_they_are_while_a_mapping_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = open(folder.path());
    let pin = pin(system.as_mut());
    did(system.as_mut(), Action::Unmap { map: MapId(1) }).unwrap();
    let gone = did(system.as_mut(), Action::Load { map: MapId(1), span: pages(0, 1) });
    assert_eq!(gone, Err(Errno(libc::EFAULT)));
    system.release(pin).unwrap();
    assert_eq!(system.transferred(pin).unwrap().to_string(), "ab");
    let other = system.spawn(MAIN, Kinship::Process).unwrap();
    let op = system.start(other, Action::Stat { file: FileId(1) }).unwrap();
    assert!(system.wait(op).unwrap().result.is_ok());
}
