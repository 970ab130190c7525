//! Exploration: two short operations in every order of their points, by holds.
//!
//! A race is looked for by luck elsewhere; here each order is brought about, and it is said of each
//! whether it came about. What must hold in any order is checked in all of them
//! ([`crate::fuzz::interleave`]). An order is a program of the fuzzer in which tasks are held: what
//! shows something is shrunk, kept and repeated as any.

mod count;
mod interleaving;
mod pair;
mod request;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use program::suggest;
use serde::Serialize;

use crate::exit::Exit;
use crate::fuzz;
use crate::fuzz::interleave::{Forcing, Ran};
use crate::fuzz::keep::Kept;
use crate::fuzz::program::Program;
use crate::fuzz::seen::Divergence;
use crate::fuzz::testbed::{Testbed, Wedged};
use crate::fuzz::trial::{SHRINKING, Trial, Tries as _};
use crate::interrupt::Interrupt;
use crate::name;
use crate::output;
use crate::print;

use self::count::{Count, HEAD, Shown, Totals};
use self::interleaving::Interleaving;
use self::pair::Pair;
pub(crate) use self::request::ExploreRequest;

/// What each interleaving came to, a line each, in the results folder.
const JOURNAL: &str = "explore.jsonl";

/// That of the exploration before.
const PREVIOUS: &str = "explore-previous.jsonl";

/// How often an interleaving is tried of which a hold ended by its deadline.
const TRIES: u32 = 4;

/// Runs of a program that showed something, to see whether it was an accident.
const SECOND_LOOKS: u32 = 5;

/// The names of the pairs that these select, each a name or a glob; of all if there is none.
pub(crate) fn select(wanted: &[String]) -> anyhow::Result<Vec<String>> {
    let all: Vec<_> = Pair::all().into_iter().map(Pair::name).collect();
    let mut chosen = Vec::new();
    for pattern in wanted {
        let glob = globset::Glob::new(pattern).with_context(|| pattern.clone())?.compile_matcher();
        let before = chosen.len();
        chosen.extend(all.iter().filter(|name| glob.is_match(name)).cloned());
        if chosen.len() == before {
            match suggest::nearest(pattern, all.iter().map(String::as_str)) {
                Some(name) => bail!("no pair {pattern}; did you mean {name}?"),
                None => bail!("no pair {pattern}; {} explore --list shows all", name::own()),
            }
        }
    }
    Ok(if wanted.is_empty() {
        all
    } else {
        all.into_iter().filter(|name| chosen.contains(name)).collect()
    })
}

/// The pairs, one a line, each with how many orders it has.
pub(crate) fn list(names: &[String]) -> String {
    let mut text = String::new();
    for pair in chosen(names) {
        let orders = interleaving::all(pair).len();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<22} {orders} orders", pair.name());
    }
    text
}

fn chosen(names: &[String]) -> Vec<Pair> {
    Pair::all().into_iter().filter(|pair| names.contains(&pair.name())).collect()
}

/// Explores as `request` says.
pub(crate) fn run(request: &ExploreRequest) -> anyhow::Result<Exit> {
    if request.json {
        print::yield_stdout();
    }
    // What can be wrong with what was typed is told before the device is touched.
    fuzz::claim(&request.plan, &request.program, &request.results)?;
    fuzz::interruptibly(|interrupt| enter(request, interrupt))
}

fn enter(request: &ExploreRequest, mut interrupt: Interrupt) -> anyhow::Result<Exit> {
    let ExploreRequest { plan, variant, program, .. } = request;
    let mut stop = || interrupt.count() > 0;
    let Some(mut testbed) = Testbed::enter(plan, *variant, program, &mut stop)? else {
        return Ok(Exit::Interrupted);
    };
    if let Some(why) = testbed.refuses_holds() {
        testbed.leave()?;
        bail!("no task can be held here, so no order can be forced: {why}");
    }
    let folder = request.results.last().context("a folder for the results")?;
    let trial = Trial::new(testbed, interrupt, Some(folder), &|path| request.again(path))?;
    let journal = ExploreJournal::create(folder)?;
    let mut session = Exploration { request, folder, trial, journal, tally: Totals::default() };
    let begin = Instant::now();
    let went = session.go(&chosen(&request.pairs));
    let went = match went {
        // Whatever else is done to that file system will not end either.
        Err(error) if error.is::<Wedged>() => return Err(error),
        went => went,
    };
    for problem in session.trial.leave()? {
        print::line(format_args!("after the last program: {}\n{}", problem.title, problem.text));
        session.tally.troubles += 1;
    }
    went?;
    session.journal.append(&Line::Done { complete: !session.tally.interrupted })?;
    let seconds = begin.elapsed().as_secs_f64();
    print::line(format_args!("{}\nin {seconds:.1} s", session.tally));
    if let Some(spent) = session.trial.testbed.spent() {
        print::line(format_args!("where the time went:{spent}"));
    }
    if request.json {
        print::json(&session.tally.told(seconds));
    }
    Ok(session.tally.exit())
}

