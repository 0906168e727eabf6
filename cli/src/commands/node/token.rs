//! `gnt-node token`: what a machine needs to join the cluster, once.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::resolve;
use crate::say;
use crate::verb::Verb;
use clap::Args;
use std::net::IpAddr;

/// `token`.
#[derive(Args, Debug)]
pub struct Token {
    /// Its address; otherwise what its name resolves to
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// The node that will join
    #[arg(value_name = "NODE")]
    node: String,
}

impl Verb for Token {
    const NAME: &'static str = "token";
    const ABOUT: &'static str = "Prints a token with which a machine joins the cluster, once";

    async fn run(self, cx: &Cx) -> Outcome {
        let (name, address) = match self.address {
            Some(address) => (self.node.to_ascii_lowercase(), address),
            None => {
                let host = resolve::host(&self.node)?;
                (host.name, host.address)
            }
        };
        let reply = cx.client().await?.join_token(&name, &address.to_string()).await?;
        say!(cx, "{}", reply.token);
        Ok(())
    }
}
