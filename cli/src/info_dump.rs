//! The nested `key: value` text of the `info` commands.
//!
//! ```text
//! - Instance name: web1        an item of a list
//!   Nodes:                     a container after a key: the line ends with a blank
//!     - primary: n1            two blanks a level
//! ```

use roost_proto::query::pyrepr;
use serde_json::Value;
use std::fmt::Display;

/// What is printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Info {
    /// A value.
    Text(String),
    /// Keys with values, in order.
    Fields(Vec<(String, Info)>),
    /// Things of a kind.
    List(Vec<Info>),
    /// A few plain values in one line: `[a, b]`.
    Inline(Vec<String>),
}

impl Info {
    /// A value; none is Python's `None`.
    pub fn text(value: impl Display) -> Info {
        Info::Text(value.to_string())
    }

    /// A value that may be missing.
    pub fn maybe<T: Display>(value: Option<T>) -> Info {
        value.map_or_else(|| Info::text("None"), Info::text)
    }

    /// True or False.
    pub fn bool(value: bool) -> Info {
        Info::text(if value { "True" } else { "False" })
    }

    /// Any JSON: objects with their keys sorted, lists as items.
    pub fn json(value: &Value) -> Info {
        match value {
            Value::Object(map) => {
                let mut fields: Vec<_> =
                    map.iter().map(|(key, value)| (key.clone(), Info::json(value))).collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Info::Fields(fields)
            }
            Value::Array(items) => Info::List(items.iter().map(Info::json).collect()),
            other => Info::Text(pyrepr::str(other)),
        }
    }

    /// Parameters, of which some are inherited: those are shown as `default (X)`.
    pub fn params(own: &Value, filled: &Value) -> Info {
        let Some(filled) = filled.as_object() else { return Info::json(own) };
        let mut fields: Vec<_> = filled
            .iter()
            .map(|(key, value)| match (own.get(key), value) {
                (Some(own), _) if !own.is_object() => (key.clone(), Info::json(own)),
                (own, Value::Object(_)) => {
                    (key.clone(), Info::params(own.unwrap_or(&Value::Null), value))
                }
                _ => (key.clone(), Info::Text(format!("default ({})", pyrepr::str(value)))),
            })
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Info::Fields(fields)
    }

    /// The same with whole numbers in Roman numerals, where that is asked for.
    #[must_use]
    pub fn numerals(self, roman: bool) -> Info {
        if !roman {
            return self;
        }
        let text = |text: String| match text.parse() {
            Ok(number @ 1..4000) => to_roman(number),
            _ => text,
        };
        match self {
            Info::Text(value) => Info::Text(text(value)),
            Info::Inline(items) => Info::Inline(items.into_iter().map(text).collect()),
            Info::List(items) => {
                Info::List(items.into_iter().map(|item| item.numerals(true)).collect())
            }
            Info::Fields(fields) => Info::Fields(
                fields.into_iter().map(|(key, value)| (key, value.numerals(true))).collect(),
            ),
        }
    }

    /// The text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0, false);
        out
    }

    fn write(&self, out: &mut String, level: usize, after_key: bool) {
        match self {
            Info::Text(text) => {
                out.push_str(text);
                out.push('\n');
            }
            Info::Inline(items) => {
                out.push('[');
                out.push_str(&items.join(", "));
                out.push_str("]\n");
            }
            Info::Fields(fields) => {
                lines(out, level, after_key, fields, |out, (key, value)| {
                    out.push_str(key);
                    out.push_str(": ");
                    value.write(out, level + 1, true);
                });
            }
            Info::List(items) => {
                lines(out, level, after_key, items, |out, item| {
                    out.push_str("- ");
                    item.write(out, level + 1, false);
                });
            }
        }
    }
}

fn to_roman(mut number: u32) -> String {
    const DIGITS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    for (value, digit) in DIGITS {
        while number >= value {
            number -= value;
            text.push_str(digit);
        }
    }
    text
}

/// The parts of a container. The first one stands where the container begins, unless that is
/// behind a key.
fn lines<T>(
    out: &mut String,
    level: usize,
    after_key: bool,
    parts: &[T],
    write: impl Fn(&mut String, &T),
) {
    if after_key || parts.is_empty() {
        out.push('\n');
    }
    for (i, part) in parts.iter().enumerate() {
        if i > 0 || after_key {
            out.extend(std::iter::repeat_n("  ", level));
        }
        write(out, part);
    }
}

/// Fields in the making.
#[derive(Debug, Default)]
pub struct Fields(Vec<(String, Info)>);

impl Fields {
    /// None yet.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// Adds one.
    pub fn add(&mut self, key: impl Into<String>, value: Info) -> &mut Fields {
        self.0.push((key.into(), value));
        self
    }

    /// Adds a value.
    pub fn text(&mut self, key: impl Into<String>, value: impl Display) -> &mut Fields {
        self.add(key, Info::text(value))
    }

    /// Adds several whose values begin in the same column.
    pub fn aligned(&mut self, fields: &[(&str, String)]) -> &mut Fields {
        let width = fields.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (key, value) in fields {
            self.text(*key, format_args!("{:pad$}{value}", "", pad = width - key.len()));
        }
        self
    }

    /// All of them.
    pub fn done(self) -> Info {
        Info::Fields(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nests_by_two_blanks() {
        let mut disk = Fields::new();
        disk.text("size", "1.0G").add("child devices", Info::List(vec![]));
        let mut instance = Fields::new();
        instance
            .text("Instance name", "web1")
            .add("Nodes", Info::List(vec![Info::text("a"), Info::Inline(vec!["b".into()])]))
            .add("Disks", Info::List(vec![disk.done()]))
            .add("Empty", Info::Fields(vec![]))
            .aligned(&[("A", "1".into()), ("Long", "2".into())]);
        let text = Info::List(vec![instance.done(), Info::text("x")]).render();
        assert_eq!(
            text,
            "- Instance name: web1\n  Nodes: \n    - a\n    - [b]\n  Disks: \n    - size: 1.0G\n      \
             child devices: \n  Empty: \n  A:    1\n  Long: 2\n- x\n"
        );
    }

    #[test]
    fn roman_numerals() {
        let info = Info::json(&json!({"a": 1994, "b": "x1", "c": [4, 0]})).numerals(true);
        assert_eq!(info.render(), "a: MCMXCIV\nb: x1\nc: \n  - IV\n  - 0\n");
    }

    #[test]
    fn inherited_parameters_are_marked() {
        let info = Info::params(&json!({"acpi": true}), &json!({"acpi": true, "pae": null}));
        assert_eq!(info.render(), "acpi: True\npae: default (None)\n");
        let info = Info::params(&json!({"drbd": {"a": 2}}), &json!({"drbd": {"a": 2, "b": 1}}));
        assert_eq!(info.render(), "drbd: \n  a: 2\n  b: default (1)\n");
    }
}
