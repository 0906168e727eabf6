//! Fields of an object, with errors that name it and them.

use super::json::Json;
use std::fmt;
use std::str::FromStr;

/// What is wrong with a request: in which object, which key, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// As `invalid data for node 'n'`; empty: the text as a whole.
    pub about: String,
    /// Empty: no single one.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.about.is_empty() {
            write!(f, "{}: ", self.about)?;
        }
        match self.key.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "key '{}' {}", self.key, self.message),
        }
    }
}

impl std::error::Error for Malformed {}

type Result<T> = std::result::Result<T, Malformed>;

/// The largest figure, in MiB an exbibyte: sums of such stay far from the end of their types.
const MOST: f64 = (1_u64 << 40) as f64;

/// Objects by name.
pub(super) type Entries = [(String, Json)];

/// An object.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    about: String,
    fields: &'a Entries,
}

impl<'a> Fields<'a> {
    /// Of a value that has to be an object; `about` begins what is said of it.
    pub fn of(about: String, value: &'a Json) -> Result<Fields<'a>> {
        match value {
            Json::Object(fields) => Ok(Fields { about, fields }),
            other => {
                let message = format!("{} is not an object", excerpt(other));
                Err(Malformed { about, key: String::new(), message })
            }
        }
    }

    /// An error about a key.
    pub fn error(&self, key: &str, message: impl Into<String>) -> Malformed {
        Malformed { about: self.about.clone(), key: key.to_owned(), message: message.into() }
    }

    /// A value, unless it is missing or null.
    pub fn find(&self, key: &str) -> Option<&'a Json> {
        let found = self.fields.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    fn get(&self, key: &str) -> Result<&'a Json> {
        match self.fields.iter().find(|(name, _)| name == key) {
            Some((_, value)) => Ok(value),
            None => Err(self.error(key, "not found")),
        }
    }

    fn typed<T>(&self, key: &str, what: &str, get: impl Fn(&'a Json) -> Option<T>) -> Result<T> {
        let value = self.get(key)?;
        get(value).ok_or_else(|| self.error(key, format!("is {}, not {what}", excerpt(value))))
    }

    /// A value of any type.
    pub fn value(&self, key: &str) -> Result<&'a Json> {
        self.get(key)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<&'a str> {
        self.typed(key, "a text", text)
    }

    /// A text, if there is one.
    pub fn optional_text(&self, key: &str) -> Result<Option<&'a str>> {
        self.find(key).map(|_| self.text(key)).transpose()
    }

    /// A word that its type knows.
    pub fn word<T: FromStr<Err: fmt::Display>>(&self, key: &str) -> Result<T> {
        let word = self.text(key)?;
        word.parse().map_err(|why: T::Err| self.error(key, format!("is wrong: {why}")))
    }

    /// Texts.
    pub fn texts(&self, key: &str) -> Result<Vec<String>> {
        self.typed(key, "a list of texts", |value| {
            let Json::List(items) = value else { return None };
            items.iter().map(|item| text(item).map(str::to_owned)).collect()
        })
    }

    /// Yes or no.
    pub fn truth(&self, key: &str) -> Result<bool> {
        self.typed(key, "true or false", |value| match value {
            Json::Bool(yes) => Some(*yes),
            _ => None,
        })
    }

    /// A number, not negative.
    pub fn real(&self, key: &str) -> Result<f64> {
        self.typed(key, "a number in range", |value| match value {
            Json::Number(number) => number.as_f64().filter(|number| number.abs() <= MOST),
            _ => None,
        })
    }

    /// A whole number.
    pub fn amount(&self, key: &str) -> Result<i64> {
        let whole = self.real(key)?;
        if whole.fract() == 0.0 {
            return Ok(whole as i64);
        }
        Err(self.error(key, format!("is {whole}, not a whole number")))
    }

    /// A whole number, if there is one.
    pub fn optional_amount(&self, key: &str) -> Result<Option<i64>> {
        self.find(key).map(|_| self.amount(key)).transpose()
    }

    /// Values in a list.
    pub fn list(&self, key: &str) -> Result<&'a [Json]> {
        self.typed(key, "a list", |value| match value {
            Json::List(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// An object.
    pub fn object(&self, key: &str) -> Result<Fields<'a>> {
        Fields::of(format!("{}: key '{key}'", self.about), self.get(key)?)
    }

    /// Objects by name.
    pub fn entries(&self, key: &str) -> Result<&'a Entries> {
        self.typed(key, "an object", |value| match value {
            Json::Object(fields) => Some(fields.as_slice()),
            _ => None,
        })
    }
}

fn text(value: &Json) -> Option<&str> {
    match value {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

/// A value as an error shows it: not too much of it.
fn excerpt(value: &Json) -> String {
    const SHOWN: usize = 60;
    let text = match value {
        Json::List(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        other => other.to_value().to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
