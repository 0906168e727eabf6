//! Options of commands that make instances.

use super::{device, size, yes_no};
use crate::submit::JobOptions;
use crate::values::{self, Ident, Params};
use clap::Args;
use roost_proto::choices::{DiskTemplate, FileDriver, Hypervisor, InstCreateMode};
use roost_proto::error::{Error, Result};
use roost_proto::keyval::IdentValue;
use roost_proto::opcodes::{DiskSpec, InstanceCreate, NicSpec};

/// What a new instance is made of.
#[derive(Args, Clone, Debug)]
pub struct CreateOptions {
    /// Memory and CPUs: KEY=VALUE,…
    #[arg(short = 'B', long, value_name = "PARAMS", value_parser = values::params)]
    pub backend_parameters: Option<Params>,
    /// A disk: N:size=SIZE,…; repeat for more
    #[arg(long, value_name = "N:KEY=VALUE,…", value_parser = values::ident)]
    pub disk: Vec<Ident>,
    /// How the disks are stored
    #[arg(short = 't', long, value_name = "TEMPLATE")]
    pub disk_template: Option<DiskTemplate>,
    /// Directory for file disks, below the cluster's
    #[arg(long, value_name = "DIR")]
    pub file_storage_dir: Option<String>,
    /// How a file becomes a block device
    #[arg(long, value_name = "DRIVER")]
    pub file_driver: Option<FileDriver>,
    /// Hypervisor and its parameters: NAME[:KEY=VALUE,…]
    #[arg(short = 'H', long, value_name = "HYPERVISOR", value_parser = values::ident)]
    pub hypervisor_parameters: Option<Ident>,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    pub iallocator: Option<String>,
    /// A network card: N:KEY=VALUE,…; repeat for more
    #[arg(long, value_name = "N:KEY=VALUE,…", value_parser = values::ident)]
    pub net: Vec<Ident>,
    /// Node to run on, and node of the mirror: PRIMARY[:SECONDARY]
    #[arg(short, long, value_name = "NODE[:NODE]")]
    pub node: Option<String>,
    /// Node group for the allocator
    #[arg(short = 'g', long, value_name = "GROUP")]
    pub node_group: Option<String>,
    /// Refuse an instance whose address is in use already
    #[arg(long)]
    pub ip_check: bool,
    /// The default since long; accepted for old scripts
    #[arg(long, hide = true)]
    pub no_ip_check: bool,
    /// Resolve the name, and use the full one
    #[arg(long)]
    pub name_check: bool,
    /// The default since long; accepted for old scripts
    #[arg(long, hide = true)]
    pub no_name_check: bool,
    /// Do not check whether an address is also in one of the cluster's networks
    #[arg(long)]
    pub no_conflicts_check: bool,
    /// No network cards
    #[arg(long)]
    pub no_nics: bool,
    /// Do not wait until mirrors are in sync
    #[arg(long)]
    pub no_wait_for_sync: bool,
    /// Parameters of the OS: KEY=VALUE,…
    #[arg(short = 'O', long, value_name = "PARAMS", value_parser = values::params)]
    pub os_parameters: Option<Params>,
    /// The same, stored but never shown
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    pub os_parameters_private: Option<Params>,
    /// The same, not even stored
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    pub os_parameters_secret: Option<Params>,
    /// One disk of this size
    #[arg(short = 's', long, value_name = "SIZE", value_parser = size)]
    pub os_size: Option<u64>,
    /// With an allocator: use only nodes that are not busy now
    #[arg(long)]
    pub opportunistic_locking: bool,
    /// Tags of the new instance, with commas
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    #[command(flatten)]
    pub job: JobOptions,
}

/// Options about the helper VM of untrusted OS scripts.
#[derive(Args, Clone, Debug, Default)]
pub struct HelperOptions {
    /// Seconds in which the helper VM must start
    #[arg(long, value_name = "SECONDS")]
    pub helper_startup_timeout: Option<i64>,
    /// Seconds in which the helper VM must have done its work
    #[arg(long, value_name = "SECONDS")]
    pub helper_shutdown_timeout: Option<i64>,
    /// A network card to talk with the host over
    #[arg(short, long, value_name = "yes|no", value_parser = yes_no)]
    pub communication: Option<bool>,
}

