//! Makes sure that an instance exists before a question about it is asked.

use crate::context::Cx;
use crate::failure::Outcome;
use roost_proto::query::{Filter, Resource};

/// Errors if there is no such instance.
pub async fn check(cx: &Cx, name: &str) -> Outcome {
    let filter = Filter::Or(vec![Filter::equal("name", name)]);
    cx.client().await?.query(Resource::Instance, &["name"], Some(&filter)).await.map(drop)
}
