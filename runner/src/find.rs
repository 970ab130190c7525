//! A find: what was found in a kernel, and what is known of it, in fields.
//!
//! They stand in `expected/known.toml` and nowhere else. What takes prose has a page in
//! `docs/finds/`, and where a find was seen is for results to tell (`finds::seen`).

use std::fmt;

use cases::Case;
use program::suggest;
use serde::{Deserialize, Serialize};

use crate::fs::FsType;

/// The worst that comes of a find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Severity {
    /// Data is lost, corrupted, or not what was written.
    DataLoss,
    /// Data shows to who must not see it.
    InformationLeak,
    /// The kernel stops at a BUG or an access to memory that is none.
    Crash,
    /// A task hangs, and not even SIGKILL ends it.
    Unkillable,
    /// A task hangs until a signal ends it.
    Hang,
    /// Memory that nobody uses is not given back.
    MemoryLeak,
    /// The kernel warns, and nothing else is wrong.
    Warning,
    /// A system call reports the wrong error.
    WrongErrno,
}

impl Severity {
    const ALL: [Self; 8] = [
        Self::DataLoss,
        Self::InformationLeak,
        Self::Crash,
        Self::Unkillable,
        Self::Hang,
        Self::MemoryLeak,
        Self::Warning,
        Self::WrongErrno,
    ];

    /// As known.toml has it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::DataLoss => "data loss",
            Self::InformationLeak => "information leak",
            Self::Crash => "crash",
            Self::Unkillable => "hang that cannot be killed",
            Self::Hang => "hang",
            Self::MemoryLeak => "memory leak",
            Self::Warning => "warning",
            Self::WrongErrno => "wrong errno",
        }
    }
}

impl TryFrom<String> for Severity {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::ALL.into_iter().find(|severity| severity.words() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|severity| severity.words()).collect();
            format!("\"{text}\" is no severity; say one of: {}", all.join(", "))
        })
    }
}

impl From<Severity> for String {
    fn from(severity: Severity) -> Self {
        severity.words().to_owned()
    }
}

/// Whom a report of a find concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subsystem {
    /// What the subject of a mail begins with.
    pub(crate) name: &'static str,
    /// Its mailing lists, as the kernel's MAINTAINERS names them.
    pub(crate) lists: &'static [&'static str],
}

/// Those that are no file system; a file system's list stands in its row of [`crate::fs`].
const SUBSYSTEMS: &[Subsystem] = &[
    Subsystem {
        name: "fsdax",
        lists: &["nvdimm@lists.linux.dev", "linux-fsdevel@vger.kernel.org"],
    },
    Subsystem { name: "fs", lists: &["linux-fsdevel@vger.kernel.org"] },
    Subsystem { name: "mm", lists: &["linux-mm@kvack.org"] },
    Subsystem { name: "block", lists: &["linux-block@vger.kernel.org"] },
];

impl Subsystem {
    fn named(name: &str) -> Result<Self, String> {
        let of_fs = [FsType::Xfs, FsType::Ext4].into_iter().filter_map(FsType::row);
        let all: Vec<_> = of_fs
            .map(|row| Self { name: row.name, lists: row.lists })
            .chain(SUBSYSTEMS.iter().copied())
            .collect();
        all.iter().find(|known| known.name == name).copied().ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|known| known.name).collect();
            format!("\"{name}\" is no subsystem; say one of: {}", names.join(", "))
        })
    }
}

/// What was found in a kernel.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "FindToml")]
pub(crate) struct Find {
    /// Its name, by which all others know it.
    pub(crate) id: String,
    /// What is wrong, in a line that can be the subject of a mail.
    pub(crate) what: String,
    /// Whether loads meet it that are no cases.
    pub(crate) loads: bool,
    /// The commits that brought it, if they are known.
    pub(crate) introduced_by: Vec<String>,
    /// The commits that repaired it, if any did.
    pub(crate) fixed_by: Vec<String>,
    /// What else is known of one that has a page in `docs/finds/`.
    pub(crate) facts: Option<Facts>,
}

/// What is known of a find that has a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Its number in `docs/finds.md`.
    pub(crate) number: u32,
    /// The worst that comes of it.
    pub(crate) severity: Severity,
    /// Whom it concerns.
    pub(crate) subsystem: Subsystem,
    /// The smallest case that shows it. Where it passes, the find is not seen.
    pub(crate) case: &'static Case,
    /// The case to export as a program.
    pub(crate) program: &'static Case,
}

/// As known.toml has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FindToml {
    id: String,
    number: Option<u32>,
    what: String,
    severity: Option<Severity>,
    subsystem: Option<String>,
    case: Option<String>,
    program: Option<String>,
    #[serde(default)]
    loads: bool,
    #[serde(default)]
    introduced_by: Vec<String>,
    #[serde(default)]
    fixed_by: Vec<String>,
}

