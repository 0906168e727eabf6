//! The little languages of option values: `key=value` lists, `ident:key=value` and policy lists.
//!
//! ```text
//! maxmem=1g,vcpus=2         settings; a backslash takes the meaning of a comma or backslash away
//! acpi,no_pae,-vnc_path     bare key: true; no_key: false; -key: none
//! kvm:acpi=true             settings of something; no_kvm removes it, -kvm resets it
//! min:…/max:…//min:…/max:…  a list of named groups of settings
//! ```

use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// The value of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KvValue {
    /// `key=text`.
    Text(String),
    /// `key`.
    True,
    /// `no_key`.
    False,
    /// `-key`.
    None,
}

impl KvValue {
    /// The text, if it is some.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            KvValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As JSON: text, true, false or null.
    pub fn to_json(&self) -> Value {
        match self {
            KvValue::Text(text) => Value::from(text.as_str()),
            KvValue::True => Value::Bool(true),
            KvValue::False => Value::Bool(false),
            KvValue::None => Value::Null,
        }
    }
}

/// Settings by key.
pub type KvMap = BTreeMap<String, KvValue>;

/// What follows an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentValue {
    /// `ident:key=value,…`, or a bare `ident`: no settings.
    Set(KvMap),
    /// `no_ident`: remove it.
    Remove,
    /// `-ident`: back to the default.
    Reset,
}

/// Policy lists: each entry has named groups of settings.
pub type PolicyList = Vec<BTreeMap<String, KvMap>>;

const NO: &str = "no_";
const NONE: &str = "-";

/// Splits at a separator that no backslash stands before, and takes the backslashes away.
pub fn split_escaped(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let last = parts.last_mut().expect("there is always a part");
        if c == '\\' {
            // A backslash at the very end stands for itself.
            last.push(chars.next().unwrap_or('\\'));
        } else if c == separator {
            parts.push(String::new());
        } else {
            last.push(c);
        }
    }
    parts
}

/// The opposite for one part: puts backslashes where they are needed.
pub fn escape(text: &str, separator: char) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\\' || c == separator {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Reads `key=value,flag,no_flag,-key`. Errors: an empty key, a key given twice.
pub fn parse(text: &str) -> Result<KvMap> {
    read(text, true)
}

/// Reads `key=value,…` where every key needs a value and prefixes mean nothing.
pub fn parse_plain(text: &str) -> Result<KvMap> {
    read(text, false)
}

fn read(text: &str, prefixes: bool) -> Result<KvMap> {
    let mut map = KvMap::new();
    if text.is_empty() {
        return Ok(map);
    }
    for part in split_escaped(text, ',') {
        let (key, value) = match part.split_once('=') {
            Some((key, value)) => (key, KvValue::Text(value.to_owned())),
            None if !prefixes => {
                return Err(Error::wrong_input(format!(
                    "Missing value for key '{part}' in '{text}': write {part}=VALUE"
                )));
            }
            None => {
                if let Some(key) = part.strip_prefix(NO) {
                    (key, KvValue::False)
                } else if let Some(key) = part.strip_prefix(NONE) {
                    (key, KvValue::None)
                } else {
                    (part.as_str(), KvValue::True)
                }
            }
        };
        if key.is_empty() {
            return Err(Error::wrong_input(format!("There is a value without a key in '{text}'")));
        }
        if map.insert(key.to_owned(), value).is_some() {
            return Err(Error::wrong_input(format!("Duplicate key '{key}' in '{text}'")));
        }
    }
    Ok(map)
}

