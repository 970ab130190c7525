//! Programs that diverged once, as they were found and shrunk: `expected/corpus/`.
//!
//! A program that is named after a bug of the reference must show that bug for ever. The others
//! are named after what they found in a kernel, by its id in `expected/known.toml`; on a kernel
//! all are run by `runner fuzz --replay expected/corpus`. What made each is of no interest any
//! more, so a change to the programs that are made at random takes nothing from it.

use std::path::{Path, PathBuf};

use cases::Patience;
use reference::Variant;

use crate::known;

use super::keep;
use super::program::Program;
use super::testbed::Testbed;

/// How often a program is run that shows a race.
const TRIES: usize = 200;

fn corpus() -> Vec<(PathBuf, Program)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../expected/corpus");
    keep::read_all(&[folder]).unwrap()
}

/// What a program is about: its name, without the number of one of several.
fn subject(path: &Path) -> String {
    let name = path.file_stem().unwrap().to_string_lossy();
    match name.rsplit_once('-') {
        Some((name, number)) if number.chars().all(|c| c.is_ascii_digit()) => name.to_owned(),
        _ => name.into_owned(),
    }
}

fn variant(path: &Path) -> Option<Variant> {
    let subject = subject(path);
    Variant::ALL.iter().copied().find(|variant| variant.name() == subject)
}

#[test]
fn every_program_still_shows_the_bug_that_it_is_named_after() {
    let quiet = corpus().into_iter().filter(|(path, program)| {
        let Some(variant) = variant(path) else {
            return false;
        };
        let mut bed = Testbed::on_reference(Some(variant), Patience::default());
        let mut run = || bed.run(program, &mut || false).unwrap();
        (0..TRIES).all(|_| run().is_none())
    });
    assert_eq!(quiet.map(|(path, _)| path).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn no_program_diverges_where_there_is_no_bug() {
    let mut bed = Testbed::on_reference(None, Patience::default());
    for (path, program) in corpus() {
        if let Some(divergence) = bed.run(&program, &mut || false).unwrap() {
            panic!("{}: {divergence}", path.display());
        }
    }
}

#[test]
fn every_bug_has_a_program_and_every_program_a_subject() {
    let corpus = corpus();
    let shown: Vec<_> = corpus.iter().filter_map(|(path, _)| variant(path)).collect();
    let wanted = Variant::ALL.iter().filter(|variant| !variant.is_beyond_programs());
    let missing: Vec<_> = wanted.filter(|variant| !shown.contains(variant)).collect();
    assert!(missing.is_empty(), "no program shows {missing:?}");
    for (path, _) in corpus {
        let subject = subject(&path);
        let known = known::FINDS.iter().any(|find| find.id == subject);
        assert!(known || variant(&path).is_some(), "{}: of what?", path.display());
    }
}
