//! `gnt-filter delete`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::verb::Verb;
use clap::Args;

/// `delete`.
#[derive(Args, Debug)]
pub struct Delete {
    /// Of the rule
    #[arg(value_name = "UUID")]
    uuid: String,
}

impl Verb for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Removes a job filter rule";

    async fn run(self, cx: &Cx) -> Outcome {
        cx.client().await?.delete_filter(self.uuid).await
    }
}
