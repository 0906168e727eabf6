//! `gnt-node list-storage`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, PriorityOption};
use crate::table::{self, FieldsOptions, LookOptions, UnitsOption};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::StorageType;
use roost_proto::opcodes::NodeQueryStorage;
use roost_proto::query::Resource;
use roost_proto::query::columns::{default_columns, select_columns};

/// `list-storage`.
#[derive(Args, Debug)]
pub struct ListStorage {
    #[command(flatten)]
    look: LookOptions,
    #[command(flatten)]
    fields: FieldsOptions,
    #[command(flatten)]
    units: UnitsOption,
    #[command(flatten)]
    job: PriorityOption,
    /// Of this type: file, sharedfile, gluster, lvm-pv, lvm-vg
    #[arg(short = 't', long, value_name = "TYPE")]
    storage_type: Option<StorageType>,
    /// Only on these
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl Verb for ListStorage {
    const NAME: &'static str = "list-storage";
    const ABOUT: &'static str = "Lists storage units on nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let resource = Resource::NodeStorage;
        let fields = select_columns(default_columns(resource), self.fields.output.as_deref());
        let op = NodeQueryStorage {
            storage_type: self.storage_type,
            nodes: self.nodes,
            ..NodeQueryStorage::new(fields.clone())
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        let response = table::from_rows(resource, &fields, &result);
        let units = self.units.units.as_deref();
        table::print_response(cx, resource, &response, &self.look, units, false)
    }
}
