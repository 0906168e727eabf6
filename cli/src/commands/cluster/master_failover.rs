//! `gnt-cluster master-failover`: makes this node the master. No job: there may be no master.

use crate::confirm;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::verb::Verb;
use clap::Args;
use roost_proto::rpc::master::FailoverRequest;
use roost_proto::rpc::master::failover_event::Event;

/// `master-failover`.
#[derive(Args, Debug)]
pub struct MasterFailover {
    /// Do not ask the other nodes whether they agree
    #[arg(long)]
    no_voting: bool,
    /// Go on even if changes that were acknowledged may be lost
    #[arg(long)]
    accept_loss: bool,
    /// Do not ask what --no-voting asks
    #[arg(long)]
    yes_do_it: bool,
    /// Accepted for Ganeti's sake: nodes marked offline are never waited for
    #[arg(long, num_args = 0..=1, value_name = "BOOL", hide = true)]
    ignore_offline_nodes: Option<Option<String>>,
}

impl Verb for MasterFailover {
    const NAME: &'static str = "master-failover";
    const ALIASES: &'static [&'static str] = &["masterfailover"];
    const ABOUT: &'static str = "Makes the current node the master";

    async fn run(self, cx: &Cx) -> Outcome {
        if self.no_voting && !self.yes_do_it {
            let question = "This will make this node the master even if the other nodes do not \
                            agree. If another master is at work, or if they hold changes that this \
                            node lacks, the cluster will have two histories, and one of them is \
                            thrown away. Use it only if you are sure that no other node leads. \
                            Continue?";
            confirm::require(cx, question, 1)?;
        }
        let request = FailoverRequest { no_voting: self.no_voting, accept_loss: self.accept_loss };
        let mut events = cx.client().await?.failover(request).await?;
        loop {
            let event = events.message().await.map_err(|status| {
                Failure::say(format!(
                    "The connection to masterd on this node broke off ({}); 'gnt-cluster getmaster' \
                     tells what came of it",
                    status.message()
                ))
            })?;
            match event.and_then(|event| event.event) {
                Some(Event::Message(text)) => cx.note(format_args!("{text}")),
                Some(Event::Warning(text)) => cx.note(format_args!("Warning: {text}")),
                Some(Event::Done(_)) => return Ok(()),
                Some(Event::Failed(text)) => {
                    return Err(match serde_json::from_str::<roost_proto::error::Error>(&text) {
                        Ok(error) => error.into(),
                        Err(_) => Failure::say(text),
                    });
                }
                None => {
                    return Err(Failure::say(
                        "masterd on this node ended before it became the master; see its log",
                    ));
                }
            }
        }
    }
}
