//! A rule's finding as the journal holds it: in fields, so that nobody has to parse the sentence,
//! and what is known of one, in the same fields.
//!
//! What is not known of a finding is not there: a rule that reads events knows inodes and page
//! frames, an oracle the names of files and their blocks.

use std::fmt;

use anyhow::ensure;
use cases::is_said_in_some_attempt;
use protocol::{How, Rule};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// One violation of one rule, in a kernel or in the reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FindingRecord {
    /// The rule.
    #[serde(deserialize_with = "rule")]
    pub(crate) rule: Rule,
    /// In which way it is broken. Journals of older runners do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) how: Option<How>,
    /// What happened, in a sentence.
    pub(crate) text: String,
    /// The tasks that took part, the one that broke the rule first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tasks: Vec<u32>,
    /// The file, by its number in the kernel or the reference.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_zero")]
    pub(crate) inode: Option<u64>,
    /// The page's frame number.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_zero")]
    pub(crate) page: Option<u64>,
    /// The page's index in the file, of the first one if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u64>,
    /// Pages from there on that are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// The function that warned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) function: Option<String>,
    /// The file, as the case calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The block that the page has, or had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) block: Option<u64>,
    /// The byte that is there and ought not to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) byte: Option<u8>,
    /// What was done before it was seen, by the action's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
    /// The events that it rests on, by their number in the history, as in the timeline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<u64>,
}

/// A rule by its identifier; by its name as in journals of older runners.
fn rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
    let word = String::deserialize(deserializer)?;
    let named = || Rule::ALL.into_iter().find(|rule| rule.name() == word);
    Rule::from_id(&word)
        .or_else(named)
        .ok_or_else(|| D::Error::custom(format!("there is no rule \"{word}\"")))
}

/// A number that older runners wrote as 0 if it was not known.
fn not_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|number| *number != 0))
}

impl FindingRecord {
    /// Its fields in a line: `rule=kept-block how=hole file=data index=2 block=5`.
    pub(crate) fn fields(&self) -> String {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let tasks: Vec<_> = self.tasks.iter().map(u32::to_string).collect();
        let fields = [
            ("rule", Some(self.rule.id().to_owned())),
            ("how", self.how.map(|how| how.id().to_owned())),
            ("tasks", (!tasks.is_empty()).then(|| tasks.join(","))),
            ("inode", number(self.inode)),
            ("file", self.file.as_ref().map(|file| file.replace(' ', "-"))),
            ("page", self.page.map(|page| format!("{page:#x}"))),
            ("index", number(self.index)),
            ("count", number(self.count)),
            ("block", number(self.block)),
            ("byte", self.byte.map(|byte| format!("{byte:#04x}"))),
            ("function", self.function.clone()),
            ("action", self.action.clone()),
        ];
        let known = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        known.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }
}

impl From<&protocol::Finding> for FindingRecord {
    fn from(found: &protocol::Finding) -> Self {
        let known = |number| Some(number).filter(|number| *number != 0);
        Self {
            rule: found.rule,
            how: Some(found.how),
            text: found.text.clone(),
            tasks: found.tasks.clone(),
            inode: known(found.inode),
            page: known(found.page),
            index: found.index,
            count: None,
            function: found.function.clone(),
            file: None,
            block: None,
            byte: None,
            action: None,
            after: None,
            events: found.events.clone(),
        }
    }
}

impl From<&cases::oracle::Found> for FindingRecord {
    fn from(found: &cases::oracle::Found) -> Self {
        Self {
            rule: found.rule(),
            how: Some(found.how),
            text: found.text.clone(),
            tasks: Vec::new(),
            inode: None,
            page: None,
            index: Some(found.index),
            count: Some(found.count),
            function: None,
            file: Some(found.file.clone()),
            block: found.block,
            byte: found.byte,
            action: found.action.clone(),
            after: Some(found.after.clone()),
            events: Vec::new(),
        }
    }
}

impl fmt::Display for FindingRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

/// What findings are known, by their fields. One that is not given may be anything; of those that
/// are, each has one of its values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Likeness {
    rule: Rule,
    how: Option<Vec<How>>,
    function: Option<Vec<String>>,
    /// The name in any attempt of a case, as is the next.
    file: Option<Vec<String>>,
    after: Option<Vec<String>>,
    action: Option<Vec<String>>,
    index: Option<Vec<u64>>,
    count: Option<Vec<u64>>,
    byte: Option<Vec<u8>>,
}