/// A line of the journal: an interleaving begins, or has ended.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
enum Line<'l> {
    /// It is about to be tried: if nothing follows, it was the last thing that the machine did.
    Begun { pair: &'l str, order: &'l str },
    /// It was.
    Ended {
        pair: &'l str,
        order: &'l str,
        /// Whether it came about.
        forcing: &'l str,
        /// How often it was tried.
        tries: u32,
        /// What was found, known or not.
        found: Vec<DivergenceLine<'l>>,
    },
    /// The exploration is over. Without this line it was cut off.
    Done {
        /// Whether it came to all orders.
        complete: bool,
    },
}

#[derive(Serialize)]
struct DivergenceLine<'l> {
    kind: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<&'l str>,
}

/// What each interleaving came to, on disk before the next begins.
struct ExploreJournal(File);

impl ExploreJournal {
    fn create(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(JOURNAL);
        if output::free_or(&path, output::PathKind::File)?.is_some() {
            set_aside(&path, &folder.join(PREVIOUS))?;
        }
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self(file))
    }

    fn append(&mut self, line: &Line<'_>) -> anyhow::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.0.write_all(&bytes).and_then(|()| self.0.sync_data()).context(JOURNAL)
    }
}

/// Moves the journal of the exploration before out of the way, if it has a result.
fn set_aside(journal: &Path, previous: &Path) -> anyhow::Result<()> {
    let told = fs::read_to_string(journal).with_context(|| journal.display().to_string())?;
    if told.lines().any(|line| line.contains(r#""event":"ended""#)) {
        output::free_or(previous, output::PathKind::File)?;
        fs::rename(journal, previous).with_context(|| previous.display().to_string())?;
    }
    Ok(())
}

struct Exploration<'a> {
    request: &'a ExploreRequest,
    folder: &'a Path,
    trial: Trial,
    journal: ExploreJournal,
    tally: Totals,
}

