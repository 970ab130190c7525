//! The report against the rules of both schemas, stated here as code: which element may stand
//! where, with which attributes of which form. What stands here is what both allow and all that
//! one of them asks for: Jenkins' junit-10.xsd (of its xunit plugin) lets more stand and wants
//! three decimals of a time at most; JUnit.xsd for Ant's task wants an order and more attributes.
//! Only Jenkins' knows the further failures of a case.

use regex::Regex;
use roxmltree::{Document, Node};

use super::*;
use crate::fs::FsType;
use crate::journal::{Entry, RunEvent};
use crate::machine::Machine;
use crate::plan;
use crate::target::Target;

type NameList = &'static [&'static str];

/// Element, attributes that must be there, attributes that may, children in their order.
const RULES: &[(&str, NameList, NameList, NameList)] = &[
    ("testsuites", &[], &[], &["testsuite"]),
    (
        "testsuite",
        &["name", "tests", "failures", "errors", "time", "timestamp", "hostname", "id", "package"],
        &["skipped"],
        &["properties", "testcase", "system-out", "system-err"],
    ),
    ("properties", &[], &[], &["property"]),
    ("property", &["name", "value"], &[], &[]),
    (
        "testcase",
        &["name", "classname", "time"],
        &[],
        &["skipped", "error", "failure", "rerunFailure", "rerunError"],
    ),
    ("rerunFailure", &["type"], &["message"], &["stackTrace"]),
    ("rerunError", &["type"], &["message"], &["stackTrace"]),
    ("stackTrace", &[], &[], &[]),
    ("failure", &["type"], &["message"], &[]),
    ("error", &["type"], &["message"], &[]),
    ("skipped", &[], &["message"], &[]),
    ("system-out", &[], &[], &[]),
    ("system-err", &[], &[], &[]),
];

/// Elements that hold text.
const TEXT: NameList = &["failure", "error", "skipped", "stackTrace", "system-out", "system-err"];

/// The further failures of a case, in the order that they came in.
const RERUNS: NameList = &["rerunFailure", "rerunError"];

/// Elements that stand once at most where they may, and those that must.
const ONCE: NameList = &["properties", "system-out", "system-err", "failure", "error", "skipped"];
const MUST: &[(&str, NameList)] = &[("testsuite", &["properties", "system-out", "system-err"])];

/// The form of an attribute's value, whatever its element.
fn form(attribute: &str) -> Option<Regex> {
    let form = match attribute {
        "time" => r"^[0-9]+(\.[0-9]{1,3})?$",
        "timestamp" => r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}$",
        "tests" | "failures" | "errors" | "skipped" | "id" => r"^[0-9]+$",
        "name" | "hostname" => r"\S",
        _ => return None,
    };
    Some(Regex::new(form).unwrap())
}

fn validate(node: Node<'_, '_>) {
    let name = node.tag_name().name();
    let (_, must, may, children) = RULES
        .iter()
        .find(|(element, ..)| *element == name)
        .unwrap_or_else(|| panic!("<{name}> is in none or one of the schemas only"));
    for attribute in *must {
        assert!(node.has_attribute(*attribute), "<{name}> lacks {attribute}");
    }
    for attribute in node.attributes() {
        let (key, value) = (attribute.name(), attribute.value());
        assert!(must.contains(&key) || may.contains(&key), "<{name}> may not have {key}");
        if let Some(form) = form(key) {
            assert!(form.is_match(value), "<{name} {key}={value:?}>");
        }
    }
    let elements: Vec<_> =
        node.children().filter(Node::is_element).map(|child| child.tag_name().name()).collect();
    let places: Vec<_> = elements
        .iter()
        .map(|child| if RERUNS.contains(child) { &RERUNS[0] } else { child })
        .map(|child| children.iter().position(|known| known == child))
        .map(|place| place.unwrap_or_else(|| panic!("<{name}> may not hold {elements:?}")))
        .collect();
    assert!(places.is_sorted(), "<{name}> holds {elements:?}, not in their order");
    for child in ONCE {
        let count = elements.iter().filter(|element| *element == child).count();
        assert!(count <= 1, "<{name}> holds <{child}> {count} times");
    }
    if name == "testcase" {
        let (reruns, own): (Vec<&str>, Vec<&str>) =
            elements.iter().partition(|element| RERUNS.contains(element));
        // Who failed again failed.
        let failed = matches!(own[..], ["failure" | "error"]);
        assert!(own.len() <= 1 && (reruns.is_empty() || failed), "<{name}> holds {elements:?}");
    }
    for (_, needed) in MUST.iter().filter(|(element, _)| *element == name) {
        assert!(needed.iter().all(|child| elements.contains(child)), "<{name}>: {elements:?}");
    }
    for child in node.children() {
        if child.is_element() {
            validate(child);
        } else {
            let blank = child.text().is_none_or(|text| text.trim().is_empty());
            assert!(TEXT.contains(&name) || blank, "<{name}> may not hold text");
        }
    }
}

