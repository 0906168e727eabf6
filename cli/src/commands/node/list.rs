//! `gnt-node list`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::replication;
use crate::table::{self, FilterOption, ListOptions, ListRequest, UnitsOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::Resource;

crate::commands::list::list_fields!(Resource::Node);

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    options: ListOptions,
    #[command(flatten)]
    filter: FilterOption,
    #[command(flatten)]
    units: UnitsOption,
    /// Names, or a filter
    #[arg(value_name = "NODE|FILTER")]
    arguments: Vec<String>,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "Lists the nodes in the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        let request = ListRequest {
            resource: Resource::Node,
            arguments: &self.arguments,
            force_filter: self.filter.filter,
            condition: None,
            options: &self.options,
            units: self.units.units.as_deref(),
        };
        replication::warn(cx).await;
        table::list(cx, request).await
    }
}
