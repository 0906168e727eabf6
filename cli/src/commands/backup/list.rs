//! `gnt-backup list`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::table::{self, ListOptions, ListRequest, UnitsOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::Resource;

crate::commands::list::list_fields!(Resource::Export);

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    options: ListOptions,
    #[command(flatten)]
    units: UnitsOption,
    /// Only exports on this node; repeat for more
    #[arg(short, long, value_name = "NODE")]
    node: Vec<String>,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "Lists the exports of instances";

    async fn run(self, cx: &Cx) -> Outcome {
        let request = ListRequest {
            resource: Resource::Export,
            arguments: &self.node,
            force_filter: false,
            condition: None,
            options: &self.options,
            units: self.units.units.as_deref(),
        };
        table::list(cx, request).await
    }
}
