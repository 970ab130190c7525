//! Folders of runs: what is made, moved and removed, and what stays.

use std::collections::BTreeSet;

use super::*;
use crate::journal::{self, Entry, RunEvent};
use crate::machine::Machine;
use crate::plan;
use crate::target::Target;

const KERNEL: &str = "6.12.48+deb13-amd64";

/// A run that came to so many cases.
fn ran(runs: &Runs, plan: &Plan, keep: Option<usize>, cases: usize) -> NewRun {
    let new = runs.begin(plan, KERNEL, keep).unwrap();
    let mut journal = new.results().begin().unwrap();
    let mut say = |event| journal.append(&Entry::now(event)).unwrap();
    say(RunEvent::Begun { plan: plan.clone().into(), machine: Machine::default() });
    for _ in 0..cases {
        new.point().unwrap();
        say(RunEvent::CaseBegun { case: "pin/a".to_owned(), iteration: 0, seed: 0 });
    }
    if cases > 0 {
        new.prune().unwrap();
    }
    new
}

fn link(folder: &Path) -> PathBuf {
    fs::read_link(folder.join(LATEST)).unwrap()
}

/// All that is in `folder`.
fn names(folder: &Path) -> BTreeSet<String> {
    let named = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    fs::read_dir(folder).unwrap().map(named).collect()
}

#[test]
fn a_name_says_when_and_on_what() {
    let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_062_589);
    let mut plan = plan::example();
    plan.target.shapes = vec!["stripe".to_owned()];
    let named = name(began, &plan, KERNEL);
    assert_eq!(named, "20261130T181629Z-xfs-stripe-6.12.48+deb13-amd64");
    plan.target = Target::reference();
    plan.variant = Some("no-break".to_owned());
    assert_eq!(name(began, &plan, KERNEL), "20261130T181629Z-reference-no-break");
    assert!(is_name(&named) && is_name(&name(began, &plan, "")));
    // No release can lead out of the folder.
    assert!(is_name(&name(began, &plan::example(), "../../etc")));
    for other in ["latest", "20261130T181629Z", "20261130T181629Z-", "20261130T181629Z-a/b", "é"] {
        assert!(!is_name(other), "{other}");
    }
}

#[test]
fn latest_leads_to_the_last_run_that_came_to_a_case() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::at(folder.path());
    let plan = plan::example();
    let first = ran(&runs, &plan, None, 1);
    let second = ran(&runs, &plan, None, 2);
    assert!(first.name < second.name, "{} {}", first.name, second.name);
    assert_eq!(link(folder.path()), Path::new(&second.name));
    let nothing = ran(&runs, &plan, None, 0);
    assert_eq!(link(folder.path()), Path::new(&second.name));
    let all = [MARKER, LATEST, &first.name, &second.name, &nothing.name].map(str::to_owned);
    assert_eq!(names(folder.path()), all.into(), "nothing is removed unasked");
    // By each of its names; a folder of other results is itself.
    let newest = folder.path().join(&second.name);
    for named in [folder.path().to_owned(), folder.path().join(LATEST)] {
        assert_eq!(Runs::results(&named).unwrap(), newest);
    }
    assert_eq!(Runs::results(&newest).unwrap(), newest);
    // The older of two that go on beside each other does not take the newer's place.
    first.point().unwrap();
    assert_eq!(link(folder.path()), Path::new(&second.name));
}

#[test]
fn so_many_runs_are_kept_as_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::at(folder.path());
    let plan = plan::example();
    let nothing = ran(&runs, &plan, None, 0);
    let mut all: Vec<_> = (0..4).map(|_| ran(&runs, &plan, None, 1).name).collect();
    all.push(ran(&runs, &plan, Some(3), 1).name);
    let mut left: BTreeSet<_> = all[2..].iter().cloned().collect();
    left.extend([MARKER, LATEST].map(str::to_owned));
    assert_eq!(names(folder.path()), left, "{}", nothing.name);
    assert_eq!(link(folder.path()), Path::new(&all[4]));
}

#[test]
fn what_is_not_ours_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::at(folder.path());
    let plan = plan::example();
    let at = |name: &str| folder.path().join(name);
    let [noted, written, linked] = [0; 3].map(|_| ran(&runs, &plan, None, 1).name);
    fs::write(at(&noted).join("notes"), "mine").unwrap();
    // Another runner writes this one.
    let _lock = journal::lock(&at(&written).join(journal::NAME)).unwrap();
    // This one was moved away, and is linked here.
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("run");
    fs::rename(at(&linked), &moved).unwrap();
    symlink(&moved, at(&linked)).unwrap();
    // These have the names of runs.
    let foreign = ["20200101T000000Z-xfs", "20200102T000000Z-xfs"];
    fs::create_dir(at(foreign[0])).unwrap();
    fs::write(at(foreign[0]).join(journal::NAME), "mine").unwrap();
    fs::write(at(foreign[1]), "mine").unwrap();
    // What was being made has no journal yet.
    let begins = runs.begin(&plan, KERNEL, None).unwrap();
    ran(&runs, &plan, Some(1), 1);
    assert_eq!(fs::read_to_string(at(&noted).join("notes")).unwrap(), "mine");
    assert!(!at(&noted).join(journal::NAME).exists());
    assert!(at(&written).join(journal::NAME).exists());
    assert!(moved.join(journal::NAME).exists());
    assert_eq!(fs::read_to_string(at(foreign[0]).join(journal::NAME)).unwrap(), "mine");
    assert_eq!(fs::read_to_string(at(foreign[1])).unwrap(), "mine");
    assert!(at(&begins.name).exists());
}

