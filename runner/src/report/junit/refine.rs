//! What junit-report does not write, in one pass over its XML: the properties, how many were
//! skipped, that a case failed more than once, `system-err`, and times and timestamps in the form that both schemas want.

use anyhow::Context as _;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

/// What a suite gets.
pub(super) struct Addition {
    /// What was run on what.
    pub(super) properties: Vec<(&'static str, String)>,
    /// How many cases were skipped.
    pub(super) skipped: usize,
    /// What each of its cases gets. There may be more cases.
    pub(super) reruns: Vec<Vec<Rerun>>,
}

/// One more failure of a case that failed already.
pub(super) struct Rerun {
    /// `rerunFailure` or `rerunError`.
    pub(super) element: &'static str,
    /// The verdict.
    pub(super) kind: &'static str,
    /// What is the matter.
    pub(super) message: String,
    /// What was seen.
    pub(super) text: String,
}

/// `xml` with an addition to each of its suites, in their order.
pub(super) fn refine(xml: &str, additions: Vec<Addition>) -> anyhow::Result<Vec<u8>> {
    let mut additions = additions.into_iter();
    let mut reader = Reader::from_str(xml);
    let mut writer = Writer::new(Vec::new());
    let mut reruns = Vec::new().into_iter();
    loop {
        match reader.read_event().context("reading what junit-report wrote")? {
            Event::Eof => return Ok(writer.into_inner()),
            Event::Start(start) if start.name().as_ref() == b"testsuite" => {
                let addition = additions.next().context("junit-report wrote a suite too many")?;
                let Addition { properties, skipped, .. } = addition;
                reruns = addition.reruns.into_iter();
                let mut suite = in_form(&start)?;
                suite.push_attribute(("skipped", skipped.to_string().as_str()));
                writer.write_event(Event::Start(suite))?;
                writer.write_event(Event::Start(BytesStart::new("properties")))?;
                for (name, value) in &properties {
                    let property = BytesStart::new("property")
                        .with_attributes([("name", *name), ("value", value.as_str())]);
                    writer.write_event(Event::Empty(property))?;
                }
                writer.write_event(Event::End(BytesEnd::new("properties")))?;
            }
            Event::End(end) if end.name().as_ref() == b"testsuite" => {
                writer.write_event(Event::Empty(BytesStart::new("system-err")))?;
                writer.write_event(Event::End(end))?;
            }
            Event::End(end) if end.name().as_ref() == b"testcase" => {
                for rerun in reruns.next().unwrap_or_default() {
                    write_rerun(&mut writer, &rerun)?;
                }
                writer.write_event(Event::End(end))?;
            }
            Event::Empty(case) if case.name().as_ref() == b"testcase" => {
                // It did not fail.
                reruns.next();
                writer.write_event(Event::Empty(in_form(&case)?))?;
            }
            Event::Start(start) => writer.write_event(Event::Start(in_form(&start)?))?,
            Event::Empty(start) => writer.write_event(Event::Empty(in_form(&start)?))?,
            event => writer.write_event(event)?,
        }
    }
}

fn write_rerun(writer: &mut Writer<Vec<u8>>, rerun: &Rerun) -> anyhow::Result<()> {
    let attributes = [("type", rerun.kind), ("message", rerun.message.as_str())];
    writer.create_element(rerun.element).with_attributes(attributes).write_inner_content(
        |writer| {
            let trace = writer.create_element("stackTrace");
            trace.write_text_content(BytesText::new(&rerun.text)).map(drop)
        },
    )?;
    Ok(())
}

/// The same element, its times with three decimals and its timestamp without a time zone; what
/// was skipped has no type.
fn in_form(start: &BytesStart<'_>) -> anyhow::Result<BytesStart<'static>> {
    let name = String::from_utf8(start.name().as_ref().to_vec())?;
    let mut element = BytesStart::new(name);
    for attribute in start.attributes() {
        let Attribute { key, value } = attribute?;
        let value = String::from_utf8(value.into_owned())?;
        if start.name().as_ref() == b"skipped" && key.as_ref() == b"type" {
            continue;
        }
        let value = match key.as_ref() {
            b"time" => format!("{:.3}", value.parse::<f64>().context("a time")?),
            b"timestamp" => value.chars().take("2026-01-01T00:00:00".len()).collect(),
            _ => value,
        };
        // It is escaped already.
        element.push_attribute((key.as_ref(), value.as_bytes()));
    }
    Ok(element)
}
