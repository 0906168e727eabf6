//! The filter language: its tree, its JSON form on the wire, and printing it as text.
//!
//! The text form is read by [`super::parse`], conditions are evaluated by [`super::eval`].
//! Everything here faces the network, so trees are limited in depth and size.

use crate::error::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::fmt;

/// How deeply conditions may be nested.
pub const MAX_DEPTH: usize = 64;
/// How many conditions a filter may have: enough to name every instance of the largest cluster.
pub const MAX_CONDITIONS: usize = 200_000;

/// A condition on a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them hold; none at all: true.
    And(Vec<Filter>),
    /// At least one of them holds; none at all: false.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// A boolean field is true.
    True(String),
    /// A field compared with a value.
    Compare(Comparison, String, FilterValue),
    /// A regular expression is found in a text field.
    Matches(String, String),
    /// A list field contains a value.
    Contains(String, FilterValue),
}

/// The comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal. A host name is also equal to the short forms of it.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
}

impl Comparison {
    /// The operator, on the wire and in text (which prefers `==` for equality).
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    /// Reads the operator; `==` is an old spelling of `=`.
    pub fn parse(word: &str) -> Option<Comparison> {
        Some(match word {
            "=" | "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterValue {
    /// A quoted string.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Another number; always finite.
    Float(f64),
}

impl From<&str> for FilterValue {
    fn from(text: &str) -> Self {
        FilterValue::Text(text.to_owned())
    }
}

impl From<String> for FilterValue {
    fn from(text: String) -> Self {
        FilterValue::Text(text)
    }
}

impl From<i64> for FilterValue {
    fn from(number: i64) -> Self {
        FilterValue::Int(number)
    }
}

impl FilterValue {
    fn to_json(&self) -> Value {
        match self {
            FilterValue::Text(text) => json!(text),
            FilterValue::Int(number) => json!(number),
            FilterValue::Float(number) => json!(number),
        }
    }

    fn from_json(value: &Value) -> Result<FilterValue, String> {
        match value {
            Value::String(text) => Ok(FilterValue::Text(text.clone())),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Ok(FilterValue::Int(number)),
                None => number
                    .as_f64()
                    .filter(|n| n.is_finite())
                    .map(FilterValue::Float)
                    .ok_or_else(|| format!("number {number} is too large")),
            },
            other => Err(format!("a value must be a string or a number, not {}", brief(other))),
        }
    }
}

/// A filter in JSON that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Invalid query filter: {0} (a filter is a list such as [\"=\", FIELD, VALUE], \
     [\"|\", FILTER, …] or [\"!\", FILTER])"
)]
pub struct FilterJsonError(pub String);

impl From<FilterJsonError> for Error {
    fn from(error: FilterJsonError) -> Error {
        Error::wrong_input(error.to_string())
    }
}

impl Filter {
    /// `field == value`.
    pub fn equal(field: impl Into<String>, value: impl Into<FilterValue>) -> Filter {
        Filter::Compare(Comparison::Equal, field.into(), value.into())
    }

    /// The opposite of a filter.
    #[must_use]
    pub fn negated(self) -> Filter {
        Filter::Not(Box::new(self))
    }

    /// Both of two optional filters; none filters nothing.
    pub fn both(a: Option<Filter>, b: Option<Filter>) -> Option<Filter> {
        match (a, b) {
            (Some(a), Some(b)) => Some(Filter::And(vec![a, b])),
            (a, b) => a.or(b),
        }
    }

    /// Reads the wire form. Null means "everything": use [`Filter::from_json_optional`] for it.
    pub fn from_json(value: &Value) -> Result<Filter, FilterJsonError> {
        let mut left = MAX_CONDITIONS;
        read(value, MAX_DEPTH, &mut left).map_err(FilterJsonError)
    }

    /// Reads the wire form where null stands for no filter.
    pub fn from_json_optional(value: &Value) -> Result<Option<Filter>, FilterJsonError> {
        if value.is_null() { Ok(None) } else { Filter::from_json(value).map(Some) }
    }

    /// The wire form.
    pub fn to_json(&self) -> Value {
        let group = |op: &str, parts: &[Filter]| {
            Value::Array(
                std::iter::once(json!(op)).chain(parts.iter().map(Filter::to_json)).collect(),
            )
        };
        match self {
            Filter::And(parts) => group("&", parts),
            Filter::Or(parts) => group("|", parts),
            Filter::Not(part) => json!(["!", part.to_json()]),
            Filter::True(field) => json!(["?", field]),
            Filter::Compare(op, field, value) => json!([op.as_str(), field, value.to_json()]),
            Filter::Matches(field, regex) => json!(["=~", field, regex]),
            Filter::Contains(field, value) => json!(["=[]", field, value.to_json()]),
        }
    }

