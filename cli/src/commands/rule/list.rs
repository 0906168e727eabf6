//! `gnt-rule list`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::table::{self, ListOptions, ListRequest};
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::Resource;

crate::commands::list::list_fields!(Resource::Rule);

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    options: ListOptions,
    /// Only these
    #[arg(value_name = "NAME")]
    arguments: Vec<String>,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "Lists the placement rules, and who violates them";

    async fn run(self, cx: &Cx) -> Outcome {
        let request = ListRequest {
            resource: Resource::Rule,
            arguments: &self.arguments,
            force_filter: false,
            condition: None,
            options: &self.options,
            units: None,
        };
        table::list(cx, request).await
    }
}
