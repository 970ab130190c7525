//! Whether the kernel takes the processor from a task that is in the kernel.
//!
//! A program that a trampoline runs (fentry, fexit) can be preempted where it does, and as long as
//! its task has no processor again, the kernel lets no other task on that processor run the program
//! (kernel/bpf/trampoline.c, `__bpf_prog_enter_recur`). A kprobe's program is never preempted.

use std::fs;

use nix::sys::utsname::uname;

/// Whether it does; yes, if that is not known.
pub fn preempts() -> bool {
    let modes = fs::read_to_string("/sys/kernel/debug/sched/preempt").ok();
    let version = uname().map(|name| name.version().to_string_lossy().into_owned());
    told(modes.as_deref(), version.ok().as_deref())
}

/// By the modes of a kernel that can change its own, the chosen one in parentheses, or by how it
/// was built (scripts/mkcompile_h, init/Makefile: `PREEMPT`, `PREEMPT_RT`, `PREEMPT_DYNAMIC`).
fn told(modes: Option<&str>, version: Option<&str>) -> bool {
    match modes {
        Some(modes) => !["(none)", "(voluntary)"].iter().any(|mode| modes.contains(mode)),
        None => version.is_none_or(|version| version.contains("PREEMPT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_preempts_unless_it_says_that_it_does_not() {
        let dynamic = Some("#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1");
        assert!(told(Some("full (lazy) \n"), dynamic));
        assert!(told(Some("none voluntary (full)\n"), dynamic));
        assert!(!told(Some("none (voluntary) full\n"), dynamic));
        assert!(told(None, dynamic) && told(None, None));
        assert!(!told(None, Some("#1 SMP Debian 6.1.0-1")));
    }
}
