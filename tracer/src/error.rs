//! Why tracing could not begin.

use std::io;

use crate::{offsets, symbols};

/// Why tracing could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The build had no eBPF toolchain.
    #[error("built without probes: build again with an eBPF toolchain (ci/ebpf-toolchain)")]
    NoProbes,
    /// Only root may.
    #[error("not root: tracing needs CAP_SYS_ADMIN")]
    NotRoot,
    /// The kernel is locked down.
    #[error("the kernel is locked down ({0}): it lets no probe read its memory")]
    Lockdown(String),
    /// See [`symbols::Error`].
    #[error(transparent)]
    Symbols(#[from] symbols::Error),
    /// See [`offsets::Error`].
    #[error(transparent)]
    Offsets(#[from] offsets::Error),
    /// A step that the rules need has no hook on this kernel.
    #[error("this kernel has no hook for {step:?}: looked for {looked_for}")]
    NoHook {
        /// The step.
        step: &'static str,
        /// Its alternatives.
        looked_for: String,
    },
    /// The kernel's memory map could not be found.
    #[error("cannot read the kernel's vmemmap_base from /proc/kcore")]
    Vmemmap(#[source] io::Error),
    /// A tracepoint's record lacks a field.
    #[error("tracepoint {0} has no field {1}, or tracefs is not mounted")]
    Tracepoint(String, &'static str),
    /// aya could not load the object.
    #[error("loading the probes")]
    Load(#[from] Box<aya::EbpfError>),
    /// The kernel refused a program.
    #[error("attaching {program} to {symbol}: {said}")]
    Attach {
        /// The program.
        program: String,
        /// Where to.
        symbol: String,
        /// What it said, in a line.
        said: String,
    },
    /// The thread that empties the ring could not be made.
    #[error("starting the thread that empties the ring")]
    Thread(#[source] io::Error),
    /// A task that waits in a probe keeps its processor.
    #[error("only one CPU: a held task would keep it from all others")]
    OneProcessor,
    /// The probes and this process number threads differently.
    #[error("running in a PID namespace: thread ids differ from the kernel's")]
    Namespace,
    /// The object lacks something, or a map cannot be used.
    #[error("the probes lack {0}")]
    Lacks(String),
}

/// An error with its causes, in one line: what a verifier says has more.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    text.lines().next().unwrap_or_default().to_owned()
}
