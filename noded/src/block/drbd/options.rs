//! DRBD's options: which there are, what their values mean, and which of them a disk's parameters
//! ask for.
//!
//! Numbers are kept in the unit the kernel takes (KiB/s, sectors, bytes, tenths of seconds), so that
//! what is wanted and what is shown can be compared.

use roost_proto::error::{Error, Result};
use roost_proto::objects::ParamMap;
use serde_json::Value;
use std::collections::BTreeMap;

/// Options that are set, by name.
pub type Options = BTreeMap<String, String>;

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Flag,
    /// How many bytes are one; a number without a unit counts these.
    Number(u64),
    /// Words, and what the kernel has for each.
    Choice(&'static [(&'static str, u32)]),
}

/// An option: its name, the kernel's number for it (0: only `drbdsetup` needs it), its values.
pub type Known = (&'static str, u16, Kind);

const PLAIN: Kind = Kind::Number(1);
const KIB: Kind = Kind::Number(1024);
const SECTORS: Kind = Kind::Number(512);
const AFTER_SPLIT: &[(&str, u32)] = &[
    ("disconnect", 0),
    ("discard-younger-primary", 1),
    ("discard-older-primary", 2),
    ("discard-zero-changes", 3),
    ("discard-least-changes", 4),
    ("discard-local", 5),
    ("discard-remote", 6),
    ("consensus", 7),
    ("discard-secondary", 8),
    ("call-pri-lost-after-sb", 9),
    ("violently-as0p", 10),
];

/// Options of a connection.
pub const NET: &[Known] = &[
    ("cram-hmac-alg", 2, Kind::Text),
    ("data-integrity-alg", 3, Kind::Text),
    ("verify-alg", 4, Kind::Text),
    ("csums-alg", 5, Kind::Text),
    ("protocol", 6, Kind::Choice(&[("A", 1), ("B", 2), ("C", 3)])),
    ("connect-int", 7, PLAIN),
    ("timeout", 8, PLAIN),
    ("ping-int", 9, PLAIN),
    ("ping-timeout", 10, PLAIN),
    ("sndbuf-size", 11, PLAIN),
    ("rcvbuf-size", 12, PLAIN),
    ("ko-count", 13, PLAIN),
    ("max-buffers", 14, PLAIN),
    ("max-epoch-size", 15, PLAIN),
    ("unplug-watermark", 16, PLAIN),
    ("after-sb-0pri", 17, Kind::Choice(AFTER_SPLIT)),
    ("after-sb-1pri", 18, Kind::Choice(AFTER_SPLIT)),
    ("after-sb-2pri", 19, Kind::Choice(AFTER_SPLIT)),
    (
        "rr-conflict",
        20,
        Kind::Choice(&[("disconnect", 0), ("call-pri-lost", 9), ("violently", 10)]),
    ),
    ("on-congestion", 21, Kind::Choice(&[("block", 0), ("pull-ahead", 1), ("disconnect", 2)])),
    ("congestion-fill", 22, SECTORS),
    ("congestion-extents", 23, PLAIN),
    ("allow-two-primaries", 24, Kind::Flag),
    ("tcp-cork", 26, Kind::Flag),
    ("always-asbp", 27, Kind::Flag),
    ("use-rle", 29, Kind::Flag),
    ("csums-after-crash-only", 33, Kind::Flag),
    ("socket-check-timeout", 34, PLAIN),
];

/// Options of a device's storage; of 9 also those of its other side's.
pub const DISK: &[Known] = &[
    ("on-io-error", 0, Kind::Text),
    ("disk-barrier", 0, Kind::Flag),
    ("disk-flushes", 0, Kind::Flag),
    ("disk-drain", 0, Kind::Flag),
    ("md-flushes", 0, Kind::Flag),
    ("resync-after", 0, Kind::Text),
    ("al-extents", 0, PLAIN),
    ("al-updates", 0, Kind::Flag),
    ("discard-zeroes-if-aligned", 0, Kind::Flag),
    ("disable-write-same", 0, Kind::Flag),
    ("disk-timeout", 0, PLAIN),
    ("read-balancing", 0, Kind::Text),
    ("rs-discard-granularity", 0, PLAIN),
    ("resync-rate", 0, KIB),
    ("c-plan-ahead", 0, PLAIN),
    ("c-delay-target", 0, PLAIN),
    ("c-fill-target", 0, SECTORS),
    ("c-max-rate", 0, KIB),
    ("c-min-rate", 0, KIB),
];

/// Options of how fast sides are made equal: 9 has them with the connection.
pub const RATES: &[&str] =
    &["resync-rate", "c-plan-ahead", "c-delay-target", "c-fill-target", "c-max-rate", "c-min-rate"];

/// Ways of settling a split brain by which nothing is lost that somebody wrote.
const SAFE: &[&str] = &["disconnect", "discard-zero-changes", "consensus"];

impl Kind {
    /// A value that DRBD shows, in the kernel's unit.
    pub fn canonical(self, value: &str) -> String {
        self.read(value).unwrap_or_else(|| value.to_owned())
    }

    /// The value in the kernel's unit; nothing if it cannot be one.
    fn read(self, value: &str) -> Option<String> {
        match self {
            Kind::Text => Some(value.to_owned()),
            Kind::Flag => ["yes", "no"].contains(&value).then(|| value.to_owned()),
            Kind::Choice(words) => {
                words.iter().any(|(word, _)| *word == value).then(|| value.to_owned())
            }
            Kind::Number(unit) => {
                let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
                let factor = match value[digits.len()..].to_ascii_lowercase().as_str() {
                    "" => unit,
                    "s" => 512,
                    "k" => 1 << 10,
                    "m" => 1 << 20,
                    "g" => 1 << 30,
                    _ => return None,
                };
                Some((digits.parse::<u64>().ok()?.checked_mul(factor)? / unit).to_string())
            }
        }
    }
}

/// What a disk's parameters ask of its storage.
pub fn disk(params: &ParamMap) -> Result<Options> {
    let number = |name: &str, or: i64| params.get(name).and_then(Value::as_i64).unwrap_or(or);
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let flag = |name: &str| params.get(name).and_then(Value::as_bool).unwrap_or(false);
    let mut all = Options::new();
    let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
    // A broken disk is let go; the guest goes on with the other side's.
    set("on-io-error", "detach".into());
    for (letter, name) in [('b', "disk-barrier"), ('f', "disk-flushes"), ('d', "disk-drain")] {
        if text("disk-barriers").contains(letter) {
            set(name, "no".into());
        }
    }
    if flag("meta-barriers") {
        set("md-flushes", "no".into());
    }
    set("resync-rate", number("resync-rate", 61440).to_string());
    if flag("dynamic-resync") {
        // At 0 the controller would be off.
        set("c-plan-ahead", number("c-plan-ahead", 20).max(1).to_string());
        set("c-fill-target", number("c-fill-target", 0).to_string());
        set("c-delay-target", number("c-delay-target", 1).to_string());
        set("c-max-rate", number("c-max-rate", 61440).to_string());
        set("c-min-rate", number("c-min-rate", 4096).to_string());
    } else {
        set("c-plan-ahead", "0".into());
    }
    for (name, value) in custom("disk-custom", text("disk-custom"))? {
        all.insert(name.clone(), read("disk-custom", DISK, &name, &value)?);
    }
    Ok(all)
}

/// What a disk's parameters ask of its connection.
pub fn net(params: &ParamMap) -> Result<Options> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let protocol = Some(text("protocol")).filter(|p| !p.is_empty()).unwrap_or("C");
    let mut all: Options = [
        ("protocol", protocol),
        ("cram-hmac-alg", "sha256"),
        ("verify-alg", "md5"),
        ("allow-two-primaries", "no"),
        // A side that wrote nothing has nothing to lose. Everything else is for people to decide.
        ("after-sb-0pri", "discard-zero-changes"),
        ("after-sb-1pri", "consensus"),
        ("after-sb-2pri", "disconnect"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for (name, value) in custom("net-custom", text("net-custom"))? {
        let value = read("net-custom", NET, &name, &value)?;
        if name.starts_with("after-sb-") && !SAFE.contains(&value.as_str()) {
            return Err(Error::wrong_input(format!(
                "Disk parameter net-custom: '--{name} {value}' would throw away what one side has \
                 written; a split brain is settled with 'gnt-instance repair-mirror' only"
            )));
        }
        all.insert(name, value);
    }
    Ok(all)
}

fn read(param: &str, table: &[Known], name: &str, value: &str) -> Result<String> {
    let known = table.iter().find(|(known, ..)| *known == name).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|(known, ..)| *known).collect();
        Error::wrong_input(format!(
            "Disk parameter {param}: '--{name}' is none of the options that may be set: {}",
            names.join(", ")
        ))
    })?;
    known.2.read(value).ok_or_else(|| {
        Error::wrong_input(format!("Disk parameter {param}: '{value}' is no value for '--{name}'"))
    })
}

