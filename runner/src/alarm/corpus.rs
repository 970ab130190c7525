//! Holds the table against a corpus of kernel messages, one file a report.
//!
//! `runner/tests/kernel-log/alarm` has reports: each file names the titles to be made of it, the
//! kernels that have this form (of 6.1.192, 6.12.117 and 7.2.13, whose format strings were
//! read), and the function that prints it. `quiet` has what kernels say without being ill. Both
//! have records as /dev/kmsg gives them, so that what is tested begins where the runner's work
//! does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{alarms, pattern};
use crate::kmsg::{self, KernelLog};

/// The releases of which a form is to be known.
const KERNELS: [&str; 3] = ["6.1", "6.12", "7.2"];

struct CorpusFile {
    name: String,
    titles: Vec<String>,
    kernels: Vec<String>,
    log: KernelLog,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel-log").join(name)
}

fn read(folder: &Path) -> Vec<CorpusFile> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{name}: no body"));
            let said = |key| head.lines().filter_map(move |line| line.strip_prefix(key));
            let mut log = KernelLog::default();
            // Without the properties that a driver may add, below a record.
            for line in body.lines().filter(|line| !line.starts_with(' ')) {
                let record = kmsg::record(line);
                let (record, kernel) =
                    record.unwrap_or_else(|| panic!("{name}: no record: {line}"));
                if kernel {
                    log.records.push(record);
                }
            }
            CorpusFile {
                titles: said("TITLE: ").map(str::to_owned).collect(),
                kernels: said("KERNEL: ")
                    .flat_map(str::split_whitespace)
                    .map(str::to_owned)
                    .collect(),
                name,
                log,
            }
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

#[test]
fn every_report_is_told_by_its_titles() {
    let mut wrong = Vec::new();
    for file in read(&folder("alarm")) {
        let seen: Vec<_> = alarms(&file.log).into_iter().map(|problem| problem.title).collect();
        if seen != file.titles || seen.is_empty() {
            wrong.push(format!("{}: {seen:?}, not {:?}", file.name, file.titles));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_kernels_say_without_being_ill_is_no_alarm() {
    let mut records = 0;
    for file in read(&folder("quiet")) {
        records += file.log.records.len();
        let seen: Vec<_> =
            alarms(&file.log).into_iter().map(|p| p.title + "\n" + &p.text).collect();
        assert!(seen.is_empty(), "{}: {}", file.name, seen.join("\n"));
    }
    assert!(records > 500, "{records} records show little");
}

/// A row that no file needs may match nothing at all, and a kind whose form on a kernel nobody
/// looked up may have another one there.
#[test]
fn every_row_has_its_report_and_every_kind_those_of_all_kernels() {
    let mut rows: BTreeSet<usize> = BTreeSet::new();
    let mut kinds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in read(&folder("alarm")) {
        for row in file.log.records.iter().filter_map(pattern::row) {
            rows.insert(std::ptr::from_ref(row).addr());
            kinds.entry(row.kind).or_default().extend(file.kernels.iter().cloned());
        }
    }
    for row in pattern::rows() {
        assert!(rows.contains(&std::ptr::from_ref(row).addr()), "no report of {row:?}");
    }
    for (kind, kernels) in kinds {
        for kernel in KERNELS {
            assert!(kernels.contains(kernel), "no report of {kind} as {kernel} has it");
        }
    }
}
