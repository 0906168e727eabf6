//! `gnt-filter list`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::table::{self, ListOptions, ListRequest};
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::Resource;

crate::commands::list::list_fields!(Resource::Filter);

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    options: ListOptions,
    /// Only these
    #[arg(value_name = "UUID")]
    arguments: Vec<String>,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "Lists the job filter rules, in their order";

    async fn run(self, cx: &Cx) -> Outcome {
        let request = ListRequest {
            resource: Resource::Filter,
            arguments: &self.arguments,
            force_filter: false,
            condition: None,
            options: &self.options,
            units: None,
        };
        table::list(cx, request).await
    }
}
