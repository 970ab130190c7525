//! Makes a program that diverges as short as it can be.

use super::program::Program;

/// Removes steps as long as `diverges` holds of what is left: first halves, then ever smaller
/// pieces, down to single steps until none can go.
pub(crate) fn shrink(
    program: &Program,
    mut diverges: impl FnMut(&Program) -> anyhow::Result<bool>,
) -> anyhow::Result<Program> {
    let mut best = program.clone();
    let mut piece = best.steps.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < best.steps.len() {
            let mut candidate = best.clone();
            candidate.steps.drain(at..(at + piece).min(best.steps.len()));
            // What shows at the end of any program is left with one step, or nobody could run it again.
            if candidate.check().is_ok() && diverges(&candidate)? {
                best = candidate;
                shorter = true;
            } else {
                at += piece;
            }
        }
        if piece == 1 && !shorter {
            break;
        }
        piece = if piece == 1 { 1 } else { piece / 2 };
    }
    // Short files, or those of one huge page, are easier to follow.
    for huge in 0..best.huge {
        let candidate = Program { huge, ..best.clone() };
        if diverges(&candidate)? {
            return Ok(candidate);
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::program::Restraint;

    #[test]
    fn only_what_matters_is_left() {
        let program = Program::random(
            3,
            60,
            Restraint { reflink: true, loads: true, evict: true, direct: true, huge: true },
        );
        let needed = [program.steps[5].clone(), program.steps[41].clone()];
        let small = shrink(&program, |candidate| {
            Ok(needed.iter().all(|step| candidate.steps.contains(step)))
        })
        .unwrap();
        // Which of two equal steps stays is open.
        assert_eq!(small.steps.len(), needed.len());
        assert!(needed.iter().all(|step| small.steps.contains(step)));
    }
}
