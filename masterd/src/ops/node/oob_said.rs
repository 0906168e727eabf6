//! What out-of-band helpers say, in JSON.
//!
//! ```text
//!   health          [["fan", "OK"], ["disk", "WARNING"]]
//!   power-status    {"powered": true}
//! ```

use roost_proto::error::{Error, Result};
use serde_json::Value;

/// How a part of a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Health {
    const ALL: [Health; 4] = [Health::Ok, Health::Warning, Health::Critical, Health::Unknown];

    /// The helper's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Ok => "OK",
            Health::Warning => "WARNING",
            Health::Critical => "CRITICAL",
            Health::Unknown => "UNKNOWN",
        }
    }
}

/// Whether a machine is on.
#[derive(Clone, Debug, PartialEq)]
pub struct PowerStatus {
    pub powered: bool,
    /// All that was said.
    pub whole: Value,
}

/// Reads a list of parts with how they are.
pub fn health(text: &str) -> Result<Vec<(String, Health)>> {
    let wanted = "a list [[\"item\", \"OK|WARNING|CRITICAL|UNKNOWN\"], …]";
    let value = json(text, wanted)?;
    let items = value.as_array().ok_or_else(|| wrong(text, wanted))?;
    let mut found = Vec::new();
    for item in items {
        match item.as_array().map(Vec::as_slice) {
            Some([Value::String(item), Value::String(status)]) => {
                let health = Health::ALL.into_iter().find(|health| health.as_str() == status);
                let health = health.ok_or_else(|| {
                    Error::exec(format!(
                        "the helper's item '{item}' has the status '{status}', which is none of OK, \
                         WARNING, CRITICAL, UNKNOWN"
                    ))
                })?;
                found.push((item.clone(), health));
            }
            _ => return Err(wrong(text, wanted)),
        }
    }
    Ok(found)
}

/// Reads whether a machine is on.
pub fn power_status(text: &str) -> Result<PowerStatus> {
    let wanted = "{\"powered\": true} or {\"powered\": false}";
    let whole = json(text, wanted)?;
    match whole.get("powered").and_then(Value::as_bool) {
        Some(powered) => Ok(PowerStatus { powered, whole }),
        None => Err(wrong(text, wanted)),
    }
}

fn json(text: &str, wanted: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|_| wrong(text, wanted))
}

/// The helper said something else.
fn wrong(text: &str, wanted: &str) -> Error {
    const SHOWN: usize = 200;
    let text = text.trim();
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    let said = match text {
        "" => "said nothing".to_owned(),
        _ => format!("said '{shown}{more}'"),
    };
    Error::exec(format!("the helper {said} where it should say {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_read() {
        let text = r#"[["fan", "OK"], ["disk", "CRITICAL"]]"#;
        let expected = [("fan".to_owned(), Health::Ok), ("disk".to_owned(), Health::Critical)];
        assert_eq!(health(text).expect("good"), expected);
        assert_eq!(health("[]\n").expect("good"), []);
        for bad in ["", "{}", "[1]", "[[\"fan\"]]", "[[\"fan\", 1]]", "fan OK"] {
            let why = health(bad).expect_err(bad).message;
            assert!(why.contains("where it should say a list [[\"item\""), "{why}");
        }
        let why = health(r#"[["fan", "loud"]]"#).expect_err("no status").message;
        assert!(why.contains("item 'fan' has the status 'loud'"), "{why}");
    }

    #[test]
    fn power_status_is_read() {
        let status = power_status(r#"{"powered": false, "by": "pdu"}"#).expect("good");
        assert!(!status.powered && status.whole["by"] == "pdu");
        for bad in ["", "true", "[]", "{\"powered\": \"yes\"}", "{\"powered\": 1}"] {
            power_status(bad).expect_err(bad);
        }
        let why = power_status("").expect_err("nothing").message;
        assert!(
            why.starts_with("the helper said nothing where it should say {\"powered\""),
            "{why}"
        );
        let why = power_status(&"x".repeat(1000)).expect_err("nonsense").message;
        assert!(why.len() < 320 && why.contains("x…'"), "{why}");
    }
}
