//! Validated names.
//!
//! A name is checked once, where it enters; behind that the type says that it is good.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident ($what:literal, $check:path)),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name. Errors: `wrong_input`, with the reason.
            pub fn new(name: impl Into<String>) -> Result<Self> {
                let name = name.into();
                match $check(&name) {
                    Ok(()) => Ok($name(name)),
                    Err(why) => Err(Error::wrong_input(format!(
                        concat!("Invalid ", $what, " name '{}': {}"), name, why))),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(name: String) -> Result<Self> {
                $name::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
    )+};
}

names! {
    /// A cluster's name: a host name, its address is the master IP.
    ClusterName("cluster", host_name),
    /// A node's name: its fully qualified host name.
    NodeName("node", host_name),
    /// An instance's name: a host name.
    InstanceName("instance", host_name),
    /// A node group's name.
    GroupName("node group", label),
    /// A network's name.
    NetworkName("network", label),
}

/// RFC 1123 host names: labels of letters, digits and inner hyphens (underscores are tolerated, as
/// Ganeti does), at most 63 bytes each and 255 in all; lower case, so that a name has one spelling.
fn host_name(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("it is empty".into());
    }
    if name.len() > 255 {
        return Err(format!("it has {} characters, at most 255 are allowed", name.len()));
    }
    for part in name.split('.') {
        if part.is_empty() || part.len() > 63 {
            return Err("each part between dots must have 1 to 63 characters".into());
        }
        if part.starts_with('-') || part.ends_with('-') {
            return Err(format!("part '{part}' starts or ends with a hyphen"));
        }
        if let Some(c) = part
            .chars()
            .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-' || *c == '_'))
        {
            return Err(format!(
                "character '{c}' is not allowed (lower-case letters, digits, '-', '.')"
            ));
        }
    }
    Ok(())
}

/// Names of groups and networks: they appear in lists and paths, so no blanks, slashes or commas.
fn label(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() || name.len() > 128 {
        return Err("it must have 1 to 128 characters".into());
    }
    if name.starts_with('-') {
        return Err("it starts with a hyphen and would be taken for an option".into());
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.:+".contains(*c))) {
        Some(c) => Err(format!("character '{c}' is not allowed (letters, digits, '-_.:+')")),
        None => Ok(()),
    }
}

/// Ganeti's match of a short name: `web1` or `web1.site` finds `web1.site.example.com` if nothing
/// else starts so; an exact match always wins; matching ignores case.
pub fn match_name<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> std::result::Result<&'a str, NoMatch> {
    let wanted = wanted.to_ascii_lowercase();
    let mut found = None;
    let mut several = false;
    for name in names {
        if name.eq_ignore_ascii_case(&wanted) {
            return Ok(name);
        }
        let (head, rest) = match name.get(..wanted.len()) {
            Some(head) => (head, &name[wanted.len()..]),
            None => continue,
        };
        if !wanted.is_empty() && head.eq_ignore_ascii_case(&wanted) && rest.starts_with('.') {
            several |= found.is_some();
            found = Some(name);
        }
    }
    match (found, several) {
        (Some(name), false) => Ok(name),
        (Some(_), true) => Err(NoMatch::Several),
        (None, _) => Err(NoMatch::None),
    }
}

/// Why a short name found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMatch {
    /// No name starts so.
    None,
    /// More than one name starts so.
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for good in ["a", "node1.example.com", "x-1.y", "0.1"] {
            InstanceName::new(good).expect("good name");
        }
        for bad in ["", "a..b", "-a", "a-", "A", "a b", "a/b", "ü", &"x".repeat(64)] {
            assert!(InstanceName::new(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn short_names() {
        let all = ["web1.site.example.com", "web10.site.example.com", "web1.other.org", "db"];
        assert_eq!(match_name("web10", all), Ok("web10.site.example.com"));
        assert_eq!(match_name("web1", all), Err(NoMatch::Several));
        assert_eq!(match_name("web1.other", all), Ok("web1.other.org"));
        assert_eq!(match_name("DB", all), Ok("db"));
        assert_eq!(match_name("we", all), Err(NoMatch::None));
    }
}
