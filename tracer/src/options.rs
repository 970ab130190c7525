//! What to trace, and how much of it.

/// What to trace.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only breaks and operations of this process, if any.
    pub process: Option<u32>,
    /// Bytes of the ring; a power of two and at least a page.
    pub ring_size: u32,
    /// Record for a reader what no rule needs: stacks of all pins and breaks, all faults, all
    /// removals, and what else is done to a file. It is recorded of a single process in any case.
    pub detail: bool,
    /// What every time limit is multiplied by: more than 1 on a slow machine.
    pub patience: f64,
    /// What the probes say of themselves on standard error, for who writes them.
    pub probe_log: ProbeLog,
}

/// What the probes say of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeLog {
    /// Nothing, which costs nothing: the verifier drops the code.
    #[default]
    Off,
    /// Which probe lost a record.
    Lost,
    /// That, and every record.
    All,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            process: None,
            ring_size: 16 << 20,
            detail: false,
            patience: 1.0,
            probe_log: ProbeLog::Off,
        }
    }
}
