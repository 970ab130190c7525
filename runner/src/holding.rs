//! The probes that hold tasks, in place while cases need them and no longer.
//!
//! They cost each call of a function that carries a point a little, which a race could notice. A
//! machine where they cannot be had runs everything else: a case that needs them is told why.

use std::os::fd::AsRawFd as _;

use tracer::holds::HoldProbes;

use crate::print;

/// The probes, if some case has needed them.
#[derive(Default)]
pub(crate) struct Holding {
    holds: Option<HoldProbes>,
    /// Why there are none. What could not be had once is not tried again.
    refused: Option<String>,
}

impl Holding {
    /// What a case or a program gets that holds tasks if `needed`: the descriptor of the control
    /// page, or why there is none.
    pub(crate) fn lend(&mut self, needed: bool) -> Result<i32, String> {
        if !needed {
            self.holds = None;
            return Err("nobody asked for holds".to_owned());
        }
        if let Some(why) = &self.refused {
            return Err(why.clone());
        }
        let holds = match self.holds.take() {
            Some(holds) => holds,
            None => match attach() {
                Ok(holds) => holds,
                Err(why) => {
                    self.refused = Some(why.clone());
                    return Err(why);
                }
            },
        };
        // A case that was killed lets nobody go.
        holds.clear();
        Ok(self.holds.insert(holds).fd().as_raw_fd())
    }
}

fn attach() -> Result<HoldProbes, String> {
    // The causes, which an error of the tracer does not name itself.
    let holds =
        HoldProbes::attach().map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    for (point, why) in holds.refused() {
        print::note(format_args!("no task can be held at {point}: {why}"));
    }
    Ok(holds)
}
