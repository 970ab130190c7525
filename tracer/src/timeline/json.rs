//! The timeline for programs: an event a line, with the fields that it has.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::field::{FieldValue, fields_of};
use super::{Timeline, name};

/// An event.
#[derive(Debug, Serialize)]
struct Line<'t> {
    /// By which findings refer to it.
    number: u64,
    /// Nanoseconds.
    time: u64,
    cpu: u16,
    task: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<&'t str>,
    event: &'static str,
    #[serde(flatten, serialize_with = "as_map")]
    fields: Vec<(&'static str, FieldValue)>,
}

fn as_map<S: Serializer>(
    fields: &[(&'static str, FieldValue)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.len()))?;
    for (name, value) in fields {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// All events, the oldest first.
pub fn write(timeline: &Timeline) -> String {
    let mut out = String::new();
    for (event, number) in timeline.events.iter().zip(timeline.first..) {
        let comm = timeline.names.get(&event.task).map(String::as_str);
        let line = Line {
            number,
            time: event.time,
            cpu: event.cpu,
            task: event.task,
            comm: comm.filter(|comm| !comm.is_empty()),
            event: name(event),
            fields: fields_of(event),
        };
        out.push_str(&serde_json::to_string(&line).expect("it has string keys only"));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::example;

    #[test]
    fn a_missed_wait_is_told_in_fields() {
        let timeline = example::missed_wait();
        example::golden("missed-wait.jsonl", super::write(&timeline).as_bytes());
    }
}
