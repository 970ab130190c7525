//! The shortest program that a kernel, or the reference with a bug, still gets wrong in the same way
//! as what it was made of: a case, or a program of the fuzzer.
//!
//! It is found by what a program sees that needs nothing of daxtests, for it is to be one: the
//! oracles and the rules have no say. What shows to them alone is refused.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use cases::Deed;
use cases::action::Action;
use reference::Variant;

use super::requirement::Requirement;
use super::{Exportable, Recorded, bare, replay};
use crate::exit::Exit;
use crate::fs::FsType;
use crate::fuzz::program::{Program, Step};
use crate::fuzz::seen::Divergence;
use crate::fuzz::testbed::{Testbed, Wedged};
use crate::fuzz::trial::{STEADY, Trial, Tries};
use crate::fuzz::{self, SECOND_LOOKS, keep};
use crate::interrupt::Interrupt;
use crate::machine;
use crate::plan::Plan;
use crate::print;

/// How long a program is made shorter: an emulated kernel that waits in vain takes its time.
const MOST: Duration = Duration::from_mins(15);

/// On what a program is to be shrunk.
#[derive(Clone, Debug)]
pub(crate) struct ShortestRequest {
    /// The file system and its device.
    pub(crate) plan: Plan,
    /// The bug of the reference, if it is that.
    pub(crate) variant: Option<Variant>,
    /// The runner's own binary.
    pub(crate) program: PathBuf,
}

impl ShortestRequest {
    /// In words.
    fn place(&self) -> String {
        match self.variant {
            Some(variant) => format!("the reference with {variant}"),
            None => format!("{} of {}", self.plan.target.name(), machine::here().kernel),
        }
    }
}

/// What is to be shrunk.
struct Unshrunk {
    recorded: Recorded,
    program: Program,
}

impl Unshrunk {
    fn of(what: &Exportable) -> anyhow::Result<Self> {
        let recorded = Recorded::of(what)?;
        let program = match what {
            Exportable::Case(case) => bare::program(&recorded.deeds)
                .map_err(|why| anyhow!("{} cannot be shrunk: {why}", case.name))?,
            Exportable::Replay(path) => keep::read(path)?,
        };
        // It can be exported before time is spent on it.
        replay::deeds(&recorded.name, &program)?;
        Ok(Self { recorded, program })
    }
}

/// Shrinks `what` as `request` says, and has `tell` export what is left.
pub(super) fn shrink(
    what: &Exportable,
    request: &ShortestRequest,
    tell: impl FnOnce(&Recorded) -> anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    // What can be wrong with what was typed is told before the device is touched.
    let whole = Unshrunk::of(what)?;
    // It is the program's.
    print::yield_stdout();
    fuzz::interruptibly(|interrupt| {
        let Some(small) = enter(&whole, request, interrupt)? else {
            return Ok(Exit::Interrupted);
        };
        tell(&shrunk(whole.recorded, &whole.program, &small, request)?)?;
        Ok(Exit::Expected)
    })
}

/// What is left, to be exported.
fn shrunk(
    recorded: Recorded,
    whole: &Program,
    small: &ShortProgram,
    request: &ShortestRequest,
) -> anyhow::Result<Recorded> {
    let deeds = replay::deeds(&recorded.name, &small.program)?;
    let steps = &small.program.steps;
    let begun = deeds.iter().filter(|deed| match deed {
        Deed::Start { action, .. } => !matches!(action, Action::Reap { .. }),
        _ => false,
    });
    let acts = steps.iter().filter(|step| matches!(step, Step::Do(..)));
    // A program begins with more, of which nothing is left out that is needed.
    if small.program.bare && begun.count() < acts.count() {
        bail!("{}: what comes of a step that is left is each kernel's own", recorded.name);
    }
    let about = format!(
        "{} Shrunk from {} steps to {}, with which {} still shows: {}.",
        recorded.about,
        whole.steps.len(),
        steps.len(),
        request.place(),
        small.kind
    );
    // What it does tells what it takes; the case did more.
    let needs = recorded.needs.into_iter().filter(|need| !Requirement::is_told(*need)).collect();
    Ok(Recorded { about, needs, deeds, ..recorded })
}

/// What is left of a program.
struct ShortProgram {
    program: Program,
    /// What it shows.
    kind: String,
}