    /// If the filter only names rows (an OR of equalities of `name_field`): the names in order.
    /// Such a query reports names that do not exist and answers in the order asked.
    pub fn requested_names(&self, name_field: &str) -> Option<Vec<&FilterValue>> {
        fn collect<'a>(f: &'a Filter, field: &str, names: &mut Vec<&'a FilterValue>) -> bool {
            match f {
                Filter::Or(parts) => parts.iter().all(|part| collect(part, field, names)),
                Filter::Compare(Comparison::Equal, name, value) if name == field => {
                    names.push(value);
                    true
                }
                _ => false,
            }
        }
        let mut names = Vec::new();
        collect(self, name_field, &mut names).then_some(names)
    }

    /// Calls `visit` with every field that the filter mentions, left to right.
    pub fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match self {
            Filter::And(parts) | Filter::Or(parts) => {
                parts.iter().for_each(|part| part.visit_fields(visit));
            }
            Filter::Not(part) => part.visit_fields(visit),
            Filter::True(field)
            | Filter::Compare(_, field, _)
            | Filter::Matches(field, _)
            | Filter::Contains(field, _) => visit(field),
        }
    }
}

fn read(value: &Value, depth: usize, left: &mut usize) -> Result<Filter, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("it is nested more than {MAX_DEPTH} deep"));
    };
    *left = left
        .checked_sub(1)
        .ok_or_else(|| format!("it has more than {MAX_CONDITIONS} conditions"))?;
    let Value::Array(items) = value else {
        return Err(format!("{} where a list is expected", brief(value)));
    };
    let Some((Value::String(op), args)) = items.split_first() else {
        return Err("a list must begin with an operator".to_owned());
    };
    let group = |left: &mut usize| {
        args.iter().map(|arg| read(arg, depth, left)).collect::<Result<Vec<_>, _>>()
    };
    let count = |wanted: usize| match args.len() {
        n if n == wanted => Ok(()),
        n => Err(format!("operator '{op}' takes {wanted} arguments, not {n}")),
    };
    match op.as_str() {
        "&" => return Ok(Filter::And(group(left)?)),
        "|" => return Ok(Filter::Or(group(left)?)),
        "!" => {
            count(1)?;
            return Ok(read(&args[0], depth, left)?.negated());
        }
        "?" => {
            count(1)?;
            return Ok(Filter::True(field_name(&args[0])?));
        }
        _ => {}
    }
    let comparison = Comparison::parse(op);
    if comparison.is_none() && !matches!(op.as_str(), "=~" | "=[]") {
        return Err(format!("unknown operator {}", brief(&items[0])));
    }
    count(2)?;
    let field = field_name(&args[0])?;
    Ok(match (comparison, &args[1]) {
        // Clients in other languages write booleans; the language itself has `?` for them.
        (Some(Comparison::Equal), Value::Bool(true))
        | (Some(Comparison::NotEqual), Value::Bool(false)) => Filter::True(field),
        (Some(Comparison::Equal), Value::Bool(false))
        | (Some(Comparison::NotEqual), Value::Bool(true)) => Filter::True(field).negated(),
        (Some(comparison), value) => {
            Filter::Compare(comparison, field, FilterValue::from_json(value)?)
        }
        (None, value) if op == "=[]" => Filter::Contains(field, FilterValue::from_json(value)?),
        (None, Value::String(regex)) => Filter::Matches(field, regex.clone()),
        (None, other) => {
            return Err(format!("a regular expression must be a string, not {}", brief(other)));
        }
    })
}

fn field_name(value: &Value) -> Result<String, String> {
    match value {
        Value::String(name) if name.len() <= 256 => Ok(name.clone()),
        other => Err(format!("a field name must be a short string, not {}", brief(other))),
    }
}

