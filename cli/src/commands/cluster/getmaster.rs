//! `gnt-cluster getmaster`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::{Error, ErrorKind};

/// `getmaster`: works on every node, and without any daemon.
#[derive(Args, Debug)]
pub struct Getmaster {}

impl Verb for Getmaster {
    const NAME: &'static str = "getmaster";
    const ABOUT: &'static str = "Prints the name of the cluster's master node";

    async fn run(self, cx: &Cx) -> Outcome {
        let master =
            std::fs::read_to_string(cx.paths.ssconf("master_node")).map_err(|_| Error {
                kind: ErrorKind::OpPrereqError,
                error_type: None,
                message: "Cluster not initialized or this machine is not part of a cluster".into(),
            })?;
        say!(cx, "{}", master.trim());
        Ok(())
    }
}
