//! A whole session in which one program diverges once and never again, as a race in a kernel does.
//! No bug of the reference does so on demand, so what runs the programs here answers by a list.

use std::time::Duration;

use super::*;
use crate::fuzz::interleave::Ran;
use crate::fuzz::program::Restraint;
use crate::plan;

const KIND: &str = "Punch: success, not blocked";

/// What a run of a program comes to.
#[derive(Clone, Copy)]
enum Upshot {
    Good,
    Diverges,
    Fails,
}

/// Answers by a list, run by run; then the user ends it.
struct Listed {
    answers: Vec<Upshot>,
    ran: Vec<u64>,
}

impl Tries for Listed {
    fn is_interrupted(&mut self) -> bool {
        self.ran.len() >= self.answers.len()
    }

    fn restraint(&self) -> Restraint {
        Restraint { reflink: true, loads: false, evict: false, direct: false, huge: false }
    }

    fn run(&mut self, program: &Program) -> anyhow::Result<Option<Divergence>> {
        let answer = self.answers[self.ran.len()];
        self.ran.push(program.seed);
        match answer {
            Upshot::Good => Ok(None),
            Upshot::Diverges => Ok(Some(Divergence::at_end(KIND.to_owned(), "why".to_owned()))),
            Upshot::Fails => anyhow::bail!("the machine is gone"),
        }
    }

    fn force(&mut self, _: &Program) -> anyhow::Result<Option<Ran>> {
        unreachable!("random programs hold nobody")
    }
}

/// A session that gets these answers: how it ended, the seeds that ran, and the names of the files it left.
fn session(answers: &[Upshot]) -> (anyhow::Result<Tally>, Vec<u64>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let request = FuzzRequest {
        plan: plan::example(),
        variant: None,
        duration: Some(Duration::from_hours(1)),
        steps: 3,
        replay: Vec::new(),
        json: false,
        results: vec![folder.path().to_owned()],
        program: "/runner".into(),
    };
    let trial = Listed { answers: answers.to_vec(), ran: Vec::new() };
    let mut session = FuzzSession { request: &request, trial, tally: Tally::default() };
    let went = session.go();
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable();
    (went.map(|()| session.tally), session.trial.ran, left)
}

/// The files of a program that was kept.
fn kept(left: &[String]) -> usize {
    let of = |ending: &str| left.iter().filter(|name| name.ends_with(ending)).count();
    let (json, rs, txt) = (of(".json"), of(".rs"), of(".txt"));
    assert!((json, rs) == (txt, txt) && 3 * txt == left.len(), "{left:?}");
    txt
}

/// One look, and all second looks in vain.
const ONCE: [Upshot; 1 + SECOND_LOOKS as usize] = {
    let mut all = [Upshot::Good; 1 + SECOND_LOOKS as usize];
    all[0] = Upshot::Diverges;
    all
};

#[test]
fn what_came_once_is_kept_told_and_red() {
    let (went, ran, left) = session(&[&ONCE[..], &[Upshot::Good]].concat());
    let mut tally = went.unwrap();
    assert_eq!(kept(&left), 1);
    assert!(tally.to_string().contains(&format!("1  seen once: {KIND}")), "{tally}");
    let first = plan::example().seed;
    assert_eq!(ran, [vec![first; ONCE.len()], vec![first + 1]].concat(), "it goes on");
    // Whoever ends a session is told so, not that all is well.
    assert_eq!(tally.exit(), Exit::Interrupted);
    tally.interrupted = false;
    assert_eq!(tally.exit(), Exit::Unexpected);
}

#[test]
fn what_comes_once_again_is_kept_again() {
    let (went, _, left) = session(&[ONCE, ONCE].concat());
    assert!(went.unwrap().to_string().contains(&format!("2  seen once: {KIND}")));
    assert_eq!(kept(&left), 2);
}

#[test]
fn it_is_kept_although_the_second_look_fails() {
    let (went, _, left) = session(&[Upshot::Diverges, Upshot::Fails, Upshot::Good]);
    assert!(went.is_err());
    assert_eq!(kept(&left), 1);
}

#[test]
fn where_nothing_diverges_nothing_is_left() {
    let (went, ran, left) = session(&[Upshot::Good; 3]);
    let mut tally = went.unwrap();
    assert_eq!((ran.len(), left.len()), (3, 0));
    tally.interrupted = false;
    assert_eq!(tally.exit(), Exit::Expected);
}