/// Panics if a report is not in the form that both schemas want, or counts wrong.
pub(in crate::report) fn keeps_to_the_schemas(document: &Document<'_>) {
    assert_eq!(document.root_element().tag_name().name(), "testsuites");
    validate(document.root_element());
    for suite in document.root_element().children().filter(Node::is_element) {
        for (attribute, element) in [
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ] {
            let count = suite.descendants().filter(|node| node.has_tag_name(element)).count();
            assert_eq!(suite.attribute(attribute), Some(count.to_string().as_str()), "{attribute}");
        }
    }
    let mut names: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .map(|node| (node.attribute("classname"), node.attribute("name")))
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two test cases have one name");
}

fn outcome(case: &str, verdict: Verdict) -> Outcome {
    Outcome {
        case: case.to_owned(),
        iteration: 0,
        verdict,
        seconds: 0.125,
        reason: matches!(verdict, Verdict::NotRun | Verdict::XFail)
            .then(|| "because <of> \"this\" & that".to_owned()),
        find: None,
        problems: vec![Problem::new(
            Witness::Case,
            "WARNING in dax_disassociate_entry",
            "text with ]]> in it, \u{1b}[31mcolour\u{1b}[0m and \u{0} zero\n-a\n+b\n",
        )],
        notes: vec![("rounds".to_owned(), "12".to_owned())],
        folder: None,
    }
}

fn entries() -> Vec<Entry> {
    let mut events = vec![
        RunEvent::Begun {
            plan: plan::example().into(),
            machine: Machine { kernel: "6.12.107+deb12-amd64".to_owned(), ..Machine::default() },
        },
        RunEvent::Prepared {
            mkfs: "mkfs.xfs -f /dev/pmem0".to_owned(),
            mount: "dax=always".to_owned(),
        },
    ];
    for verdict in Verdict::ALL {
        let case = format!("pin/{}", verdict.word().to_lowercase());
        events.push(RunEvent::CaseBegun { case: case.clone(), iteration: 0, seed: 1 });
        events.push(RunEvent::Silenced { what: "lockdep has switched itself\noff".to_owned() });
        events.push(RunEvent::CaseEnded(Box::new(outcome(&case, verdict))));
    }
    events.push(RunEvent::Trouble(Problem::new(Witness::Case, "xfs_repair complains", "bad")));
    events.push(RunEvent::CaseBegun { case: "race/retry".to_owned(), iteration: 2, seed: 3 });
    events.into_iter().map(Entry::now).collect()
}

fn told(entries: &[Entry]) -> String {
    String::from_utf8(xml(&[&History::of(entries)]).unwrap()).unwrap()
}

#[test]
fn the_report_keeps_to_the_schemas() {
    for count in 0..=entries().len() {
        keeps_to_the_schemas(&Document::parse(&told(&entries()[..count])).unwrap());
    }
}

