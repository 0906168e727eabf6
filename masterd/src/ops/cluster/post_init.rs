//! `OP_CLUSTER_POST_INIT`: the first job of a new cluster. It proves that the cluster
//! works; nothing else is left to do.

use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::Result;
use roost_proto::opcodes::ClusterPostInit;

impl Operate for ClusterPostInit {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        Ok(Plan { result: true.into(), ..cx.start_plan() })
    }
}