impl Likeness {
    /// Refuses what no finding can be.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for how in self.how.iter().flatten() {
            ensure!(
                how.rule() == self.rule,
                "{} is a way to break {}, not {}",
                how.id(),
                how.rule().id(),
                self.rule.id()
            );
        }
        let is_empty = [
            self.how.as_ref().is_some_and(Vec::is_empty),
            self.function.as_ref().is_some_and(Vec::is_empty),
            self.file.as_ref().is_some_and(Vec::is_empty),
            self.after.as_ref().is_some_and(Vec::is_empty),
            self.action.as_ref().is_some_and(Vec::is_empty),
            self.index.as_ref().is_some_and(Vec::is_empty),
            self.count.as_ref().is_some_and(Vec::is_empty),
            self.byte.as_ref().is_some_and(Vec::is_empty),
        ];
        ensure!(!is_empty.contains(&true), "a field of {} has no value", self.rule.id());
        Ok(())
    }

    /// Whether `found` is like that.
    pub(crate) fn is_match(&self, found: &FindingRecord) -> bool {
        self.rule == found.rule
            && is_one_of(self.how.as_ref(), found.how.as_ref(), How::eq)
            && is_one_of(self.function.as_ref(), found.function.as_ref(), String::eq)
            && is_one_of(self.file.as_ref(), found.file.as_ref(), is_same)
            && is_one_of(self.after.as_ref(), found.after.as_ref(), is_same)
            && is_one_of(self.action.as_ref(), found.action.as_ref(), String::eq)
            && is_one_of(self.index.as_ref(), found.index.as_ref(), u64::eq)
            && is_one_of(self.count.as_ref(), found.count.as_ref(), u64::eq)
            && is_one_of(self.byte.as_ref(), found.byte.as_ref(), u8::eq)
    }
}

/// Whether what was `found` is one of `wanted`, if that was given.
fn is_one_of<T>(wanted: Option<&Vec<T>>, found: Option<&T>, is_it: fn(&T, &T) -> bool) -> bool {
    let Some(wanted) = wanted else {
        return true;
    };
    found.is_some_and(|found| wanted.iter().any(|wanted| is_it(found, wanted)))
}

#[expect(clippy::ptr_arg, reason = "as the others that are compared")]
fn is_same(seen: &String, told: &String) -> bool {
    is_said_in_some_attempt(seen, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an oracle found.
    pub(crate) fn hole() -> FindingRecord {
        FindingRecord::from(&cases::oracle::Found {
            how: How::Hole,
            file: "data-1".to_owned(),
            index: 2,
            count: 1,
            block: Some(5),
            byte: None,
            action: Some("punch".to_owned()),
            after: "punch page 2 of data-1".to_owned(),
            text: "after punch page 2 of data-1: page 2 of data-1 is pinned in block 5, and the \
                   page is a hole now"
                .to_owned(),
        })
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        let json = serde_json::to_value(hole()).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let expected =
            ["action", "after", "block", "count", "file", "how", "index", "rule", "text"];
        assert_eq!(names, expected);
        assert_eq!((&json["rule"], &json["how"]), (&"kept-block".into(), &"hole".into()));
        assert_eq!(serde_json::from_value::<FindingRecord>(json).unwrap(), hole());
        let fields = "rule=kept-block how=hole file=data-1 index=2 count=1 block=5 action=punch";
        assert_eq!(hole().fields(), fields);
    }

    #[test]
    fn a_finding_of_an_older_journal_is_read() {
        let text = r#"{"rule":"kept block","text":"x","tasks":[],"inode":0,"page":0,"index":2,"events":[]}"#;
        let found: FindingRecord = serde_json::from_str(text).unwrap();
        assert_eq!((found.rule, found.how), (Rule::KeptBlock, None));
        assert_eq!((found.inode, found.page, found.index), (None, None, Some(2)));
        let error =
            serde_json::from_str::<FindingRecord>(r#"{"rule":"x","text":"x"}"#).unwrap_err();
        assert!(error.to_string().starts_with("there is no rule \"x\""), "{error}");
    }

    fn likeness(text: &str) -> Likeness {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_finding_is_known_by_all_fields_that_are_given() {
        for (text, matches) in [
            ("rule = \"kept-block\"", true),
            ("rule = \"durable\"", false),
            ("rule = \"kept-block\"\nhow = [\"moved\", \"hole\"]", true),
            ("rule = \"kept-block\"\nhow = [\"moved\"]", false),
            ("rule = \"kept-block\"\nfile = [\"data\"]\nindex = [2]", true),
            ("rule = \"kept-block\"\nfile = [\"dat\"]", false),
            ("rule = \"kept-block\"\nfile = [\"data\"]\nindex = [3]", false),
            ("rule = \"kept-block\"\nafter = [\"punch page 2 of data\"]", true),
            ("rule = \"kept-block\"\nafter = [\"punch page 3 of data\"]", false),
            ("rule = \"kept-block\"\naction = [\"zero\"]", false),
            ("rule = \"kept-block\"\nbyte = [0]", false),
        ] {
            assert_eq!(likeness(text).is_match(&hole()), matches, "{text}");
        }
    }

    #[test]
    fn what_no_finding_can_be_is_refused() {
        let error = likeness("rule = \"durable\"\nhow = [\"hole\"]").check().unwrap_err();
        assert_eq!(error.to_string(), "hole is a way to break kept-block, not durable");
        let error = likeness("rule = \"durable\"\nfile = []").check().unwrap_err();
        assert_eq!(error.to_string(), "a field of durable has no value");
        let error = toml::from_str::<Likeness>("rule = \"kept block\"").unwrap_err();
        assert!(error.message().contains("\"kept block\" is not a rule"), "{error}");
    }
}
