//! `gnt-instance recreate-disks`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::device;
use crate::options::migration::exclusive;
use crate::submit::{self, JobOptions};
use crate::values::{self, Ident};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::{Error, Result};
use roost_proto::keyval::IdentValue;
use roost_proto::opcodes::{InstanceRecreateDisks, RecreateDisk};

/// `recreate-disks`.
#[derive(Args, Debug)]
pub struct RecreateDisks {
    #[command(flatten)]
    job: JobOptions,
    /// Only this disk: N[:size=SIZE,spindles=N,mode=ro|rw]; repeat for more
    #[arg(long, value_name = "N[:KEY=VALUE,…]", value_parser = values::ident)]
    disk: Vec<Ident>,
    /// Make them on other nodes: PRIMARY[:SECONDARY]
    #[arg(short, long, value_name = "NODE[:NODE]")]
    node: Option<String>,
    /// Make them on nodes that this allocator selects; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

fn disk(option: &Ident) -> Result<RecreateDisk> {
    let what = format!("--disk {}", option.ident);
    let index = option
        .ident
        .parse()
        .map_err(|_| Error::wrong_input(format!("{what}: begin with the disk's number, from 0")))?;
    let IdentValue::Set(settings) = &option.value else {
        return Err(Error::wrong_input(format!("{what}: there is nothing to remove")));
    };
    Ok(RecreateDisk { index, spec: device::spec(&what, settings)? })
}

impl Verb for RecreateDisks {
    const NAME: &'static str = "recreate-disks";
    const ABOUT: &'static str = "Makes lost disks of a stopped instance again, empty";

    async fn run(self, cx: &Cx) -> Outcome {
        exclusive(&self.node, &self.iallocator)?;
        let nodes = match &self.node {
            None => vec![],
            Some(pair) => {
                let (primary, secondary) = values::node_pair(pair);
                std::iter::once(primary).chain(secondary).collect()
            }
        };
        let op = InstanceRecreateDisks {
            disks: self.disk.iter().map(disk).collect::<Result<_>>()?,
            nodes,
            iallocator: self.iallocator,
            ..InstanceRecreateDisks::new(self.name)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
