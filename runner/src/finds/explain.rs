//! Which find explains what a tracer found under a load that is no case: for `ci/soak`.
//!
//! What is known of a kernel is known of cases; a load meets the finds that say so (`loads`).

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::finding::FindingRecord;
use crate::known::Deviations;
use crate::target::Target;

/// A line of `tracer --json`.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Line {
    Finding(Box<FindingRecord>),
    #[serde(other)]
    Other,
}

/// A finding, and what is known of it.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    finding: FindingRecord,
    /// The find that explains it; absent: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    find: Option<String>,
    /// Its number in `docs/finds.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    /// It may stop a task for good.
    may_hang: bool,
}

/// Each finding of the tracer whose lines are in the file, or on standard input if that is "-", as
/// it is known on `target` here.
pub(super) fn all(
    path: &Path,
    target: &Target,
    deviations: &Deviations,
) -> anyhow::Result<Vec<Explained>> {
    let name = path.display().to_string();
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).context(name.clone())?))
    };
    let mut all = Vec::new();
    for (number, line) in (1..).zip(reader.lines()) {
        let line = line.with_context(|| name.clone())?;
        let line = serde_json::from_str(&line).with_context(|| format!("{name}: line {number}"))?;
        if let Line::Finding(finding) = line {
            all.push(one(*finding, target, deviations)?);
        }
    }
    Ok(all)
}

fn one(
    finding: FindingRecord,
    target: &Target,
    deviations: &Deviations,
) -> anyhow::Result<Explained> {
    let known = deviations.under_load(&finding, target)?;
    Ok(Explained {
        find: known.map(|(find, _)| find.id.clone()),
        number: known.and_then(|(find, _)| Some(find.facts?.number)),
        may_hang: known.is_some_and(|(_, entry)| entry.may_hang()),
        finding,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::fs::FsType;

    const LINES: &str = r#"{"event":"watching","device":"/dev/pmem0","file_system":"xfs","mount":"/m"}
{"event":"finding","rule":"lost-wakeup","how":"still-waits","text":"it waits","tasks":[4],"names":["x"],"inode":3,"page":9,"index":0,"events":[1],"stacks":[]}
{"event":"finding","rule":"missed-wait","how":"no-scan","text":"it never looked","tasks":[4],"inode":3,"events":[2]}
{"event":"finding","rule":"warning","how":"warns","text":"warning at x","tasks":[4],"function":"dax_insert_entry","events":[2]}
{"event":"ended","verdict":"violated","findings":3}
"#;

    #[test]
    fn a_finding_is_explained_by_what_a_load_can_meet_here() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(LINES.as_bytes()).unwrap();
        let target = Target { fs: FsType::Xfs, ..Target::reference() };
        let told = |release| {
            let deviations = Deviations::without_symbols(release);
            let all = all(file.path(), &target, &deviations).unwrap();
            let finds = all.into_iter().map(|one| (one.find, one.number, one.may_hang));
            finds.collect::<Vec<_>>()
        };
        let hang = (Some("dio-wakes-nobody".to_owned()), Some(3), true);
        // The warning is one-owner's, which takes a reflink: no load makes one.
        let unknown = (None, None, false);
        assert_eq!(told("6.1.0"), [hang, unknown.clone(), unknown.clone()]);
        assert_eq!(told("6.12.0"), [unknown.clone(), unknown.clone(), unknown]);
    }
}
