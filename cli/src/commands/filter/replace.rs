//! `gnt-filter replace`.

use super::rule::Rule;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::verb::Verb;
use clap::Args;

/// `replace`. What is not given is not kept, but gets its default.
#[derive(Args, Debug)]
pub struct Replace {
    #[command(flatten)]
    rule: Rule,
    /// Of the rule; if there is none, it is made
    #[arg(value_name = "UUID")]
    uuid: String,
}

impl Verb for Replace {
    const NAME: &'static str = "replace";
    const ABOUT: &'static str = "Replaces a job filter rule, or makes one with this UUID";

    async fn run(self, cx: &Cx) -> Outcome {
        let uuid = cx.client().await?.put_filter(self.rule.request(cx, &self.uuid)).await?;
        say!(cx, "{uuid}");
        Ok(())
    }
}
