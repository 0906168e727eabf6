//! Types and checks of single parameters.

use super::{DEFAULT, ParamMap};
use crate::choices::Hypervisor;
use crate::error::{Error, Result};
use crate::keyval::KvMap;
use crate::units;
use serde_json::Value;

/// The type of a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// MiB; as text with units.
    Size,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Text; empty is "unset".
    Text,
    /// Text, or null for "unset".
    MaybeText,
}

impl Kind {
    /// What is expected, in words.
    fn expected(self) -> &'static str {
        match self {
            Kind::Bool => "true or false",
            Kind::Size => "a size, as 512m or 2g",
            Kind::Int => "a whole number",
            Kind::Float => "a number",
            Kind::Text | Kind::MaybeText => "text",
        }
    }
}

/// A built-in default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lit {
    /// Of [`Kind::Bool`].
    B(bool),
    /// Of [`Kind::Int`] and [`Kind::Size`].
    I(i64),
    /// Of [`Kind::Float`].
    F(f64),
    /// Of [`Kind::Text`].
    T(&'static str),
}

impl Lit {
    /// As JSON.
    pub fn to_json(self) -> Value {
        match self {
            Lit::B(value) => value.into(),
            Lit::I(value) => value.into(),
            Lit::F(value) => value.into(),
            Lit::T(value) => value.into(),
        }
    }
}

