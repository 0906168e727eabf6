//! `gnt-cluster copyfile`.

use super::nodes::NodesOptions;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::note;
use crate::verb::Verb;
use clap::Args;

/// `copyfile`.
#[derive(Args, Debug)]
pub struct Copyfile {
    #[command(flatten)]
    nodes: NodesOptions,
    /// Over the nodes' secondary addresses
    #[arg(long)]
    use_replication_network: bool,
    /// The file
    #[arg(value_name = "FILE")]
    file: String,
}

impl Verb for Copyfile {
    const NAME: &'static str = "copyfile";
    const ABOUT: &'static str = "Copies a file to all (or only some) nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let path = std::path::absolute(&self.file)
            .map_err(|why| Failure::say(format!("'{}': {why}", self.file)))?;
        if !path.exists() {
            return Err(Failure::say(format!("No such filename '{}'", path.display())));
        }
        if self.use_replication_network {
            cx.note(
                "Note: files travel over the node daemons' connections; \
                 --use-replication-network makes no difference",
            );
        }
        let nodes = self.nodes.online(cx, false).await?;
        if nodes.is_empty() {
            return Ok(());
        }
        let path = path.to_string_lossy().into_owned();
        let mut outputs = cx.client().await?.copy_file(nodes, path.clone()).await?;
        let mut failed = false;
        while let Some(output) = outputs.next().await? {
            if !output.error.is_empty() || output.code != 0 {
                failed = true;
                let why = match output.error.as_str() {
                    "" => String::from_utf8_lossy(&output.output).trim().to_owned(),
                    error => error.to_owned(),
                };
                note!(cx, "Copy of file {path} to node {} failed: {why}", output.node);
            }
        }
        // Ganeti exits with 0 here; a script that goes on without the file is no use to anyone.
        if failed { Err(Failure::Exit(1)) } else { Ok(()) }
    }
}
