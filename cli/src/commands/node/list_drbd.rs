//! `gnt-node list-drbd`.

use crate::commands::confd_client::minors_table;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::table::{self, LookOptions};
use crate::verb::Verb;
use clap::Args;
use roost_confd::client::{Client, Told};
use roost_proto::query::Resource;

/// `list-drbd`.
#[derive(Args, Debug)]
pub struct ListDrbd {
    #[command(flatten)]
    look: LookOptions,
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for ListDrbd {
    const NAME: &'static str = "list-drbd";
    const ABOUT: &'static str = "Queries the list of used DRBD minors on the given node";

    async fn run(self, cx: &Cx) -> Outcome {
        let failed = |why: String| Failure::say(format!("Query gave no answer: {why}"));
        let client = Client::of_this_machine(&cx.paths).map_err(|error| failed(error.message))?;
        let told = client.node_drbd(&self.node).await;
        let Told { value: minors, .. } = told.map_err(|error| match error.is_silence() {
            true => failed(format!(
                "{error}. It runs on master candidates; 'gnt-confd-client drbd {}' asks all of them",
                self.node
            )),
            false => failed(error.to_string()),
        })?;
        // Its columns are those of no resource; this one has no formats of its own.
        let response = minors_table(&minors);
        table::print_response(cx, Resource::NodeVolume, &response, &self.look, None, false)
    }
}
