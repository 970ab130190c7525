//! Deviations that are known: `expected/known.toml`, and what files of `--known` change in it.
//!
//! The only place that knows them, by their ids, and where kernel versions stand, in conditions
//! only. Prefer a symbol.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::{Context as _, bail, ensure};
use cases::Case;
use program::suggest;
use serde::{Deserialize, Serialize};

use crate::find::Find;
use crate::finding::{FindingRecord, Likeness};
use crate::fs::FsType;
use crate::machine;
use crate::pattern::{Compile, Pattern};
use crate::shape;
use crate::target::Target;
use crate::verdict::{Problem, Verdict, Witness};
use crate::which::{Axes, Which};

static TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/known.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KnownToml {
    /// Whether what is built in applies, too. In files of --known only, as is the next.
    #[serde(default)]
    built_in: Option<bool>,
    /// The finds, by their ids, that the kernel no longer has.
    #[serde(default)]
    fixed: Vec<String>,
    #[serde(default)]
    find: Vec<Find>,
    #[serde(default)]
    known: Vec<DeviationToml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviationToml {
    id: String,
    case: toml::Value,
    #[serde(default)]
    fs: Vec<FsType>,
    #[serde(default)]
    condition: Condition,
    verdict: Verdict,
    seen: Option<String>,
    #[serde(default)]
    findings: Vec<Likeness>,
    reason: String,
    #[serde(default)]
    flaky: bool,
    #[serde(default)]
    wedges: bool,
}

/// A file of --known: what else is known of the kernels that somebody tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownFile {
    /// As it was typed.
    pub(crate) path: PathBuf,
    /// What it says. The journal holds it: a run that goes on is judged as it was begun.
    text: String,
}

impl KnownFile {
    /// Reads the files, and refuses them if they do not hold together.
    pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Self>> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Ok(Self { path: path.clone(), text })
        };
        let files = paths.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
        Deviations::with("6.1.0", &files)?;
        Ok(files)
    }
}

/// The finds that are built into the runner.
pub(crate) static FINDS: LazyLock<Vec<Find>> = LazyLock::new(|| {
    Deviations::built_in("").expect("the tests read the file that is built in").finds
});

/// Where a deviation is seen. All that is given must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Condition {
    #[serde(default)]
    shape: Vec<String>,
    kernel: Option<String>,
    #[serde(default)]
    symbol_absent: Vec<String>,
    #[serde(default)]
    symbol_present: Vec<String>,
}

/// One known deviation.
#[derive(Debug)]
pub(crate) struct Deviation {
    /// Of which find it is.
    pub(crate) id: String,
    which: Which,
    fs: Vec<FsType>,
    condition: Condition,
    verdict: Verdict,
    seen: Option<Pattern>,
    findings: Vec<Likeness>,
    /// Why it deviates, and who says so.
    pub(crate) reason: String,
    /// Whether it also passes sometimes.
    pub(crate) flaky: bool,
    /// Whether it leaves a task that cannot be killed.
    pub(crate) wedges: bool,
}

/// All known deviations, on the machine that the run is on.
#[derive(Debug)]
pub(crate) struct Deviations {
    finds: Vec<Find>,
    known: Vec<Deviation>,
    release: String,
    symbols: OnceCell<BTreeSet<String>>,
}

impl Deviations {
    /// Those that are built into the runner, for a machine whose `uname -r` is `release`.
    pub(crate) fn built_in(release: &str) -> anyhow::Result<Self> {
        Self::with(release, &[])
    }

    /// The same, as `files` change it, one after the other.
    pub(crate) fn with(release: &str, files: &[KnownFile]) -> anyhow::Result<Self> {
        let axes = cases::axes();
        let mut all = Self::none(release);
        all.add(TEXT, &axes, Compile::WhenAsked).context("expected/known.toml")?;
        for file in files {
            all.add(&file.text, &axes, Compile::AtOnce)
                .with_context(|| file.path.display().to_string())?;
        }
        Ok(all)
    }

