//! Reads option values: the little languages of `-B`, `-H`, `-o`, sizes, yes and no.
//!
//! The functions are value parsers: what they refuse is an error of the command line.

use roost_proto::choices::{DiskTemplate, Hypervisor};
use roost_proto::error::{Error, Result};
use roost_proto::keyval::{self, IdentValue, KvMap};
use roost_proto::params::ParamMap;
use serde_json::Value;
use std::collections::BTreeMap;

/// Settings of one thing, as `maxmem=1g,vcpus=2`.
pub fn params(text: &str) -> Result<Params> {
    Ok(Params(to_params(&keyval::parse(text)?)))
}

/// Settings, as an option's value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(pub ParamMap);

/// As JSON: bare keys are booleans, everything else is text that the master reads by type.
pub fn to_params(map: &KvMap) -> ParamMap {
    roost_proto::params::value::from_cli(map)
}

/// Settings of something named, as `kvm:acpi=true`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// What they are for.
    pub ident: String,
    /// The settings, or what happens to all of them.
    pub value: IdentValue,
}

/// Reads `ident:key=value,…`.
pub fn ident(text: &str) -> Result<Ident> {
    let (ident, value) = keyval::parse_ident(text)?;
    Ok(Ident { ident, value })
}

impl Ident {
    /// The settings; none if there is anything else.
    pub fn settings(&self) -> Result<ParamMap> {
        match &self.value {
            IdentValue::Set(map) => Ok(to_params(map)),
            IdentValue::Remove | IdentValue::Reset => Err(Error::wrong_input(format!(
                "'{}' can't be removed or reset here; give settings as NAME:KEY=VALUE,…",
                self.ident
            ))),
        }
    }
}

/// Settings by hypervisor.
pub fn by_hypervisor(options: &[Ident]) -> Result<Option<BTreeMap<Hypervisor, ParamMap>>> {
    by_name(options, "hypervisor parameters")
}

/// Settings by disk template.
pub fn by_template(options: &[Ident]) -> Result<Option<BTreeMap<DiskTemplate, ParamMap>>> {
    by_name(options, "disk parameters")
}

fn by_name<K>(options: &[Ident], what: &str) -> Result<Option<BTreeMap<K, ParamMap>>>
where
    K: std::str::FromStr<Err = Error> + Ord,
{
    let mut map = BTreeMap::new();
    for option in options {
        let settings = option.settings()?;
        if map.insert(option.ident.parse()?, settings).is_some() {
            return Err(Error::wrong_input(format!(
                "{what} of '{}' are given twice; give them all at once",
                option.ident
            )));
        }
    }
    Ok((!map.is_empty()).then_some(map))
}

/// Settings by any name, as `--hypervisor-state` and `--disk-state` have them.
pub fn by_any_name(options: &[Ident]) -> Result<Option<ParamMap>> {
    let mut map = ParamMap::new();
    for option in options {
        let settings = option.settings()?.into_iter().collect();
        map.insert(option.ident.clone(), Value::Object(settings));
    }
    Ok((!map.is_empty()).then_some(map))
}

/// `TYPE/ID:k=v` of `--disk-state`: by type, then by volume group or path.
pub fn disk_state(options: &[Ident]) -> Result<Option<ParamMap>> {
    let mut map = ParamMap::new();
    for option in options {
        let (kind, unit) = option.ident.split_once('/').ok_or_else(|| {
            Error::wrong_input(format!(
                "'{}' is not TYPE/ID: name a storage type and a volume group or path",
                option.ident
            ))
        })?;
        let settings: serde_json::Map<_, _> = option.settings()?.into_iter().collect();
        let units = map.entry(kind.to_owned()).or_insert_with(|| Value::Object(Default::default()));
        if let Value::Object(units) = units {
            units.insert(unit.to_owned(), Value::Object(settings));
        }
    }
    Ok((!map.is_empty()).then_some(map))
}

/// Words separated by commas; none if the text is empty.
pub fn words(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    keyval::split_escaped(text, ',')
}

/// Choices separated by commas.
pub fn choices<T: std::str::FromStr<Err = Error>>(text: &str) -> Result<Vec<T>> {
    words(text).iter().map(|word| word.trim().parse()).collect()
}

/// `PRIMARY[:SECONDARY]`.
pub fn node_pair(text: &str) -> (String, Option<String>) {
    match text.split_once(':') {
        Some((primary, secondary)) => (primary.to_owned(), Some(secondary.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// Ranges of user ids: `1000-1010,2000`.
pub fn uid_ranges(text: &str) -> Result<Vec<(u32, u32)>> {
    let number = |digits: &str| {
        digits.trim().parse::<u32>().map_err(|_| {
            Error::wrong_input(format!(
                "'{digits}' in '{text}' is not a user id; write UID or LOW-HIGH, with commas"
            ))
        })
    };
    words(text)
        .iter()
        .map(|range| match range.split_once('-') {
            Some((low, high)) => Ok((number(low)?, number(high)?)),
            None => number(range).map(|uid| (uid, uid)),
        })
        .collect()
}

/// Splits a text as a shell does: blanks, quotes, backslashes.
pub fn shell_split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Quotes a word for a shell, if it needs to be.
pub fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words() {
        assert_eq!(
            shell_split(r#"-o  name,os 'a b' "c\"d" e\ f ''"#),
            ["-o", "name,os", "a b", "c\"d", "e f", ""]
        );
        assert_eq!(shell_quote("a-b/c"), "a-b/c");
        assert_eq!(shell_quote("it's"), r"'it'\''s'");
        assert_eq!(shell_split(&shell_quote("a 'b' \\")), ["a 'b' \\"]);
    }

    #[test]
    fn user_ids() {
        assert_eq!(uid_ranges("1000-1010,2000").unwrap(), [(1000, 1010), (2000, 2000)]);
        assert!(uid_ranges("x").unwrap_err().message.contains("'x'"));
    }

    #[test]
    fn settings_twice_are_refused() {
        let options = [ident("kvm:acpi=true").unwrap(), ident("kvm:vnc_bind_address=").unwrap()];
        let error = by_hypervisor(&options).unwrap_err();
        assert!(error.message.contains("'kvm' are given twice"), "{error}");
        let one = by_hypervisor(&options[..1]).unwrap().unwrap();
        assert_eq!(one[&Hypervisor::Kvm]["acpi"], "true");
    }

    #[test]
    fn disk_states_are_nested() {
        let map = disk_state(&[ident("plain/xenvg:disk_overhead=10").unwrap()]).unwrap().unwrap();
        assert_eq!(map["plain"]["xenvg"]["disk_overhead"], "10");
    }
}
