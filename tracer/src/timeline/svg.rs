//! The timeline as SVG, for the report: a lane per task and per page, bars for what lasts, a number
//! where a rule was violated and its sentence below.
//!
//! Long waits would squeeze everything else together, so time is drawn by rank and not by length:
//! each event has its own column, and gaps are labelled with their length. The colours follow the
//! reader's light or dark scheme.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use protocol::{Event, Kind};

use super::slice::{Lasting, slices};
use super::{Timeline, fields, name};

/// Events that are drawn; of a longer history the last ones before the end.
const DRAWN: usize = 400;
/// Pages that have a lane besides those that a break or a finding is about.
const PAGES: usize = 6;
const COLUMN: usize = 40;
const LANE: usize = 72;
const LEFT: usize = 200;
const TOP: usize = 66;
/// Height of a bar, and its distance from the lane's line: the bars of a lane lie above each other.
const BAR: usize = 13;
const ABOVE: usize = 12;
/// Height of a line of text below the lanes, and the most characters in it.
const LINE: usize = 18;
const CHARACTERS: usize = 110;
/// Columns between two repetitions of a lane's name.
const REPEATED: usize = 20;

/// What the picture's classes look like; it is the same in every picture of a page.
const STYLE: &str = "\
.timeline{font:11px system-ui,sans-serif}.timeline text{fill:#24292f}.timeline .dim{fill:#6e7781}\
.timeline .lane{stroke:#d0d7de}.timeline .on{fill:#fff;font-weight:600;text-anchor:middle}\
.timeline .operation{fill:#e3e7eb}.timeline .break{fill:#b6d7f5}.timeline .wait{fill:#f7d070}\
.timeline .pinned{fill:#f3b8b1}.timeline .ring{fill:none;stroke:#cf222e;stroke-width:2.5}\
.timeline .rests{fill:none;stroke:#cf222e;stroke-width:1.5;stroke-dasharray:3 2}\
.timeline .cut{stroke:#cf222e;stroke-dasharray:4 3}.timeline .badge{fill:#cf222e}\
.timeline .sentence{fill:#cf222e;font-size:12px;font-weight:600}\
@media(prefers-color-scheme:dark){.timeline text{fill:#e6edf3}.timeline .dim{fill:#9198a1}\
.timeline .lane{stroke:#3d444d}.timeline .on{fill:#fff}.timeline .operation{fill:#3d444d}\
.timeline .break{fill:#1f4f7d}.timeline .wait{fill:#7d5a0c}.timeline .pinned{fill:#7d2b25}\
.timeline .ring,.timeline .rests,.timeline .cut{stroke:#ff7b72}.timeline .badge{fill:#da3633}\
.timeline .sentence{fill:#ff7b72}}";

/// The marks by letter: the colour, and what it stands for. A legend shows the same.
pub const MARKS: [(&str, &str, &str); 11] = [
    ("P", "#b3362a", "pin"),
    ("U", "#1f883d", "unpin"),
    ("B", "#bc4c00", "scan, busy page found"),
    ("S", "#1f883d", "scan, nothing busy"),
    ("z", "#59636e", "sleep"),
    ("W", "#0969da", "wake"),
    ("R", "#8250df", "mapping entry removed"),
    ("F", "#0e7490", "block freed"),
    ("!", "#cf222e", "kernel warning"),
    ("?", "#cf222e", "records lost"),
    ("", "#8c959f", "begin or end"),
];

/// The classes of the bars, and what they stand for.
pub const BARS: [(&str, &str); 4] =
    [("operation", "operation"), ("break", "break"), ("wait", "wait"), ("pinned", "page pinned")];

