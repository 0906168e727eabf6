//! Reads the text form of a filter.
//!
//! ```text
//! filter     = all { "or" all }
//! all        = negation { "and" negation }
//! negation   = "not" negation | "(" filter ")" | condition
//! condition  = field [ comparison value | ("=~" | "!~") regex | ("=*" | "!*") string ]
//!            | value [ "not" ] "in" field
//! comparison = "==" | "=" | "!=" | "<" | "<=" | ">" | ">="
//! field      = letter { letter | digit | "_" | "/" | "." }
//! value      = [ "+" | "-" ] digits [ "." digits ] | string
//! string     = "'" … "'" | '"' … '"'        backslash takes the next character as it is
//! regex      = [ "m" ] D … D { "i" | "s" }  D one of / # ^ |, written \D inside
//! ```
//!
//! Differences from Ganeti: fractions are allowed in numbers, and a backslash in a regular
//! expression stays there unless it precedes the delimiter (so that `\d` means a digit).

use super::filter::{Comparison, Filter, FilterValue, MAX_CONDITIONS, glob_to_regex};
use crate::error::Error;
use std::fmt;

/// What may enclose a regular expression.
pub const REGEX_DELIMITERS: [char; 4] = ['/', '#', '^', '|'];
/// How deeply parentheses and `not` may nest: each can make two levels of the tree, and the tree
/// must stay within what [`super::filter::MAX_DEPTH`] lets through as JSON.
const MAX_NESTING: usize = 24;
/// The longest text read, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Where, counted in characters from 1.
    pub column: usize,
    /// The line of the text that has the error.
    pub text: String,
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// The text and, below it, a caret under the bad column.
    pub fn marker(&self) -> String {
        // Tabs keep their width on the marker line too, so that the caret stays in place.
        let indent: String = self
            .text
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .chain(std::iter::repeat(' '))
            .take(self.column - 1)
            .collect();
        format!("{}\n{indent}^", self.text)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error while parsing query filter: {}\n{}", self.message, self.marker())
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Error {
        Error::wrong_input(error.to_string())
    }
}

