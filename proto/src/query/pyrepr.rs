//! Structured values as Python prints them.
//!
//! Ganeti's tools print lists and dictionaries in Python's notation (`['a', None, True]`), and
//! scripts parse that.

use serde_json::Value;
use std::fmt::Write;

/// Python's `str()`: text as it is, everything else as [`repr`].
pub fn write_str(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => out.push_str(text),
        other => write_repr(out, other),
    }
}

/// Python's `repr()`.
pub fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => write_float(out, float),
            None => push(out, format_args!("{number}")),
        },
        Value::String(text) => write_quoted(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (i, (key, item)) in entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_quoted(out, key);
                out.push_str(": ");
                write_repr(out, item);
            }
            out.push('}');
        }
    }
}

/// Python's `str()` as a new string.
pub fn str(value: &Value) -> String {
    let mut out = String::new();
    write_str(&mut out, value);
    out
}

/// Python's `repr()` as a new string.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

/// The shortest digits that read back, as in Rust, but the exponent has a sign and two digits.
fn write_float(out: &mut String, float: f64) {
    let text = format!("{float:?}");
    match text.split_once('e') {
        None => out.push_str(&text),
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            push(out, format_args!("{digits}e{sign}{exponent:0>2}"));
        }
    }
}

/// In single quotes, unless double ones save escaping.
fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => push(out, format_args!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn prints_what_python_prints() {
        for (value, text) in [
            (json!(null), "None"),
            (json!([true, false, 1, -2, 1.0, 2.5]), "[True, False, 1, -2, 1.0, 2.5]"),
            (json!([1e16, 1e-5, 1e300, 0.0001]), "[1e+16, 1e-05, 1e+300, 0.0001]"),
            (json!({"a": ["b"], "c": {}}), "{'a': ['b'], 'c': {}}"),
            (json!(["it's", "say \"x\"", "'\"", "é"]), r#"["it's", 'say "x"', '\'"', 'é']"#),
            (json!(["a\nb\t\\\u{1}"]), r"['a\nb\t\\\x01']"),
            (json!([u64::MAX]), "[18446744073709551615]"),
        ] {
            assert_eq!(repr(&value), text);
        }
        assert_eq!(str(&json!("it's")), "it's");
        assert_eq!(str(&json!(["x"])), "['x']");
    }
}
