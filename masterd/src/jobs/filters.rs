//! Job filter rules: what becomes of a job before it starts.
//!
//! ```text
//!   rules in their order ─► the first that matches and does not say CONTINUE decides
//!     ACCEPT, or none      it runs when its turn comes
//!     PAUSE                it stays queued
//!     REJECT               it is refused; if it is queued already, canceled
//!     RATE_LIMIT n         it runs when fewer than n run that the same rule decides about
//! ```
//!
//! Pure. A reason in a job's trail that reads `rate-limit:N:LABEL` limits it as well: whoever
//! submits many jobs may ask for that without being an administrator of rules.

use super::queue::{Group, Share};
use crate::config::Config;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{FilterId, JobId};
use roost_proto::job::JobRecord;
use roost_proto::objects::{FilterAction, FilterRule};
use roost_proto::query::{Cell, Compiled, Filter, FilterValue};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What becomes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may start when each of these has room; none: when its turn comes.
    Start(Vec<Share>),
    /// It must not run at all: this rule says so.
    Reject(FilterId),
}

impl Verdict {
    /// The shares it needs. A rejected job never gets its share.
    pub fn shares(self) -> Vec<Share> {
        match self {
            Verdict::Start(shares) => shares,
            Verdict::Reject(rule) => vec![Share { of: Group::Rule(rule), limit: 0 }],
        }
    }
}

/// All rules, made ready to look at many jobs.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    source: Vec<Arc<FilterRule>>,
}

#[derive(Debug)]
struct Rule {
    id: FilterId,
    action: FilterAction,
    predicates: Vec<Predicate>,
}

#[derive(Debug)]
enum Predicate {
    Job(Compiled<String>),
    /// Any opcode of the job.
    OpCode(Compiled<String>),
    /// Any entry of the reason trail of any opcode.
    Reason(Compiled<String>),
    /// It uses what such a predicate cannot look at: nothing matches.
    Never,
}

/// Refuses a rule that is no rule.
///
/// Errors: `wrong_input`, naming the predicate.
pub fn check(rule: &FilterRule) -> Result<()> {
    if let FilterAction::RateLimit(_, 0) = rule.action {
        return Err(Error::wrong_input(
            "RATE_LIMIT needs a number from 1; to hold all jobs that match use PAUSE",
        ));
    }
    for (name, expression) in &rule.predicates {
        predicate(name, expression, rule.watermark)
            .map_err(|e| e.at(format!("Predicate '{name}'")))?;
    }
    Ok(())
}

fn predicate(name: &str, expression: &Value, watermark: JobId) -> Result<Predicate> {
    let mut filter = Filter::from_json(expression)?;
    Ok(match name {
        "opcode" => Predicate::OpCode(Compiled::over_names(&filter)?),
        "jobid" if only_compares(&filter, &["id"]) => {
            name_watermark(&mut filter, watermark);
            Predicate::Job(Compiled::over_names(&filter)?)
        }
        "reason" if only_compares(&filter, &["source", "reason", "timestamp"]) => {
            Predicate::Reason(Compiled::over_names(&filter)?)
        }
        "jobid" | "reason" => Predicate::Never,
        other => {
            return Err(Error::wrong_input(format!(
                "'{other}' is not something to look at; there are jobid, opcode and reason"
            )));
        }
    })
}

/// Comparisons of these fields, and what combines them.
fn only_compares(filter: &Filter, fields: &[&str]) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().all(|part| only_compares(part, fields))
        }
        Filter::Not(part) => only_compares(part, fields),
        Filter::Compare(_, field, _) => fields.contains(&field.as_str()),
        Filter::True(_) | Filter::Matches(..) | Filter::Contains(..) => false,
    }
}

/// The word `watermark` stands for the number that was the last when the rule was made.
fn name_watermark(filter: &mut Filter, watermark: JobId) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter_mut().for_each(|part| name_watermark(part, watermark));
        }
        Filter::Not(part) => name_watermark(part, watermark),
        Filter::Compare(_, _, value) if *value == FilterValue::Text("watermark".into()) => {
            *value = FilterValue::Int(i64::try_from(watermark.0).unwrap_or(i64::MAX));
        }
        _ => {}
    }
}

impl Rules {
    /// Those of a configuration, in their order: priority, watermark, UUID.
    pub fn of(config: &Config) -> Rules {
        Rules::new(config.filters.values().cloned().collect())
    }

    fn new(source: Vec<Arc<FilterRule>>) -> Rules {
        let mut ordered = source.clone();
        ordered.sort_by_key(|rule| (rule.priority, rule.watermark, rule.uuid));
        let rules = ordered.iter().map(|rule| {
            let compiled = rule.predicates.iter().map(|(name, expression)| {
                // One of another version that cannot be read matches nothing.
                predicate(name, expression, rule.watermark).unwrap_or(Predicate::Never)
            });
            Rule { id: rule.uuid, action: rule.action, predicates: compiled.collect() }
        });
        Rules { rules: rules.collect(), source }
    }

