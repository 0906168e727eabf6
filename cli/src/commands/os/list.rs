//! `gnt-os list`.

use super::diagnose::{self, Os};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::PriorityOption;
use crate::verb::Verb;
use clap::Args;
use roost_proto::nicesort;
use roost_proto::query::table::{Column, TextTable};
use serde_json::Value;

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    job: PriorityOption,
    /// No header line
    #[arg(long)]
    no_headers: bool,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "Lists all valid operating systems on the nodes in the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        let list = diagnose::query(cx, &["name", "variants"], &[], &self.job.how()).await?;
        let mut names: Vec<String> = list.iter().flat_map(Os::full_names).collect();
        nicesort::sort(&mut names);
        if self.json {
            return cx.io.write_out(&crate::table::pretty(&Value::from(names)));
        }
        let mut table = TextTable::new(vec![Column::left("Name")]);
        names.iter().for_each(|name| table.cell(name));
        let mut text = String::new();
        table.write(&mut text, !self.no_headers, None);
        cx.io.write_out(&text)
    }
}
