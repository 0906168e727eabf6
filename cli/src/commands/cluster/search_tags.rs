//! `gnt-cluster search-tags`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::submit::{self, PriorityOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::TagsSearch;
use serde_json::Value;

/// `search-tags`.
#[derive(Args, Debug)]
pub struct SearchTags {
    #[command(flatten)]
    job: PriorityOption,
    /// A regular expression, found anywhere in a tag
    #[arg(value_name = "REGEX")]
    pattern: String,
}

impl Verb for SearchTags {
    const NAME: &'static str = "search-tags";
    const ABOUT: &'static str = "Searches the tags on all objects for a given pattern";

    async fn run(self, cx: &Cx) -> Outcome {
        let result = submit::run(cx, TagsSearch::new(self.pattern), &self.job.how()).await?;
        let text = |pair: &Value, i: usize| {
            pair.get(i).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut found: Vec<(String, String)> = result
            .as_array()
            .into_iter()
            .flatten()
            .map(|pair| (text(pair, 0), text(pair, 1)))
            .collect();
        if found.is_empty() {
            return Err(Failure::Exit(1));
        }
        found.sort();
        for (path, tag) in found {
            say!(cx, "{path} {tag}");
        }
        Ok(())
    }
}