/// Reads a filter.
pub fn parse(text: &str) -> Result<Filter, ParseError> {
    let mut parser = Parser { text, at: 0, depth: 0, conditions: 0 };
    if text.len() > MAX_TEXT {
        return Err(ParseError {
            message: format!("the text has {} bytes, at most {MAX_TEXT} are read", text.len()),
            column: 1,
            text: text.chars().take(40).collect(),
        });
    }
    let filter = parser.any()?;
    parser.blanks();
    match parser.peek() {
        None => Ok(filter),
        Some(_) => Err(parser.error("expected 'and', 'or' or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of what comes next.
    at: usize,
    depth: usize,
    conditions: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes characters while they are wanted.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Takes a keyword, if it comes next and is not just the beginning of a longer word.
    fn keyword(&mut self, word: &str) -> bool {
        self.blanks();
        let found = self
            .rest()
            .strip_prefix(word)
            .is_some_and(|after| !after.starts_with(is_field_character));
        if found {
            self.at += word.len();
        }
        found
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.at, message)
    }

    fn error_at(&self, at: usize, message: impl Into<String>) -> ParseError {
        let start = self.text[..at].rfind('\n').map_or(0, |i| i + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        ParseError {
            message: message.into(),
            column: self.text[start..at].chars().count() + 1,
            text: line.to_owned(),
        }
    }

    fn any(&mut self) -> Result<Filter, ParseError> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(self.error("the filter is nested too deeply"));
        }
        let filter = self.sequence("or", Self::all, Filter::Or)?;
        self.depth -= 1;
        Ok(filter)
    }

    fn all(&mut self) -> Result<Filter, ParseError> {
        self.sequence("and", Self::negation, Filter::And)
    }

    fn sequence(
        &mut self,
        word: &str,
        part: impl Fn(&mut Self) -> Result<Filter, ParseError>,
        group: impl FnOnce(Vec<Filter>) -> Filter,
    ) -> Result<Filter, ParseError> {
        let first = part(self)?;
        if !self.keyword(word) {
            return Ok(first);
        }
        let mut parts = vec![first, part(self)?];
        while self.keyword(word) {
            parts.push(part(self)?);
        }
        Ok(group(parts))
    }

    fn negation(&mut self) -> Result<Filter, ParseError> {
        let start = self.at;
        if self.keyword("not") {
            self.depth += 1;
            if self.depth > MAX_NESTING {
                return Err(self.error_at(start, "the filter is nested too deeply"));
            }
            let filter = self.negation()?.negated();
            self.depth -= 1;
            return Ok(filter);
        }
        if self.take("(") {
            let filter = self.any()?;
            self.blanks();
            return if self.take(")") { Ok(filter) } else { Err(self.error("expected ')'")) };
        }
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(self.error("the filter has too many conditions"));
        }
        self.condition()
    }

    fn condition(&mut self) -> Result<Filter, ParseError> {
        if let Some(value) = self.value()? {
            let negated = self.keyword("not");
            if !self.keyword("in") {
                return Err(
                    self.error("expected 'in' and a field (a value comes second: FIELD == VALUE)")
                );
            }
            let contains = Filter::Contains(self.field()?, value);
            return Ok(if negated { contains.negated() } else { contains });
        }
        let field = self.field()?;
        self.blanks();
        let operator = self.at;
        // Longer operators first: "=" begins several.
        for (token, negated) in [("=~", false), ("!~", true)] {
            if self.take(token) {
                let matches = Filter::Matches(field, self.regex()?);
                return Ok(if negated { matches.negated() } else { matches });
            }
        }
        for (token, negated) in [("=*", false), ("!*", true)] {
            if self.take(token) {
                self.blanks();
                let Some(FilterValue::Text(glob)) = self.value()? else {
                    return Err(self.error_at(operator, "expected a quoted pattern after it"));
                };
                let matches = Filter::Matches(field, glob_to_regex(&glob));
                return Ok(if negated { matches.negated() } else { matches });
            }
        }
        for token in ["==", "!=", "<=", ">=", "=", "<", ">"] {
            if self.take(token) {
                let value = self
                    .value()?
                    .ok_or_else(|| self.error("expected a number or a quoted string"))?;
                let comparison = Comparison::parse(token).expect("the list has only comparisons");
                return Ok(Filter::Compare(comparison, field, value));
            }
        }
        Ok(Filter::True(field))
    }

    fn field(&mut self) -> Result<String, ParseError> {
        self.blanks();
        let start = self.at;
        if !self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            return Err(self.error("expected a field name"));
        }
        let field = self.take_while(is_field_character);
        if matches!(field, "and" | "or" | "not" | "in") {
            return Err(self.error_at(start, format!("expected a field name before '{field}'")));
        }
        Ok(field.to_owned())
    }

    /// A value, if one comes next.
    fn value(&mut self) -> Result<Option<FilterValue>, ParseError> {
        self.blanks();
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.string(quote).map(Some),
            Some('+' | '-' | '0'..='9') => self.number().map(Some),
            _ => Ok(None),
        }
    }

    fn string(&mut self, quote: char) -> Result<FilterValue, ParseError> {
        let start = self.at;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            match c {
                c if c == quote => {
                    self.at += offset + 1;
                    return Ok(FilterValue::Text(text));
                }
                '\\' => text.extend(characters.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err(self.error_at(start, format!("the string is not closed with {quote}")))
    }

    fn number(&mut self) -> Result<FilterValue, ParseError> {
        let start = self.at;
        let _sign = self.take("-") || self.take("+");
        if self.take_while(|c| c.is_ascii_digit()).is_empty() {
            return Err(self.error("expected digits"));
        }
        let fraction = self.take(".");
        if fraction && self.take_while(|c| c.is_ascii_digit()).is_empty() {
            return Err(self.error("expected digits after the point"));
        }
        if self.peek().is_some_and(is_field_character) {
            return Err(self.error("unexpected character in a number (quote text)"));
        }
        let text = &self.text[start..self.at];
        let number = if fraction {
            text.parse().ok().filter(|n: &f64| n.is_finite()).map(FilterValue::Float)
        } else {
            text.parse().ok().map(FilterValue::Int)
        };
        number.ok_or_else(|| self.error_at(start, "the number is too large"))
    }

    /// A delimited regular expression; its flags are moved into it.
    fn regex(&mut self) -> Result<String, ParseError> {
        self.blanks();
        let start = self.at;
        self.take("m");
        let Some(delimiter) = self.peek().filter(|c| REGEX_DELIMITERS.contains(c)) else {
            return Err(self
                .error_at(start, "expected a regular expression between two of / or # or ^ or |"));
        };
        let mut regex = String::new();
        let mut end = None;
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((offset, c)) = characters.next() {
            match c {
                c if c == delimiter => {
                    end = Some(offset + 1);
                    break;
                }
                '\\' => match characters.next() {
                    Some((_, c)) if c == delimiter => regex.push(c),
                    Some((_, c)) => regex.extend(['\\', c]),
                    None => {}
                },
                c => regex.push(c),
            }
        }
        let Some(end) = end else {
            let message = format!("the regular expression is not closed with {delimiter}");
            return Err(self.error_at(start, message));
        };
        self.at += end;
        let mut flags: Vec<char> = self.take_while(|c| matches!(c, 'i' | 's')).chars().collect();
        flags.sort_unstable();
        flags.dedup();
        if self.peek().is_some_and(is_field_character) {
            return Err(self.error("unknown flag of a regular expression (known: i, s)"));
        }
        if flags.is_empty() {
            return Ok(regex);
        }
        Ok(format!("(?{}){regex}", flags.into_iter().collect::<String>()))
    }
}

fn is_field_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.')
}