/// The picture, for inclusion in HTML or as a file.
pub fn write(timeline: &Timeline) -> String {
    let skipped = timeline.events.len().saturating_sub(DRAWN);
    let events = &timeline.events[skipped..];
    let (lanes, left_out) = lanes(timeline, events);
    let sentences = sentences(timeline);
    let widest = sentences.iter().map(|(_, line)| line.chars().count()).max().unwrap_or(0);
    let width = (LEFT + COLUMN * (events.len() + 1) + 20).max(40 + widest * 7);
    let below = TOP + LANE * lanes.len() + 14;
    let height = below + LINE * sentences.len() + 10;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"timeline\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n<style>{STYLE}</style>\n"
    );
    let right = x(events.len()) + 10;
    for (lane, row) in &lanes {
        let y = line(*row);
        let label = match lane {
            Lane::Task(task) => timeline.task(*task),
            Lane::Page(page) => format!("page {page:#x}"),
        };
        let label = escape(&shortened(label));
        let _ = writeln!(
            out,
            "<line class=\"lane\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y}\" y2=\"{y}\"/><text \
             x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
            LEFT - 10,
            y + 4,
        );
        // Not so near the end that it would be cut.
        for column in (REPEATED..events.len().saturating_sub(5)).step_by(REPEATED) {
            let _ = writeln!(
                out,
                "<text class=\"dim\" x=\"{}\" y=\"{}\" font-size=\"9\">{label}</text>",
                x(column),
                y + 19,
            );
        }
    }
    cuts(&mut out, timeline, events, skipped, below);
    bars(&mut out, events, &lanes);
    marks(&mut out, timeline, events, skipped, &lanes);
    gaps(&mut out, events);
    for (number, (first, text)) in sentences.iter().enumerate() {
        let y = below + LINE * number + 4;
        if let Some(finding) = first {
            badge(&mut out, 20, y - 4, *finding);
        }
        let _ =
            writeln!(out, "<text class=\"sentence\" x=\"36\" y=\"{y}\">{}</text>", escape(text));
    }
    let mut notes = Vec::new();
    if skipped > 0 {
        notes.push(format!("{skipped} earlier events are not drawn"));
    }
    if left_out > 0 {
        notes.push(format!("{left_out} other pages are not drawn"));
    }
    if timeline.unseen.total() > 0 {
        notes.push(format!("not seen: {}", timeline.unseen));
    }
    if timeline.needless > 0 {
        notes.push(format!("{} calls were not seen, none that a verdict needs", timeline.needless));
    }
    if !notes.is_empty() {
        let _ = writeln!(
            out,
            "<text class=\"dim\" x=\"8\" y=\"14\">{}</text>",
            escape(&notes.join("; "))
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A lane's name, so long that it fits: the middle of a long one says least.
fn shortened(label: String) -> String {
    const FITS: usize = 26;
    let length = label.chars().count();
    if length <= FITS {
        return label;
    }
    let head: String = label.chars().take(FITS / 2).collect();
    let tail: String = label.chars().skip(length - (FITS / 2 - 1)).collect();
    format!("{head}…{tail}")
}

/// What was violated, in lines that fit; the first line of each has the finding's number.
fn sentences(timeline: &Timeline) -> Vec<(Option<usize>, String)> {
    let mut lines = Vec::new();
    for (number, finding) in timeline.findings.iter().enumerate() {
        let mut first = Some(number + 1);
        let mut text = String::new();
        for word in finding.to_string().split(' ') {
            if !text.is_empty() && text.chars().count() + word.chars().count() >= CHARACTERS {
                lines.push((first.take(), std::mem::take(&mut text)));
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        lines.push((first, text));
    }
    lines
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Task(u32),
    Page(u64),
}

/// Tasks in the order in which they appear, then pages; and how many pages have no lane.
fn lanes(timeline: &Timeline, events: &[Event]) -> (BTreeMap<Lane, usize>, usize) {
    let kind = |event: &Event| Kind::from_number(event.kind);
    let told: BTreeSet<u64> = events
        .iter()
        .filter(|event| {
            matches!(kind(event), Some(Kind::Scan | Kind::WaitBegin | Kind::Wake | Kind::Sample))
        })
        .map(|event| event.page)
        .chain(timeline.findings.iter().map(|finding| finding.page))
        .collect();
    let mut lanes = BTreeMap::new();
    let mut others = BTreeSet::new();
    for event in events.iter().filter(|event| event.task != 0) {
        let next = lanes.len();
        lanes.entry(Lane::Task(event.task)).or_insert(next);
    }
    for event in events.iter().filter(|event| event.page != 0) {
        let lane = Lane::Page(event.page);
        if lanes.contains_key(&lane) {
            continue;
        }
        if !told.contains(&event.page) {
            // A freed extent without a pin is no page's story.
            if kind(event) == Some(Kind::Free) {
                continue;
            }
            others.insert(event.page);
            if others.len() > PAGES {
                continue;
            }
        }
        lanes.insert(lane, lanes.len());
    }
    (lanes, others.len().saturating_sub(PAGES))
}

fn x(column: usize) -> usize {
    LEFT + COLUMN * column + COLUMN / 2
}

fn line(row: usize) -> usize {
    TOP + LANE * row + LANE - 20
}

/// Where a rule was violated: a line through all lanes, with the finding's number.
fn cuts(out: &mut String, timeline: &Timeline, events: &[Event], skipped: usize, below: usize) {
    for column in 0..events.len() {
        let number = timeline.first + (skipped + column) as u64;
        let found: Vec<usize> = timeline
            .findings
            .iter()
            .enumerate()
            .filter(|(_, finding)| finding.events.last() == Some(&number))
            .map(|(n, _)| n + 1)
            .collect();
        if found.is_empty() {
            continue;
        }
        let at = x(column);
        let _ = writeln!(
            out,
            "<line class=\"cut\" x1=\"{at}\" x2=\"{at}\" y1=\"{}\" y2=\"{}\"/>",
            TOP - 14,
            below - 22
        );
        // More than one at an event lie above each other.
        for (place, &finding) in found.iter().take(2).enumerate() {
            badge(out, at, TOP - 18 - 16 * place, finding);
        }
    }
}

fn badge(out: &mut String, x: usize, y: usize, number: usize) {
    let _ = writeln!(
        out,
        "<circle class=\"badge\" cx=\"{x}\" cy=\"{y}\" r=\"8\"/><text class=\"on\" x=\"{x}\" \
         y=\"{}\" font-size=\"10\">{number}</text>",
        y + 4
    );
}

/// One thing that lasts: where on its lane, from where to where, and what it is.
struct Bar<'a> {
    lane: Lane,
    level: usize,
    from: usize,
    to: usize,
    class: &'static str,
    label: &'a str,
}

impl Bar<'_> {
    fn draw(&self, out: &mut String, lanes: &BTreeMap<Lane, usize>) {
        let Some(row) = lanes.get(&self.lane) else {
            return;
        };
        let y = line(*row) - ABOVE - BAR * self.level;
        let (left, right) = (x(self.from), x(self.to).max(x(self.from) + 4));
        let _ = write!(
            out,
            "<rect class=\"{}\" x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{}\" \
             rx=\"2\"><title>{}</title></rect>",
            self.class,
            y - BAR + 2,
            right - left,
            BAR - 1,
            self.label
        );
        if right - left > self.label.len() * 6 + 6 {
            let _ = write!(
                out,
                "<text x=\"{}\" y=\"{}\" font-size=\"9\">{}</text>",
                left + 4,
                y - 2,
                self.label
            );
        }
        out.push('\n');
    }
}

/// From a beginning to its end: operations, breaks and waits on the lane of their task, pins on
/// that of their page.
fn bars(out: &mut String, events: &[Event], lanes: &BTreeMap<Lane, usize>) {
    for slice in slices(events) {
        let (level, class) = match slice.what {
            Lasting::Wait => (0, "wait"),
            Lasting::Break => (1, "break"),
            Lasting::Operation(_) => (2, "operation"),
        };
        let last = slice.until + 1 == events.len();
        // What has no end lasts until the picture ends.
        let to = if !slice.ended && last { events.len() } else { slice.until };
        let lane = Lane::Task(slice.task);
        Bar { lane, level, from: slice.from, to, class, label: slice.what.name() }.draw(out, lanes);
    }
    let pinned = |page: u64, from: usize, to: usize| Bar {
        lane: Lane::Page(page),
        level: 0,
        from,
        to,
        class: "pinned",
        label: "pinned",
    };
    let mut open: BTreeMap<(u64, i64), usize> = BTreeMap::new();
    for (column, event) in events.iter().enumerate() {
        let pin = (event.page, event.value);
        match Kind::from_number(event.kind) {
            Some(Kind::Pin) => {
                open.insert(pin, column);
            }
            // One that was taken before the picture begins is not told from one that was not seen.
            Some(Kind::Unpin) => {
                if let Some(from) = open.remove(&pin) {
                    pinned(event.page, from, column).draw(out, lanes);
                }
            }
            _ => {}
        }
    }
    for ((page, _), from) in open {
        pinned(page, from, events.len()).draw(out, lanes);
    }
}

/// The letter and the colour of an event.
fn mark(event: &Event) -> (&'static str, &'static str) {
    let letter = match Kind::from_number(event.kind) {
        Some(Kind::Pin) => "P",
        Some(Kind::Unpin) => "U",
        Some(Kind::Scan) if event.page != 0 => "B",
        Some(Kind::Scan) => "S",
        Some(Kind::Sleep) => "z",
        Some(Kind::Wake) => "W",
        Some(Kind::Remove) => "R",
        Some(Kind::Free) => "F",
        Some(Kind::Warning) => "!",
        Some(Kind::Lost) => "?",
        _ => "",
    };
    let colour = MARKS.iter().find(|(known, ..)| *known == letter).map_or("", |mark| mark.1);
    (letter, colour)
}

fn marks(
    out: &mut String,
    timeline: &Timeline,
    events: &[Event],
    skipped: usize,
    lanes: &BTreeMap<Lane, usize>,
) {
    for (column, event) in events.iter().enumerate() {
        let number = timeline.first + (skipped + column) as u64;
        let (letter, colour) = mark(event);
        let title =
            escape(&format!("{} {} {}", name(event), fields(event), timeline.task(event.task)));
        let ring = if timeline.found_at(number).next().is_some() {
            Some("ring")
        } else {
            let rests = timeline.findings.iter().any(|finding| finding.events.contains(&number));
            rests.then_some("rests")
        };
        for lane in [Lane::Task(event.task), Lane::Page(event.page)] {
            let Some(row) = lanes.get(&lane) else {
                continue;
            };
            let (cx, cy) = (x(column), line(*row));
            let radius = if letter.is_empty() { 4 } else { 8 };
            let _ = write!(
                out,
                "<g><title>{title}</title><circle cx=\"{cx}\" cy=\"{cy}\" r=\"{radius}\" \
                 fill=\"{colour}\"/>"
            );
            if !letter.is_empty() {
                let _ = write!(
                    out,
                    "<text class=\"on\" x=\"{cx}\" y=\"{}\" font-size=\"10\">{letter}</text>",
                    cy + 4
                );
            }
            if let (Some(class), Lane::Task(_)) = (ring, lane) {
                let _ = write!(out, "<circle class=\"{class}\" cx=\"{cx}\" cy=\"{cy}\" r=\"11\"/>");
            }
            out.push_str("</g>\n");
        }
    }
}

/// How much time passed between two columns, where it is much.
fn gaps(out: &mut String, events: &[Event]) {
    for (column, pair) in events.windows(2).enumerate() {
        let gap = pair[1].time.saturating_sub(pair[0].time);
        if gap < 1_000_000 {
            continue;
        }
        let _ = writeln!(
            out,
            "<text class=\"dim\" x=\"{}\" y=\"{}\" font-size=\"9\" \
             text-anchor=\"middle\">{}</text>",
            x(column) + COLUMN / 2,
            TOP - 2,
            duration(gap)
        );
    }
}

/// A length of time, short.
pub fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000_000 => format!("{} µs", nanoseconds / 1000),
        1_000_000..10_000_000_000 => format!("{} ms", nanoseconds / 1_000_000),
        _ => format!("{} s", nanoseconds / 1_000_000_000),
    }
}

/// Text that may stand in XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::example;

    #[test]
    fn a_missed_wait_is_the_golden_picture() {
        let timeline = example::missed_wait();
        example::golden("missed-wait.svg", super::write(&timeline).as_bytes());
    }

    #[test]
    fn what_began_before_the_picture_is_drawn_from_its_edge() {
        let mut timeline = example::missed_wait();
        // The beginnings of the operation, of its break and of its wait are cut off.
        timeline.events.drain(..5);
        let picture = super::write(&timeline);
        for class in ["operation", "break", "wait"] {
            let edge = format!("<rect class=\"{class}\" x=\"{}\"", super::x(0));
            assert!(picture.contains(&edge), "{class} in {picture}");
        }
    }
}
