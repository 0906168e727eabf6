//! Requests about job filter rules. They are not jobs: a rule that holds all jobs must still be there
//! to be removed.

use crate::config::{Change, Object, ObjectKey};
use crate::jobs::{Engine, check_filter};
use crate::state::Commit;
use roost_proto::error::{Error, Result};
use roost_proto::ids::FilterId;
use roost_proto::objects::{FilterAction, FilterRule};
use roost_proto::rpc::master as pb;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Adds a rule, or puts it in the place of the one with the same UUID. It counts from the newest
/// job on: that is its watermark.
///
/// Errors: `wrong_input`, if it is no rule.
pub async fn put(engine: &Engine, request: pb::PutFilterRequest) -> Result<pb::FilterReply> {
    let rule = FilterRule {
        uuid: match request.uuid.as_str() {
            "" => new_id(),
            text => parse_id(text)?,
        },
        watermark: engine.last_job(),
        priority: request.priority,
        predicates: read("predicates", &request.predicates)?,
        action: read::<FilterAction>("action", &request.action)?,
        reason_trail: read("reason trail", &request.reason_trail)?,
    };
    check_filter(&rule)?;
    let uuid = rule.uuid;
    let exists = engine.state().config().filters.contains_key(&uuid);
    let object = Object::Filter(rule);
    commit(engine, if exists { Change::Update(object) } else { Change::Add(object) }).await?;
    Ok(pb::FilterReply { uuid: uuid.to_string() })
}

/// Removes a rule.
///
/// Errors: `unknown_entity`.
pub async fn delete(engine: &Engine, uuid: &str) -> Result<pb::FilterReply> {
    let id = parse_id(uuid)?;
    if !engine.state().config().filters.contains_key(&id) {
        return Err(Error::unknown(format!("Filter rule '{uuid}' not known")));
    }
    commit(engine, Change::Remove(ObjectKey::Filter(id))).await?;
    Ok(pb::FilterReply { uuid: id.to_string() })
}

/// The scheduler notices by itself that the configuration has other rules.
async fn commit(engine: &Engine, change: Change) -> Result<()> {
    engine.state().commit(Commit { changes: vec![change], ..Commit::default() }).await?;
    tracing::info!("job filter rules were changed");
    Ok(())
}

fn new_id() -> FilterId {
    #[allow(
        clippy::disallowed_methods,
        reason = "a rule is made by no plan that could be repeated"
    )]
    FilterId(Uuid::new_v4())
}

fn parse_id(text: &str) -> Result<FilterId> {
    text.parse().map_err(|_| {
        Error::wrong_input(format!("'{text}' is not a UUID; filter rules are named by theirs"))
    })
}

fn read<T: DeserializeOwned>(what: &str, json: &str) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|e| Error::wrong_input(format!("The {what} of a filter rule: {e}")))
}
