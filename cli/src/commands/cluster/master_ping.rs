//! `gnt-cluster master-ping`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::ping::Published;
use crate::verb::Verb;
use clap::Args;
use roost_proto::paths::Identity;

/// `master-ping`: works on every node.
#[derive(Args, Debug)]
pub struct MasterPing {}

impl Verb for MasterPing {
    const NAME: &'static str = "master-ping";
    const ABOUT: &'static str = "Checks if the master is alive; prints nothing";

    async fn run(self, cx: &Cx) -> Outcome {
        let identity = std::fs::read(cx.paths.identity()).ok();
        let identity: Option<Identity> = identity.and_then(|b| serde_json::from_slice(&b).ok());
        let answers = match (identity, Published::read(&cx.paths)) {
            (Some(identity), Some(published)) if identity.name.as_str() != published.master => {
                published.answers(&identity).await
            }
            _ => async { cx.client().await?.info().await }.await.is_ok(),
        };
        if answers { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}
