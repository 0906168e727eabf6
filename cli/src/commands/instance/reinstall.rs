//! `gnt-instance reinstall`.

use crate::commands::os::diagnose::{self, Os};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::selection::{self, Selection};
use crate::submit::JobOptions;
use crate::values::{self, Params};
use crate::verb::Verb;
use crate::{confirm, jobs, say};
use clap::Args;
use roost_proto::opcodes::InstanceReinstall;

/// `reinstall`.
#[derive(Args, Debug)]
pub struct Reinstall {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    job: JobOptions,
    /// Do not ask about a single instance
    #[arg(short, long)]
    force: bool,
    /// Another operating system
    #[arg(short, long, value_name = "OS[+VARIANT]")]
    os_type: Option<String>,
    /// Even if the OS does not know the variant
    #[arg(long)]
    force_variant: bool,
    /// Choose the operating system from a list
    #[arg(long)]
    select_os: bool,
    /// Parameters of the OS: KEY=VALUE,…
    #[arg(short = 'O', long, value_name = "PARAMS", value_parser = values::params)]
    os_parameters: Option<Params>,
    /// The same, stored but never shown
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    os_parameters_private: Option<Params>,
    /// The same, not even stored
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    os_parameters_secret: Option<Params>,
}

/// Lets the person at the terminal choose.
async fn choose_os(cx: &Cx) -> Outcome<String> {
    let names: Vec<String> = diagnose::usable(cx).await?.iter().flat_map(Os::full_names).collect();
    if names.is_empty() {
        return Err(Failure::say("There are no operating systems to choose from"));
    }
    say!(cx, "Available OS templates:");
    for (number, name) in names.iter().enumerate() {
        say!(cx, "{number:3}: {name}");
    }
    match confirm::number(cx, "Enter OS template number (or x to abort): ", names.len()) {
        Some(number) => Ok(names[number].clone()),
        None => Err(Failure::say("User aborted reinstall")),
    }
}

impl Verb for Reinstall {
    const NAME: &'static str = "reinstall";
    const ABOUT: &'static str = "Reinstalls stopped instances";

    async fn run(self, cx: &Cx) -> Outcome {
        let names = self.selection.names(cx).await?;
        let os_type = match self.select_os {
            true => Some(choose_os(cx).await?),
            false => self.os_type.clone(),
        };
        let several = names.len() > 1 || self.selection.is_indirect();
        let agreed = if several {
            self.selection.force_multiple
                || confirm::several(
                    cx,
                    &names,
                    "instances",
                    "reinstall",
                    "Note: this will remove *all* data for the below instances! It will partially \
                     or fully erase their disks.",
                )
        } else {
            self.force
                || self.selection.force_multiple
                || confirm::yes_no(
                    cx,
                    &format!(
                        "This will reinstall the instance '{}' (and so remove all its data). \
                         Continue?",
                        names.join(", ")
                    ),
                )
        };
        if !agreed {
            return Err(Failure::Exit(1));
        }
        let op = |name: &str| InstanceReinstall {
            force_variant: self.force_variant,
            os_type: os_type.clone(),
            osparams: self.os_parameters.clone().map(|p| p.0),
            osparams_private: self.os_parameters_private.clone().map(|p| p.0.into()),
            osparams_secret: self.os_parameters_secret.clone().map(|p| p.0.into()),
            ..InstanceReinstall::new(name)
        };
        let ended = selection::submit(cx, &names, several, &self.job.how(), op).await?;
        jobs::all_good(&ended)
    }
}
