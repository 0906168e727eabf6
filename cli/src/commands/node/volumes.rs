//! `gnt-node volumes`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, PriorityOption};
use crate::table::{self, FieldsOptions, LookOptions, UnitsOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::NodeQueryvols;
use roost_proto::query::Resource;
use roost_proto::query::columns::{default_columns, select_columns};

/// `volumes`.
#[derive(Args, Debug)]
pub struct Volumes {
    #[command(flatten)]
    look: LookOptions,
    #[command(flatten)]
    fields: FieldsOptions,
    #[command(flatten)]
    units: UnitsOption,
    #[command(flatten)]
    job: PriorityOption,
    /// Only these
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl Verb for Volumes {
    const NAME: &'static str = "volumes";
    const ABOUT: &'static str = "Lists logical volumes on nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let resource = Resource::NodeVolume;
        let fields = select_columns(default_columns(resource), self.fields.output.as_deref());
        let op = NodeQueryvols { nodes: self.nodes, ..NodeQueryvols::new(fields.clone()) };
        let result = submit::run(cx, op, &self.job.how()).await?;
        let response = table::from_rows(resource, &fields, &result);
        let units = self.units.units.as_deref();
        table::print_response(cx, resource, &response, &self.look, units, false)
    }
}
