//! Questions about addresses of instances: `instance-ip` and `ips`.

use super::how::{How, lines};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::verb::Verb;
use clap::Args;
use roost_confd::wire::{Dict, Query, QueryType};
use serde_json::Value;

/// `instance-ip`.
#[derive(Args, Debug)]
pub struct InstanceIp {
    #[command(flatten)]
    how: How,
    /// The link that the addresses are on (usually the cluster's default)
    #[arg(long, value_name = "LINK")]
    link: Option<String>,
    /// Addresses of instances
    #[arg(value_name = "IP", required = true)]
    ips: Vec<String>,
}

impl Verb for InstanceIp {
    const NAME: &'static str = "instance-ip";
    const ABOUT: &'static str =
        "Prints the primary addresses of the nodes on which instances with these addresses are";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut dict = Dict { link: self.link.clone().map(Into::into), ..Dict::default() };
        let kind = QueryType::NodePipByInstanceIp;
        if let [ip] = &*self.ips {
            dict.ip = Some(ip.into());
            let line = |pip: &String| format!("{pip}\n");
            return self.how.show(cx, (kind, Query::Dict(dict)), line).await;
        }
        dict.ips = self.ips.iter().map(Into::into).collect();
        let show = |rows: &Vec<(u8, Value, u64)>| {
            let line = |(ip, (_, answer, _)): (&String, &(u8, Value, u64))| {
                format!("{ip} {}\n", answer.as_str().unwrap_or("unknown"))
            };
            self.ips.iter().zip(rows).map(line).collect()
        };
        self.how.show(cx, (kind, Query::Dict(dict)), show).await
    }
}

/// `ips`.
#[derive(Args, Debug)]
pub struct Ips {
    #[command(flatten)]
    how: How,
    /// A link (usually the cluster's default)
    #[arg(value_name = "LINK")]
    link: Option<String>,
}

impl Verb for Ips {
    const NAME: &'static str = "ips";
    const ABOUT: &'static str = "Lists the addresses of instances on a link";

    async fn run(self, cx: &Cx) -> Outcome {
        let query = self.link.map_or(Query::Empty, |link| Query::Text(link.into()));
        let question = (QueryType::InstancesIpsList, query);
        self.how.show(cx, question, |ips: &Vec<String>| lines(ips)).await
    }
}
