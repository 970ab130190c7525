//! Outputs of every kind of file, and what is left where one cannot be written.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn trying_writes_nothing() {
    let folder = folder();
    let there = folder.path().join("there");
    fs::write(&there, "old").unwrap();
    Output::open(&there, None).unwrap();
    Output::open(&folder.path().join("new"), None).unwrap();
    assert_eq!(names(folder.path()), ["there"]);
    assert_eq!(fs::read_to_string(&there).unwrap(), "old");
}

#[test]
fn what_cannot_be_written_is_said_in_a_line() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (path, said) in [
        (at(""), format!("{} is a folder; name a file", at(""))),
        (at("none/x"), format!("{}: there is no folder {}", at("none/x"), at("none"))),
        (at("file/x"), format!("{}: Not a directory (os error 20)", at("file/x"))),
        (at("loop"), format!("{}: Too many levels of symbolic links (os error 40)", at("loop"))),
        (
            "/proc/x".to_owned(),
            "/proc/x: cannot create a file in /proc: No such file or directory (os error 2)"
                .to_owned(),
        ),
    ] {
        let error = Output::open(Path::new(&path), None).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
    assert_eq!(names(folder.path()), ["file", "loop"]);
}

#[test]
fn a_link_is_written_through() {
    let folder = folder();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    symlink("target", &link).unwrap();
    for text in ["made", "replaced"] {
        Output::open(&link, None).unwrap().write(text.as_bytes()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
    }
    assert_eq!(names(folder.path()), ["link", "target"]);
}

#[test]
fn a_replaced_file_keeps_its_mode_and_its_names() {
    let folder = folder();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    fs::write(&one, "old").unwrap();
    fs::set_permissions(&one, fs::Permissions::from_mode(0o640)).unwrap();
    replace(&one, b"new").unwrap();
    assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o640);
    fs::hard_link(&one, &other).unwrap();
    replace(&one, b"newer").unwrap();
    assert_eq!(fs::read_to_string(&other).unwrap(), "newer");
}

#[test]
fn what_is_no_regular_file_is_not_replaced() {
    let folder = folder();
    let link = folder.path().join("junit.xml");
    symlink("elsewhere", &link).unwrap();
    let error = replace(&link, b"new").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is not a regular file; daxtests did not make it, move it away", link.display())
    );
    assert_eq!(names(folder.path()), ["junit.xml"]);
}

#[test]
fn a_pipe_is_written_to_and_not_waited_for() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = Output::open(&pipe, None).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: nobody reads this pipe", pipe.display()));
    // Opened for both, it need not wait for anybody.
    let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    Output::open(&pipe, None).unwrap().write(b"text").unwrap();
    let mut read = [0; 4];
    io::Read::read_exact(&mut reader, &mut read).unwrap();
    assert_eq!(&read, b"text");
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_device_is_written_to() {
    let error = Output::open(Path::new("/dev/full"), None).unwrap().write(b"text").unwrap_err();
    assert_eq!(error.to_string(), "/dev/full: No space left on device (os error 28)");
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}

#[test]
fn standard_output_has_several_names() {
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        assert!(Output::open(Path::new(name), None).unwrap().is_stdout(), "{name}");
    }
    assert!(!Output::open(Path::new("/dev/stderr"), None).unwrap().is_stdout());
}

#[test]
fn a_folder_that_will_be_made_is_good_enough() {
    let folder = folder();
    let coming = folder.path().join("results");
    assert!(Output::open(&coming.join("out.xml"), None).is_err());
    Output::open(&coming.join("out.xml"), Some(&coming)).unwrap();
}