/// Reads options as they are written for `drbdsetup`: `--name value` or `--name=value`.
fn custom(param: &str, text: &str) -> Result<Vec<(String, String)>> {
    let wrong = |word: &str| {
        Error::wrong_input(format!(
            "Disk parameter {param}: '{word}' is not understood; write '--name=value', with blanks \
             between options"
        ))
    };
    let mut all = vec![];
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").ok_or_else(|| wrong(word))?;
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, value),
            None => (name, words.next().ok_or_else(|| wrong(word))?),
        };
        all.push((name.to_owned(), value.trim_matches(['"', '\'']).to_owned()));
    }
    Ok(all)
}

/// Options as arguments of `drbdsetup`; only those in `names`, or all.
pub fn arguments(options: &Options, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let one = |(name, value): (&String, &String)| {
        let unit = match DISK.iter().find(|(known, ..)| known == name) {
            // Said, because versions differ in what they take a bare number for.
            Some((.., Kind::Number(512))) => "s",
            Some((.., Kind::Number(1024))) => "K",
            _ => "",
        };
        format!("--{name}={value}{unit}")
    };
    options.iter().filter(|(name, _)| wanted(name)).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn params(value: Value) -> ParamMap {
        serde_json::from_value(value).expect("parameters")
    }

    #[test]
    fn parameters_become_options() {
        let all = disk(&params(json!({
            "resync-rate": 1000, "disk-barriers": "bf", "meta-barriers": true,
            "dynamic-resync": false, "c-max-rate": 5, "disk-custom": "--al-extents 3389 --c-min-rate=1m",
        })))
        .expect("good");
        assert_eq!(
            arguments(&all, |_| true),
            [
                "--al-extents=3389",
                "--c-min-rate=1024K",
                "--c-plan-ahead=0",
                "--disk-barrier=no",
                "--disk-flushes=no",
                "--md-flushes=no",
                "--on-io-error=detach",
                "--resync-rate=1000K",
            ]
        );
        let all = disk(&params(json!({"dynamic-resync": true, "c-plan-ahead": 0}))).expect("good");
        assert_eq!(
            arguments(&all, |name| RATES.contains(&name)),
            [
                "--c-delay-target=1",
                "--c-fill-target=0s",
                "--c-max-rate=61440K",
                "--c-min-rate=4096K",
                "--c-plan-ahead=1",
                "--resync-rate=61440K",
            ]
        );
    }

    #[test]
    fn connections_are_guarded_and_lose_nothing() {
        let all = net(&params(json!({"protocol": "B", "net-custom": "--sndbuf-size=512k"})))
            .expect("good");
        assert_eq!(all["protocol"], "B");
        assert_eq!(all["sndbuf-size"], "524288");
        assert_eq!(all["cram-hmac-alg"], "sha256");
        for (custom, says) in [
            ("--after-sb-0pri discard-least-changes", "repair-mirror"),
            ("--shared-secret x", "none of the options"),
            ("--discard-my-data yes", "none of the options"),
            ("--timeout fast", "no value"),
            ("--protocol D", "no value"),
            ("timeout=3", "not understood"),
            ("--timeout", "not understood"),
        ] {
            let error = net(&params(json!({"net-custom": custom}))).expect_err(custom);
            assert!(error.message.contains(says), "{custom}: {error}");
        }
        let error = disk(&params(json!({"disk-custom": "--size=5"}))).expect_err("not that");
        assert!(error.message.contains("'--size'"), "{error}");
    }

    #[test]
    fn units_are_the_kernels() {
        assert_eq!(KIB.read("2048k").as_deref(), Some("2048"));
        assert_eq!(KIB.read("2M").as_deref(), Some("2048"));
        assert_eq!(SECTORS.read("100s").as_deref(), Some("100"));
        assert_eq!(SECTORS.read("100").as_deref(), Some("100"));
        assert_eq!(PLAIN.read("512k").as_deref(), Some("524288"));
        assert_eq!(PLAIN.read("x"), None);
        assert_eq!(PLAIN.read("1y"), None);
    }
}
