//! Files of rules: one a line, in the words that `gnt-rule add` takes; `#` begins a comment line.

use crate::text::Malformed;
use roost_proto::placement::RuleSpec;

/// The rules of a file. Errors: the first line and part that is wrong.
pub fn read(text: &str) -> Result<Vec<RuleSpec>, Malformed> {
    let mut rules: Vec<RuleSpec> = vec![];
    for (at, line) in text.lines().enumerate() {
        let malformed = |field, message| Malformed { line: at + 1, field, message };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let rule =
            RuleSpec::of_line(line).map_err(|error| malformed(error.field, error.message))?;
        if rules.iter().any(|other| other.name == rule.name) {
            return Err(malformed("name", format!("there is a rule '{}' already", rule.name)));
        }
        rules.push(rule);
    }
    Ok(rules)
}