/// What a value of the right type must also satisfy. Unset values always do.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Nothing.
    Any,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma-separated list of these words.
    EachOf(&'static [&'static str]),
    /// Only these letters.
    Letters(&'static str),
    /// One of these numbers.
    Numbers(&'static [i64]),
    /// At least this.
    AtLeast(i64),
    /// Within these, both included.
    Between(i64, i64),
    /// An absolute path without detours.
    Path,
    /// The same, or an address of the web.
    PathOrUrl,
    /// An IPv4 address.
    Ipv4,
    /// An IP address or the name of a network interface.
    AddressOrInterface,
    /// An IP address, the name of a network interface, or an absolute path.
    AddressInterfaceOrPath,
    /// Which CPUs: `all`, or a list as `0-3,5,^2`.
    CpuMask,
    /// One CPU mask for all virtual CPUs, or one for each with `:` between.
    CpuMasks,
    /// A name of a user of the system.
    UserName,
    /// It depends on the hypervisor.
    By(&'static [(Hypervisor, Check)]),
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it is if nobody says anything.
    pub default: Lit,
    /// What values are allowed.
    pub check: Check,
}

/// A row of a table.
pub(super) const fn param(name: &'static str, kind: Kind, default: Lit, check: Check) -> Param {
    Param { name, kind, default, check }
}

/// The defaults of a table.
pub fn defaults(table: &[Param]) -> ParamMap {
    table.iter().map(|p| (p.name.to_owned(), p.default.to_json())).collect()
}

/// Settings from a command line as parameters, still untyped: [`typed`] makes them right.
pub fn from_cli(map: &KvMap) -> ParamMap {
    map.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
}

/// Gives every value its parameter's type and checks it. The value `default` passes as it is: it
/// drops a setting. `what` names the family in errors, as "backend". Errors: `wrong_input`.
pub fn typed(table: &[Param], map: &ParamMap, what: &str) -> Result<ParamMap> {
    let mut out = ParamMap::new();
    for (name, value) in map {
        let Some(param) = table.iter().find(|p| p.name == name) else {
            let known = table.iter().map(|p| p.name);
            return Err(unknown(what, name, known));
        };
        out.insert(name.clone(), check_one(param.kind, &param.check, None, what, name, value)?);
    }
    Ok(out)
}

/// One value: typed and checked.
pub(super) fn check_one(
    kind: Kind,
    check: &Check,
    hypervisor: Option<Hypervisor>,
    what: &str,
    name: &str,
    value: &Value,
) -> Result<Value> {
    if value == DEFAULT {
        return Ok(value.clone());
    }
    let value = coerce(kind, value)
        .ok_or_else(|| invalid(what, name, value, format!("expected {}", kind.expected())))?;
    match check.run(hypervisor, &value) {
        Ok(()) => Ok(value),
        Err(why) => Err(invalid(what, name, &value, why)),
    }
}

pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    Error::wrong_input(format!(
        "Unknown {what} parameter '{name}'; known: {}",
        known.collect::<Vec<_>>().join(", ")
    ))
}

pub(super) fn invalid(what: &str, name: &str, value: &Value, why: impl std::fmt::Display) -> Error {
    Error::wrong_input(format!("Invalid value {value} for {what} parameter '{name}': {why}"))
}

/// The value as its type wants it, or none if it cannot be that. Text is read: `yes`, `2g`, `4`.
pub fn coerce(kind: Kind, value: &Value) -> Option<Value> {
    match (kind, value) {
        (Kind::Bool, Value::Bool(_)) => Some(value.clone()),
        (Kind::Bool, Value::Null) => Some(false.into()),
        (Kind::Bool, Value::String(text)) if text.is_empty() => Some(false.into()),
        (Kind::Bool, Value::String(text)) => units::parse_bool(text).ok().map(Value::from),
        (Kind::Size, Value::Number(number)) => {
            let mib = number.as_u64()?;
            Some(mib.checked_next_multiple_of(units::SIZE_STEP)?.into())
        }
        (Kind::Size, Value::String(text)) => units::parse_size(text).ok().map(Value::from),
        (Kind::Int, Value::Number(number)) => {
            number.as_i64().or_else(|| whole(number.as_f64()?)).map(Value::from)
        }
        (Kind::Int, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Kind::Float, Value::Number(number)) => number.as_f64().map(Value::from),
        (Kind::Float, Value::String(text)) => {
            text.trim().parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from)
        }
        (Kind::Text, Value::String(_)) => Some(value.clone()),
        (Kind::Text, Value::Null | Value::Bool(false)) => Some("".into()),
        (Kind::Text, Value::Number(number)) => Some(number.to_string().into()),
        (Kind::MaybeText, Value::Null | Value::Bool(false)) => Some(Value::Null),
        (Kind::MaybeText, Value::String(text)) if text.is_empty() || text == "none" => {
            Some(Value::Null)
        }
        (Kind::MaybeText, Value::String(_)) => Some(value.clone()),
        _ => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

impl Check {
    /// Whether a value of the right type is allowed; if not, why.
    fn run(&self, hypervisor: Option<Hypervisor>, value: &Value) -> Result<(), String> {
        if let Check::By(checks) = self {
            return match checks.iter().find(|(hv, _)| Some(*hv) == hypervisor) {
                Some((_, check)) => check.run(hypervisor, value),
                None => Ok(()),
            };
        }
        match value {
            Value::String(text) if text.is_empty() => Ok(()),
            Value::String(text) => self.text(text),
            Value::Number(number) => self.number(number.as_f64().unwrap_or_default()),
            _ => Ok(()),
        }
    }

    fn number(&self, number: f64) -> Result<(), String> {
        match self {
            Check::AtLeast(min) if number < *min as f64 => {
                Err(format!("it must be at least {min}"))
            }
            Check::Between(min, max) if number < *min as f64 || number > *max as f64 => {
                Err(format!("it must be between {min} and {max}"))
            }
            Check::Numbers(all) if !all.iter().any(|n| *n as f64 == number) => {
                let all: Vec<_> = all.iter().map(i64::to_string).collect();
                Err(format!("allowed: {}", all.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn text(&self, text: &str) -> Result<(), String> {
        match self {
            Check::OneOf(words) if !words.contains(&text) => {
                Err(format!("allowed: {}", words.join(", ")))
            }
            Check::EachOf(words) => match text.split(',').find(|w| !words.contains(w)) {
                Some(word) => Err(format!("'{word}' is not one of: {}", words.join(", "))),
                None => Ok(()),
            },
            Check::Letters(letters) => match text.chars().find(|c| !letters.contains(*c)) {
                Some(c) => Err(format!("'{c}' is not one of the letters {letters}")),
                None => Ok(()),
            },
            Check::Path => path(text),
            Check::PathOrUrl if is_url(text) => Ok(()),
            Check::PathOrUrl => path(text).map_err(|why| format!("{why}, or be a URL")),
            Check::Ipv4 => match text.parse::<std::net::Ipv4Addr>() {
                Ok(_) => Ok(()),
                Err(_) => Err("it must be an IPv4 address".into()),
            },
            Check::AddressInterfaceOrPath if text.starts_with('/') => path(text),
            Check::AddressOrInterface | Check::AddressInterfaceOrPath => {
                match text.parse::<std::net::IpAddr>().is_ok() || is_interface(text) {
                    true => Ok(()),
                    false => Err("it must be an IP address or the name of an interface".into()),
                }
            }
            Check::CpuMask => cpu_mask(text).map(|_| ()),
            Check::CpuMasks => text.split(':').try_for_each(|mask| cpu_mask(mask).map(|_| ())),
            Check::UserName => {
                let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
                match text.len() <= 32 && text.chars().all(good) && !text.starts_with('-') {
                    true => Ok(()),
                    false => Err("it must be the name of a user".into()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn path(text: &str) -> Result<(), String> {
    let detour = |part| part == "." || part == "..";
    match text.starts_with('/') && !text.contains("//") && !text.split('/').any(detour) {
        true => Ok(()),
        false => Err("it must be an absolute path without '.', '..' or '//'".into()),
    }
}

fn is_url(text: &str) -> bool {
    let schemes = ["http://", "https://", "ftp://", "ftps://", "tftp://"];
    schemes.iter().any(|s| text.strip_prefix(s).is_some_and(|rest| !rest.is_empty()))
}

fn is_interface(text: &str) -> bool {
    text.len() <= 15 && !text.contains(|c: char| c == '/' || c.is_whitespace())
}

/// Reads one CPU mask into CPU numbers; `all` is none given. Errors: why it is not one.
pub fn cpu_mask(text: &str) -> Result<Option<Vec<u32>>, String> {
    if text == "all" {
        return Ok(None);
    }
    let wrong = |part: &str| format!("'{part}' is not a CPU number or range (as 0-3,5,^2 or all)");
    let mut cpus = std::collections::BTreeSet::new();
    for part in text.split(',') {
        let (range, keep) = match part.strip_prefix('^') {
            Some(range) => (range, false),
            None => (part, true),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>())
        else {
            return Err(wrong(part));
        };
        if first > last || last > 4095 {
            return Err(wrong(part));
        }
        for cpu in first..=last {
            if keep {
                cpus.insert(cpu)
            } else {
                cpus.remove(&cpu)
            };
        }
    }
    match cpus.is_empty() {
        true => Err(format!("'{text}' leaves no CPU")),
        false => Ok(Some(cpus.into_iter().collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn text_becomes_the_type() {
        for (kind, given, expected) in [
            (Kind::Bool, json!("Yes"), json!(true)),
            (Kind::Bool, json!("false"), json!(false)),
            (Kind::Size, json!("1.5g"), json!(1536)),
            (Kind::Size, json!(129), json!(132)),
            (Kind::Int, json!("-4"), json!(-4)),
            (Kind::Int, json!(4.0), json!(4)),
            (Kind::Float, json!("1.5"), json!(1.5)),
            (Kind::Float, json!(2), json!(2.0)),
            (Kind::Text, json!(false), json!("")),
            (Kind::Text, json!(100), json!("100")),
            (Kind::MaybeText, json!("none"), json!(null)),
            (Kind::MaybeText, json!("/dev/vda1"), json!("/dev/vda1")),
        ] {
            assert_eq!(coerce(kind, &given), Some(expected), "{kind:?} {given}");
        }
        for (kind, given) in [
            (Kind::Bool, json!("maybe")),
            (Kind::Bool, json!(1)),
            (Kind::Size, json!("big")),
            (Kind::Size, json!(-1)),
            (Kind::Int, json!(true)),
            (Kind::Int, json!(1.5)),
            (Kind::Float, json!("inf")),
            (Kind::Text, json!(true)),
            (Kind::Text, json!([])),
        ] {
            assert_eq!(coerce(kind, &given), None, "{kind:?} {given}");
        }
    }

    #[test]
    fn checks() {
        let allowed = |check: Check, value: Value| check.run(Some(Hypervisor::Kvm), &value).is_ok();
        for (check, good, bad) in [
            (Check::OneOf(&["a", "b"]), json!("a"), json!("c")),
            (Check::EachOf(&["a", "b"]), json!("b,a"), json!("a,c")),
            (Check::Letters("acdn"), json!("cd"), json!("cx")),
            (Check::Numbers(&[0, 4]), json!(4), json!(5)),
            (Check::AtLeast(0), json!(0), json!(-1)),
            (Check::Between(1, 3), json!(3), json!(4)),
            (Check::Path, json!("/a/b"), json!("a/b")),
            (Check::Path, json!(""), json!("/a/../b")),
            (Check::PathOrUrl, json!("http://x/y"), json!("http:x")),
            (Check::Ipv4, json!("0.0.0.0"), json!("::1")),
            (Check::AddressOrInterface, json!("eth0"), json!("/tmp")),
            (Check::AddressInterfaceOrPath, json!("/tmp"), json!("a b")),
            (Check::CpuMask, json!("0-3,^2"), json!("0:1")),
            (Check::CpuMasks, json!("0-1:all"), json!("0:x")),
            (Check::UserName, json!("qemu-1"), json!("-x")),
            (Check::By(&[(Hypervisor::Kvm, Check::AtLeast(2))]), json!(2), json!(1)),
        ] {
            assert!(allowed(check, good.clone()), "{check:?} allows {good}");
            assert!(!allowed(check, bad.clone()), "{check:?} refuses {bad}");
        }
        let other = Check::By(&[(Hypervisor::Lxc, Check::AtLeast(2))]);
        assert!(allowed(other, json!(1)), "another hypervisor's check");
    }

    #[test]
    fn masks() {
        assert_eq!(cpu_mask("all"), Ok(None));
        assert_eq!(cpu_mask("0-2,5,^1"), Ok(Some(vec![0, 2, 5])));
        for bad in ["", "a", "2-1", "0,^0", "99999", "1-"] {
            assert!(cpu_mask(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_is_right() {
        const TABLE: &[Param] = &[param("speed", Kind::Int, Lit::I(1), Check::Between(1, 9))];
        let refused = |key: &str, value| {
            typed(TABLE, &ParamMap::from([(key.to_owned(), value)]), "test")
                .expect_err("must be refused")
                .message
        };
        assert_eq!(refused("sped", json!(1)), "Unknown test parameter 'sped'; known: speed");
        assert_eq!(
            refused("speed", json!("fast")),
            "Invalid value \"fast\" for test parameter 'speed': expected a whole number"
        );
        assert_eq!(
            refused("speed", json!(10)),
            "Invalid value 10 for test parameter 'speed': it must be between 1 and 9"
        );
        let dropped = ParamMap::from([("speed".to_owned(), json!("default"))]);
        assert_eq!(typed(TABLE, &dropped, "test").expect("default passes"), dropped);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,12}") {
            let _ = cpu_mask(&text);
            for kind in [Kind::Bool, Kind::Size, Kind::Int, Kind::Float, Kind::MaybeText] {
                if let Some(value) = coerce(kind, &json!(text)) {
                    // Once typed, a value stays.
                    prop_assert_eq!(coerce(kind, &value), Some(value));
                }
            }
        }
    }
}
