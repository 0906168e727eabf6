//! What a rule says, as given on the command line.

use crate::clock;
use crate::context::Cx;
use clap::Args;
use roost_proto::rpc::master::PutFilterRequest;
use serde_json::{Value, json};

/// The options of `add` and `replace`.
#[derive(Args, Debug)]
pub struct Rule {
    /// Rules are looked at in the order of this number, lowest first
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    priority: u32,
    /// What a job must be like, in JSON: a list of ["jobid"|"opcode"|"reason", FILTER]
    #[arg(long, value_name = "JSON", default_value = "[]", value_parser = predicates)]
    predicates: Value,
    /// ACCEPT, PAUSE, REJECT, CONTINUE or "RATE_LIMIT NUMBER"
    #[arg(long, value_name = "ACTION", default_value = "CONTINUE", value_parser = action)]
    action: Value,
}

fn predicates(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(list @ Value::Array(_)) => Ok(list),
        Ok(_) => Err("it is a list, as [[\"jobid\", [\">\", \"id\", \"watermark\"]]]".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

fn action(text: &str) -> Result<Value, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    match words.as_slice() {
        ["ACCEPT" | "PAUSE" | "REJECT" | "CONTINUE"] => Ok(json!(words[0])),
        ["RATE_LIMIT", number] => match number.parse::<u32>() {
            Ok(number) if number > 0 => Ok(json!(["RATE_LIMIT", number])),
            _ => Err("RATE_LIMIT needs a number from 1, as 'RATE_LIMIT 5'".to_owned()),
        },
        _ => Err("it is ACCEPT, PAUSE, REJECT, CONTINUE or 'RATE_LIMIT NUMBER'".to_owned()),
    }
}

impl Rule {
    /// The request to add it, or to put it in the place of another.
    pub fn request(&self, cx: &Cx, uuid: &str) -> PutFilterRequest {
        let now = clock::now_nanos();
        let trail: Vec<_> = cx.reason.iter().map(|text| json!(["gnt:user", text, now])).collect();
        PutFilterRequest {
            uuid: uuid.to_owned(),
            priority: self.priority,
            predicates: self.predicates.to_string(),
            action: self.action.to_string(),
            reason_trail: Value::from(trail).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_words() {
        assert_eq!(action("PAUSE"), Ok(json!("PAUSE")));
        assert_eq!(action("RATE_LIMIT  5"), Ok(json!(["RATE_LIMIT", 5])));
        for wrong in ["", "pause", "RATE_LIMIT", "RATE_LIMIT 0", "RATE_LIMIT x", "PAUSE 5"] {
            assert!(action(wrong).is_err(), "{wrong}");
        }
    }
}
