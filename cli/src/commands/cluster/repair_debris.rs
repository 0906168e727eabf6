//! `gnt-cluster repair-debris`: what earlier jobs could not undo or remove.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::table::pretty;
use crate::verb::Verb;
use clap::Args;
use serde_json::json;

/// `repair-debris`. Ganeti leaves such things behind without a word.
#[derive(Args, Debug)]
pub struct RepairDebris {
    /// Only list it
    #[arg(short, long)]
    list: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Verb for RepairDebris {
    const NAME: &'static str = "repair-debris";
    const ABOUT: &'static str = "Removes what failed jobs had to leave behind";

    async fn run(self, cx: &Cx) -> Outcome {
        let reply = cx.client().await?.repair_debris(!self.list).await?;
        if self.json {
            let left: Vec<_> = reply
                .left
                .iter()
                .map(|d| json!({"job": d.job, "step": d.step, "nodes": d.nodes, "error": d.error}))
                .collect();
            cx.io.write_out(&pretty(&json!({"removed": reply.removed, "left": left})))?;
        } else {
            for debris in &reply.left {
                let nodes = debris.nodes.join(", ");
                say!(cx, "job {}, node(s) {nodes}: {}: {}", debris.job, debris.step, debris.error);
            }
            match (self.list, reply.left.len()) {
                (true, 0) => say!(cx, "There is no debris."),
                (true, _) => {}
                (false, left) => say!(cx, "{} removed, {left} left", reply.removed),
            }
        }
        if self.list || reply.left.is_empty() { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}
