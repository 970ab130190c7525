//! The report against the rules of Jenkins' JUnit schema (junit-10.xsd of its xunit plugin),
//! stated here as code: which element may stand where, with which attributes.

use roxmltree::{Document, Node};

use super::*;
use crate::journal::{Entry, Event, Machine};
use crate::plan;

type Names = &'static [&'static str];

/// Element, attributes that must be there, attributes that may, children that may.
const RULES: &[(&str, Names, Names, Names)] = &[
    ("testsuites", &[], &["name", "time", "tests", "failures", "errors"], &["testsuite"]),
    (
        "testsuite",
        &["name", "tests", "failures", "errors"],
        &[
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "log",
            "url",
        ],
        &["testsuite", "properties", "testcase", "system-out", "system-err"],
    ),
    (
        "testcase",
        &["name"],
        &["time", "classname", "group"],
        &["skipped", "error", "failure", "system-out", "system-err"],
    ),
    ("failure", &[], &["type", "message"], &[]),
    ("error", &[], &["type", "message"], &[]),
    ("skipped", &[], &["type", "message"], &[]),
    ("system-out", &[], &[], &[]),
    ("system-err", &[], &[], &[]),
];

fn validate(node: Node<'_, '_>) {
    let name = node.tag_name().name();
    let (_, must, may, children) = RULES
        .iter()
        .find(|(element, ..)| *element == name)
        .unwrap_or_else(|| panic!("<{name}> is no element of the schema"));
    for attribute in *must {
        assert!(node.has_attribute(*attribute), "<{name}> lacks {attribute}");
    }
    for attribute in node.attributes() {
        assert!(
            must.contains(&attribute.name()) || may.contains(&attribute.name()),
            "<{name}> may not have {}",
            attribute.name()
        );
        if attribute.name() == "time" {
            // SUREFIRE_TIME: digits, and a fraction; no exponent.
            let value = attribute.value();
            assert!(value.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ','), "{value}");
        }
    }
    let text_allowed = children.is_empty();
    for child in node.children() {
        if child.is_element() {
            assert!(
                children.contains(&child.tag_name().name()),
                "<{name}> may not hold <{}>",
                child.tag_name().name()
            );
            validate(child);
        } else {
            let blank = child.text().is_none_or(|text| text.trim().is_empty());
            assert!(text_allowed || blank, "<{name}> may not hold text");
        }
    }
}

fn outcome(case: &str, verdict: Verdict) -> Outcome {
    Outcome {
        case: case.to_owned(),
        iteration: 0,
        verdict,
        seconds: 0.125,
        reason: matches!(verdict, Verdict::NotRun | Verdict::XFail)
            .then(|| "because <of> \"this\" & that".to_owned()),
        problems: vec![Problem::new(
            "WARNING in dax_disassociate_entry",
            "text with ]]> in it, \u{1b}[31mcolour\u{1b}[0m and \u{0} zero\n-a\n+b\n",
        )],
        notes: vec![("rounds".to_owned(), "12".to_owned())],
        folder: None,
    }
}

fn entries() -> Vec<Entry> {
    let mut events = vec![
        Event::Begun {
            plan: plan::example(),
            machine: Machine { kernel: "6.12.107+deb12-amd64".to_owned(), ..Machine::default() },
        },
        Event::Prepared {
            mkfs: "mkfs.xfs -f /dev/pmem0".to_owned(),
            mount: "dax=always".to_owned(),
        },
    ];
    for verdict in Verdict::ALL {
        let case = format!("pin/{}", verdict.word().to_lowercase());
        events.push(Event::CaseBegun { case: case.clone(), iteration: 0, seed: 1 });
        events.push(Event::CaseEnded(Box::new(outcome(&case, verdict))));
    }
    events.push(Event::Trouble(Problem::new("xfs_repair complains", "bad")));
    events.push(Event::CaseBegun { case: "race/retry".to_owned(), iteration: 2, seed: 3 });
    events.into_iter().map(Entry::now).collect()
}

fn xml(entries: &[Entry]) -> String {
    let mut bytes = Vec::new();
    report(&History::of(entries)).write_xml(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_report_keeps_to_the_schema() {
    for count in 0..=entries().len() {
        let xml = xml(&entries()[..count]);
        let document = Document::parse(&xml).unwrap();
        assert_eq!(document.root_element().tag_name().name(), "testsuites");
        validate(document.root_element());
    }
}

#[test]
fn the_case_that_was_cut_off_is_a_failure() {
    let xml = xml(&entries());
    let document = Document::parse(&xml).unwrap();
    let case = document
        .descendants()
        .find(|node| node.attribute("name") == Some("retry (iteration 3)"))
        .unwrap();
    let failure = case.first_element_child().unwrap();
    assert_eq!(failure.tag_name().name(), "failure");
    assert_eq!(failure.attribute("message"), Some(crate::history::DIED));
}

#[test]
fn counts_are_right_and_text_survives() {
    let xml = xml(&entries());
    let document = Document::parse(&xml).unwrap();
    let suite = document.root_element().first_element_child().unwrap();
    // FAIL, HANG, XPASS, the trouble and the case that was cut off.
    assert_eq!(suite.attribute("failures"), Some("5"));
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
        Some("because <of> \"this\" & that")
    );
}
