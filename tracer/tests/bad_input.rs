//! What the command says where it cannot work: one clear line, and exit code 2.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Runs the command as nobody; what it wrote to standard error.
fn refused(arguments: &[&str]) -> String {
    // By its descriptor: root's folders may be closed to others.
    let program = File::open(env!("CARGO_BIN_EXE_tracer")).expect("the command was built");
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0("tracer").args(arguments);
    if nix::unistd::geteuid().is_root() {
        command.uid(65534);
    }
    let output = command.output().expect("the command was built for this test");
    let said = String::from_utf8(output.stderr).expect("it writes text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn no_such_device() {
    assert_eq!(
        refused(&["--dev", "/dev/no-such-device"]),
        "tracer: no such device: /dev/no-such-device\n"
    );
}

#[test]
fn no_block_device() {
    assert_eq!(refused(&["--dev", "/dev/null"]), "tracer: /dev/null is not a block device\n");
}

#[test]
fn no_such_process() {
    // Above PID_MAX_LIMIT of include/linux/threads.h.
    let said = refused(&["--dev", "/dev/null", "--pid", "4294967295"]);
    assert_eq!(said, "tracer: --pid: there is no process 4294967295\n");
}

#[test]
fn what_cannot_be_is_refused() {
    for (arguments, line) in [
        (
            ["--ring-size", "5000"],
            "tracer: invalid value '5000' for '--ring-size <BYTES>': must be a power of two, at least 4096 (see tracer --help)\n",
        ),
        (
            ["--duration", "0s"],
            "tracer: invalid value '0s' for '--duration <DURATION>': the duration must be longer than 0 (see tracer --help)\n",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        let output = command.args(["--dev", "x"]).args(arguments).output();
        let output = output.expect("the command was built for this test");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line);
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn not_root_or_no_probes() {
    let said = refused(&["hooks"]);
    let lines = [
        "tracer: not root: tracing needs CAP_SYS_ADMIN\n",
        "tracer: built without probes: build again with an eBPF toolchain (ci/ebpf-toolchain)\n",
    ];
    assert!(lines.contains(&said.as_str()), "{said}");
}

#[test]
fn what_would_have_no_effect_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
    let output = command.args(["--json", "hooks"]).output().expect("the command was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot be used with"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_full_standard_output_is_told() {
    for argument in ["--help", "--version"] {
        let full = File::options().write(true).open("/dev/full").expect("it is always there");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer"));
        let output = command.arg(argument).stdout(full).output().expect("the command was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "tracer: No space left on device (os error 28)\n");
        assert_eq!(output.status.code(), Some(2));
    }
}