/// The shortest program; none if the user wants to end instead.
fn enter(
    whole: &Unshrunk,
    request: &ShortestRequest,
    mut interrupt: Interrupt,
) -> anyhow::Result<Option<ShortProgram>> {
    let ShortestRequest { plan, variant, program } = request;
    let mut stop = || interrupt.count() > 0;
    let Some(mut testbed) = Testbed::enter(plan, *variant, program, &mut stop)? else {
        return Ok(None);
    };
    testbed.see_as_programs();
    let needs = &whole.recorded.needs;
    let lacks = testbed.lacks(needs);
    let mut trial = Trial::new(testbed, interrupt, None, &|_| String::new())?;
    let went = lacks.and_then(|lacks| match lacks {
        Some(why) => Err(anyhow!("{} cannot run here: needs {why}", whole.recorded.name)),
        None => shortest(whole, request, &mut trial),
    });
    if went.as_ref().is_err_and(anyhow::Error::is::<Wedged>) {
        // Whatever else is done to that file system will not end either.
        return went;
    }
    for problem in trial.leave()? {
        print::note(format_args!("after the last program: {}\n{}", problem.title, problem.text));
    }
    went
}

fn shortest(
    whole: &Unshrunk,
    request: &ShortestRequest,
    trial: &mut impl Tries,
) -> anyhow::Result<Option<ShortProgram>> {
    let Unshrunk { recorded: Recorded { name, .. }, program } = whole;
    let mut found = None;
    for _ in 0..=SECOND_LOOKS {
        if found.is_some() || trial.is_interrupted() {
            break;
        }
        found = trial.run(program)?.filter(|divergence| divergence.tolerated.is_none());
    }
    if trial.is_interrupted() {
        return Ok(None);
    }
    let place = request.place();
    let Some(divergence) = found else {
        bail!(
            "{name}: there is nothing to shrink it by: {place} does what it must, as far as a program sees"
        );
    };
    if let Some(why) = unseen(&divergence) {
        bail!("{name} cannot be shrunk: on {place}, {why}: {}", divergence.kind);
    }
    let kind = divergence.kind;
    let tries = trial.tries(program, &kind)?;
    let begin = Instant::now();
    let small = trial.shortest(program, &kind, tries, MOST)?;
    if begin.elapsed() > MOST {
        print::note(format_args!("{name}: after {} min not all is tried", MOST.as_secs() / 60));
    }
    if trial.is_interrupted() {
        return Ok(None);
    }
    trial
        .meet(&small, &kind, tries)?
        .with_context(|| format!("{name}: what is left of it no longer shows: {kind}"))?;
    print::note(format_args!(
        "{name}: {} steps, shrunk from {}: {kind}",
        small.steps.len(),
        program.steps.len()
    ));
    if tries > STEADY {
        print::note(format_args!("{name}: it does not show each time; the program is run once"));
    }
    Ok(Some(ShortProgram { program: small, kind }))
}

/// Why a program of its own cannot show a divergence, if it cannot.
fn unseen(divergence: &Divergence) -> Option<&'static str> {
    if divergence.rule.is_some() {
        return Some("what goes wrong shows to a rule alone, and not to a program");
    }
    let ends = ["trouble", "the program could not begin"];
    let is_cut = ends.iter().any(|words| divergence.kind.starts_with(words));
    is_cut.then_some("it does not get to its end")
}