    fn none(release: &str) -> Self {
        Self {
            finds: Vec::new(),
            known: Vec::new(),
            release: release.to_owned(),
            symbols: OnceCell::new(),
        }
    }

    fn add(&mut self, text: &str, axes: &Axes, when: Compile) -> anyhow::Result<()> {
        let KnownToml { built_in, fixed, find, known } = toml::from_str(text).map_err(|error| {
            // Its own text draws the place, over several lines.
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            anyhow::anyhow!("line {line}: {}", error.message())
        })?;
        if built_in == Some(false) {
            self.known.clear();
            self.finds.clear();
        }
        for id in fixed {
            ensure!(self.has_find(&id), "fixed: no find has the id {id}");
            self.known.retain(|known| known.id != id);
        }
        let had = self.finds.len();
        for find in find {
            ensure!(!self.has_find(&find.id), "there is a find with the id {} already", find.id);
            let number = find.facts.map(|facts| facts.number);
            let other = self
                .finds
                .iter()
                .find(|other| number.is_some() && other.facts.map(|facts| facts.number) == number);
            if let Some(other) = other {
                bail!("{} and {} have the same number", other.id, find.id);
            }
            self.finds.push(find);
        }
        for raw in known {
            let entry = format!("the entry of {} for {}", raw.id, raw.case);
            self.known.push(Deviation::from_raw(raw, &self.finds, axes, when).context(entry)?);
        }
        for find in &self.finds[had..] {
            let facts = find.facts.iter();
            for case in facts.flat_map(|facts| [facts.case, facts.program]) {
                ensure!(
                    self.entries(&find.id).any(|known| known.which.is_match(case)),
                    "the find {}: no entry of it is for {}",
                    find.id,
                    case.name
                );
            }
        }
        Ok(())
    }

    fn has_find(&self, id: &str) -> bool {
        self.finds.iter().any(|find| find.id == id)
    }

    /// The finds, in the order of their files.
    pub(crate) fn finds(&self) -> &[Find] {
        &self.finds
    }

    /// How the find of this id shows.
    pub(crate) fn entries(&self, id: &str) -> impl Iterator<Item = &Deviation> {
        self.known.iter().filter(move |known| known.id == id)
    }

    #[cfg(test)]
    fn parse(text: &str, release: &str, axes: &Axes) -> anyhow::Result<Self> {
        let mut all = Self::none(release);
        all.add(text, axes, Compile::AtOnce)?;
        Ok(all)
    }

    /// Those that apply to `case` on `target` here.
    ///
    /// Looks at the kernel's symbols the first time a condition asks for one: the file system's
    /// module is loaded by then.
    pub(crate) fn of(&self, case: &Case, target: &Target) -> anyhow::Result<Vec<&Deviation>> {
        let mut found = Vec::new();
        for known in &self.known {
            if known.which.is_match(case)
                && known.is_on(target.fs)
                && self.holds(&known.condition, target)?
            {
                found.push(known);
            }
        }
        Ok(found)
    }

    /// The finds by which some stock kernel fails `case`.
    pub(crate) fn finds_in(&self, case: &Case) -> impl Iterator<Item = &Find> {
        let shows = |known: &Deviation| known.which.is_match(case) && !known.is_general();
        self.finds.iter().filter(move |find| self.entries(&find.id).any(shows))
    }

    /// Whether some stock kernel fails `case`.
    pub(crate) fn is_failed_by_some_kernel(&self, case: &Case) -> bool {
        self.finds_in(case).next().is_some()
    }

