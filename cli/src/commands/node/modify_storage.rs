//! `gnt-node modify-storage`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::yes_no;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::StorageType;
use roost_proto::objects::ParamMap;
use roost_proto::opcodes::NodeModifyStorage;

/// `modify-storage`.
#[derive(Args, Debug)]
pub struct ModifyStorage {
    #[command(flatten)]
    job: JobOptions,
    /// Whether new volumes may be put on it
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    allocatable: Option<bool>,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    /// Type of the storage unit: lvm-pv
    #[arg(value_name = "TYPE")]
    storage_type: StorageType,
    /// The storage unit
    #[arg(value_name = "VOLUME")]
    name: String,
}

impl Verb for ModifyStorage {
    const NAME: &'static str = "modify-storage";
    const ABOUT: &'static str = "Modifies a storage unit of a node";

    async fn run(self, cx: &Cx) -> Outcome {
        let Some(allocatable) = self.allocatable else {
            cx.note("No changes to perform, exiting.");
            return Ok(());
        };
        let changes = ParamMap::from([("allocatable".to_owned(), allocatable.into())]);
        let op = NodeModifyStorage::new(self.node, self.storage_type, changes);
        let op = NodeModifyStorage { name: Some(self.name), ..op };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