/// Whether there is something in which programs go wrong: the reference is right.
pub(crate) fn check(fs: FsType, variant: Option<Variant>) -> anyhow::Result<()> {
    match (fs, variant) {
        (FsType::Reference, None) => {
            bail!("the reference is right: name a bug for it with --variant")
        }
        (FsType::Reference, Some(_)) | (_, None) => Ok(()),
        (_, Some(_)) => bail!("only the reference has variants: --fs reference"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::interleave::Ran;
    use crate::fuzz::program::Restraint;
    use crate::plan;
    use crate::target::Target;
    use cases::Patience;

    /// The reference with a bug, where nobody interrupts.
    struct OnVariant(Testbed);

    impl Tries for OnVariant {
        fn is_interrupted(&mut self) -> bool {
            false
        }

        fn restraint(&self) -> Restraint {
            self.0.restraint()
        }

        fn run(&mut self, program: &Program) -> anyhow::Result<Option<Divergence>> {
            self.0.run(program, &mut || false)
        }

        fn force(&mut self, _: &Program) -> anyhow::Result<Option<Ran>> {
            unreachable!("what is exported holds nobody")
        }
    }

    fn request(variant: Variant) -> ShortestRequest {
        let plan = Plan { target: Target::reference(), ..plan::example() };
        ShortestRequest { plan, variant: Some(variant), program: "/runner".into() }
    }

    fn case(name: &str) -> Exportable {
        Exportable::Case(cases::find(name).unwrap())
    }

    /// How long it was, what is left, and that exported.
    fn small(what: &Exportable, variant: Variant) -> anyhow::Result<(usize, ShortProgram, String)> {
        let whole = Unshrunk::of(what)?;
        let mut bed = Testbed::on_reference(Some(variant), Patience::default());
        bed.see_as_programs();
        let request = request(variant);
        let small = shortest(&whole, &request, &mut OnVariant(bed))?.unwrap();
        let recorded = shrunk(whole.recorded, &whole.program, &small, &request)?;
        Ok((whole.program.steps.len(), small, recorded.c()?.text))
    }

    fn error(what: &Exportable, variant: Variant) -> String {
        match small(what, variant) {
            Ok((_, small, _)) => panic!("{}", small.program),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn of_a_case_the_steps_are_left_that_matter() {
        for (name, kind, steps) in [
            // What each ends with: the file, its mapping, the pin, and the operation.
            ("waits/punch/splice/mapped", "punch: success, not blocked", 4),
            ("waits/truncate-down/splice/other-process", "truncate: success, not blocked", 4),
            ("waits/punch/aio-read/mapped", "punch: success, not blocked", 4),
        ] {
            let (before, small, text) = small(&case(name), Variant::NoBreak).unwrap();
            assert_eq!(small.kind, kind, "{name}");
            let left = small.program.steps.len();
            assert!(left < before, "{name}: {before}\n{}", small.program);
            let acts = |step: &&Step| matches!(step, Step::Do(..));
            assert_eq!(small.program.steps.iter().filter(acts).count(), steps, "{}", small.program);
            assert!(text.contains("expect_blocked(&operations"), "{text}");
            let words = text.replace("\n *", "");
            assert!(words.contains(&format!("Shrunk from {before} steps to {left}, ")), "{text}");
        }
    }

    #[test]
    fn a_program_of_the_fuzzer_is_shrunk_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("longer.json");
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut program = keep::read(&corpus.join("../expected/corpus/no-unmap.json")).unwrap();
        let stat = Action::Stat { file: cases::action::FileId(1) };
        program.steps.insert(0, Step::Do(0, stat.clone()));
        program.steps.push(Step::Do(0, stat));
        std::fs::write(&path, serde_json::to_vec(&program).unwrap()).unwrap();
        let (before, small, text) = small(&Exportable::Replay(path), Variant::NoUnmap).unwrap();
        assert!(small.program.steps.len() + 2 <= before, "{}", small.program);
        assert!(text.contains("Shrunk from "), "{text}");
    }

    #[test]
    fn what_cannot_be_shrunk_is_refused_with_its_reason() {
        for (name, variant, words) in [
            ("reflink/source-pinned", Variant::NoBreak, "more than one outcome is right"),
            ("race/retry", Variant::NoBreak, "it goes on beside the rest"),
            ("interrupted/punch/splice/kill", Variant::NoBreak, "it kills a process"),
            ("lifecycle/sync-store-to-shared", Variant::NoBreak, "done to a whole file system"),
            ("copy/store-in-write", Variant::NoBreak, "it holds a task in a copy"),
            ("mapping/cachestat", Variant::NoBreak, "there is nothing to shrink it by"),
            ("durable/punch/splice/mapped", Variant::NoBreak, "not to be seen by a program"),
        ] {
            let said = error(&case(name), variant);
            assert!(said.contains(words) && said.lines().count() == 1, "{name}: {said}");
        }
    }

    /// The program does on the reference what the case does there, and nothing is wrong with that.
    #[test]
    fn many_cases_are_programs_too() {
        let mut bed = Testbed::on_reference(None, Patience::default());
        bed.see_as_programs();
        let mut programs = 0;
        for case in cases::all().iter().filter(|case| {
            case.is_in("quick") && case.coordinate("pin").is_none_or(|pin| pin == "splice")
        }) {
            let Ok(Unshrunk { program, .. }) = Unshrunk::of(&Exportable::Case(case)) else {
                continue;
            };
            let found = bed.run(&program, &mut || false).unwrap();
            assert!(found.is_none(), "{}: {}\n{program}", case.name, found.unwrap());
            programs += 1;
        }
        assert!(programs > 80, "{programs}");
    }
}