#[test]
fn times_have_three_decimals() {
    let mut entries = entries();
    for number in 0..20 {
        let seconds = 0.1 + f64::from(number) / 1000.0;
        let outcome =
            Outcome { seconds, iteration: 9 + number as u64, ..outcome("a/b", Verdict::Pass) };
        entries.push(Entry::now(RunEvent::CaseEnded(Box::new(outcome))));
        keeps_to_the_schemas(&Document::parse(&told(&entries)).unwrap());
    }
}

#[test]
fn a_case_that_failed_now_and_then_has_one_name_and_all_its_failures() {
    let mut entries = entries();
    let verdicts = [Verdict::Pass, Verdict::Fail, Verdict::Pass, Verdict::Error, Verdict::Fail];
    for (iteration, verdict) in (0..).zip(verdicts) {
        let one = Outcome { iteration, ..outcome("race/again", verdict) };
        entries.push(Entry::now(RunEvent::CaseEnded(Box::new(one))));
    }
    let xml = told(&entries);
    let document = Document::parse(&xml).unwrap();
    keeps_to_the_schemas(&document);
    let cases: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase") && node.attribute("name") == Some("again"))
        .collect();
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].attribute("time"), Some("0.625"));
    let failures: Vec<_> = cases[0]
        .children()
        .filter(Node::is_element)
        .map(|node| (node.tag_name().name(), node.attribute("type").unwrap()))
        .collect();
    assert_eq!(failures, [("failure", "FAIL"), ("rerunError", "ERROR"), ("rerunFailure", "FAIL")]);
    let text: Vec<&str> = cases[0].descendants().filter_map(|node| node.text()).collect();
    for number in [2, 4, 5] {
        let head = format!("iteration {number}:");
        assert!(text.iter().any(|text| text.trim_start().starts_with(&head)), "{text:?}");
    }
    let message = cases[0].first_element_child().unwrap().attribute("message").unwrap();
    assert!(message.ends_with(" (3 of 5 iterations)"), "{message}");
}

#[test]
fn what_came_now_and_then_and_is_known_is_not_told_as_passed() {
    let of = |verdicts: &[Verdict]| {
        let ended = (0..).zip(verdicts).map(|(iteration, verdict)| {
            let one = Outcome { iteration, ..outcome("race/again", *verdict) };
            Entry::now(RunEvent::CaseEnded(Box::new(one)))
        });
        let xml = told(&entries().into_iter().chain(ended).collect::<Vec<_>>());
        let document = Document::parse(&xml).unwrap();
        let case = document.descendants().find(|node| node.attribute("name") == Some("again"));
        case.unwrap()
            .first_element_child()
            .map(|child| child.attribute("message").unwrap().to_owned())
    };
    let known = of(&[Verdict::Pass, Verdict::XFail, Verdict::Pass]).unwrap();
    assert!(known.starts_with("XFAIL: ") && known.ends_with(" (1 of 3 iterations)"), "{known}");
    assert_eq!(of(&[Verdict::NotRun, Verdict::Pass]), None);
    assert!(of(&[Verdict::NotRun, Verdict::NotRun]).unwrap().starts_with("NOTRUN: "));
}

#[test]
fn each_configuration_has_classes_of_its_own() {
    let class = |plan: Plan, kernel: &str| {
        let machine = Machine { kernel: kernel.to_owned(), ..Machine::default() };
        package(&History { plan: Some(plan), machine, ..History::default() })
    };
    let xfs = plan::example;
    let of = |fs, shapes: &[&str]| {
        let shapes = shapes.iter().map(|name| (*name).to_owned()).collect();
        Target { fs, shapes, ..xfs().target }
    };
    assert_eq!(class(xfs(), "6.12.107+deb12-amd64"), "linux-6_12_107+deb12-amd64.xfs");
    let ext4 = Plan { target: of(FsType::Ext4, &[]), ..xfs() };
    assert_eq!(class(ext4, "7.2"), "linux-7_2.ext4");
    assert_eq!(
        class(Plan { target: of(FsType::Xfs, &["no-reflink"]), ..xfs() }, "7.2"),
        "linux-7_2.xfs-no-reflink"
    );
}

