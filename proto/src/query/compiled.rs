//! Filters made ready to run: names looked up, kinds checked, regular expressions compiled.
//!
//! The logic has three values. A field without data (its node is offline, it does not apply) makes
//! a condition *undecided*; undecided stays undecided under `not`, gives way to a false in `and`
//! and to a true in `or`; a row passes unless the whole filter is false. So a field without data
//! never hides a row, negated or not.

use super::fields::{FieldKind, Matching};
use super::filter::{Comparison, Filter, FilterValue};
use super::value::Cell;
use crate::error::Error;
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// The longest regular expression, in bytes.
const MAX_REGEX_TEXT: usize = 4096;
/// The largest compiled regular expression, in bytes.
const MAX_REGEX_SIZE: usize = 1 << 18;
/// How many regular expressions a filter may have.
const MAX_REGEXES: usize = 200;
/// From so many equalities of one field on, an `or` looks values up in a set.
const MIN_SET: usize = 4;

/// A filter that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A field that the resource does not have.
    #[error("Can't find field named '{0}'")]
    UnknownField(String),
    /// A regular expression that cannot be used.
    #[error("Regular expression '{regex}' in the filter cannot be used: {why}")]
    Regex {
        /// The expression.
        regex: String,
        /// What is wrong with it.
        why: String,
    },
    /// An operator that does not fit the field's values (Ganeti's `ParameterError`).
    #[error("Filter on field '{field}': {why}")]
    WrongType {
        /// The field.
        field: String,
        /// What does not fit.
        why: String,
    },
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Error {
        Error::wrong_input(error.to_string())
    }
}

/// A filter made ready to run, over fields of any type: those of a resource, or plain names (job
/// filter rules compare an opcode's fields, whatever they are).
#[derive(Clone, Debug)]
pub struct Compiled<F> {
    fields: Vec<F>,
    names: Vec<String>,
    pub(super) root: Condition,
}

/// Numbers are places in `Compiled::fields`.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    True(usize),
    Compare(Comparison, usize, FilterValue, Matching),
    Host(usize, String),
    Matches(usize, Regex),
    Contains(usize, FilterValue),
    ContainsHost(usize, String),
    OneOf(usize, HashSet<String>),
    OneOfHosts(usize, HashSet<String>),
    OneOfNumbers(usize, HashSet<i64>),
}

impl Compiled<String> {
    /// A filter over names that mean whatever the caller says when it runs.
    pub fn over_names(filter: &Filter) -> Result<Compiled<String>, FilterError> {
        Compiled::build(filter, |name| Ok((name.to_owned(), None, Matching::Exact)))
    }
}

impl<F> Compiled<F> {
    /// Compiles a filter. `lookup` turns a name into a field, its kind if that is known beforehand,
    /// and how it compares.
    pub fn build(
        filter: &Filter,
        lookup: impl FnMut(&str) -> Result<(F, Option<FieldKind>, Matching), FilterError>,
    ) -> Result<Compiled<F>, FilterError> {
        let mut builder = Builder { lookup, fields: Vec::new(), known: HashMap::new(), regexes: 0 };
        let root = builder.condition(filter)?;
        let mut names = vec![String::new(); builder.fields.len()];
        for (name, known) in builder.known {
            names[known.index] = name.to_owned();
        }
        Ok(Compiled { fields: builder.fields, names, root })
    }

    /// The fields the filter reads.
    pub fn fields(&self) -> &[F] {
        &self.fields
    }

    /// Whether a row passes, whose cells `get` computes. Each field is got at most once.
    pub fn passes(&self, get: impl FnMut(&F) -> Cell) -> Result<bool, FilterError> {
        self.passes_with(&mut self.scratch(), get)
    }

    /// Whether it holds for certain: unlike [`Compiled::passes`], what has no data does not count.
    pub fn holds(&self, get: impl FnMut(&F) -> Cell) -> Result<bool, FilterError> {
        let mut evaluation = Evaluation { compiled: self, scratch: &mut self.scratch(), get };
        Ok(evaluation.decide(&self.root)? == Some(true))
    }

    /// Room for a row's cells, to be used for one row after the other.
    pub(super) fn scratch(&self) -> Vec<Option<Cell>> {
        vec![None; self.fields.len()]
    }

