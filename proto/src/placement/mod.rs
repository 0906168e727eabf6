//! Placement rules: what one says, and whether it makes sense.
//!
//! ```text
//!   gnt-rule add ──► RuleSpec ──► a document of the cluster ──► htools: members, violations
//!   a rules file ──► line ──┘
//! ```
//!
//! A rule says in the filter language which instances it is about and, for some kinds, on which nodes they may be.
//! The fields are those that do not depend on where an instance is: a rule whose members change as they move
//! could not be kept.

mod line;

pub use line::WordError;

use crate::choices::RuleKind;
use crate::error::{Error, Result};
use crate::query::compiled::FilterError;
use crate::query::fields::{FieldKind, Matching};
use crate::query::{Compiled, Filter, parse};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What may be asked about an instance.
pub const INSTANCE_FIELDS: &[(&str, FieldKind, Matching)] = &[
    ("name", FieldKind::Text, Matching::HostName),
    ("tags", FieldKind::Other, Matching::Exact),
    ("disk_template", FieldKind::Text, Matching::Exact),
    ("be/maxmem", FieldKind::Unit, Matching::Exact),
    ("be/vcpus", FieldKind::Number, Matching::Exact),
    ("be/spindle_use", FieldKind::Number, Matching::Exact),
    ("be/auto_balance", FieldKind::Boolean, Matching::Exact),
];

/// What may be asked about a node.
pub const NODE_FIELDS: &[(&str, FieldKind, Matching)] = &[
    ("name", FieldKind::Text, Matching::HostName),
    ("tags", FieldKind::Other, Matching::Exact),
    ("group", FieldKind::Text, Matching::Exact),
];

/// The least and the most that a wish may count.
pub const WEIGHTS: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// The longest name of a rule, in bytes.
const MAX_NAME: usize = 64;
/// The longest filter, in bytes.
const MAX_FILTER: usize = 4096;
/// The longest comment, in bytes.
const MAX_COMMENT: usize = 1024;

/// What counts as one place for the kinds `together` and `apart`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Domain {
    /// A node.
    #[default]
    Node,
    /// A node group.
    Group,
    /// Nodes with the same tag of this family: `rack` for `rack:a`, `rack:b`.
    Tag(String),
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Domain::Node => "node",
            Domain::Group => "group",
            Domain::Tag(family) => family,
        })
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> String {
        domain.to_string()
    }
}

impl TryFrom<String> for Domain {
    type Error = Error;

    fn try_from(word: String) -> Result<Domain> {
        word.parse()
    }
}

impl std::str::FromStr for Domain {
    type Err = Error;

    fn from_str(word: &str) -> Result<Domain> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ".+*/:@_-".contains(c);
        match word {
            "node" => Ok(Domain::Node),
            "group" => Ok(Domain::Group),
            _ if !word.is_empty() && word.len() < 128 && word.chars().all(fits) => {
                Ok(Domain::Tag(word.trim_end_matches(':').to_owned()))
            }
            _ => Err(Error::wrong_input(format!(
                "'{word}' is no failure domain: it is node, group, or the beginning of nodes' tags, as rack \
                 for rack:a and rack:b"
            ))),
        }
    }
}

/// Whether a rule must hold, or only counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strength {
    /// Nothing is done that breaks it further.
    Hard,
    /// Each violation adds so much to the score.
    Soft(f64),
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strength::Hard => f.write_str("hard"),
            Strength::Soft(weight) => write!(f, "{weight}"),
        }
    }
}

impl std::str::FromStr for Strength {
    type Err = Error;

    /// `hard`, `soft`, or what it counts.
    fn from_str(word: &str) -> Result<Strength> {
        match (word, word.parse::<f64>()) {
            ("hard", _) => Ok(Strength::Hard),
            ("soft", _) => Ok(Strength::Soft(1.0)),
            (_, Ok(weight)) if WEIGHTS.contains(&weight) => Ok(Strength::Soft(weight)),
            _ => Err(Error::wrong_input(format!(
                "'{word}' is no strength of a rule: it is hard, soft, or a number from {} to {} that each \
                 violation counts in the score (soft: 1)",
                WEIGHTS.start(),
                WEIGHTS.end()
            ))),
        }
    }
}

impl Serialize for Strength {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Strength::Hard => s.serialize_str("hard"),
            Strength::Soft(weight) => s.serialize_f64(*weight),
        }
    }
}

