//! Job filter rules as rows, in the order in which jobs are held against them.

use super::World;
use super::rows::Asked;
use crate::config::Config;
use roost_proto::error::{Error, Result};
use roost_proto::ids::FilterId;
use roost_proto::objects::FilterRule;
use roost_proto::query::fields::FilterField as F;
use roost_proto::query::{Cell, Filter, FilterValue, QueryResponse, Row};
use serde_json::json;

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let rules = match &asked.names {
        None => {
            let mut rules: Vec<&FilterRule> = world.config.filters.values().map(|r| &**r).collect();
            rules.sort_by_key(|rule| (rule.priority, rule.watermark, rule.uuid));
            rules
        }
        Some(names) => names.iter().map(|name| find(&world.config, name)).collect::<Result<_>>()?,
    };
    asked.answer(rules.into_iter().map(FilterRow))
}

fn find<'a>(config: &'a Config, name: &FilterValue) -> Result<&'a FilterRule> {
    let id: Option<FilterId> = match name {
        FilterValue::Text(text) => text.parse().ok(),
        FilterValue::Int(_) | FilterValue::Float(_) => None,
    };
    id.and_then(|id| config.filters.get(&id)).map(|rule| &**rule).ok_or_else(|| {
        let name = match name {
            FilterValue::Text(text) => text.clone(),
            other => other.to_string(),
        };
        Error::unknown(format!("Filter rule '{name}' not known; name it by its UUID"))
    })
}

#[derive(Debug)]
struct FilterRow<'a>(&'a FilterRule);

impl Row for FilterRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let rule = self.0;
        match *field {
            F::Uuid => Cell::new(rule.uuid.to_string()),
            F::Watermark => Cell::new(rule.watermark.0),
            F::Priority => Cell::new(rule.priority),
            F::Predicates => Cell::new(json!(rule.predicates)),
            F::Action => Cell::new(json!(rule.action)),
            F::ReasonTrail => Cell::new(json!(rule.reason_trail)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Change, Object};
    use crate::query::testing::{cells, change, error, world};
    use roost_proto::query::Resource;

    fn rule(number: u128, priority: u32, action: serde_json::Value) -> Change {
        let rule = serde_json::from_value(json!({
            "uuid": uuid::Uuid::from_u128(number), "watermark": 5, "priority": priority,
            "predicates": [["jobid", ["=", "id", 3]]], "action": action,
            "reason_trail": [["gnt:user", "busy", 1]],
        }));
        Change::Add(Object::Filter(rule.expect("a rule")))
    }

    #[test]
    fn rules_come_in_their_order() {
        let mut world = world();
        change(&mut world, &[rule(1, 9, json!(["RATE_LIMIT", 2])), rule(2, 0, json!("PAUSE"))]);
        let rows = cells(&world, Resource::Filter, &["priority", "action", "predicates"], &[]);
        let predicates = json!([["jobid", ["=", "id", 3]]]);
        assert_eq!(rows[0], [Cell::new(0), Cell::new("PAUSE"), Cell::new(predicates)]);
        assert_eq!(rows[1][1], Cell::new(json!(["RATE_LIMIT", 2])));
        let one = uuid::Uuid::from_u128(1).to_string();
        assert_eq!(cells(&world, Resource::Filter, &["uuid"], &[&one]), [[Cell::new(one)]]);
        let error = error(&world, Resource::Filter, &["uuid"], &["nope"]);
        assert!(error.message.starts_with("Filter rule 'nope' not known"), "{error}");
    }
}
