//! A find as a mail to those who maintain what is wrong: what happens, on which kernels, why, and
//! how to see it, with a program that needs nothing of daxtests where there is one.
//!
//! Nothing is sent.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::page::{self, Prose};
use super::seen::{Column, Sightings, WantedSight};
use crate::export;
use crate::find::{Facts, Find};
use crate::known::Deviations;
use crate::shape::{self, DmTable, REALTIME};
use crate::target::Target;
use crate::wrap;

/// The second device, where a shape needs one beside the first.
const SECOND: &str = "/dev/pmem1";

/// How wide the lines of a mail are.
const WIDTH: usize = 72;

/// Where fixes that older kernels lack are asked for: Documentation/process/stable-kernel-rules.rst.
const STABLE: &str = "stable@vger.kernel.org";

/// The mail.
pub(crate) fn text(
    find: &Find,
    facts: Facts,
    seen: &Sightings,
    deviations: &Deviations,
) -> anyhow::Result<String> {
    let prose = page::prose(find)?;
    let places = seen.places_of(find, WantedSight::Seen, deviations);
    let mut text = format!("Subject: [BUG] {}: {}\n", facts.subsystem.name, find.what);
    let (to, cc) = addresses(find, facts, &places);
    let _ = writeln!(text, "To: {}", to.join(", "));
    if !cc.is_empty() {
        let _ = writeln!(text, "Cc: {}", cc.join(", "));
    }
    let _ = write!(text, "\nHi,\n\n{}", plain(&prose.summary));
    let _ = writeln!(text, "\nImpact: {}.", facts.severity.words());
    section(&mut text, "Kernels", &kernels(find, seen, deviations));
    section(&mut text, "Expected and seen", &plain(&prose.seen));
    section(&mut text, "Cause", &plain(&prose.cause));
    section(&mut text, "Reproducer", &reproducer(find, facts, &prose, seen, deviations));
    Ok(text)
}

fn section(text: &mut String, title: &str, body: &str) {
    let _ = write!(text, "\n{title}\n{}\n\n{body}", "-".repeat(title.len()));
}

/// To whom it goes: the lists of the subsystem, of the file systems that show it, and of stable
/// kernels, if it is fixed in newer ones.
fn addresses(
    find: &Find,
    facts: Facts,
    places: &[Column],
) -> (Vec<&'static str>, Vec<&'static str>) {
    let to = facts.subsystem.lists.to_vec();
    let lists = places.iter().filter_map(|place| place.fs.row()).flat_map(|row| row.lists);
    let stable = (!find.fixed_by.is_empty()).then_some(STABLE);
    let mut cc = Vec::new();
    for list in lists.copied().chain(stable) {
        if !to.contains(&list) && !cc.contains(&list) {
            cc.push(list);
        }
    }
    (to, cc)
}

/// Which kernels have it.
fn kernels(find: &Find, seen: &Sightings, deviations: &Deviations) -> String {
    let mut text = String::new();
    for (what, wanted) in [("Seen on", WantedSight::Seen), ("Not seen on", WantedSight::NotSeen)] {
        let places = seen.places_of(find, wanted, deviations);
        let mut lines = Vec::new();
        for (kernel, version) in seen.kernels() {
            let on: Vec<_> = places
                .iter()
                .filter(|place| place.kernel == kernel)
                .map(|place| page::fs_title(place.fs))
                .collect();
            if !on.is_empty() {
                lines.push(format!("  {kernel} ({version}): {}\n", on.join(", ")));
            }
        }
        if !lines.is_empty() {
            let _ = write!(text, "{what}:\n{}", lines.concat());
        }
    }
    let commits = [("Introduced by", &find.introduced_by), ("Fixed by", &find.fixed_by)];
    for (what, commits) in commits.into_iter().filter(|(_, commits)| !commits.is_empty()) {
        let _ = writeln!(text, "{what}:");
        for commit in commits {
            let _ = writeln!(text, "  {commit}");
        }
    }
    if !find.fixed_by.is_empty() {
        text.push_str(
            "The fix is missing from the kernels above that have the bug: please\n\
             consider it for stable.\n",
        );
    }
    if text.is_empty() {
        text.push_str("No run is recorded that has seen it.\n");
    }
    text
}

/// How a C program begins that stands in a page, for a case that cannot be exported.
const PROGRAM: &str = "```c\n";

