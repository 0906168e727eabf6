//! Values as Haskell prints them: errors of the reference's daemon have such in them.

use crate::wire::{Field, Query};
use std::borrow::Cow;
use std::fmt::Write;

/// A query as Haskell prints it.
pub fn shown(query: &Query<'_>) -> String {
    let dict = match query {
        Query::Empty => return "EmptyQuery".into(),
        Query::Text(text) => return format!("PlainQuery {}", haskell(text)),
        Query::Dict(dict) => dict,
    };
    let maybe = |text: &Option<Cow<'_, str>>| match text {
        None => "Nothing".to_owned(),
        Some(text) => format!("Just {}", haskell(text)),
    };
    let ips: Vec<String> = dict.ips.iter().map(|ip| haskell(ip)).collect();
    let names = |field: &Field| match field {
        Field::Name => "ReqFieldName",
        Field::Ip => "ReqFieldIp",
        Field::MasterPip => "ReqFieldMNodePip",
    };
    let fields: Vec<&str> = dict.fields.iter().map(names).collect();
    format!(
        "DictQuery (ConfdReqQ {{confdReqQLink = {}, confdReqQIp = {}, confdReqQIpList = [{}], confdReqQFields = [{}]}})",
        maybe(&dict.link),
        maybe(&dict.ip),
        ips.join(","),
        fields.join(","),
    )
}

/// A string as Haskell prints it: what is not printable ASCII by its decimal number.
pub fn haskell(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    let mut after_number = false;
    shown.push('"');
    for c in text.chars() {
        if std::mem::take(&mut after_number) && c.is_ascii_digit() {
            shown.push_str("\\&");
        }
        match c {
            '"' => shown.push_str("\\\""),
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            ' '..='~' => shown.push(c),
            _ => {
                // Writing to a string does not fail.
                let _ = write!(shown, "\\{}", u32::from(c));
                after_number = true;
            }
        }
    }
    shown.push('"');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Dict;

    #[test]
    fn strings_as_haskell_prints_them() {
        assert_eq!(haskell("a\"\\\nä1ä"), r#""a\"\\\n\228\&1\228""#);
    }

    #[test]
    fn queries_as_haskell_prints_them() {
        assert_eq!(shown(&Query::Empty), "EmptyQuery");
        let dict = Dict {
            link: Some("br0".into()),
            ip: None,
            ips: vec!["a".into(), "b".into()],
            fields: vec![Field::Name, Field::MasterPip],
        };
        assert_eq!(
            shown(&Query::Dict(dict)),
            "DictQuery (ConfdReqQ {confdReqQLink = Just \"br0\", confdReqQIp = Nothing, confdReqQIpList = \
             [\"a\",\"b\"], confdReqQFields = [ReqFieldName,ReqFieldMNodePip]})"
        );
    }
}