#[test]
fn what_it_ran_on_are_properties() {
    let xml = told(&entries());
    let document = Document::parse(&xml).unwrap();
    let value = |name| {
        document
            .descendants()
            .find(|node| node.has_tag_name("property") && node.attribute("name") == Some(name))
            .and_then(|node| node.attribute("value"))
    };
    assert_eq!(value("kernel"), Some("6.12.107+deb12-amd64"));
    assert_eq!(value("filesystem"), Some("xfs"));
    assert_eq!(value("device"), Some("/dev/pmem0"));
    assert_eq!(value("mkfs"), Some("mkfs.xfs -f /dev/pmem0"));
    assert_eq!(value("mount"), Some("dax=always"));
    assert_eq!(value("seed"), Some("7"));
    assert_eq!(value("silenced"), Some("since pin/pass, lockdep has switched itself off"));
}

#[test]
fn the_case_that_was_cut_off_is_a_failure() {
    let xml = told(&entries());
    let document = Document::parse(&xml).unwrap();
    let case = document.descendants().find(|node| node.attribute("name") == Some("retry")).unwrap();
    let failure = case.first_element_child().unwrap();
    assert_eq!(failure.tag_name().name(), "failure");
    assert_eq!(failure.attribute("message"), Some(crate::history::DIED));
}

#[test]
fn counts_are_right_and_text_survives() {
    let xml = told(&entries());
    let document = Document::parse(&xml).unwrap();
    let suite = document.root_element().first_element_child().unwrap();
    // FAIL, HANG, XPASS, the trouble, the case that was cut off, and that the run was.
    assert_eq!(suite.attribute("failures"), Some("6"));
    assert_eq!(suite.attribute("errors"), Some("1"));
    assert_eq!(suite.attribute("name"), Some("xfs on Linux 6.12.107+deb12-amd64"));
    let failed =
        document.descendants().find(|node| node.attribute("name") == Some("fail")).unwrap();
    let text: String =
        failed.first_element_child().unwrap().children().filter_map(|child| child.text()).collect();
    assert!(text.contains("]]> in it, colour and  zero"), "{text}");
    let skipped =
        document.descendants().find(|node| node.attribute("name") == Some("notrun")).unwrap();
    assert_eq!(
        skipped.first_element_child().unwrap().attribute("message"),
        Some("NOTRUN: because <of> \"this\" & that")
    );
}

#[test]
fn suites_told_together_keep_to_the_schemas() {
    let one = History::of(&entries());
    let mut other = one.clone();
    other.machine.kernel = "7.2".to_owned();
    let text = String::from_utf8(xml(&[&one, &other]).unwrap()).unwrap();
    let document = Document::parse(&text).unwrap();
    keeps_to_the_schemas(&document);
    let suites = document.root_element().children().filter(Node::is_element);
    let ids: Vec<_> = suites.filter_map(|suite| suite.attribute("id")).collect();
    assert_eq!(ids, ["0", "1"]);
}

#[test]
fn what_differs_between_runs_that_were_put_together_are_properties_each() {
    let mut merged = History::of(&entries());
    for (folder, seed) in [("s1", 7), ("s2", 9)] {
        let mut history = History::of(&entries());
        history.plan = Some(Plan { seed, ..plan::example() });
        merged.sources.push(crate::history::Source { folder: folder.into(), history });
    }
    let all = properties(&merged);
    let of = |wanted: &str| -> Vec<&str> {
        all.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(of("seed"), ["7", "9"]);
    assert_eq!(of("filesystem"), ["xfs"]);
}