impl<'de> Deserialize<'de> for Strength {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Strength, D::Error> {
        let word = match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(word) => word,
            other => other.to_string(),
        };
        word.parse().map_err(serde::de::Error::custom)
    }
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleSpec {
    pub name: String,
    pub kind: RuleKind,
    /// Which instances it is about, in the filter language.
    pub instances: String,
    /// Where they may be, in the filter language: for `only-on` and `prefer`, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// What is one place, for `together` and `apart`.
    #[serde(default)]
    pub domain: Domain,
    /// `apart` also when any of them has failed over.
    #[serde(default)]
    pub mirrors: bool,
    /// What each violation counts. None: it must hold (but for `prefer`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    #[serde(default)]
    pub comment: String,
    /// Whether it counts at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// Filters of a rule, ready to run.
#[derive(Clone, Debug)]
pub struct RuleFilters {
    pub instances: Compiled<&'static str>,
    pub nodes: Option<Compiled<&'static str>>,
}

impl RuleSpec {
    /// A hard rule about all instances that a filter finds.
    pub fn new(name: impl Into<String>, kind: RuleKind, instances: impl Into<String>) -> RuleSpec {
        RuleSpec {
            name: name.into(),
            kind,
            instances: instances.into(),
            nodes: None,
            domain: Domain::Node,
            mirrors: false,
            weight: None,
            comment: String::new(),
            enabled: true,
        }
    }

    /// Whether it must hold.
    pub fn strength(&self) -> Strength {
        match (self.kind, self.weight) {
            (_, Some(weight)) => Strength::Soft(weight),
            (RuleKind::Prefer, None) => Strength::Soft(1.0),
            (_, None) => Strength::Hard,
        }
    }

    /// Gives it another strength. Errors: a rule of kind `prefer` cannot be hard.
    pub fn set_strength(&mut self, strength: Strength) -> Result<()> {
        self.weight = match strength {
            Strength::Hard if self.kind == RuleKind::Prefer => {
                return Err(Error::wrong_input(format!(
                    "Placement rule '{}': strength: a rule of kind prefer is a wish; only-on can be hard",
                    self.name
                )));
            }
            Strength::Hard => None,
            Strength::Soft(weight) => Some(weight),
        };
        Ok(())
    }

    /// Whether what it says makes sense by itself. Errors: `wrong_input`, naming rule and part.
    pub fn check(&self) -> Result<()> {
        self.filters().map(|_| ())
    }

    /// Its filters, made ready. Errors: as [`RuleSpec::check`].
    pub fn filters(&self) -> Result<RuleFilters> {
        self.problem().map_err(|(field, why)| {
            Error::wrong_input(format!("Placement rule '{}': {field}: {why}", self.name))
        })
    }

    /// The first part that is wrong, and why.
    pub(crate) fn problem(&self) -> std::result::Result<RuleFilters, (&'static str, String)> {
        check_name(&self.name).map_err(|why| ("name", why))?;
        let wants_nodes = matches!(self.kind, RuleKind::OnlyOn | RuleKind::Prefer);
        if wants_nodes && self.nodes.is_none() {
            return Err(("nodes", format!("a rule of kind {} says on which nodes", self.kind)));
        }
        if !wants_nodes && self.nodes.is_some() {
            let why = format!(
                "a rule of kind {} is about all nodes; only-on and prefer have one",
                self.kind
            );
            return Err(("nodes", why));
        }
        if wants_nodes && self.domain != Domain::Node {
            return Err(("domain", format!("a rule of kind {} has none", self.kind)));
        }
        if self.mirrors && self.kind != RuleKind::Apart {
            let why = format!("only rules of kind apart can be about mirrors, not {}", self.kind);
            return Err(("mirrors", why));
        }
        if let Some(weight) = self.weight.filter(|weight| !WEIGHTS.contains(weight)) {
            let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
            return Err(("strength", format!("{weight} is not between {least} and {most}")));
        }
        if self.comment.len() > MAX_COMMENT {
            return Err(("comment", format!("it is longer than {MAX_COMMENT} bytes")));
        }
        let texts = [
            ("comment", Some(&self.comment)),
            ("instances", Some(&self.instances)),
            ("nodes", self.nodes.as_ref()),
        ];
        // Each rule is one line of a file.
        let broken = |text: &&String| text.chars().any(char::is_control);
        if let Some((part, _)) =
            texts.into_iter().find(|(_, text)| text.is_some_and(|t| broken(&t)))
        {
            return Err((
                part,
                "it has a line break, or another character that cannot be seen".into(),
            ));
        }
        let instances = compile(&self.instances, INSTANCE_FIELDS).map_err(|e| ("instances", e))?;
        let nodes = self.nodes.as_deref().map(|text| compile(text, NODE_FIELDS));
        let nodes = nodes.transpose().map_err(|e| ("nodes", e))?;
        Ok(RuleFilters { instances, nodes })
    }
}

fn check_name(name: &str) -> std::result::Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let begins = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if begins && name.len() <= MAX_NAME && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!(
        "'{name}' cannot be the name of a rule: up to {MAX_NAME} letters, digits, dots, hyphens and \
         underscores, a letter or digit first"
    ))
}