/// How to see it.
fn reproducer(
    find: &Find,
    facts: Facts,
    prose: &Prose,
    seen: &Sightings,
    deviations: &Deviations,
) -> String {
    let fs = page::fs_of(find, seen, deviations);
    let shapes = page::shapes_of(find, facts, deviations);
    let mut text = format!(
        "With daxtests, on a DAX device whose contents may be lost:\n\n  {}\n\n",
        page::command(find, facts, seen, deviations)
    );
    let export::ExportedProgram { text: program, mount } = match export::c(facts.program) {
        Ok(exported) => exported,
        Err(_) if prose.seen.contains(PROGRAM) => {
            text.push_str("Without it, by the program above.\n");
            return text;
        }
        Err(why) => {
            for line in wrap::lines(&format!("There is no C program of it: {why}."), WIDTH) {
                let _ = writeln!(text, "{line}");
            }
            return text;
        }
    };
    text.push_str("Without it, by the program below, as root:\n\n");
    let mkfs = fs.row().map(|row| {
        let target = Target { fs, shapes: shapes.to_vec(), ..Target::reference() };
        target.mkfs(row, Some(Path::new(SECOND))).line()
    });
    let placed: Vec<_> = shapes
        .iter()
        .filter_map(|name| shape::find(name).ok())
        .filter(|shape| !matches!(shape.dm_table, None | Some(DmTable::Realtime)))
        .collect();
    let mut mount = mount.to_owned();
    let shaped = shapes.iter().filter_map(|name| shape::find(name).ok());
    for option in shaped.flat_map(|shape| shape.mount).filter(|word| word.contains(REALTIME)) {
        let _ = write!(mount, ",{}", option.replace(REALTIME, SECOND));
    }
    let device = if placed.is_empty() { "/dev/pmem0" } else { "DEVICE" };
    let _ = write!(
        text,
        "  gcc -Wall -Wextra -pthread -o repro repro.c\n  {} {device}\n  mount -o {mount} {device} /mnt\n  ./repro /mnt\n\n",
        mkfs.unwrap_or_default()
    );
    for shape in placed {
        let _ = writeln!(text, "DEVICE is {}.", shape.about);
    }
    let _ = write!(
        text,
        "It exits with 0 if the kernel does what it must, with 1 if it does not,\n\
     and with 2 if it could not tell.\n\nrepro.c:\n\n{program}"
    );
    text
}

/// The text of Markdown: paragraphs and lists in the lines of a mail, code as it is.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut paragraph = String::new();
    let mut code = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            text.push_str(&wrapped(&std::mem::take(&mut paragraph)));
            code = !code;
        } else if code {
            let _ = writeln!(text, "{}", format!("  {line}").trim_end());
        } else {
            if line.is_empty() || line.starts_with("- ") {
                text.push_str(&wrapped(&std::mem::take(&mut paragraph)));
            }
            if line.is_empty() {
                text.push('\n');
            }
            paragraph.push_str(line);
            paragraph.push('\n');
        }
    }
    text + &wrapped(&paragraph)
}

/// A paragraph, or a point of a list.
fn wrapped(paragraph: &str) -> String {
    static LINK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\[([^\]]+)\]\([^)]+\)").expect("it is constant"));
    let words = LINK.replace_all(paragraph, "$1").replace('`', "");
    let hang = if words.starts_with("- ") { "  " } else { "" };
    let mut text = String::new();
    for (at, line) in wrap::lines(&words, WIDTH - hang.len()).iter().enumerate() {
        let _ = writeln!(text, "{}{line}", if at == 0 { "" } else { hang });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finds::index::in_order;

    #[test]
    fn every_find_has_a_mail() {
        let deviations = Deviations::built_in("").unwrap();
        let seen = page::seen().unwrap();
        for (find, facts) in in_order(&deviations) {
            let mail = text(find, facts, &seen, &deviations).unwrap();
            let subject = format!("Subject: [BUG] {}: {}\n", facts.subsystem.name, find.what);
            assert!(mail.starts_with(&subject), "{mail}");
            assert!(subject.len() < 100, "the subject of {} is too long", find.id);
            assert!(mail.contains(facts.case.name), "{}: {mail}", find.id);
            for place in seen.places_of(find, WantedSight::Seen, &deviations) {
                assert!(mail.contains(&place.kernel), "{}: {mail}", find.id);
            }
            for commit in find.introduced_by.iter().chain(&find.fixed_by) {
                assert!(mail.contains(commit), "{}: {mail}", find.id);
            }
            if let Ok(program) = export::c(facts.program) {
                assert!(mail.ends_with(&program.text), "{}", find.id);
            } else {
                let said = ["There is no C program of it: ", "by the program above"];
                assert!(said.iter().any(|words| mail.contains(words)), "{}", find.id);
            }
            let prose = mail.split("repro.c:\n").next().unwrap();
            // What only a reader of the page can follow.
            for word in ["`", "](", ".md", "TODO"] {
                assert!(!prose.contains(word), "{}: {word} in {prose}", find.id);
            }
        }
    }

    #[test]
    fn markdown_becomes_plain_text() {
        let markdown = "The `page` is\n[pinned](x.md).\n\n```\ncode `as` is\n\n```\n\n- one\n- two";
        assert_eq!(plain(markdown), "The page is pinned.\n\n  code `as` is\n\n\n- one\n- two\n");
        let long = format!("- {}", "word ".repeat(20));
        assert!(plain(&long).lines().nth(1).unwrap().starts_with("  word"));
    }
}
