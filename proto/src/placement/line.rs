//! A rule in words, as `gnt-rule add` takes them and files of rules have them, one a line:
//!
//! ```text
//!   NAME KIND --instances FILTER [--nodes FILTER] [--domain DOMAIN] [--mirrors]
//!             [--strength hard|soft|WEIGHT] [--comment TEXT] [--disabled]
//! ```
//!
//! Words are separated by blanks; quotes and backslashes are a shell's: nothing is special inside `'…'`, a
//! backslash inside `"…"` or outside takes the next character as it is.

use super::{Domain, RuleSpec, Strength};
use crate::choices::RuleKind;
use std::fmt;

/// What is wrong with a rule in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordError {
    /// Of which part; empty: of the line as a whole.
    pub field: &'static str,
    pub message: String,
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

impl std::error::Error for WordError {}

fn wrong<T>(field: &'static str, message: impl fmt::Display) -> Result<T, WordError> {
    Err(WordError { field, message: message.to_string() })
}

impl RuleSpec {
    /// A rule of one line. Errors: the first part that is wrong.
    pub fn of_line(line: &str) -> Result<RuleSpec, WordError> {
        let mut words = split(line)?.into_iter();
        let mut plain = Vec::new();
        let mut instances = None;
        let mut spec = RuleSpec::new("", RuleKind::Apart, "");
        let mut seen: Vec<&'static str> = vec![];
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                plain.push(word);
                continue;
            };
            let (option, given) = match option.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (option, None),
            };
            let Some(&(field, takes)) = OPTIONS.iter().find(|(name, _)| *name == option) else {
                let names: Vec<_> = OPTIONS.iter().map(|(name, _)| format!("--{name}")).collect();
                return wrong(
                    "",
                    format!("unknown option '{word}'; there are: {}", names.join(", ")),
                );
            };
            if seen.contains(&field) {
                return wrong(field, "given twice");
            }
            seen.push(field);
            let value = match (takes, given) {
                (true, Some(value)) => value,
                (true, None) => match words.next() {
                    Some(value) => value,
                    None => return wrong(field, "a value is missing behind it"),
                },
                (false, None) => String::new(),
                (false, Some(_)) => return wrong(field, "it takes no value"),
            };
            match field {
                "instances" => instances = Some(value),
                "nodes" => spec.nodes = Some(value),
                "domain" => spec.domain = value.parse().or_else(|e| wrong(field, e))?,
                "mirrors" => spec.mirrors = true,
                "strength" => {
                    spec.weight = match value.parse().or_else(|e| wrong(field, e))? {
                        Strength::Hard => None,
                        Strength::Soft(weight) => Some(weight),
                    }
                }
                "comment" => spec.comment = value,
                _ => spec.enabled = false,
            }
        }
        let [name, kind] = plain.as_slice() else {
            let found = plain.len();
            return wrong(
                "",
                format!("a name and a kind are wanted besides options, here are {found} words"),
            );
        };
        spec.name.clone_from(name);
        spec.kind = kind.parse().or_else(|e| wrong("kind", e))?;
        let Some(instances) = instances else {
            return wrong("instances", "which? --instances is missing");
        };
        spec.instances = instances;
        if spec.kind == RuleKind::Prefer && seen.contains(&"strength") && spec.weight.is_none() {
            return wrong("strength", "a rule of kind prefer is a wish; only-on can be hard");
        }
        match spec.problem() {
            Ok(_) => Ok(spec),
            Err((field, message)) => wrong(field, message),
        }
    }

    /// The line that says the same.
    pub fn to_line(&self) -> String {
        let mut line =
            format!("{} {} --instances {}", self.name, self.kind, quoted(&self.instances));
        if let Some(nodes) = &self.nodes {
            line += &format!(" --nodes {}", quoted(nodes));
        }
        if self.domain != Domain::Node {
            line += &format!(" --domain {}", quoted(&self.domain.to_string()));
        }
        if self.mirrors {
            line += " --mirrors";
        }
        if let Some(weight) = self.weight {
            line += &format!(" --strength {weight}");
        }
        if !self.comment.is_empty() {
            line += &format!(" --comment {}", quoted(&self.comment));
        }
        if !self.enabled {
            line += " --disabled";
        }
        line
    }
}

/// Options, and whether a value follows.
const OPTIONS: [(&str, bool); 7] = [
    ("instances", true),
    ("nodes", true),
    ("domain", true),
    ("mirrors", false),
    ("strength", true),
    ("comment", true),
    ("disabled", false),
];

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The words of a line.
fn split(line: &str) -> Result<Vec<String>, WordError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        None => return wrong("", format!("the quote {c} is not closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(rest.next()),
                        Some(other) => word.push(other),
                    }
                }
            }
            '\\' => match rest.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return wrong("", "nothing follows the backslash at the end"),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_says_what_options_say() {
        let line = r#"db apart --instances '"service:db" in tags' --domain=rack --mirrors --strength 2.5 --comment "it's \"so\"" --disabled"#;
        let spec = RuleSpec::of_line(line).unwrap();
        assert_eq!((spec.name.as_str(), spec.kind), ("db", RuleKind::Apart));
        assert_eq!(spec.instances, r#""service:db" in tags"#);
        assert_eq!((spec.domain.clone(), spec.mirrors), (Domain::Tag("rack".into()), true));
        assert_eq!((spec.weight, spec.enabled), (Some(2.5), false));
        assert_eq!(spec.comment, r#"it's "so""#);
        assert_eq!(RuleSpec::of_line(&spec.to_line()), Ok(spec));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |line: &str| RuleSpec::of_line(line).expect_err("wrong").to_string();
        assert_eq!(error("db"), "a name and a kind are wanted besides options, here are 1 words");
        assert!(error("db near --instances x").starts_with("kind: 'near' is not a rule kind"));
        assert_eq!(error("db apart"), "instances: which? --instances is missing");
        assert_eq!(error("db apart --instances"), "instances: a value is missing behind it");
        assert!(error("db apart --where x").starts_with("unknown option '--where'"));
        assert_eq!(error("db apart 'x"), "the quote ' is not closed");
        assert!(
            error("db apart --instances 'name =='").starts_with("instances: Error while parsing")
        );
        assert_eq!(error("db apart --mirrors --mirrors"), "mirrors: given twice");
        assert!(
            error("db prefer --instances 'name == \"a\"' --strength hard")
                .starts_with("strength: ")
        );
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(line in "(?s).{0,120}") {
            let _ = RuleSpec::of_line(&line);
        }

        #[test]
        fn nothing_like_a_rule_makes_the_reader_panic(
            words in prop::collection::vec(
                prop_oneof![
                    Just("--instances".to_owned()), Just("'name == \"a\"'".into()), Just("apart".into()),
                    Just("--strength".into()), Just("--domain=".into()), Just("--nodes".into()),
                    "[-a-z\"'\\\\= ]{0,9}",
                ],
                0..9,
            ),
        ) {
            if let Ok(spec) = RuleSpec::of_line(&words.join(" ")) {
                prop_assert_eq!(RuleSpec::of_line(&spec.to_line()), Ok(spec));
            }
        }

        #[test]
        fn what_is_written_is_read(comment in "\\PC{0,30}", value in "[a-z'\\\\\" ]{0,10}") {
            let quoted = value.replace('\\', r"\\").replace('"', "\\\"");
            let spec = RuleSpec {
                comment,
                ..RuleSpec::new("a", RuleKind::Together, format!("name == \"{quoted}\""))
            };
            prop_assert_eq!(RuleSpec::of_line(&spec.to_line()), Ok(spec));
        }
    }
}