/// Writes what [`parse`] reads.
pub fn format(map: &KvMap) -> String {
    let parts = map.iter().map(|(key, value)| {
        escape(
            &match value {
                KvValue::Text(text) => format!("{key}={text}"),
                KvValue::True => key.clone(),
                KvValue::False => format!("{NO}{key}"),
                KvValue::None => format!("{NONE}{key}"),
            },
            ',',
        )
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Reads `ident:key=value,…`, `no_ident` or `-ident`; `-1` is an identifier. Errors: settings after
/// the last two, and those of [`parse`].
pub fn parse_ident(text: &str) -> Result<(String, IdentValue)> {
    let (ident, rest) = match text.split_once(':') {
        Some((ident, rest)) => (ident, Some(rest)),
        None => (text, None),
    };
    let dropped = |ident: &str, what: &str, value| match rest {
        Some(rest) if !rest.is_empty() => Err(Error::wrong_input(format!(
            "Cannot pass options when {what} parameter groups: '{text}'"
        ))),
        _ => Ok((ident.to_owned(), value)),
    };
    if let Some(ident) = ident.strip_prefix(NO) {
        return dropped(ident, "removing", IdentValue::Remove);
    }
    match ident.strip_prefix(NONE) {
        Some(ident) if !ident.starts_with(|c: char| c.is_ascii_digit()) => {
            dropped(ident, "resetting", IdentValue::Reset)
        }
        _ => Ok((ident.to_owned(), IdentValue::Set(parse(rest.unwrap_or_default())?))),
    }
}

/// Writes what [`parse_ident`] reads.
pub fn format_ident(ident: &str, value: &IdentValue) -> String {
    match value {
        IdentValue::Set(map) if map.is_empty() => ident.to_owned(),
        IdentValue::Set(map) => format!("{ident}:{}", format(map)),
        IdentValue::Remove => format!("{NO}{ident}"),
        IdentValue::Reset => format!("{NONE}{ident}"),
    }
}

/// Reads `min:k=v,…/max:k=v,…//min:…`. Errors: an empty section, a name given twice, a key without
/// a value.
pub fn parse_policy(text: &str) -> Result<PolicyList> {
    let mut list = PolicyList::new();
    if text.is_empty() {
        return Ok(list);
    }
    for entry in text.split("//") {
        let mut groups = BTreeMap::new();
        for section in entry.split('/') {
            let Some((name, settings)) = section.split_once(':') else {
                return Err(Error::wrong_input(format!(
                    "Invalid or empty section '{section}' in '{text}': write NAME:KEY=VALUE,…"
                )));
            };
            if name.is_empty() || settings.is_empty() {
                return Err(Error::wrong_input(format!(
                    "Section '{section}' in '{text}' needs a name and settings: NAME:KEY=VALUE,…"
                )));
            }
            if groups.insert(name.to_owned(), parse_plain(settings)?).is_some() {
                return Err(Error::wrong_input(format!("Duplicate section '{name}' in '{text}'")));
            }
        }
        list.push(groups);
    }
    Ok(list)
}

/// Writes what [`parse_policy`] reads.
pub fn format_policy(list: &PolicyList) -> String {
    let entry = |groups: &BTreeMap<String, KvMap>| {
        let sections = groups.iter().map(|(name, map)| format!("{name}:{}", format(map)));
        sections.collect::<Vec<_>>().join("/")
    };
    list.iter().map(entry).collect::<Vec<_>>().join("//")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> KvValue {
        KvValue::Text(text.into())
    }

    fn map<const N: usize>(entries: [(&str, KvValue); N]) -> KvMap {
        entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    #[test]
    fn settings() {
        assert_eq!(parse("").expect("empty"), KvMap::new());
        assert_eq!(
            parse("a=1,flag,no_off,-gone,b=").expect("good"),
            map([
                ("a", text("1")),
                ("flag", KvValue::True),
                ("off", KvValue::False),
                ("gone", KvValue::None),
                ("b", text("")),
            ])
        );
        assert_eq!(parse(r"a=1\,2,b=x\\,c=1=2").expect("escapes"), {
            map([("a", text("1,2")), ("b", text(r"x\")), ("c", text("1=2"))])
        });
        assert!(parse("a=1,a=2").expect_err("twice").message.contains("Duplicate key 'a'"));
        assert!(parse("a,no_a").is_err());
        assert!(parse("=1").is_err() && parse("a=1,").is_err());
        assert!(parse_plain("a").is_err());
        assert_eq!(parse_plain("no_a=1").expect("plain"), map([("no_a", text("1"))]));
    }

    #[test]
    fn identifiers() {
        let set = |ident: &str, map| (ident.to_owned(), IdentValue::Set(map));
        assert_eq!(
            parse_ident("kvm:acpi").expect("set"),
            set("kvm", map([("acpi", KvValue::True)]))
        );
        assert_eq!(parse_ident("0").expect("bare"), set("0", KvMap::new()));
        assert_eq!(parse_ident("-1:remove").expect("index"), {
            set("-1", map([("remove", KvValue::True)]))
        });
        assert_eq!(parse_ident("no_kvm").expect("remove"), ("kvm".into(), IdentValue::Remove));
        assert_eq!(parse_ident("-kvm").expect("reset"), ("kvm".into(), IdentValue::Reset));
        assert!(parse_ident("no_kvm:a=1").is_err() && parse_ident("-kvm:a=1").is_err());
        // Only the first colon ends the identifier.
        assert_eq!(parse_ident("0:mac=aa:00:01").expect("colons"), {
            set("0", map([("mac", text("aa:00:01"))]))
        });
    }

    #[test]
    fn policies() {
        let list = parse_policy("min:a=1,b=2/max:a=3//min:a=4").expect("good");
        assert_eq!(list.len(), 2);
        assert_eq!(list[0]["max"], map([("a", text("3"))]));
        assert_eq!(format_policy(&list), "max:a=3/min:a=1,b=2//min:a=4");
        assert_eq!(parse_policy("").expect("empty"), PolicyList::new());
        for bad in ["min", "min:", ":a=1", "min:a", "min:a=1/min:a=2", "min:a=1//", "/min:a=1"] {
            assert!(parse_policy(bad).is_err(), "{bad:?} must be refused");
        }
    }

    fn any_map() -> impl Strategy<Value = KvMap> {
        let value = prop_oneof![
            r"[a-z,=\\:/ ü]{0,6}".prop_map(KvValue::Text),
            Just(KvValue::True),
            Just(KvValue::False),
            Just(KvValue::None),
        ];
        proptest::collection::btree_map(r"[a-mp-z,\\][a-z_,\\]{0,4}", value, 0..5)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(map in any_map(), ident in "[a-m][a-z0-9]{0,4}|-[0-9]|[0-9]") {
            prop_assert_eq!(parse(&format(&map)).expect("own writing"), map.clone());
            for value in [IdentValue::Set(map.clone()), IdentValue::Remove, IdentValue::Reset] {
                if value != IdentValue::Reset || !ident.starts_with(|c: char| c.is_ascii_digit()) {
                    let written = format_ident(&ident, &value);
                    prop_assert_eq!(parse_ident(&written).expect("own writing"), (ident.clone(), value));
                }
            }
        }

        #[test]
        fn policies_read_back(list in proptest::collection::vec(
            proptest::collection::btree_map("[a-z]{1,3}",
                proptest::collection::btree_map("[a-z]{1,3}", "[a-z0-9.,]{0,3}".prop_map(KvValue::Text), 1..3),
                1..3), 0..3)) {
            prop_assert_eq!(parse_policy(&format_policy(&list)).expect("own writing"), list);
        }

        #[test]
        fn parts_read_back(parts in proptest::collection::vec(r"[a,\\;]{0,5}", 1..4)) {
            let joined = parts.iter().map(|p| escape(p, ',')).collect::<Vec<_>>().join(",");
            prop_assert_eq!(split_escaped(&joined, ','), parts);
        }

        #[test]
        fn nothing_panics(text in ".{0,16}") {
            let _ = (parse(&text), parse_ident(&text), parse_policy(&text));
        }
    }
}