fn compile(
    text: &str,
    fields: &'static [(&'static str, FieldKind, Matching)],
) -> std::result::Result<Compiled<&'static str>, String> {
    if text.len() > MAX_FILTER {
        return Err(format!("the filter is longer than {MAX_FILTER} bytes"));
    }
    let filter: Filter = parse(text).map_err(|error| error.to_string())?;
    let mut asked = 0;
    filter.visit_fields(&mut |_| asked += 1);
    if asked == 0 {
        return Err("the filter asks for nothing".into());
    }
    if compares_tags(&filter) {
        return Err("tags is a list: ask for one of them, as '\"service:db\" in tags'".into());
    }
    let lookup = |name: &str| match fields.iter().find(|(field, ..)| *field == name) {
        Some((field, kind, matching)) => Ok((*field, Some(*kind), *matching)),
        None => Err(FilterError::UnknownField(name.to_owned())),
    };
    Compiled::build(&filter, lookup).map_err(|error| match error {
        FilterError::UnknownField(name) => {
            let known: Vec<_> = fields.iter().map(|(field, ..)| *field).collect();
            format!("a rule cannot ask for '{name}', but for {}", known.join(", "))
        }
        other => other.to_string(),
    })
}

/// What only a row could tell otherwise.
fn compares_tags(filter: &Filter) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(compares_tags),
        Filter::Not(part) => compares_tags(part),
        Filter::Contains(..) => false,
        Filter::True(field) | Filter::Compare(_, field, _) | Filter::Matches(field, _) => {
            field == "tags"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: RuleKind) -> RuleSpec {
        RuleSpec::new("web", kind, r#"name =* "web*""#)
    }

    fn refused(spec: &RuleSpec) -> String {
        spec.check().expect_err("nonsense").message
    }

    #[test]
    fn what_makes_sense() {
        assert_eq!(spec(RuleKind::Apart).check(), Ok(()));
        let fast = Some(r#""disk:ssd" in tags and group == "default""#.to_owned());
        let only = RuleSpec { nodes: fast, ..spec(RuleKind::OnlyOn) };
        assert_eq!(only.check(), Ok(()));
        assert_eq!(only.strength(), Strength::Hard);
        let prefer = RuleSpec { kind: RuleKind::Prefer, ..only };
        assert_eq!(prefer.strength(), Strength::Soft(1.0));
        let big =
            RuleSpec::new("big", RuleKind::Apart, "be/maxmem >= 16384 and not be/auto_balance");
        assert_eq!(big.check(), Ok(()));
    }

    #[test]
    fn what_does_not() {
        let name = RuleSpec { name: "-x".into(), ..spec(RuleKind::Apart) };
        assert!(refused(&name).contains("name: '-x' cannot be"), "{}", refused(&name));
        assert!(refused(&spec(RuleKind::OnlyOn)).contains("nodes: a rule of kind only-on says"));
        let nodes = RuleSpec { nodes: Some("name == \"a\"".into()), ..spec(RuleKind::Together) };
        assert!(refused(&nodes).contains("is about all nodes"));
        let mirrors = RuleSpec { mirrors: true, ..spec(RuleKind::Together) };
        assert!(refused(&mirrors).contains("mirrors: only rules of kind apart"));
        let weight = RuleSpec { weight: Some(f64::NAN), ..spec(RuleKind::Apart) };
        assert!(refused(&weight).contains("strength: NaN is not between"));
        let field = RuleSpec { instances: "pnode == \"a\"".into(), ..spec(RuleKind::Apart) };
        assert!(
            refused(&field)
                .contains("instances: a rule cannot ask for 'pnode', but for name, tags")
        );
        let list = RuleSpec { instances: "tags == \"a\"".into(), ..spec(RuleKind::Apart) };
        assert!(refused(&list).contains("tags is a list"), "{}", refused(&list));
        let lines = RuleSpec { comment: "a\nb".into(), ..spec(RuleKind::Apart) };
        assert!(refused(&lines).contains("comment: it has a line break"), "{}", refused(&lines));
        let broken = RuleSpec { instances: "name ==".into(), ..spec(RuleKind::Apart) };
        assert!(
            refused(&broken).contains("instances: Error while parsing"),
            "{}",
            refused(&broken)
        );
    }

    #[test]
    fn words_are_read() {
        assert_eq!("hard".parse(), Ok(Strength::Hard));
        assert_eq!("2.5".parse(), Ok(Strength::Soft(2.5)));
        assert_eq!(serde_json::from_str::<Strength>("2.5").unwrap(), Strength::Soft(2.5));
        assert_eq!(serde_json::to_string(&Strength::Hard).unwrap(), "\"hard\"");
        assert!("-1".parse::<Strength>().is_err() && "".parse::<Strength>().is_err());
        assert_eq!("rack:".parse(), Ok(Domain::Tag("rack".into())));
        assert_eq!("group".parse(), Ok(Domain::Group));
        assert!("a b".parse::<Domain>().is_err());
    }

    #[test]
    fn stored_form() {
        let json = serde_json::json!({
            "name": "web", "kind": "apart", "instances": "name == \"a\"", "domain": "rack",
            "mirrors": true, "weight": 2.0, "comment": "", "enabled": true,
        });
        let spec: RuleSpec = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(spec.domain, Domain::Tag("rack".into()));
        assert_eq!(serde_json::to_value(&spec).unwrap(), json);
    }
}
