//! `gnt-os modify`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::options::yes_no;
use crate::submit::{self, JobOptions};
use crate::values::{self, Ident, Params};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::ListAction;
use roost_proto::error::Result;
use roost_proto::opcodes::ClusterSetParams;
use std::collections::BTreeMap;

/// `modify`. The operating system need not exist yet.
#[derive(Args, Debug)]
pub struct Modify {
    #[command(flatten)]
    job: JobOptions,
    /// Hypervisor parameters: NAME:KEY=VALUE,…; repeat for more
    #[arg(short = 'H', long, value_name = "NAME:PARAMS", value_parser = values::ident)]
    hypervisor_parameters: Vec<Ident>,
    /// Parameters of the OS: KEY=VALUE,…
    #[arg(short = 'O', long, value_name = "PARAMS", value_parser = values::params)]
    os_parameters: Option<Params>,
    /// The same, never shown
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    os_parameters_private: Option<Params>,
    /// Leave it out of lists
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    hidden: Option<bool>,
    /// Refuse to install it
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    blacklisted: Option<bool>,
    /// Its name
    #[arg(value_name = "OS[+VARIANT]")]
    name: String,
}

impl Modify {
    fn opcode(&self) -> Result<ClusterSetParams> {
        let flag = |flag: Option<bool>| {
            flag.map(|on| {
                let action = if on { ListAction::Add } else { ListAction::Remove };
                vec![(action, self.name.clone())]
            })
        };
        Ok(ClusterSetParams {
            os_hvp: values::by_hypervisor(&self.hypervisor_parameters)?
                .map(|params| BTreeMap::from([(self.name.clone(), params)])),
            osparams: self
                .os_parameters
                .clone()
                .map(|params| BTreeMap::from([(self.name.clone(), params.0)])),
            osparams_private_cluster: self
                .os_parameters_private
                .clone()
                .map(|params| BTreeMap::from([(self.name.clone(), params.0.into())])),
            hidden_os: flag(self.hidden),
            blacklisted_os: flag(self.blacklisted),
            ..ClusterSetParams::new()
        })
    }
}

impl Verb for Modify {
    const NAME: &'static str = "modify";
    const ABOUT: &'static str = "Modifies the parameters of an operating system";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = self.opcode()?;
        if op == ClusterSetParams::new() {
            return Err(Failure::say("Please give at least one of the parameters."));
        }
        submit::run(cx, op, &self.job.how()).await?;
        Ok(())
    }
}