impl TryFrom<FindToml> for Find {
    type Error = String;

    fn try_from(raw: FindToml) -> Result<Self, String> {
        let facts = facts(&raw).map_err(|why| format!("the find {}: {why}", raw.id))?;
        let FindToml { id, what, loads, introduced_by, fixed_by, .. } = raw;
        Ok(Self { id, what, loads, introduced_by, fixed_by, facts })
    }
}

fn facts(raw: &FindToml) -> Result<Option<Facts>, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if raw.id.is_empty() || !raw.id.chars().all(plain) {
        return Err("an id has letters, digits and - only".to_owned());
    }
    if raw.what.trim().is_empty() {
        return Err("say what is wrong".to_owned());
    }
    let given = [
        ("severity", raw.severity.is_some()),
        ("subsystem", raw.subsystem.is_some()),
        ("case", raw.case.is_some()),
    ];
    let Some(number) = raw.number else {
        let others = given.into_iter().chain([("program", raw.program.is_some())]);
        return match others.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(format!("without a number it has no page, nor a {name}")),
            None => Ok(None),
        };
    };
    let (Some(severity), Some(subsystem), Some(case)) = (raw.severity, &raw.subsystem, &raw.case)
    else {
        let missing = given.into_iter().find(|(_, is_given)| !is_given);
        return Err(format!("it has a number and no {}", missing.map_or("", |(name, _)| name)));
    };
    let case = named(case)?;
    let program = raw.program.as_deref().map_or(Ok(case), named)?;
    let subsystem = Subsystem::named(subsystem)?;
    Ok(Some(Facts { number, severity, subsystem, case, program }))
}

fn named(name: &str) -> Result<&'static Case, String> {
    cases::find(name).ok_or_else(|| {
        let all = cases::all();
        match suggest::nearest(name, all.iter().map(|case| case.name)) {
            Some(near) => format!("there is no case {name}; did you mean {near}?"),
            None => format!("there is no case {name}"),
        }
    })
}

impl Find {
    /// Its page in `docs/finds/`.
    pub(crate) fn page(&self) -> Option<String> {
        self.facts.map(|facts| format!("{:02}-{}.md", facts.number, self.id))
    }

    /// In brackets after what it explains: "unmapped, docs/finds/01-unmapped.md".
    pub(crate) fn reference(&self) -> String {
        match self.page() {
            Some(page) => format!("{}, docs/finds/{page}", self.id),
            None => self.id.clone(),
        }
    }
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.what)?;
        match self.page() {
            Some(page) => write!(f, " (docs/finds/{page})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        id = "unmapped"
        number = 1
        what = "truncate does not wait"
        severity = "data loss"
        subsystem = "fsdax"
        case = "waits/punch/splice/unmapped"
        fixed-by = ["cee91fa13a8e"]
    "#;

    fn parse(text: &str) -> Result<Find, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_find_has_its_facts() {
        let find = parse(FULL).unwrap();
        let facts = find.facts.unwrap();
        assert_eq!((facts.number, facts.severity), (1, Severity::DataLoss));
        assert_eq!(facts.program.name, "waits/punch/splice/unmapped");
        assert_eq!(find.page().unwrap(), "01-unmapped.md");
        assert_eq!(find.reference(), "unmapped, docs/finds/01-unmapped.md");
        let ours = parse("id = \"ours\"\nwhat = \"something\"").unwrap();
        assert_eq!((ours.page(), ours.reference()), (None, "ours".to_owned()));
    }

    #[test]
    fn what_cannot_be_is_told_in_a_line() {
        for (from, to, words) in [
            ("data loss", "bad", "\"bad\" is no severity; say one of: data loss, information leak"),
            ("fsdax", "dax", "\"dax\" is no subsystem; say one of: xfs, ext4, fsdax"),
            ("severity = \"data loss\"", "", "it has a number and no severity"),
            ("number = 1", "", "without a number it has no page, nor a severity"),
            (
                "waits/punch/splice/unmapped",
                "waits/punch/splice/unmaped",
                "there is no case waits/punch/splice/unmaped; did you mean",
            ),
            ("\"unmapped\"", "\"../x\"", "an id has letters, digits and - only"),
            ("what =", "wat =", "unknown field"),
        ] {
            let error = parse(&FULL.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(words) && !error.contains('\n'), "{to}: {error}");
        }
    }

    #[test]
    fn every_severity_survives_its_words() {
        for severity in Severity::ALL {
            assert_eq!(Severity::try_from(String::from(severity)), Ok(severity));
        }
    }
}
