//! An object of a source, and its fields, taken one by one with errors that say where.

use roost_proto::query::{Cell, ResultStatus};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// What is wrong with a document of a source, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// A file, a path of the API, a query.
    pub document: String,
    /// The object, or line and column; empty: all of it.
    pub position: String,
    /// Empty: no single one.
    pub field: String,
    pub message: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.document, &self.position, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Malformed {}

impl Malformed {
    /// About a whole document.
    pub fn document(document: &str, message: impl Into<String>) -> Malformed {
        Malformed {
            document: document.to_owned(),
            position: String::new(),
            field: String::new(),
            message: message.into(),
        }
    }

    /// That a text is no JSON, and where.
    pub fn json(document: &str, error: &serde_json::Error) -> Malformed {
        let (line, column) = (error.line(), error.column());
        let why = error.to_string();
        // It ends with the place, which is said already.
        let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
        Malformed {
            position: format!("line {line}, column {column}"),
            ..Malformed::document(document, format!("malformed JSON: {why}"))
        }
    }
}

/// Where the fields are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cells<'a> {
    /// In an object, as the API has them; `be/x` and `ndp/x` are inside `beparams` and `ndparams`.
    Object(&'a Map<String, Value>),
    /// In a row of a query's answer, whose columns have these names.
    Row(&'a [&'static str], &'a [Cell]),
}

/// An object with fields.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    document: &'a str,
    position: String,
    cells: Cells<'a>,
}

/// The largest figure, in MiB an exbibyte: sums of such stay far from the end of their types.
const MOST: f64 = (1_u64 << 40) as f64;

impl<'a> Record<'a> {
    /// The object at a place of a document, from 1; 0: the document is the object.
    pub fn new(document: &'a str, at: usize, cells: Cells<'a>) -> Record<'a> {
        let position = if at == 0 { String::new() } else { format!("element {at}") };
        Record { document, position, cells }
    }

    /// Its name, by which errors call it from now on: `node 'x'`.
    pub fn named(&mut self, what: &str) -> Result<String, Malformed> {
        let name = self.text("name")?.to_owned();
        self.position = format!("{what} '{name}'");
        Ok(name)
    }

    /// An error about a field.
    pub fn error(&self, field: &str, message: impl Into<String>) -> Malformed {
        Malformed {
            document: self.document.to_owned(),
            position: self.position.clone(),
            field: field.to_owned(),
            message: message.into(),
        }
    }

    fn cell(&self, field: &str) -> Result<&'a Value, &'static str> {
        const MISSING: &str = "it is missing";
        match self.cells {
            Cells::Object(object) => {
                let (inner, name) = match field.split_once('/') {
                    Some(("be", name)) => (Some("beparams"), name),
                    Some(("ndp", name)) => (Some("ndparams"), name),
                    _ => (None, field),
                };
                let object = match inner {
                    Some(inner) => object.get(inner).and_then(Value::as_object),
                    None => Some(object),
                };
                match object.and_then(|object| object.get(name)) {
                    None => Err(MISSING),
                    Some(Value::Null) => Err("it is null: nobody knows it"),
                    Some(value) => Ok(value),
                }
            }
            Cells::Row(names, cells) => {
                let at = names.iter().position(|name| *name == field);
                let cell = at.and_then(|at| cells.get(at)).ok_or(MISSING)?;
                match cell.status {
                    ResultStatus::Normal => Ok(&cell.value),
                    ResultStatus::Unknown => Err("this master does not know the field"),
                    ResultStatus::NoData => {
                        Err("the node does not answer; wait until it does, or \
                                                 mark it as offline (gnt-node modify --offline=yes)")
                    }
                    ResultStatus::Unavailable => Err("there is none"),
                    ResultStatus::Offline => Err("the node is marked as offline"),
                }
            }
        }
    }

    /// Whether there is a value.
    pub fn has(&self, field: &str) -> bool {
        self.cell(field).is_ok()
    }

    /// A value of any type.
    pub fn value(&self, field: &str) -> Result<&'a Value, Malformed> {
        self.cell(field).map_err(|why| self.error(field, why))
    }

    fn typed<T>(
        &self,
        field: &str,
        what: &str,
        get: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<T, Malformed> {
        let value = self.value(field)?;
        get(value).ok_or_else(|| self.error(field, format!("{} is not {what}", excerpt(value))))
    }

    /// A text.
    pub fn text(&self, field: &str) -> Result<&'a str, Malformed> {
        self.typed(field, "a text", Value::as_str)
    }

    /// A word of a list that its type knows.
    pub fn word<T: FromStr<Err: fmt::Display>>(&self, field: &str) -> Result<T, Malformed> {
        self.text(field)?.parse().map_err(|why: T::Err| self.error(field, why.to_string()))
    }

    /// A list of texts.
    pub fn texts(&self, field: &str) -> Result<Vec<String>, Malformed> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let all = |value: &'a Value| value.as_array()?.iter().map(text).collect();
        self.typed(field, "a list of texts", all)
    }

    /// A list of numbers, some of which may be null.
    pub fn amounts(&self, field: &str) -> Result<Vec<Option<i64>>, Malformed> {
        let number = |value: &Value| match value {
            Value::Null => Some(None),
            value => whole(value).map(Some),
        };
        let all = |value: &'a Value| value.as_array()?.iter().map(number).collect();
        self.typed(field, "a list of whole numbers in range", all)
    }

    /// Yes or no.
    pub fn truth(&self, field: &str) -> Result<bool, Malformed> {
        self.typed(field, "true or false", Value::as_bool)
    }

    /// A whole number.
    pub fn amount(&self, field: &str) -> Result<i64, Malformed> {
        self.typed(field, "a whole number in range", whole)
    }

    /// A number.
    pub fn real(&self, field: &str) -> Result<f64, Malformed> {
        self.typed(field, "a number in range", real)
    }
}

/// A number that is not absurd.
pub(super) fn real(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.abs() <= MOST)
}

/// The same without decimals.
pub(super) fn whole(value: &Value) -> Option<i64> {
    real(value).filter(|number| number.fract() == 0.0).map(|number| number as i64)
}

/// A value as an error shows it: not too much of it.
pub(super) fn excerpt(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
