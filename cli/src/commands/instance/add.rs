//! `gnt-instance add`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::instance::{CreateOptions, HelperOptions};
use crate::submit;
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::InstCreateMode;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::InstanceCreate;

/// `add`.
#[derive(Args, Debug)]
pub struct Add {
    #[command(flatten)]
    create: CreateOptions,
    #[command(flatten)]
    helper: HelperOptions,
    /// Only reserve: no disks, no start
    #[arg(long)]
    forthcoming: bool,
    /// Make a reserved instance real
    #[arg(long)]
    commit: bool,
    /// Leave it stopped
    #[arg(long)]
    no_start: bool,
    /// Operating system
    #[arg(short, long, value_name = "OS[+VARIANT]")]
    os_type: Option<String>,
    /// Even if the OS does not know the variant
    #[arg(long)]
    force_variant: bool,
    /// Run no OS scripts; it stays stopped
    #[arg(long)]
    no_install: bool,
    /// Even if it does not meet the instance policy
    #[arg(long)]
    ignore_ipolicy: bool,
    /// Its name
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Add {
    fn opcode(&self) -> Result<InstanceCreate> {
        if self.forthcoming && self.commit {
            return Err(Error::wrong_input(
                "--forthcoming and --commit contradict each other: reserve first, commit later",
            ));
        }
        Ok(InstanceCreate {
            force_variant: self.force_variant,
            ignore_ipolicy: self.ignore_ipolicy,
            no_install: Some(self.no_install),
            os_type: self.os_type.clone(),
            start: !self.no_start && !self.no_install,
            forthcoming: self.forthcoming,
            commit: self.commit,
            instance_communication: self.helper.communication.unwrap_or(false),
            helper_startup_timeout: self.helper.helper_startup_timeout,
            helper_shutdown_timeout: self.helper.helper_shutdown_timeout,
            ..self.create.opcode(&self.name, InstCreateMode::Create)?
        })
    }
}

impl Verb for Add {
    const NAME: &'static str = "add";
    const ABOUT: &'static str = "Creates and adds a new instance to the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        for warning in self.create.warnings() {
            cx.note(warning);
        }
        submit::run(cx, self.opcode()?, &self.create.job.how()).await?;
        Ok(())
    }
}