impl Exploration<'_> {
    fn go(&mut self, pairs: &[Pair]) -> anyhow::Result<()> {
        print::line(HEAD);
        let shares = self.trial.testbed.restraint().reflink;
        for pair in pairs {
            if pair.shares() && !shares {
                print::line(format_args!("{:<22} no blocks are shared here", pair.name()));
                continue;
            }
            let mut count = Count::of(pair.name());
            for interleaving in interleaving::all(*pair) {
                self.tally.interrupted |= self.trial.is_interrupted();
                if self.tally.interrupted {
                    break;
                }
                let ran = self.try_it(&count.pair, &interleaving);
                if let Err(error) = &ran {
                    let Interleaving { name, program } = &interleaving;
                    print::line(format_args!("{}: {name}:\n{program}", count.pair));
                    let evidence = format!("{error:#}");
                    Kept { program, kind: "wedged", evidence: &evidence }.write(self.folder)?;
                }
                if let Some(ran) = ran? {
                    count.add(&ran.forcing, &ran.found);
                    self.show(&count.pair, &interleaving, &ran.found)?;
                }
            }
            print::line(&count);
            self.tally.add(count);
            if self.tally.interrupted {
                break;
            }
        }
        Ok(())
    }

    /// Whether a program shows this again, and the shortest that does, or else itself.
    fn look_closer(&mut self, program: &Program, kind: &str) -> anyhow::Result<(bool, Program)> {
        if self.trial.meet(program, kind, SECOND_LOOKS)?.is_some() {
            return Ok((true, self.trial.shortest(program, kind, SECOND_LOOKS, SHRINKING)?));
        }
        print::line(format_args!("seen once: in none of {SECOND_LOOKS} more runs"));
        Ok((false, program.clone()))
    }

    /// Tries an interleaving, again if a hold ended by its deadline; none if the user wants to end.
    fn try_it(&mut self, pair: &str, interleaving: &Interleaving) -> anyhow::Result<Option<Ran>> {
        let order = &interleaving.name;
        self.journal.append(&Line::Begun { pair, order })?;
        let mut tries = 0;
        let ran = loop {
            tries += 1;
            let Some(ran) = self.trial.force(&interleaving.program)? else {
                return Ok(None);
            };
            let open = ran.forcing == Forcing::Undecided && ran.found.is_empty();
            if !open || tries == TRIES {
                break ran;
            }
        };
        let forcing = ran.forcing.to_string();
        let found = ran
            .found
            .iter()
            .map(|one| DivergenceLine { kind: &one.kind, known: one.tolerated })
            .collect();
        self.journal.append(&Line::Ended { pair, order, forcing: &forcing, tries, found })?;
        Ok(Some(ran))
    }

    /// Shrinks and keeps a program that showed what none has before.
    fn show(
        &mut self,
        pair: &str,
        interleaving: &Interleaving,
        found: &[Divergence],
    ) -> anyhow::Result<()> {
        let Interleaving { name, program } = interleaving;
        for divergence in found.iter().filter(|one| one.tolerated.is_none()) {
            let kind = &divergence.kind;
            if self.tally.has_shown(kind) {
                continue;
            }
            print::line(format_args!("{pair}: {name}: {divergence}"));
            let evidence = divergence.whole();
            let looked = self.look_closer(program, kind);
            // What looks again may not come to its end.
            let (again, small) = looked.inspect_err(|_| {
                let whole = Kept { program, kind, evidence: &evidence }.write(self.folder);
                if let Err(why) = whole {
                    print::line(format_args!("cannot keep it: {why:#}"));
                }
            })?;
            print::line(format_args!("{small}"));
            let path = Kept { program: &small, kind, evidence: &evidence }.write(self.folder)?;
            print::line(format_args!("replay: {}", self.request.again(&path)));
            self.tally.shown.push(Shown {
                kind: kind.clone(),
                pair: pair.to_owned(),
                order: name.clone(),
                again,
                replay: Some(path),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cases::Patience;
    use reference::Variant;

    use super::*;

    /// What is found in these pairs on the reference with this bug, or with none.
    fn found(pairs: &[&str], variant: Option<Variant>) -> Vec<String> {
        let names: Vec<_> = pairs.iter().map(|&name| name.to_owned()).collect();
        let mut bed = Testbed::on_reference(variant, Patience::default());
        let mut found = Vec::new();
        for pair in chosen(&select(&names).unwrap()) {
            for Interleaving { name, program } in interleaving::all(pair) {
                let ran = bed.force(&program, &mut || false).unwrap().unwrap();
                assert_ne!(ran.forcing, Forcing::Undecided, "{name}");
                let kinds = ran.found.iter().map(|one| format!("{name}: {one}"));
                found.extend(kinds);
                if variant.is_some() && !found.is_empty() {
                    return found;
                }
            }
        }
        found
    }

    #[test]
    fn nothing_is_found_where_there_is_no_bug() {
        // Each operation, and each in some pair with a break; all pairs take minutes on a busy machine.
        let pairs = [
            "punch+*",
            "truncate+store",
            "collapse+release",
            "zero+unmap",
            "insert+pin",
            "reflink+fsync",
            "fsync+*",
        ];
        assert_eq!(found(&pairs, None), Vec::<String>::new());
    }

    #[test]
    fn bugs_are_found_by_the_pair_that_meets_them() {
        for (variant, pair) in [
            (Variant::NoBreak, "punch+pin"),
            (Variant::RetryFlag, "punch+release"),
            (Variant::NoUnmap, "truncate+pin"),
            (Variant::FirstPageOnly, "zero+release"),
            (Variant::HoldInvalidateLock, "punch+load"),
            (Variant::InsertWithoutBreak, "insert+pin"),
            (Variant::NoBreakOnReflinkDestination, "reflink+release"),
            (Variant::FsyncSkipsPinned, "fsync+store"),
        ] {
            assert!(!found(&[pair], Some(variant)).is_empty(), "{variant} is not found by {pair}");
        }
    }

    #[test]
    fn pairs_are_selected_by_name_or_glob() {
        let named = |name: &str| vec![name.to_owned()];
        assert_eq!(select(&named("punch+load")).unwrap(), ["punch+load"]);
        assert!(select(&named("*+fsync")).unwrap().len() > 3);
        assert_eq!(select(&[]).unwrap().len(), Pair::all().len());
        let error = select(&named("punch+lod")).unwrap_err().to_string();
        assert!(error.contains("punch+load"), "{error}");
    }
}
