//! `gnt-rule add`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::RuleKind;
use roost_proto::opcodes::PlacementRuleAdd;
use roost_proto::placement::{Domain, Strength};

/// `add`.
#[derive(Args, Debug)]
pub struct Add {
    #[command(flatten)]
    job: JobOptions,
    /// Which instances it is about, in the filter language, as 'name =* "web*"' or '"service:db" in tags'
    #[arg(long, value_name = "FILTER")]
    instances: String,
    /// For only-on and prefer: the nodes, in the filter language, as '"disk:ssd" in tags'
    #[arg(long, value_name = "FILTER")]
    nodes: Option<String>,
    /// For together and apart: what is one place; node, group, or the beginning of node tags (rack for rack:a)
    #[arg(long, value_name = "DOMAIN", default_value_t)]
    domain: Domain,
    /// For apart: none of them has its mirror where another one is, so that they stay apart after a failover
    #[arg(long)]
    mirrors: bool,
    /// hard, soft, or what each violation counts in the score (soft: 1) [default: hard, but for prefer]
    #[arg(long, value_name = "STRENGTH")]
    strength: Option<Strength>,
    /// Why it is there
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    comment: String,
    /// It does not count until it is enabled
    #[arg(long)]
    disabled: bool,
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
    /// together, apart, only-on or prefer
    #[arg(value_name = "KIND")]
    kind: RuleKind,
}

impl Verb for Add {
    const NAME: &'static str = "add";
    const ABOUT: &'static str = "Adds a placement rule; nothing is moved by it";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = PlacementRuleAdd {
            nodes: self.nodes,
            domain: self.domain,
            mirrors: self.mirrors,
            strength: self.strength,
            rule_comment: self.comment,
            enabled: !self.disabled,
            ..PlacementRuleAdd::new(self.name, self.kind, self.instances)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