    pub(super) fn passes_with(
        &self,
        scratch: &mut [Option<Cell>],
        get: impl FnMut(&F) -> Cell,
    ) -> Result<bool, FilterError> {
        scratch.fill(None);
        let mut evaluation = Evaluation { compiled: self, scratch, get };
        Ok(evaluation.decide(&self.root)? != Some(false))
    }
}

#[derive(Clone, Copy)]
struct Known {
    index: usize,
    kind: Option<FieldKind>,
    matching: Matching,
}

struct Builder<'a, F, L> {
    lookup: L,
    fields: Vec<F>,
    known: HashMap<&'a str, Known>,
    regexes: usize,
}

impl<'a, F, L> Builder<'a, F, L>
where
    L: FnMut(&str) -> Result<(F, Option<FieldKind>, Matching), FilterError>,
{
    fn field(&mut self, name: &'a str) -> Result<Known, FilterError> {
        if let Some(known) = self.known.get(name) {
            return Ok(*known);
        }
        let (field, kind, matching) = (self.lookup)(name)?;
        // What holds anything at all is checked row by row.
        let kind = kind.filter(|k| *k != FieldKind::Other);
        let known = Known { index: self.fields.len(), kind, matching };
        self.fields.push(field);
        self.known.insert(name, known);
        Ok(known)
    }

    fn condition(&mut self, filter: &'a Filter) -> Result<Condition, FilterError> {
        Ok(match filter {
            Filter::And(parts) => Condition::All(self.conditions(parts)?),
            Filter::Or(parts) => match self.set(parts)? {
                Some(set) => set,
                None => Condition::Any(self.conditions(parts)?),
            },
            Filter::Not(part) => Condition::Not(Box::new(self.condition(part)?)),
            Filter::True(name) => {
                let field = self.field(name)?;
                expect_kind(name, field.kind, &[FieldKind::Boolean], "is not true or false")?;
                Condition::True(field.index)
            }
            Filter::Compare(op, name, value) => self.compare(*op, name, value)?,
            Filter::Matches(name, regex) => {
                let field = self.field(name)?;
                let why = "is not text: a regular expression cannot match it";
                expect_kind(name, field.kind, &[FieldKind::Text], why)?;
                self.regexes += 1;
                Condition::Matches(field.index, compile(regex, self.regexes)?)
            }
            Filter::Contains(name, value) => {
                let field = self.field(name)?;
                expect_kind(name, field.kind, &[], "is not a list: nothing can be in it")?;
                match (field.matching, value) {
                    (Matching::HostName, FilterValue::Text(host)) => {
                        Condition::ContainsHost(field.index, host.clone())
                    }
                    _ => Condition::Contains(field.index, value.clone()),
                }
            }
        })
    }

    fn conditions(&mut self, parts: &'a [Filter]) -> Result<Vec<Condition>, FilterError> {
        parts.iter().map(|part| self.condition(part)).collect()
    }

    fn compare(
        &mut self,
        op: Comparison,
        name: &'a str,
        value: &FilterValue,
    ) -> Result<Condition, FilterError> {
        let field = self.field(name)?;
        match value {
            FilterValue::Text(_) => {
                let why = format!("it is not text, so it cannot be compared with {value}");
                expect_kind(name, field.kind, &[FieldKind::Text], &why)?;
            }
            FilterValue::Int(_) | FilterValue::Float(_) => {
                let why = format!("it is not a number, so it cannot be compared with {value}");
                let numbers =
                    [FieldKind::Number, FieldKind::Float, FieldKind::Unit, FieldKind::Timestamp];
                expect_kind(name, field.kind, &numbers, &why)?;
            }
        }
        Ok(match (op, field.matching, value) {
            (Comparison::Equal, Matching::HostName, FilterValue::Text(host)) => {
                Condition::Host(field.index, host.clone())
            }
            (Comparison::NotEqual, Matching::HostName, FilterValue::Text(host)) => {
                Condition::Not(Box::new(Condition::Host(field.index, host.clone())))
            }
            _ => Condition::Compare(op, field.index, value.clone(), field.matching),
        })
    }

    /// Many equalities of one field: the usual way to name rows.
    fn set(&mut self, parts: &'a [Filter]) -> Result<Option<Condition>, FilterError> {
        let [Filter::Compare(Comparison::Equal, name, first), ..] = parts else {
            return Ok(None);
        };
        if parts.len() < MIN_SET {
            return Ok(None);
        }
        let mut texts = HashSet::new();
        let mut numbers = HashSet::new();
        for part in parts {
            match part {
                Filter::Compare(Comparison::Equal, other, value) if other == name => match value {
                    FilterValue::Text(text) => texts.insert(text.clone()),
                    FilterValue::Int(number) => numbers.insert(*number),
                    FilterValue::Float(_) => return Ok(None),
                },
                _ => return Ok(None),
            };
        }
        // Checks the kind; what it makes of the first value is not needed.
        self.compare(Comparison::Equal, name, first)?;
        let field = self.field(name)?;
        Ok(match (texts.is_empty(), numbers.is_empty(), field.matching) {
            (false, true, Matching::HostName) => {
                let lower = texts.iter().map(|t| t.to_ascii_lowercase()).collect();
                Some(Condition::OneOfHosts(field.index, lower))
            }
            (false, true, _) => Some(Condition::OneOf(field.index, texts)),
            (true, false, _) => Some(Condition::OneOfNumbers(field.index, numbers)),
            _ => None,
        })
    }
}

