//! One word means one thing: a type has a name of its own in the whole workspace.
//!
//! Crates, modules and even private items count alike, for a reader meets a name in a comment, a
//! message or a search, and there it has no path. What is wrong with two types of one name is one of
//! two things: they are the same, and one of them is to go; or they are not, and one is misnamed.

#![expect(clippy::unwrap_used, reason = "it is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates. A new one is declared in Cargo.toml, and then found.
const WORKSPACE: &str = include_str!("../../Cargo.toml");

/// Names that say what a type is to its own module, and no word of the domain: there may be several.
const REPEATED: [(&str, &str); 8] = [
    ("Error", "why the functions of a module fail; each has one (CONTRIBUTING, Style)"),
    ("Refusal", "likewise, where what is refused is somebody's request"),
    ("Line", "a line of what a module reads or writes as JSON, which is not used elsewhere"),
    ("Row", "a row of the one table that a module has, which is not used elsewhere"),
    ("Typed", "the arguments of a program, as typed: there are several programs"),
    ("TypedCommand", "likewise its subcommand"),
    (
        "Fiemap",
        "the kernel's; neither cases nor tracer may know the other, and others have no ioctls",
    ),
    ("HoldPage", "likewise the page of `protocol::hold`, mapped: that takes `unsafe`"),
];

#[test]
fn each_type_has_a_name_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in members().iter().flat_map(|member| sources(&root.join(member))) {
        let text = fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(&root).unwrap().display();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(name) = declared(line) {
                places.entry(name.to_owned()).or_default().push(format!("{shown}:{number}"));
            }
        }
    }
    assert!(places.len() > 400, "only {} types were found", places.len());
    let repeated: BTreeSet<_> = REPEATED.iter().map(|(name, _)| *name).collect();
    let wrong: Vec<_> = places
        .iter()
        .filter(|(name, places)| places.len() > 1 && !repeated.contains(name.as_str()))
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} names are declared more than once: merge the types, or give one another name\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let needless: Vec<_> =
        repeated.iter().filter(|name| places.get(**name).is_none_or(|at| at.len() < 2)).collect();
    assert!(needless.is_empty(), "these are not declared twice any more: {needless:?}");
}

#[test]
fn declarations_are_found() {
    assert_eq!(declared("pub(crate) struct Pin {"), Some("Pin"));
    assert_eq!(declared("    enum Answer<T> {"), Some("Answer"));
    assert_eq!(declared("pub unsafe trait Pod: Copy {"), Some("Pod"));
    assert_eq!(declared("type Pages = (FileId, Range<u64>);"), Some("Pages"));
    // That of an implementation is named by its trait.
    assert_eq!(declared("    type Err = String;"), None);
    assert_eq!(declared("/// struct Pin"), None);
    assert_eq!(declared("struct iovec"), None);
    assert_eq!(declared("structure Pin"), None);
}

/// The type that a line declares.
fn declared(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let is_indented = rest.len() < line.len();
    let rest = match rest.strip_prefix("pub") {
        Some(rest) => rest.strip_prefix('(').map_or(rest, |rest| rest.split_once(')').unwrap().1),
        None => rest,
    };
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
    let (keyword, rest) = rest.split_once(' ')?;
    let declares = match keyword {
        "struct" | "enum" | "trait" | "union" => true,
        "type" => !is_indented,
        _ => false,
    };
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let name = &rest[..end];
    (declares && name.starts_with(|c: char| c.is_ascii_uppercase())).then_some(name)
}

/// The folders of the workspace's crates.
fn members() -> Vec<String> {
    let manifest: toml::Table = WORKSPACE.parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

/// All sources of a crate, those of its tests and examples included.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}
