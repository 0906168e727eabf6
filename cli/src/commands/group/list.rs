//! `gnt-group list`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::table::{self, FilterOption, ListOptions, ListRequest};
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::Resource;

crate::commands::list::list_fields!(Resource::Group);

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    options: ListOptions,
    #[command(flatten)]
    filter: FilterOption,
    /// Names, or a filter
    #[arg(value_name = "GROUP|FILTER")]
    arguments: Vec<String>,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "Lists the node groups in the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        let request = ListRequest {
            resource: Resource::Group,
            arguments: &self.arguments,
            force_filter: self.filter.filter,
            condition: None,
            options: &self.options,
            units: None,
        };
        table::list(cx, request).await
    }
}
