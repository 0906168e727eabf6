//! `gnt-node modify`.

use crate::commands::print_changes;
use crate::confirm;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::options::yes_no;
use crate::replication;
use crate::submit::{self, JobOptions};
use crate::values::{self, Ident, Params};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Result;
use roost_proto::opcodes::NodeSetParams;
use std::net::IpAddr;

/// `modify`.
#[derive(Args, Debug)]
pub struct Modify {
    #[command(flatten)]
    job: JobOptions,
    /// Do not ask, and go on where checks warn
    #[arg(short, long)]
    force: bool,
    /// It holds the configuration and may become master
    #[arg(short = 'C', long, value_name = "yes|no", value_parser = yes_no)]
    master_candidate: Option<bool>,
    /// It keeps what it has and gets nothing new
    #[arg(short = 'D', long, value_name = "yes|no", value_parser = yes_no)]
    drained: Option<bool>,
    /// It is not contacted
    #[arg(short = 'O', long, value_name = "yes|no", value_parser = yes_no)]
    offline: Option<bool>,
    /// It may become a candidate
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    master_capable: Option<bool>,
    /// It may have instances
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    vm_capable: Option<bool>,
    /// Its address for mirroring
    #[arg(short, long, value_name = "ADDRESS")]
    secondary_ip: Option<IpAddr>,
    /// Make other nodes candidates if this leaves too few
    #[arg(long)]
    auto_promote: bool,
    /// Node parameters: KEY=VALUE,…
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    node_parameters: Option<Params>,
    /// Whether it is recorded as powered on
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    node_powered: Option<bool>,
    /// What hypervisors take: NAME:KEY=VALUE,…
    #[arg(long, value_name = "NAME:PARAMS", value_parser = values::ident)]
    hypervisor_state: Vec<Ident>,
    /// What storage is reserved: TYPE/ID:KEY=VALUE,…
    #[arg(long, value_name = "TYPE/ID:PARAMS", value_parser = values::ident)]
    disk_state: Vec<Ident>,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Modify {
    fn opcode(&self) -> Result<NodeSetParams> {
        Ok(NodeSetParams {
            hv_state: values::by_any_name(&self.hypervisor_state)?,
            disk_state: values::disk_state(&self.disk_state)?,
            master_candidate: self.master_candidate,
            offline: self.offline,
            drained: self.drained,
            master_capable: self.master_capable,
            vm_capable: self.vm_capable,
            secondary_ip: self.secondary_ip.map(|address| address.to_string()),
            ndparams: self.node_parameters.clone().map(|params| params.0),
            powered: self.node_powered,
            ..NodeSetParams::new(self.node.clone())
        })
    }
}

impl Verb for Modify {
    const NAME: &'static str = "modify";
    const ABOUT: &'static str = "Alters the parameters of a node";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut op = self.opcode()?;
        if op == NodeSetParams::new(self.node.clone()) {
            return Err(Failure::say("Please give at least one of the parameters."));
        }
        if self.offline == Some(false) && !self.force {
            let question = format!(
                "If node {} ran instances while it was marked offline and they were started \
                 elsewhere, they would run twice. It is safer to bring it back with 'gnt-node add \
                 --readd'. Do you want to set it online anyway?",
                self.node
            );
            confirm::require(cx, &question, 1)?;
        }
        if self.offline == Some(true) {
            replication::mark_down(cx, &self.node).await?;
        }
        op.auto_promote = self.auto_promote;
        op.force = self.force;
        let result = submit::run(cx, op, &self.job.how()).await?;
        print_changes(cx, "node", &self.node, &result)?;
        Ok(())
    }
}