fn expect_kind(
    name: &str,
    kind: Option<FieldKind>,
    allowed: &[FieldKind],
    why: &str,
) -> Result<(), FilterError> {
    match kind {
        Some(kind) if !allowed.contains(&kind) => {
            Err(FilterError::WrongType { field: name.to_owned(), why: why.to_owned() })
        }
        _ => Ok(()),
    }
}

fn compile(regex: &str, count: usize) -> Result<Regex, FilterError> {
    let error = |why: String| {
        let regex = regex.chars().take(100).collect();
        Err(FilterError::Regex { regex, why })
    };
    if count > MAX_REGEXES {
        return error(format!("a filter may have at most {MAX_REGEXES} regular expressions"));
    }
    if regex.len() > MAX_REGEX_TEXT {
        return error(format!("it is longer than {MAX_REGEX_TEXT} bytes"));
    }
    RegexBuilder::new(regex)
        .size_limit(MAX_REGEX_SIZE)
        .dfa_size_limit(MAX_REGEX_SIZE)
        .nest_limit(50)
        .build()
        .or_else(|e| error(last_line(&e)))
}

/// The crate's syntax errors draw a picture of several lines; the last says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

struct Evaluation<'a, F, G> {
    compiled: &'a Compiled<F>,
    scratch: &'a mut [Option<Cell>],
    get: G,
}

