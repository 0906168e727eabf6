//! `gnt-instance modify`.

use crate::commands::print_changes;
use crate::confirm;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::options::migration::exclusive;
use crate::options::{device, size, yes_no};
use crate::say;
use crate::submit::{self, JobOptions};
use crate::values::{self, Ident, Params};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::{DeviceAction, DiskTemplate, FileDriver};
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::InstanceSetParams;

/// `modify`.
#[derive(Args, Debug)]
pub struct Modify {
    #[command(flatten)]
    job: JobOptions,
    /// Memory and CPUs: KEY=VALUE,…
    #[arg(short = 'B', long, value_name = "PARAMS", value_parser = values::params)]
    backend_parameters: Option<Params>,
    /// A disk: add[:…], N:add,…, ID:modify,…, [ID:]remove, [N:]attach,…, [ID:]detach
    #[arg(long, value_name = "CHANGE", value_parser = values::ident)]
    disk: Vec<Ident>,
    /// Do not ask, and go on where checks warn
    #[arg(short, long)]
    force: bool,
    /// Hypervisor parameters: KEY=VALUE,…
    #[arg(short = 'H', long, value_name = "PARAMS", value_parser = values::params)]
    hypervisor_parameters: Option<Params>,
    /// A network card: add[:…], N:add,…, ID:modify,…, [ID:]remove
    #[arg(long, value_name = "CHANGE", value_parser = values::ident)]
    net: Vec<Ident>,
    /// Convert the disks
    #[arg(short = 't', long, value_name = "TEMPLATE")]
    disk_template: Option<DiskTemplate>,
    /// For a conversion to drbd, or the first drbd disk: the mirror's node
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,
    /// For a conversion: allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// Operating system, without installing it
    #[arg(short, long, value_name = "OS[+VARIANT]")]
    os_type: Option<String>,
    /// Even if the OS does not know the variant
    #[arg(long)]
    force_variant: bool,
    /// Parameters of the OS: KEY=VALUE,…
    #[arg(short = 'O', long, value_name = "PARAMS", value_parser = values::params)]
    os_parameters: Option<Params>,
    /// The same, stored but never shown
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    os_parameters_private: Option<Params>,
    /// Do not wait until mirrors are in sync
    #[arg(long)]
    no_wait_for_sync: bool,
    /// Mark a stopped instance offline
    #[arg(long, conflicts_with = "online")]
    offline: bool,
    /// Take the mark away
    #[arg(long)]
    online: bool,
    /// Even if it does not meet the instance policy
    #[arg(long)]
    ignore_ipolicy: bool,
    /// Give the running guest so much memory now
    #[arg(short = 'm', long, value_name = "SIZE", value_parser = size)]
    runtime_memory: Option<u64>,
    /// Do not check whether an address is also in one of the cluster's networks
    #[arg(long)]
    no_conflicts_check: bool,
    /// Only record another primary node; the disks are there already
    #[arg(long, value_name = "NODE")]
    new_primary: Option<String>,
    /// Do not change devices of the running guest
    #[arg(long)]
    no_hotplug: bool,
    /// A network card to talk with the host over
    #[arg(short, long, value_name = "yes|no", value_parser = yes_no)]
    communication: Option<bool>,
    /// For a conversion to ext: provider=NAME,KEY=VALUE,…
    #[arg(short, long, value_name = "PARAMS", value_parser = values::params)]
    ext_params: Option<Params>,
    /// How a file becomes a block device
    #[arg(long, value_name = "DRIVER")]
    file_driver: Option<FileDriver>,
    /// Directory for file disks, below the cluster's
    #[arg(long, value_name = "DIR")]
    file_storage_dir: Option<String>,
    /// The instance
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Modify {
    /// Only what is a change; how it is made is added later.
    fn changes(&self) -> Result<InstanceSetParams> {
        exclusive(&self.node, &self.iallocator)?;
        let params = |option: &Option<Params>| option.clone().unwrap_or_default().0;
        let offline = match (self.offline, self.online) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let adds = |disk: &Ident| disk.ident == "add" || disk.ident.starts_with("add,");
        let first_disk = self.node.is_some() && self.disk.iter().any(adds);
        if self.disk_template.is_none()
            && !first_disk
            && (self.node.is_some() || self.iallocator.is_some())
        {
            return Err(Error::wrong_input(
                "-n and -I are for conversions of disks (-t TEMPLATE), and -n for the first \
                 mirrored disk of an instance (--disk add:dev_type=drbd,…)",
            ));
        }
        Ok(InstanceSetParams {
            nics: device::changes("--net", &self.net)?,
            disks: device::changes("--disk", &self.disk)?,
            beparams: params(&self.backend_parameters),
            runtime_mem: self.runtime_memory,
            hvparams: params(&self.hypervisor_parameters),
            disk_template: self.disk_template,
            ext_params: params(&self.ext_params),
            file_driver: self.file_driver,
            file_storage_dir: self.file_storage_dir.clone(),
            pnode: self.new_primary.clone(),
            remote_node: self.node.clone(),
            iallocator: self.iallocator.clone(),
            os_name: self.os_type.clone(),
            osparams: params(&self.os_parameters),
            osparams_private: self.os_parameters_private.clone().map(|p| p.0.into()),
            offline,
            instance_communication: self.communication,
            ..InstanceSetParams::new(self.name.clone())
        })
    }
}

impl Verb for Modify {
    const NAME: &'static str = "modify";
    const ABOUT: &'static str = "Alters the parameters of an instance";

    async fn run(self, cx: &Cx) -> Outcome {
        let changes = self.changes()?;
        if changes == InstanceSetParams::new(self.name.clone()) {
            return Err(Failure::say("Please give at least one of the parameters."));
        }
        let modifies_nic = changes.nics.iter().any(|nic| nic.action == DeviceAction::Modify);
        if modifies_nic && !self.no_hotplug && !self.force {
            cx.note(
                "You are about to modify a network card of an instance. If the instance runs, the \
                 card is unplugged and plugged in again: its connections may break.",
            );
            confirm::require(cx, "Continue?", 1)?;
        }
        let op = InstanceSetParams {
            force: self.force,
            force_variant: self.force_variant,
            ignore_ipolicy: self.ignore_ipolicy,
            wait_for_sync: !self.no_wait_for_sync,
            conflicts_check: !self.no_conflicts_check,
            hotplug: !self.no_hotplug,
            ..changes
        };
        let changes_hypervisor = !op.hvparams.is_empty();
        let result = submit::run(cx, op, &self.job.how()).await?;
        if print_changes(cx, "instance", &self.name, &result)? {
            say!(
                cx,
                "Please don't forget that most parameters take effect only at the next (re)start of \
                 the instance initiated by ganeti; restarting from within the instance will not be \
                 enough."
            );
            if changes_hypervisor {
                say!(
                    cx,
                    "Note that changing hypervisor parameters without performing a restart might \
                     lead to a crash while performing a live migration. This will be addressed in \
                     future Ganeti versions."
                );
            }
        }
        Ok(())
    }
}
