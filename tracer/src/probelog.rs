//! What the probes say of themselves, on standard error: for who debugs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use aya::Ebpf;
use aya_log::{EbpfLogger, Level};
use log::{Log, Metadata, Record};

use crate::error::Error;
use crate::options::ProbeLog;

/// How long the probes' messages may lie unread.
const PAUSE: Duration = Duration::from_millis(20);

/// The level that the probes compare theirs with; 0 is below all of them.
pub(crate) fn level(wanted: ProbeLog) -> u8 {
    match wanted {
        ProbeLog::Off => 0,
        ProbeLog::Lost => Level::Debug as u8,
        ProbeLog::All => Level::Trace as u8,
    }
}

/// A thread that prints the messages. Dropping it ends that.
pub(crate) struct Printer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Printer {
    /// Takes the messages of these probes from now on.
    pub(crate) fn start(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let mut messages = EbpfLogger::init_with_logger(ebpf, Lines)
            .map_err(|error| Error::Lacks(format!("their messages: {error}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = thread::Builder::new().name("tracer-probelog".to_owned()).spawn(move || {
            loop {
                // Asked before the last look, so that nothing is left behind.
                let last = theirs.load(Ordering::Relaxed);
                messages.flush();
                if last {
                    return;
                }
                thread::sleep(PAUSE);
            }
        });
        Ok(Self { stop, thread: Some(thread.map_err(Error::Thread)?) })
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Each message is a line.
struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("probe: {}", record.args());
    }

    fn flush(&self) {}
}