impl<F, G: FnMut(&F) -> Cell> Evaluation<'_, F, G> {
    /// The field's value; None if it has none, and nothing can be said.
    fn value(&mut self, index: usize) -> Option<&Value> {
        let Evaluation { compiled, scratch, get } = self;
        let cell = scratch[index].get_or_insert_with(|| get(&compiled.fields[index]));
        (cell.is_normal() && !cell.value.is_null()).then_some(&cell.value)
    }

    fn text(&mut self, index: usize, wanted: &str) -> Result<Option<&str>, FilterError> {
        let compiled = self.compiled;
        match self.value(index) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(compiled.mismatch(index, other, wanted)),
        }
    }

    /// True, false, or undecided.
    fn decide(&mut self, condition: &Condition) -> Result<Option<bool>, FilterError> {
        let compiled = self.compiled;
        Ok(match condition {
            Condition::All(parts) => return self.group(parts, false),
            Condition::Any(parts) => return self.group(parts, true),
            Condition::Not(part) => self.decide(part)?.map(|b| !b),
            Condition::True(index) => match self.value(*index) {
                None => None,
                Some(Value::Bool(b)) => Some(*b),
                Some(other) => {
                    return Err(compiled.mismatch(*index, other, "a condition by itself"));
                }
            },
            Condition::Compare(op, index, wanted, matching) => match self.value(*index) {
                None => None,
                Some(value) => match order(comparable(value, *matching), wanted) {
                    Some(order) => Some(holds(*op, order)),
                    None => {
                        let wanted = format!("a comparison with {wanted}");
                        return Err(compiled.mismatch(*index, value, &wanted));
                    }
                },
            },
            Condition::Host(index, host) => {
                self.text(*index, "a comparison with a name")?.map(|name| is_host(name, host))
            }
            Condition::Matches(index, regex) => {
                self.text(*index, "a regular expression")?.map(|text| regex.is_match(text))
            }
            Condition::Contains(index, wanted) => self
                .list(*index)?
                .map(|items| items.iter().any(|i| order(i, wanted) == Some(Ordering::Equal))),
            Condition::ContainsHost(index, host) => self.list(*index)?.map(|items| {
                items.iter().filter_map(Value::as_str).any(|name| is_host(name, host))
            }),
            Condition::OneOf(index, set) => {
                self.text(*index, "a comparison with text")?.map(|text| set.contains(text))
            }
            Condition::OneOfHosts(index, set) => {
                self.text(*index, "a comparison with names")?.map(|name| {
                    let name = name.to_ascii_lowercase();
                    let short_forms = name.match_indices('.').map(|(dot, _)| &name[..dot]);
                    set.contains(&name) || short_forms.into_iter().any(|s| set.contains(s))
                })
            }
            Condition::OneOfNumbers(index, set) => match self.value(*index) {
                None => None,
                Some(value) => match number(value) {
                    Some(Number::Int(n)) => Some(set.contains(&n)),
                    Some(Number::Float(n)) => Some(n.fract() == 0.0 && set.contains(&(n as i64))),
                    None => {
                        return Err(compiled.mismatch(*index, value, "a comparison with numbers"));
                    }
                },
            },
        })
    }

    /// `and` stops at the first false, `or` at the first true.
    fn group(&mut self, parts: &[Condition], decisive: bool) -> Result<Option<bool>, FilterError> {
        let mut result = Some(!decisive);
        for part in parts {
            match self.decide(part)? {
                Some(b) if b == decisive => return Ok(Some(decisive)),
                Some(_) => {}
                None => result = None,
            }
        }
        Ok(result)
    }

    fn list(&mut self, index: usize) -> Result<Option<&[Value]>, FilterError> {
        let compiled = self.compiled;
        match self.value(index) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(compiled.mismatch(index, other, "'in', which is for lists")),
        }
    }
}

impl<F> Compiled<F> {
    fn mismatch(&self, index: usize, value: &Value, use_: &str) -> FilterError {
        let what = match value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "a dictionary",
        };
        FilterError::WrongType {
            field: self.names[index].clone(),
            why: format!("its value is {what}, which does not fit {use_}"),
        }
    }
}

/// Whether `wanted` is the name or its first components.
fn is_host(name: &str, wanted: &str) -> bool {
    name.split_at_checked(wanted.len()).is_some_and(|(head, rest)| {
        head.eq_ignore_ascii_case(wanted)
            && (rest.is_empty() || rest.starts_with('.'))
            && !wanted.is_empty()
    })
}

enum Number {
    Int(i64),
    Float(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(n) => n.as_i64().map(Number::Int).or_else(|| n.as_f64().map(Number::Float)),
        _ => None,
    }
}

/// Of a job's time, (seconds, microseconds), the seconds; anything else as it is.
fn comparable(value: &Value, matching: Matching) -> &Value {
    match (matching, value) {
        (Matching::JobTime, Value::Array(pair)) => pair.first().unwrap_or(value),
        _ => value,
    }
}

/// How a value compares with a literal; None if their types do not agree.
fn order(value: &Value, wanted: &FilterValue) -> Option<Ordering> {
    match wanted {
        FilterValue::Text(wanted) => Some(value.as_str()?.cmp(wanted)),
        FilterValue::Int(wanted) => match number(value)? {
            Number::Int(n) => Some(n.cmp(wanted)),
            Number::Float(n) => n.partial_cmp(&(*wanted as f64)),
        },
        FilterValue::Float(wanted) => match number(value)? {
            Number::Int(n) => (n as f64).partial_cmp(wanted),
            Number::Float(n) => n.partial_cmp(wanted),
        },
    }
}

fn holds(op: Comparison, order: Ordering) -> bool {
    match op {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}
