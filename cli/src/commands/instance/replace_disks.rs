//! `gnt-instance replace-disks`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::ReplaceDisksMode;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::InstanceReplaceDisks;

/// `replace-disks`.
#[derive(Args, Debug)]
pub struct ReplaceDisks {
    #[command(flatten)]
    job: JobOptions,
    /// Replace the side that is faulty
    #[arg(short, long)]
    auto: bool,
    /// Numbers of the disks, with commas; without it all
    #[arg(long, value_name = "N,…")]
    disks: Option<String>,
    /// Move the mirror to a node that this allocator selects; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// Remove the old storage before the new one is in sync
    #[arg(long)]
    early_release: bool,
    /// Move the mirror to this node
    #[arg(short, long, value_name = "NODE")]
    new_secondary: Option<String>,
    /// Replace the storage on the primary node
    #[arg(short = 'p', long)]
    on_primary: bool,
    /// Replace the storage on the secondary node
    #[arg(short = 's', long)]
    on_secondary: bool,
    /// Even if the instance policy is not met there
    #[arg(long)]
    ignore_ipolicy: bool,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl ReplaceDisks {
    fn mode(&self) -> Result<ReplaceDisksMode> {
        let asked = [
            (self.on_primary, ReplaceDisksMode::OnPrimary),
            (self.on_secondary, ReplaceDisksMode::OnSecondary),
            (self.auto, ReplaceDisksMode::Auto),
            (self.new_secondary.is_some(), ReplaceDisksMode::NewSecondary),
            (self.iallocator.is_some(), ReplaceDisksMode::NewSecondary),
        ];
        let mut asked = asked.into_iter().filter(|(given, _)| *given).map(|(_, mode)| mode);
        match (asked.next(), asked.next()) {
            (Some(mode), None) => Ok(mode),
            _ => Err(Error::wrong_input(
                "One and only one of the -p, -s, -a, -n and -I options must be passed",
            )),
        }
    }

    fn numbers(&self) -> Result<Vec<u32>> {
        numbers(self.disks.as_deref())
    }
}

/// Numbers of disks with commas between them; none if nothing is given.
pub fn numbers(list: Option<&str>) -> Result<Vec<u32>> {
    let number = |word: &str| {
        word.trim().parse().map_err(|_| {
            Error::wrong_input(format!(
                "Invalid disk index '{word}': disks are numbered from 0, as in --disks=0,1"
            ))
        })
    };
    list.map(|list| list.split(',').map(number).collect()).unwrap_or_else(|| Ok(vec![]))
}

impl Verb for ReplaceDisks {
    const NAME: &'static str = "replace-disks";
    const ABOUT: &'static str = "Replaces one side of mirrored disks, also while they are in use";

    async fn run(self, cx: &Cx) -> Outcome {
        let (mode, disks) = (self.mode()?, self.numbers()?);
        if mode == ReplaceDisksMode::Auto && !disks.is_empty() {
            return Err(Error::wrong_input(
                "With -a the faulty disks are found: leave out --disks, or name the side (-p, -s)",
            )
            .into());
        }
        let op = InstanceReplaceDisks {
            early_release: self.early_release,
            ignore_ipolicy: self.ignore_ipolicy,
            disks,
            remote_node: self.new_secondary,
            iallocator: self.iallocator,
            ..InstanceReplaceDisks::new(self.name, mode)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