#[test]
fn what_lies_in_the_links_place_is_not_replaced() {
    type Make = fn(&Path);
    let makes: [Make; 5] = [
        |path| fs::write(path, "mine").unwrap(),
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/etc", path).unwrap(),
        |path| symlink("../20261130T181629Z-xfs", path).unwrap(),
        |path| symlink("elsewhere", path).unwrap(),
    ];
    for make in makes {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::at(folder.path());
        let new = runs.begin(&plan::example(), KERNEL, None).unwrap();
        let path = folder.path().join(LATEST);
        make(&path);
        let before = fs::read_link(&path).ok();
        let said = format!(
            "{} is not a link to a run beside it; daxtests did not make it, move it away",
            path.display()
        );
        let there = names(folder.path());
        assert_eq!(runs.check().unwrap_err().to_string(), said);
        assert_eq!(runs.begin(&plan::example(), KERNEL, None).unwrap_err().to_string(), said);
        assert_eq!(new.point().unwrap_err().to_string(), said);
        assert_eq!((names(folder.path()), fs::read_link(&path).ok()), (there, before));
    }
}

#[test]
fn a_run_that_is_gone_is_missed_and_its_link_is_ours() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::at(folder.path());
    let first = ran(&runs, &plan::example(), None, 1);
    fs::remove_dir_all(folder.path().join(&first.name)).unwrap();
    let said = runs.latest().unwrap_err().to_string();
    assert!(said.ends_with(&format!("leads to {}, which is gone", first.name)), "{said}");
    let second = ran(&runs, &plan::example(), None, 1);
    assert_eq!(link(folder.path()), Path::new(&second.name));
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes"), "mine").unwrap();
    let runs = Runs::at(folder.path());
    let said = format!(
        "{} is not empty and daxtests did not make it for runs; name another folder",
        folder.path().display()
    );
    assert_eq!(runs.check().unwrap_err().to_string(), said);
    assert!(runs.begin(&plan::example(), KERNEL, None).is_err());
    assert_eq!(names(folder.path()), ["notes".to_owned()].into());
    // Results of one run are not runs, and runs are not results.
    let results = tempfile::tempdir().unwrap();
    Results::at(results.path()).claim().unwrap();
    assert!(matches!(Runs::at(results.path()).check(), Err(Refusal::NotRuns(_))));
    let new = tempfile::tempdir().unwrap();
    ran(&Runs::at(new.path()), &plan::example(), None, 1);
    assert!(matches!(Results::at(new.path()).check(), Err(Refusal::HoldsRuns(_))));
}

#[test]
fn two_runners_at_once_have_a_folder_each() {
    // The first ones meet before there is a marker.
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::at(folder.path());
        let plan = plan::example();
        let begin = || runs.begin(&plan, KERNEL, None).unwrap().name;
        let all: BTreeSet<String> = std::thread::scope(|scope| {
            let began: Vec<_> = (0..8).map(|_| scope.spawn(begin)).collect();
            began.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.len(), 8, "{all:?}");
    }
}

#[test]
fn a_link_that_was_being_made_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let new = Runs::at(folder.path()).begin(&plan::example(), KERNEL, None).unwrap();
    let half = format!(".{LATEST}-{}", new.name);
    symlink(&new.name, folder.path().join(&half)).unwrap();
    new.point().unwrap();
    assert_eq!(link(folder.path()), Path::new(&new.name));
    assert!(!names(folder.path()).contains(&half));
}

#[test]
fn a_run_is_compared_with_the_last_on_the_same_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::at(folder.path());
    let xfs = plan::example();
    let other = Plan { target: Target::reference(), ..plan::example() };
    let first = ran(&runs, &xfs, None, 1);
    let alone = runs.last_two().unwrap_err().to_string();
    assert!(alone.contains("no run before") && alone.contains("is on xfs"), "{alone}");
    ran(&runs, &other, None, 1);
    ran(&runs, &xfs, None, 0);
    let last = ran(&runs, &xfs, None, 1);
    let paths = [&first, &last].map(|run| folder.path().join(&run.name));
    assert_eq!(runs.last_two().unwrap(), paths);
}

#[test]
fn a_report_does_not_go_to_another_runs_results() {
    let folder = tempfile::tempdir().unwrap();
    let runs = Runs::at(folder.path());
    ran(&runs, &plan::example(), None, 1);
    let named = folder.path().join(LATEST).join("junit.xml");
    let said = runs.open_other(&named).unwrap_err().to_string();
    assert!(said.ends_with("is one of the results themselves; name another file"), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    runs.open_other(&elsewhere.path().join("junit.xml")).unwrap();
}
