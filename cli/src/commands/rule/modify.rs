//! `gnt-rule modify`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::RuleKind;
use roost_proto::opcodes::PlacementRuleModify;
use roost_proto::placement::{Domain, Strength};

/// `modify`.
#[derive(Args, Debug)]
pub struct Modify {
    #[command(flatten)]
    job: JobOptions,
    /// Another name
    #[arg(long, value_name = "NAME")]
    new_name: Option<String>,
    /// Another kind; what it does not have goes
    #[arg(long, value_name = "KIND")]
    kind: Option<RuleKind>,
    /// Which instances it is about, in the filter language
    #[arg(long, value_name = "FILTER")]
    instances: Option<String>,
    /// For only-on and prefer: the nodes, in the filter language
    #[arg(long, value_name = "FILTER")]
    nodes: Option<String>,
    /// For together and apart: what is one place; node, group, or the beginning of node tags
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// For apart: whether it is about mirrors too
    #[arg(long, value_name = "yes|no", value_parser = yes_or_no)]
    mirrors: Option<bool>,
    /// hard, soft, or what each violation counts in the score
    #[arg(long, value_name = "STRENGTH")]
    strength: Option<Strength>,
    /// Why it is there
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// It counts from now on
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// It does not count any more
    #[arg(long)]
    disable: bool,
    /// The rule
    #[arg(value_name = "NAME")]
    name: String,
}

fn yes_or_no(word: &str) -> Result<bool, String> {
    match word {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("it is yes or no".to_owned()),
    }
}

impl Verb for Modify {
    const NAME: &'static str = "modify";
    const ABOUT: &'static str = "Changes a placement rule; what is not given stays";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = PlacementRuleModify {
            new_name: self.new_name,
            kind: self.kind,
            instances: self.instances,
            nodes: self.nodes,
            domain: self.domain,
            mirrors: self.mirrors,
            strength: self.strength,
            rule_comment: self.comment,
            enabled: (self.enable || self.disable).then_some(self.enable),
            ..PlacementRuleModify::new(self.name)
        };
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