/// A value in an error message: never longer than a line.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Filter, D::Error> {
        Filter::from_json(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether the arguments of a `list` command are a filter without `-F`: exactly one, with a
/// character that no name has.
pub fn looks_like_filter(args: &[impl AsRef<str>]) -> bool {
    match args {
        [only] => {
            only.as_ref().contains(|c: char| c.is_whitespace() || "!\"'()<>=\\/~".contains(c))
        }
        _ => false,
    }
}

/// Plain arguments of a `list` command that are no names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid job ID '{0}': a job is named by its number")]
pub struct NotANumber(pub String);

impl From<NotANumber> for Error {
    fn from(error: NotANumber) -> Error {
        Error::wrong_input(error.to_string())
    }
}

/// The filter for plain arguments: any of these names; `*` and `?` make a name a pattern. None
/// for no arguments. With `numbers` (jobs) each must be a whole number.
pub fn names_filter(
    names: &[impl AsRef<str>],
    name_field: &str,
    numbers: bool,
) -> Result<Option<Filter>, NotANumber> {
    let one = |name: &str| {
        if numbers {
            let number = name.parse::<i64>().map_err(|_| NotANumber(name.to_owned()))?;
            Ok(Filter::equal(name_field, number))
        } else if name.contains(['*', '?']) {
            Ok(Filter::Matches(name_field.to_owned(), glob_to_regex(name)))
        } else {
            Ok(Filter::equal(name_field, name))
        }
    };
    match names {
        [] => Ok(None),
        names => {
            let parts = names.iter().map(|n| one(n.as_ref())).collect::<Result<_, _>>()?;
            Ok(Some(Filter::Or(parts)))
        }
    }
}

/// A DNS glob as a regular expression: `*` and `?` do not match a dot, and the pattern may leave
/// out trailing components (`web*` finds `web1.example.com`).
pub fn glob_to_regex(glob: &str) -> String {
    let mut regex = String::with_capacity(glob.len() + 16);
    regex.push('^');
    let mut buffer = [0; 4];
    for c in glob.chars() {
        match c {
            '*' => regex.push_str("[^.]*"),
            '?' => regex.push_str("[^.]"),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut buffer))),
        }
    }
    regex.push_str(r"(\..*)?$");
    regex
}

/// The text form, which [`super::parse()`] reads back. Three shapes exist in JSON only and have no
/// exact text: groups of fewer than two, odd field names, and regular expressions that contain
/// all four delimiters or end in a backslash.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::And(parts) => write_group(f, parts, "and"),
            Filter::Or(parts) => write_group(f, parts, "or"),
            Filter::Not(part) => match part.as_ref() {
                Filter::Matches(field, regex) => {
                    write!(f, "{field} !~ ")?;
                    write_regex(f, regex)
                }
                Filter::Contains(field, value) => write!(f, "{value} not in {field}"),
                part => {
                    f.write_str("not ")?;
                    write_operand(f, part)
                }
            },
            Filter::True(field) => f.write_str(field),
            Filter::Compare(Comparison::Equal, field, value) => write!(f, "{field} == {value}"),
            Filter::Compare(op, field, value) => write!(f, "{field} {} {value}", op.as_str()),
            Filter::Matches(field, regex) => {
                write!(f, "{field} =~ ")?;
                write_regex(f, regex)
            }
            Filter::Contains(field, value) => write!(f, "{value} in {field}"),
        }
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, parts: &[Filter], word: &str) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            write!(f, " {word} ")?;
        }
        write_operand(f, part)?;
    }
    Ok(())
}

/// A group inside something else needs parentheses, always: they keep the shape of the tree.
fn write_operand(f: &mut fmt::Formatter<'_>, part: &Filter) -> fmt::Result {
    match part {
        Filter::And(_) | Filter::Or(_) => write!(f, "({part})"),
        part => write!(f, "{part}"),
    }
}

fn write_regex(f: &mut fmt::Formatter<'_>, regex: &str) -> fmt::Result {
    match super::parse::REGEX_DELIMITERS.into_iter().find(|d| !regex.contains(*d)) {
        Some(delimiter) => write!(f, "m{delimiter}{regex}{delimiter}"),
        None => write!(f, "/{}/", regex.replace("\\/", "/").replace('/', "\\/")),
    }
}

impl fmt::Display for FilterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterValue::Text(text) => {
                f.write_str("\"")?;
                for c in text.chars() {
                    if matches!(c, '"' | '\\') {
                        f.write_str("\\")?;
                    }
                    write!(f, "{c}")?;
                }
                f.write_str("\"")
            }
            FilterValue::Int(number) => write!(f, "{number}"),
            FilterValue::Float(number) => {
                let text = number.to_string();
                let dot = if text.contains('.') { "" } else { ".0" };
                write!(f, "{text}{dot}")
            }
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