    /// Whether they are still those of this configuration.
    pub fn are_of(&self, config: &Config) -> bool {
        config.filters.size() == self.source.len()
            && config.filters.values().zip(&self.source).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// What becomes of a job.
    pub fn judge(&self, job: &JobRecord) -> Verdict {
        let mut shares = rate_limits(job);
        let decides = |rule: &&Rule| rule.action != FilterAction::Continue && rule.matches(job);
        if let Some(rule) = self.rules.iter().find(decides) {
            let mut limit = |limit| shares.push(Share { of: Group::Rule(rule.id), limit });
            match rule.action {
                FilterAction::Reject => return Verdict::Reject(rule.id),
                FilterAction::Pause => limit(0),
                FilterAction::RateLimit(_, n) => limit(n),
                FilterAction::Accept | FilterAction::Continue => {}
            }
        }
        Verdict::Start(shares)
    }
}

impl Rule {
    fn matches(&self, job: &JobRecord) -> bool {
        self.predicates.iter().all(|predicate| predicate.matches(job))
    }
}

impl Predicate {
    fn matches(&self, job: &JobRecord) -> bool {
        // A value of a type that does not fit a comparison is no match.
        match self {
            Predicate::Never => false,
            Predicate::Job(filter) => filter.holds(|_| Cell::new(job.id.0)).unwrap_or(false),
            Predicate::OpCode(filter) => job
                .ops
                .iter()
                .any(|op| filter.holds(|path| field(&op.input, path)).unwrap_or(false)),
            Predicate::Reason(filter) => reasons(job).any(|entry| {
                let part = |name: &String| match name.as_str() {
                    "source" => field_at(entry, 0),
                    "reason" => field_at(entry, 1),
                    _ => field_at(entry, 2),
                };
                filter.holds(part).unwrap_or(false)
            }),
        }
    }
}

/// A field of an opcode; `beparams.memory` is one inside another.
fn field(input: &Value, path: &str) -> Cell {
    let found = path.split('.').try_fold(input, |value, key| value.get(key));
    found.map_or(Cell::UNAVAILABLE, |value| Cell::new(value.clone()))
}

fn field_at(entry: &Value, place: usize) -> Cell {
    entry.get(place).map_or(Cell::UNAVAILABLE, |value| Cell::new(value.clone()))
}

fn reasons(job: &JobRecord) -> impl Iterator<Item = &Value> {
    job.ops.iter().filter_map(|op| op.input.get("reason")?.as_array()).flatten()
}

/// The limits that the job's own reasons ask for.
fn rate_limits(job: &JobRecord) -> Vec<Share> {
    let asked = reasons(job).filter_map(|entry| {
        let label = entry.get(1)?.as_str()?.strip_prefix("rate-limit:")?;
        let limit = label.split_once(':')?.0.parse().ok().filter(|limit| *limit > 0)?;
        Some(Share { of: Group::Label(label.into()), limit })
    });
    asked.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(ops: Vec<Value>) -> JobRecord {
        let ops: Vec<_> = ops
            .into_iter()
            .map(|input| json!({"input": input, "status": "queued", "result": null, "priority": 0}))
            .collect();
        serde_json::from_value(json!({"id": 17, "ops": ops})).expect("a job")
    }

    fn rule(number: u128, priority: u32, predicates: Value, action: Value) -> FilterRule {
        let rule = json!({
            "uuid": uuid::Uuid::from_u128(number), "watermark": 15, "priority": priority,
            "predicates": predicates, "action": action,
        });
        serde_json::from_value(rule).expect("a rule")
    }

    fn judge(rules: &[FilterRule], job: &JobRecord) -> Verdict {
        Rules::new(rules.iter().cloned().map(Arc::new).collect()).judge(job)
    }

    fn matches(predicates: Value, job: &JobRecord) -> bool {
        let rule = rule(1, 0, predicates, json!("REJECT"));
        check(&rule).expect("a good rule");
        judge(&[rule], job) == Verdict::Reject(FilterId(uuid::Uuid::from_u128(1)))
    }

    fn free() -> Verdict {
        Verdict::Start(vec![])
    }

    #[test]
    fn the_first_rule_that_decides_decides() {
        let job = job(vec![json!({"OP_ID": "OP_TEST_DELAY"})]);
        let share = |number, limit| {
            let of = Group::Rule(FilterId(uuid::Uuid::from_u128(number)));
            Verdict::Start(vec![Share { of, limit }])
        };
        let accept = rule(1, 0, json!([]), json!("ACCEPT"));
        let pause = rule(2, 1, json!([]), json!("PAUSE"));
        let slow = rule(3, 1, json!([]), json!(["RATE_LIMIT", 2]));
        let pass = rule(4, 0, json!([]), json!("CONTINUE"));
        assert_eq!(judge(&[], &job), free());
        assert_eq!(judge(&[accept, pause.clone()], &job), free());
        assert_eq!(judge(&[pause.clone(), pass], &job), share(2, 0));
        // Of the same priority the older one, then the smaller UUID.
        assert_eq!(judge(&[slow.clone(), pause.clone()], &job), share(2, 0));
        let old = FilterRule { watermark: JobId(3), ..slow };
        assert_eq!(judge(&[old, pause], &job), share(3, 2));
    }

    #[test]
    fn all_predicates_must_match_one_opcode_is_enough() {
        let two = job(vec![
            json!({"OP_ID": "OP_TEST_DELAY", "duration": 3.0, "on_nodes": ["n1"]}),
            json!({"OP_ID": "OP_INSTANCE_CREATE", "beparams": {"memory": 512}, "os_type": null}),
        ]);
        let op = |expression: Value| matches(json!([["opcode", expression]]), &two);
        assert!(op(json!(["=", "OP_ID", "OP_INSTANCE_CREATE"])));
        assert!(!op(json!(["=", "OP_ID", "OP_NODE_ADD"])));
        assert!(op(json!([">", "beparams.memory", 256])));
        assert!(!op(json!([">", "beparams.memory", 1024])));
        assert!(op(json!(["=~", "OP_ID", "^OP_TEST_"])));
        assert!(op(json!(["=[]", "on_nodes", "n1"])));
        assert!(op(json!(["|", ["=", "nothing", 1], ["=", "duration", 3]])));
        // Not both in one opcode.
        assert!(!op(json!(["&", ["=", "OP_ID", "OP_INSTANCE_CREATE"], ["=", "duration", 3]])));
        // What is not there decides nothing, whichever way it is asked; nor does a wrong type.
        for expression in [
            json!(["=", "os_type", "x"]),
            json!(["!=", "os_type", "x"]),
            json!(["!", ["=", "no_such_field", "x"]]),
            json!(["=", "duration", "x"]),
        ] {
            assert!(!op(expression.clone()), "{expression}");
        }
        let both = json!([["opcode", ["=", "duration", 3]], ["jobid", ["=", "id", 18]]]);
        assert!(!matches(both, &two));
    }

    #[test]
    fn jobs_are_looked_at_by_number_and_watermark() {
        let job = job(vec![json!({"OP_ID": "OP_TEST_DELAY"})]);
        let id = |expression: Value| matches(json!([["jobid", expression]]), &job);
        assert!(id(json!(["=", "id", 17])));
        assert!(id(json!([">", "id", "watermark"])));
        assert!(!id(json!(["<=", "id", "watermark"])));
        assert!(id(json!(["!", ["|", ["<", "id", 10], [">=", "id", 20]]])));
        // Ganeti looks at numbers only, and only compares.
        assert!(!id(json!(["=~", "id", "17"])));
        assert!(!id(json!(["!", ["=", "status", 1]])));
    }

    #[test]
    fn reasons_are_looked_at_one_by_one() {
        let reason = json!([["gnt:user", "backup", 5], ["gnt:client:gnt-x", "add", 7]]);
        let job = job(vec![json!({"OP_ID": "A", "reason": reason})]);
        let any = |expression: Value| matches(json!([["reason", expression]]), &job);
        assert!(any(json!(["=", "reason", "backup"])));
        assert!(any(json!(["&", ["=", "source", "gnt:user"], ["<", "timestamp", 6]])));
        assert!(!any(json!(["&", ["=", "source", "gnt:user"], ["=", "reason", "add"]])));
        assert!(!any(json!(["=~", "reason", "back"])), "no regular expressions here");
        assert!(!any(json!(["=", "OP_ID", "A"])));
    }

    #[test]
    fn reasons_ask_for_limits() {
        let trail = |texts: &[&str]| {
            texts.iter().map(|text| json!(["gnt:user", text, 1])).collect::<Vec<_>>()
        };
        let first = trail(&["rate-limit:2:backup", "rate-limit:0:x", "rate-limit:x:y", "other"]);
        let second = trail(&["rate-limit:2:backup", "rate-limit:7:a:b"]);
        let job = job(vec![json!({"reason": first}), json!({"reason": second})]);
        let label = |label: &str, limit| Share { of: Group::Label(label.into()), limit };
        let wanted = vec![label("2:backup", 2), label("7:a:b", 7)];
        assert_eq!(judge(&[], &job), Verdict::Start(wanted));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let error = |predicates, action| {
            check(&rule(1, 0, predicates, action)).expect_err("no rule").message
        };
        let text = error(json!([["status", ["=", "id", 1]]]), json!("PAUSE"));
        assert!(text.contains("'status'") && text.contains("jobid, opcode and reason"), "{text}");
        let text = error(json!([["opcode", ["~", "id", 1]]]), json!("PAUSE"));
        assert!(text.starts_with("Predicate 'opcode': Invalid query filter"), "{text}");
        let text = error(json!([["opcode", ["=~", "id", "("]]]), json!("PAUSE"));
        assert!(text.contains("cannot be used"), "{text}");
        assert!(error(json!([]), json!(["RATE_LIMIT", 0])).contains("from 1"));
    }
}
