//! `gnt-filter add`.

use super::rule::Rule;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::verb::Verb;
use clap::Args;

/// `add`.
#[derive(Args, Debug)]
pub struct Add {
    #[command(flatten)]
    rule: Rule,
}

impl Verb for Add {
    const NAME: &'static str = "add";
    const ABOUT: &'static str = "Adds a job filter rule and prints its UUID";

    async fn run(self, cx: &Cx) -> Outcome {
        let uuid = cx.client().await?.put_filter(self.rule.request(cx, "")).await?;
        say!(cx, "{uuid}");
        Ok(())
    }
}