    /// The names of those of `all` in which some kernel showed a find with one of these ids, on
    /// `fs` if one is given. An id that no entry has is an error.
    pub(crate) fn showing(
        &self,
        ids: &[String],
        fs: Option<FsType>,
        all: &[&'static Case],
    ) -> anyhow::Result<BTreeSet<String>> {
        for id in ids {
            let known = || self.known.iter().map(|known| known.id.as_str());
            if known().any(|known| known == id) {
                continue;
            }
            match suggest::nearest(id, known()) {
                Some(word) => bail!("no find has the id \"{id}\"; did you mean {word}?"),
                None => bail!("no find has the id \"{id}\"; docs/finds.md lists all"),
            }
        }
        let entries: Vec<_> = self
            .known
            .iter()
            .filter(|known| ids.contains(&known.id) && fs.is_none_or(|fs| known.is_on(fs)))
            .filter(|known| !known.is_general())
            .collect();
        let is_shown = |case: &&Case| entries.iter().any(|known| known.which.is_match(case));
        Ok(all.iter().copied().filter(is_shown).map(|case| case.name.to_owned()).collect())
    }

    /// Whether the running kernel has the find of this id on `target`, for sure: not only now and
    /// then.
    pub(crate) fn has(&self, id: &str, target: &Target) -> anyhow::Result<bool> {
        for known in self.known.iter().filter(|known| known.id == id && !known.flaky) {
            if known.is_on(target.fs) && self.holds(&known.condition, target)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The find by which the running kernel explains what a tracer found under a load that is no case,
    /// and how it shows.
    pub(crate) fn under_load(
        &self,
        finding: &FindingRecord,
        target: &Target,
    ) -> anyhow::Result<Option<(&Find, &Deviation)>> {
        for known in self.known.iter().filter(|known| known.knows_finding(finding)) {
            let find = self.finds.iter().find(|find| find.id == known.id && find.loads);
            if let Some(find) = find
                && known.is_on(target.fs)
                && self.holds(&known.condition, target)?
            {
                return Ok(Some((find, known)));
            }
        }
        Ok(None)
    }

    /// Those that are built in, on a kernel of this release that has none of the symbols.
    #[cfg(test)]
    pub(crate) fn without_symbols(release: &str) -> Self {
        let all = Self::built_in(release).expect("the tests read it");
        all.symbols.get_or_init(BTreeSet::new);
        all
    }

    /// All of them, wherever they apply.
    #[cfg(test)]
    pub(crate) fn all(&self) -> &[Deviation] {
        &self.known
    }

    fn holds(&self, condition: &Condition, target: &Target) -> anyhow::Result<bool> {
        if !condition.shape.iter().all(|shape| target.shapes.contains(shape)) {
            return Ok(false);
        }
        let asks_kernel = condition.kernel.is_some()
            || !condition.symbol_absent.is_empty()
            || !condition.symbol_present.is_empty();
        if asks_kernel && target.fs == FsType::Reference {
            return Ok(false);
        }
        if let Some(range) = &condition.kernel
            && !in_range(&self.release, range)?
        {
            return Ok(false);
        }
        if condition.symbol_absent.is_empty() && condition.symbol_present.is_empty() {
            return Ok(true);
        }
        let symbols = self.symbols()?;
        Ok(condition.symbol_absent.iter().all(|name| !symbols.contains(name))
            && condition.symbol_present.iter().all(|name| symbols.contains(name)))
    }

    fn symbols(&self) -> anyhow::Result<&BTreeSet<String>> {
        if let Some(symbols) = self.symbols.get() {
            return Ok(symbols);
        }
        let wanted = self
            .known
            .iter()
            .flat_map(|known| {
                let condition = &known.condition;
                condition.symbol_absent.iter().chain(&condition.symbol_present)
            })
            .map(String::as_str)
            .collect();
        let found = machine::symbols(&wanted)?;
        Ok(self.symbols.get_or_init(|| found))
    }
}

impl Deviation {
    fn from_raw(
        raw: DeviationToml,
        finds: &[Find],
        axes: &Axes,
        when: Compile,
    ) -> anyhow::Result<Self> {
        let find = finds.iter().find(|find| find.id == raw.id).context("no find has this id")?;
        ensure!(
            matches!(raw.verdict, Verdict::Fail | Verdict::Hang),
            "the verdict is FAIL or HANG, not {}",
            raw.verdict
        );
        ensure!(!raw.reason.trim().is_empty(), "the reason is empty");
        ensure!(raw.seen.as_deref() != Some(""), "what is seen is empty");
        ensure!(raw.seen.is_some() || !raw.findings.is_empty(), "it says nothing of what is seen");
        for likeness in &raw.findings {
            likeness.check()?;
        }
        for shape in &raw.condition.shape {
            shape::find(shape).map_err(anyhow::Error::msg)?;
        }
        if let Some(range) = &raw.condition.kernel {
            in_range("6.1.0", range)?;
        }
        Ok(Self {
            id: raw.id,
            which: Which::parse(&raw.case, axes)?,
            fs: raw.fs,
            condition: raw.condition,
            verdict: raw.verdict,
            seen: raw.seen.map(|text| Pattern::new(text, when)).transpose()?,
            findings: raw.findings,
            reason: {
                let fixed = find.fixed_by.iter().map(|commit| format!("; fixed by {commit}"));
                format!("{} ({}{})", raw.reason.trim(), find.reference(), fixed.collect::<String>())
            },
            flaky: raw.flaky,
            wedges: raw.wedges,
        })
    }

    /// Whether it is said of all cases, which says nothing of one.
    fn is_general(&self) -> bool {
        cases::all().iter().all(|case| self.which.is_match(case))
    }

    /// Whether it is about `fs`, on some kernel.
    pub(crate) fn is_on(&self, fs: FsType) -> bool {
        self.fs.is_empty() || self.fs.contains(&fs)
    }

    /// Whether it is about `case`, on some kernel.
    pub(crate) fn is_about(&self, case: &Case) -> bool {
        self.which.is_match(case)
    }

    /// The shapes that it needs.
    pub(crate) fn shapes(&self) -> &[String] {
        &self.condition.shape
    }

    /// Whether it stops a task.
    pub(crate) fn may_hang(&self) -> bool {
        self.verdict == Verdict::Hang
    }

    /// Whether it knows `problem`.
    fn knows(&self, problem: &Problem) -> bool {
        match (problem.witness, &problem.finding) {
            (Witness::Rule, Some(finding)) => self.knows_finding(finding),
            (Witness::Rule, None) => false,
            (Witness::Wedge, _) => self.wedges,
            _ => self
                .seen
                .as_ref()
                .is_some_and(|seen| seen.is_match(&problem.title) || seen.is_match(&problem.text)),
        }
    }

    /// Whether it knows what a rule found.
    fn knows_finding(&self, finding: &FindingRecord) -> bool {
        self.findings.iter().any(|known| known.is_match(finding))
    }
}

/// The verdict on a case that went as `verdict` with `problems`, where `known` applies; with the
/// entry that decided it.
pub(crate) fn excuse<'k>(
    verdict: Verdict,
    problems: &[Problem],
    known: &[&'k Deviation],
) -> (Verdict, Option<&'k Deviation>) {
    match verdict {
        Verdict::Pass => match known.iter().find(|known| !known.flaky) {
            Some(known) => (Verdict::XPass, Some(known)),
            None => (Verdict::Pass, None),
        },
        Verdict::Fail | Verdict::Hang => {
            // A hang may come with a warning that is known on its own.
            let all = problems.iter().all(|problem| known.iter().any(|known| known.knows(problem)));
            let decisive = known
                .iter()
                .find(|known| known.verdict == verdict && problems.iter().any(|p| known.knows(p)));
            match decisive {
                Some(known) if all => (Verdict::XFail, Some(known)),
                _ => (verdict, None),
            }
        }
        other => (other, None),
    }
}

/// Whether `release`, as `uname -r` prints it, lies in `range`: ">=6.1, <6.15".
fn in_range(release: &str, range: &str) -> anyhow::Result<bool> {
    let release = numbers(release).with_context(|| format!("\"{release}\" has no number"))?;
    for part in range.split(',').map(str::trim) {
        let at = part
            .find(|c: char| c.is_ascii_digit())
            .with_context(|| format!("\"{range}\" is not a range of kernel versions"))?;
        let (sign, number) = part.split_at(at);
        let number = numbers(number).with_context(|| format!("\"{range}\" has no number"))?;
        // Only as many numbers are compared as the range gives: 6.12.107 is not above 6.12.
        let release = &release[..number.len().min(release.len())];
        let holds = match sign.trim() {
            "<" => release < &number[..],
            "<=" => release <= &number[..],
            ">" => release > &number[..],
            ">=" => release >= &number[..],
            "=" => release == &number[..],
            other => bail!("\"{other}\" in \"{range}\" is not a comparison"),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The numbers that a version begins with.
pub(crate) fn numbers(version: &str) -> Option<Vec<u32>> {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    version[..end].trim_end_matches('.').split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
        [[find]]
        id = "unmapped"
        number = 1
        what = "a pinned page that is no longer mapped is not waited for"
        severity = "data loss"
        subsystem = "fsdax"
        case = "waits/punch/splice/unmapped"
        fixed-by = ["cee91fa13a8e"]

        [[known]]
        id = "unmapped"
        case = "waits/*/*/unmapped"
        fs = ["xfs", "ext4"]
        condition = { kernel = "<6.15" }
        verdict = "FAIL"
        seen = "WARNING in dax_disassociate_entry|returned at once"
        reason = "the scan skips files that nobody maps"
    "#;

    fn known(text: &str, release: &str) -> Deviations {
        Deviations::parse(text, release, &cases::axes()).unwrap()
    }

    fn on(fs: FsType) -> Target {
        Target { fs, ..Target::reference() }
    }

    fn case(name: &str) -> &'static Case {
        cases::find(name).unwrap()
    }

    #[test]
    fn the_built_in_entries_are_sound() {
        // Every pattern, too: a run compiles what it asks.
        known(TEXT, "6.12.0");
        let built_in = Deviations::built_in("6.12.0").unwrap();
        for known in &built_in.known {
            assert!(
                cases::all().iter().any(|case| known.which.is_match(case)),
                "{known:?} is for no case"
            );
        }
    }

    fn with(release: &str, text: &str) -> anyhow::Result<Deviations> {
        Deviations::with(release, &[KnownFile { path: "ours.toml".into(), text: text.to_owned() }])
    }

    #[test]
    fn a_file_adds_and_takes_away() {
        let unmapped = |known: &Deviations| known.all().iter().any(|known| known.id == "unmapped");
        assert!(unmapped(&with("6.12.1", "").unwrap()));
        // A fix was backported.
        let fixed = with("6.12.1", "fixed = [\"unmapped\"]").unwrap();
        assert!(!unmapped(&fixed) && !fixed.all().is_empty());
        // Another kernel, of which we know nothing; and one find of it, without a number.
        let own = "[[find]]\nid = \"ours\"\nwhat = \"ours\"\nfixed-by = [\"cee91fa13a8e\"]\n";
        let entry = &ENTRY[ENTRY.find("[[known]]").unwrap()..];
        let own = format!("{own}{}", entry.replacen("unmapped", "ours", 1));
        let alone = with("6.12.1", &format!("built-in = false\n{own}")).unwrap();
        assert_eq!(alone.all().len(), 1);
        assert_eq!(
            alone.all()[0].reason,
            "the scan skips files that nobody maps (ours; fixed by cee91fa13a8e)"
        );
        assert!(with("6.12.1", &own).unwrap().all().len() > fixed.all().len());
    }

    #[test]
    fn a_file_that_does_not_hold_together_is_refused() {
        for (text, words) in [
            ("fixed = [\"unmaped\"]", "no find has the id unmaped"),
            ("built_in = false", "unknown field"),
            (ENTRY, "there is a find with the id unmapped already"),
        ] {
            let error = format!("{:#}", with("6.12.1", text).unwrap_err());
            assert!(error.starts_with("ours.toml: ") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn ranges_compare_numbers() {
        for (release, range, holds) in [
            ("6.12.107+deb12-amd64", "<6.15", true),
            ("6.1.0-56-amd64", "<6.15", true),
            ("6.15.0", "<6.15", false),
            ("7.2.13+deb14-amd64", "<6.15", false),
            ("6.12.107", "<=6.12", true),
            ("6.12.107", ">6.12", false),
            ("6.12.107", ">=6.1, <6.13", true),
            ("6.12.107", "=6.12", true),
            ("7", ">=6.15", true),
        ] {
            assert_eq!(in_range(release, range).unwrap(), holds, "{release} {range}");
        }
        assert!(in_range("6.1", "6.15").is_err());
        assert!(in_range("6.1", "new").is_err());
    }

    #[test]
    fn an_entry_applies_where_its_condition_holds() {
        let old = known(ENTRY, "6.12.1");
        assert_eq!(old.of(case("waits/punch/splice/unmapped"), &on(FsType::Xfs)).unwrap().len(), 1);
        assert_eq!(old.of(case("waits/punch/splice/mapped"), &on(FsType::Xfs)).unwrap().len(), 0);
        assert_eq!(
            old.of(case("waits/punch/splice/unmapped"), &on(FsType::Reference)).unwrap().len(),
            0
        );
        let new = known(ENTRY, "7.2.1");
        assert_eq!(new.of(case("waits/punch/splice/unmapped"), &on(FsType::Xfs)).unwrap().len(), 0);
    }

    #[test]
    fn only_what_is_known_is_excused() {
        let deviations = known(ENTRY, "6.12.1");
        let known = deviations.of(case("waits/punch/splice/unmapped"), &on(FsType::Xfs)).unwrap();
        let warning = Problem::new(Witness::KernelLog, "WARNING in dax_disassociate_entry", "");
        let returned =
            Problem::new(Witness::Case, "expected: it waits", "seen: it returned at once");
        let other = Problem::new(Witness::KernelLog, "BUG: kernel NULL pointer dereference", "");

        let excused = |verdict, problems: &[Problem]| excuse(verdict, problems, &known).0;
        assert_eq!(excused(Verdict::Fail, std::slice::from_ref(&warning)), Verdict::XFail);
        assert_eq!(excused(Verdict::Fail, &[warning.clone(), returned]), Verdict::XFail);
        assert_eq!(excused(Verdict::Fail, &[warning.clone(), other]), Verdict::Fail);
        assert_eq!(excused(Verdict::Hang, &[warning]), Verdict::Hang);
        assert_eq!(excused(Verdict::Pass, &[]), Verdict::XPass);
        assert_eq!(excused(Verdict::NotRun, &[]), Verdict::NotRun);
    }

    #[test]
    fn a_finding_is_known_only_as_one() {
        let finding: FindingRecord = serde_json::from_str(
            r#"{"rule":"missed-wait","how":"freed-pinned","text":"task 7 freed it","tasks":[7]}"#,
        )
        .unwrap();
        let finding = Problem::found(finding, "it returned at once");
        let excused = |text: &str| {
            let deviations = known(text, "6.12.1");
            let known =
                deviations.of(case("waits/punch/splice/unmapped"), &on(FsType::Xfs)).unwrap();
            excuse(Verdict::Fail, std::slice::from_ref(&finding), &known).0
        };
        assert_eq!(excused(ENTRY), Verdict::Fail);
        for (how, verdict) in [("freed-pinned", Verdict::XFail), ("entry-removed", Verdict::Fail)] {
            let likeness = format!("{{ rule = \"missed-wait\", how = [\"{how}\"] }}");
            let told = format!("{ENTRY}\nfindings = [{likeness}]\n");
            assert_eq!(excused(&told), verdict);
        }
        let told = format!("{ENTRY}\nfindings = [{{ rule = \"durable\", how = [\"hole\"] }}]\n");
        let error = Deviations::parse(&told, "6.12.1", &cases::axes()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("hole is a way to break kept-block"), "{error}");
    }

    #[test]
    fn a_race_that_is_lost_only_sometimes_may_pass() {
        let text = format!("{ENTRY}\nflaky = true\n");
        let deviations = known(&text, "6.12.1");
        let known = deviations.of(case("waits/punch/splice/unmapped"), &on(FsType::Xfs)).unwrap();
        assert_eq!(excuse(Verdict::Pass, &[], &known).0, Verdict::Pass);
    }

    #[test]
    fn an_entry_may_be_of_a_shape() {
        let text = ENTRY.replace("{ kernel", "{ shape = [\"stripe\"], kernel");
        let punch = case("waits/punch/splice/unmapped");
        let of = |shapes: &[&str]| {
            let shapes = shapes.iter().map(|name| (*name).to_owned()).collect();
            known(&text, "6.12.1").of(punch, &Target { shapes, ..on(FsType::Xfs) }).unwrap().len()
        };
        assert_eq!((of(&[]), of(&["stripe", "no-reflink"])), (0, 1));
        let typo = text.replace("stripe", "strip");
        let error = Deviations::parse(&typo, "6.1", &cases::axes()).unwrap_err();
        assert!(format!("{error:#}").contains("did you mean stripe?"), "{error:#}");
    }

    #[test]
    fn an_entry_of_no_find_is_refused() {
        let text = ENTRY.replacen("unmapped", "other", 1);
        let error = Deviations::parse(&text, "6.1", &cases::axes()).unwrap_err();
        assert!(format!("{error:#}").contains("no find has this id"), "{error:#}");
    }

    #[test]
    fn a_typo_in_a_coordinate_is_told_in_a_line() {
        let text = ENTRY.replace("\"waits/*/*/unmapped\"", "{ plase = \"unmapped\" }");
        let error = Deviations::parse(&text, "6.1", &cases::axes()).unwrap_err();
        let line = format!("{error:#}");
        assert!(line.contains("the entry of unmapped") && line.contains("plase"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }

    #[test]
    fn a_find_is_had_where_an_entry_applies_that_is_no_matter_of_chance() {
        assert!(known(ENTRY, "6.12.1").has("unmapped", &on(FsType::Xfs)).unwrap());
        assert!(!known(ENTRY, "7.2.1").has("unmapped", &on(FsType::Xfs)).unwrap());
        assert!(
            !known(&format!("{ENTRY}\nflaky = true\n"), "6.12.1")
                .has("unmapped", &on(FsType::Xfs))
                .unwrap()
        );
    }

    #[test]
    fn a_find_has_the_cases_that_show_it() {
        let known = Deviations::built_in("").unwrap();
        let all = cases::all();
        let showing = |id: &str, fs| known.showing(&[id.to_owned()], fs, &all);
        let unmapped = showing("unmapped", Some(FsType::Ext4)).unwrap();
        assert!(unmapped.contains("waits/punch/splice/unmapped"), "{unmapped:?}");
        assert!(unmapped.iter().all(|case| case.ends_with("/unmapped")), "{unmapped:?}");
        // One that a case of any kind may meet has the cases that are about it only.
        let owner = showing("one-owner", None).unwrap();
        assert!(!owner.is_empty() && owner.len() < all.len() / 4, "{}", owner.len());
        assert!(showing("one-owner", Some(FsType::Ext4)).unwrap().is_empty());
        let said = showing("unmaped", None).unwrap_err().to_string();
        assert_eq!(said, "no find has the id \"unmaped\"; did you mean unmapped?");
    }

    #[test]
    fn a_find_has_a_number_and_a_case_of_its_own() {
        for (from, to, words) in [
            (
                "case = \"waits/punch/splice/unmapped\"",
                "case = \"race/retry\"",
                "no entry of it is for race/retry",
            ),
            ("fixed-by", "program = \"race/retry\"\nfixed-by", "no entry of it is for race/retry"),
            ("severity = \"data loss\"", "severity = \"bad\"", "\"bad\" is no severity"),
        ] {
            let text = ENTRY.replacen(from, to, 1);
            let error = Deviations::parse(&text, "6.1", &cases::axes()).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(words) && error.lines().count() == 1, "{error}");
        }
        let twice = ENTRY.replace("\"unmapped\"", "\"other\"");
        let error = with("6.12.1", &twice).unwrap_err();
        assert!(format!("{error:#}").contains("unmapped and other have the same number"));
    }
}
