//! Pins by direct I/O: how it is submitted to a device that withholds it, and its end.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use super::call::{WaitingCall, joined};
use super::{Holder, Means, Pages, Prepared, sent};
use crate::action::{Content, Direction, Engine};
use crate::patience::{Limit, Patience};
use crate::system::kernel::actor::Actor;
use crate::system::kernel::bench::{HeldSlice, trouble};
use crate::system::kernel::sys::{Aio, Buffer, Uring};
use crate::system::kernel::{KernelSystem, proc};
use crate::system::{Need, System as _, Tried};

/// Between the pages and a device.
pub(super) struct Direct {
    pub(super) engine: Engine,
    pub(super) direction: Direction,
    /// What the device holds before.
    pub(super) byte: u8,
}

impl Means for Direct {
    fn offered(&self, kernel: &mut KernelSystem) -> Result<(), String> {
        kernel.offers(Need::HeldIo)?;
        match self.engine {
            Engine::Aio => Ok(()),
            Engine::Uring => kernel.offers(Need::Uring),
        }
    }

    fn prepare(&self, kernel: &mut KernelSystem, len: u64) -> Tried<Prepared> {
        let (slice, device) = kernel.bench().hold(len, self.byte)?;
        Ok(Prepared { holder: Some(Box::new(slice)), theirs: vec![device] })
    }

    fn take(&self, actor: &Actor, pages: &Pages, fds: Vec<OwnedFd>) -> io::Result<()> {
        let ends = (sent(fds)?, pages.mapping.buffer(pages.span)?);
        let flight = Flight::begin(self.engine, self.direction, ends, actor.patience)?;
        actor.tables().flights.insert(pages.pin, flight);
        Ok(())
    }
}

impl Holder for HeldSlice {
    fn release(&mut self, _patience: Duration) -> Tried<Option<Content>> {
        self.resume().map_err(trouble("the held device"))?;
        Ok(None)
    }

    // Its end comes in its own time.
    fn drops_at_once(&self) -> bool {
        false
    }

    fn content(&self) -> Tried<Option<Content>> {
        HeldSlice::content(self).map(Some).map_err(trouble("the held device"))
    }

    fn give_up(self: Box<Self>, kernel: &mut KernelSystem) -> io::Result<()> {
        kernel.bench().give_back(*self)
    }
}

/// A direct I/O in flight, with what it needs to live.
#[derive(Debug)]
pub(crate) enum Flight {
    Aio(Aio, Ends),
    Uring(Box<UringFlight>),
    /// A call that a thread waits in.
    Call(WaitingCall),
}

/// The device and the memory that a transfer is between.
type Ends = (OwnedFd, Buffer);

pub(crate) struct UringFlight(Uring, #[expect(dead_code, reason = "kept until it is over")] Ends);

impl std::fmt::Debug for UringFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UringFlight")
    }
}

impl Flight {
    /// Submits one. The pages of `buffer` are pinned then.
    fn begin(
        engine: Engine,
        direction: Direction,
        (device, buffer): Ends,
        patience: Patience,
    ) -> io::Result<Self> {
        let write = direction == Direction::FromMemory;
        match engine {
            Engine::Aio => {
                let aio = Aio::new(1)?;
                aio.submit(device.as_fd(), &buffer, 0, write, 0)?;
                // What pins no page is over at once, and only its completion says so; the
                // device withholds every other.
                if let Some(event) = aio.completed()?.first() {
                    let code = i32::try_from(-event.result).unwrap_or(libc::EIO);
                    return Err(io::Error::from_raw_os_error(code));
                }
                Ok(Self::Aio(aio, (device, buffer)))
            }
            Engine::Uring => {
                let mut ring = Uring::new()?;
                ring.submit(device.as_fd(), &buffer, 0, write)?;
                wait_for_workers(patience.of(IDLE));
                Ok(Self::Uring(Box::new(UringFlight(ring, (device, buffer)))))
            }
        }
    }

    /// Waits for its end; the bytes transferred.
    pub(super) fn reap(self) -> io::Result<u64> {
        match self {
            Self::Aio(aio, _ends) => {
                let event = aio.complete()?[0];
                if event.result < 0 {
                    return Err(io::Error::from_raw_os_error(-event.result as i32));
                }
                Ok(event.result as u64)
            }
            Self::Uring(mut flight) => flight.0.complete(),
            Self::Call(call) => joined(call),
        }
    }
}

/// Waits until the io_uring workers of this process that took over a submission have handed it
/// to the device and idle again.
///
/// A submission that would block (and one to a suspended device would) is repeated by a worker
/// after io_uring_enter(2) has returned; only then are the pages pinned.
fn wait_for_workers(idle_for: Duration) {
    let pid = nix::unistd::getpid().as_raw();
    let mut last: (Vec<proc::Glance>, Instant) = (Vec::new(), Instant::now());
    loop {
        let workers: Vec<_> = proc::threads(pid)
            .into_iter()
            .filter_map(|tid| proc::Glance::at(pid, tid))
            .filter(|glance| glance.is_io_worker)
            .collect();
        let idle = |glance: &proc::Glance| {
            glance.sleeps() && glance.stack.first().is_some_and(|function| is_worker_loop(function))
        };
        if workers.iter().all(idle) {
            return;
        }
        if workers != last.0 {
            last = (workers, Instant::now());
        } else if workers.iter().all(proc::Glance::sleeps) && last.1.elapsed() > idle_for {
            return;
        }
        std::thread::yield_now();
    }
}

/// How long a worker must have slept unmoved to count as idle in a kernel whose worker has another
/// name than those known: handing a transfer to the device takes microseconds.
const IDLE: Limit = Limit::secs(1);

/// The function in which an idle io_uring worker sleeps in kernels that are known, by its two
/// names.
fn is_worker_loop(function: &str) -> bool {
    function.starts_with("io_wq_worker") || function.starts_with("io_wqe_worker")
}
