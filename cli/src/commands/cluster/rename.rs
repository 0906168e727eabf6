//! `gnt-cluster rename`.

use crate::confirm;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::submit::{self, DryRunOption, How};
use crate::verb::Verb;
use clap::Args;
use roost_proto::opcodes::ClusterRename;

/// `rename`.
#[derive(Args, Debug)]
pub struct Rename {
    #[command(flatten)]
    dry_run: DryRunOption,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// The new name; it must resolve to a free address, or to the old one
    #[arg(value_name = "NEWNAME")]
    name: String,
}

impl Verb for Rename {
    const NAME: &'static str = "rename";
    const ABOUT: &'static str = "Renames the cluster, and gives it the new name's address";

    async fn run(self, cx: &Cx) -> Outcome {
        let info = cx.client().await?.info().await?;
        let old = info["name"].as_str().unwrap_or("?");
        if !self.force {
            let question = format!(
                "The cluster '{old}' will be called '{}' and have the address of that name. The \
                 old address is removed from the master: if you are connected through it, the \
                 connection breaks and you will not see how it ends. Continue?",
                self.name
            );
            confirm::require(cx, &question, 1)?;
        }
        let how = How { dry_run: self.dry_run.dry_run, ..How::default() };
        let result = submit::run(cx, ClusterRename::new(self.name), &how).await?;
        if let Some(new) = result.as_str() {
            say!(cx, "Cluster renamed from '{old}' to '{new}'");
        }
        Ok(())
    }
}