impl CreateOptions {
    /// The words on standard error about options that no longer do anything.
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        if self.no_ip_check {
            warnings.push("Warning: --no-ip-check is the default and has no effect");
        }
        if self.no_name_check {
            warnings.push("Warning: --no-name-check is the default and has no effect");
        }
        warnings
    }

    /// The opcode, as far as these options go.
    pub fn opcode(&self, name: &str, mode: InstCreateMode) -> Result<InstanceCreate> {
        let disks = self.disks(mode)?;
        let nics = self.nics(mode)?;
        let (hypervisor, hvparams) = match &self.hypervisor_parameters {
            None => (None, Default::default()),
            Some(option) => {
                if matches!(option.value, IdentValue::Remove | IdentValue::Reset) {
                    return Err(Error::wrong_input("-H takes NAME or NAME:KEY=VALUE,…"));
                }
                (Some(option.ident.parse::<Hypervisor>()?), option.settings()?)
            }
        };
        let (pnode, snode) = match &self.node {
            None => (None, None),
            Some(pair) => {
                let (primary, secondary) = values::node_pair(pair);
                (Some(primary).filter(|node| !node.is_empty()), secondary)
            }
        };
        let params = |option: &Option<Params>| option.clone().unwrap_or_default().0;
        Ok(InstanceCreate {
            beparams: params(&self.backend_parameters),
            disk_template: self.disk_template,
            file_storage_dir: self.file_storage_dir.clone(),
            file_driver: self.file_driver,
            hypervisor,
            hvparams,
            iallocator: self.iallocator.clone(),
            pnode,
            snode,
            group_name: self.node_group.clone(),
            ip_check: self.ip_check,
            name_check: self.name_check,
            conflicts_check: !self.no_conflicts_check,
            wait_for_sync: !self.no_wait_for_sync,
            osparams: params(&self.os_parameters),
            osparams_private: self.os_parameters_private.clone().map(|p| p.0.into()),
            osparams_secret: self.os_parameters_secret.clone().map(|p| p.0.into()),
            opportunistic_locking: self.opportunistic_locking,
            tags: self.tags.as_deref().map(values::words).unwrap_or_default(),
            ..InstanceCreate::new(name, mode, disks, nics)
        })
    }

    fn disks(&self, mode: InstCreateMode) -> Result<Vec<DiskSpec>> {
        match (self.disk_template, self.os_size, self.disk.as_slice()) {
            (_, Some(_), [_, ..]) => {
                Err(Error::wrong_input("Please use either the '--disk' or the '-s' option"))
            }
            (Some(DiskTemplate::Diskless), size, disks) => {
                if size.is_some() || !disks.is_empty() {
                    return Err(Error::wrong_input(
                        "A diskless instance has no disks: leave out --disk and -s",
                    ));
                }
                Ok(Vec::new())
            }
            (_, Some(size), []) => Ok(vec![DiskSpec::sized(size)]),
            (_, None, []) if mode == InstCreateMode::Create => Err(Error::wrong_input(
                "No disk information specified: give --disk 0:size=SIZE or -s SIZE, or -t diskless",
            )),
            (_, None, disks) => device::new_disks(disks),
        }
    }

    fn nics(&self, mode: InstCreateMode) -> Result<Vec<NicSpec>> {
        match (self.no_nics, self.net.as_slice()) {
            (true, [_, ..]) => Err(Error::wrong_input("--no-nics and --net contradict each other")),
            (true, []) => Ok(Vec::new()),
            // An import takes the cards of the export.
            (false, []) if mode == InstCreateMode::Create => Ok(vec![NicSpec::default()]),
            (false, nics) => device::new_nics(nics),
        }
    }
}
