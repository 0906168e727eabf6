//! `gnt-cluster modify`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::jobs;
use crate::options::device;
use crate::options::ipolicy::{PolicyOptions, StandardOption};
use crate::options::yes_no;
use crate::submit::{self, JobOptions};
use crate::values::{self, Ident, Params};
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::{Error, Result};
use roost_proto::keyval::{self, KvMap};
use roost_proto::opcodes::{ClusterSetParams, NicSpec};
use std::collections::BTreeMap;

/// `modify`.
#[derive(Args, Debug)]
pub struct Modify {
    #[command(flatten)]
    policy: PolicyOptions,
    #[command(flatten)]
    standard: StandardOption,
    #[command(flatten)]
    job: JobOptions,
    /// Go on where checks warn
    #[arg(short, long)]
    force: bool,
    /// Memory and CPUs of instances: KEY=VALUE,…
    #[arg(short = 'B', long, value_name = "PARAMS", value_parser = values::params)]
    backend_parameters: Option<Params>,
    /// Wanted number of master candidates
    #[arg(short = 'C', long, value_name = "N")]
    candidate_pool_size: Option<u64>,
    /// How many jobs may run at the same time
    #[arg(long, value_name = "N")]
    max_running_jobs: Option<u64>,
    /// How many jobs are watched at the same time
    #[arg(long, value_name = "N")]
    max_tracked_jobs: Option<u64>,
    /// Image of the helper VM for untrusted OS scripts
    #[arg(long, value_name = "PATH|URL")]
    install_image: Option<String>,
    /// Network for talk between guests and hosts; empty: none
    #[arg(long, value_name = "NETWORK")]
    instance_communication_network: Option<String>,
    /// Hypervisors, with commas; the first one is the default
    #[arg(long, value_name = "NAMES")]
    enabled_hypervisors: Option<String>,
    /// Hypervisor parameters: NAME:KEY=VALUE,…; repeat for more
    #[arg(short = 'H', long, value_name = "NAME:PARAMS", value_parser = values::ident)]
    hypervisor_parameters: Vec<Ident>,
    /// First half of generated MAC addresses
    #[arg(short, long, value_name = "XX:XX:XX")]
    mac_prefix: Option<String>,
    /// Device that carries the master IP
    #[arg(long, value_name = "DEVICE")]
    master_netdev: Option<String>,
    /// Bits of the master IP's netmask
    #[arg(long, value_name = "BITS")]
    master_netmask: Option<u32>,
    /// Network cards: KEY=VALUE,…
    #[arg(short = 'N', long, value_name = "PARAMS", value_parser = keyval::parse)]
    nic_parameters: Option<KvMap>,
    /// LVM volume group; empty: no LVM
    #[arg(long, value_name = "VG")]
    vg_name: Option<String>,
    /// Stop instances on nodes that are marked offline
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    maintain_node_health: Option<bool>,
    /// User ids for instances: UID or LOW-HIGH, with commas
    #[arg(long, value_name = "RANGES")]
    uid_pool: Option<String>,
    /// User ids to add
    #[arg(long, value_name = "RANGES")]
    add_uids: Option<String>,
    /// User ids to take away
    #[arg(long, value_name = "RANGES")]
    remove_uids: Option<String>,
    /// DRBD's helper program; empty: no DRBD
    #[arg(long, value_name = "PATH")]
    drbd_usermode_helper: Option<String>,
    /// Default allocator; empty: none
    #[arg(short = 'I', long, value_name = "NAME")]
    default_iallocator: Option<String>,
    /// Parameters of the default allocator
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    default_iallocator_params: Option<Params>,
    /// Volumes that are not ours, as regular expressions, with commas
    #[arg(long, value_name = "REGEXES")]
    reserved_lvs: Option<String>,
    /// Zero new disks
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    prealloc_wipe_disks: Option<bool>,
    /// Node parameters: KEY=VALUE,…
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    node_parameters: Option<Params>,
    /// A script of the site's sets the master IP up
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    use_external_mip_script: Option<bool>,
    /// Disk parameters: TEMPLATE:KEY=VALUE,…; repeat for more
    #[arg(short = 'D', long, value_name = "TEMPLATE:PARAMS", value_parser = values::ident)]
    disk_parameters: Vec<Ident>,
    /// What hypervisors take: NAME:KEY=VALUE,…
    #[arg(long, value_name = "NAME:PARAMS", value_parser = values::ident)]
    hypervisor_state: Vec<Ident>,
    /// What storage is reserved: TYPE/ID:KEY=VALUE,…
    #[arg(long, value_name = "TYPE/ID:PARAMS", value_parser = values::ident)]
    disk_state: Vec<Ident>,
    /// Disk templates, with commas; the first one is the default
    #[arg(long, value_name = "TEMPLATES")]
    enabled_disk_templates: Option<String>,
    /// Keep /etc/hosts of the nodes up to date
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    modify_etc_hosts: Option<bool>,
    /// Notice when a guest is shut down from inside
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    user_shutdown: Option<bool>,
    /// Directory of file disks; empty: none
    #[arg(long, value_name = "DIR")]
    file_storage_dir: Option<String>,
    /// Directory of shared file disks; empty: none
    #[arg(long, value_name = "DIR")]
    shared_file_storage_dir: Option<String>,
    /// Where Gluster volumes are mounted; empty: nowhere
    #[arg(long, value_name = "DIR")]
    gluster_storage_dir: Option<String>,
    /// Image of the helper VM that zeroes free space
    #[arg(long, value_name = "PATH|URL")]
    zeroing_image: Option<String>,
    /// Tools for compression of transfers, with commas; empty: the usual ones
    #[arg(long, value_name = "TOOLS")]
    compression_tools: Option<String>,
    /// Monitoring collectors: NAME=yes|no,…
    #[arg(long, value_name = "NAME=BOOL,…", value_parser = keyval::parse_plain)]
    enabled_data_collectors: Option<KvMap>,
    /// Seconds between samples: NAME=SECONDS,…
    #[arg(long, value_name = "NAME=SECONDS,…", value_parser = keyval::parse_plain)]
    data_collector_interval: Option<KvMap>,
}

/// The tools if none are named.
const COMPRESSION_TOOLS: [&str; 3] = ["gzip", "gzip-fast", "gzip-slow"];

impl Modify {
    fn opcode(&self) -> Result<ClusterSetParams> {
        let mut policy = self.policy.policy()?;
        self.standard.add_to(&mut policy)?;
        let ranges = |text: &Option<String>| text.as_deref().map(values::uid_ranges).transpose();
        let params = |option: &Option<Params>| option.clone().map(|params| params.0);
        let nicparams = match &self.nic_parameters {
            None => None,
            Some(settings) => Some(device::spec::<NicSpec>("--nic-parameters", settings)?),
        };
        let compression_tools = self.compression_tools.as_deref().map(|text| match text {
            "" => COMPRESSION_TOOLS.map(str::to_owned).to_vec(),
            text => values::words(text),
        });
        Ok(ClusterSetParams {
            hv_state: values::by_any_name(&self.hypervisor_state)?,
            disk_state: values::disk_state(&self.disk_state)?,
            vg_name: self.vg_name.clone(),
            enabled_hypervisors: self
                .enabled_hypervisors
                .as_deref()
                .map(values::choices)
                .transpose()?,
            hvparams: values::by_hypervisor(&self.hypervisor_parameters)?,
            beparams: params(&self.backend_parameters),
            diskparams: values::by_template(&self.disk_parameters)?,
            candidate_pool_size: self.candidate_pool_size,
            max_running_jobs: self.max_running_jobs,
            max_tracked_jobs: self.max_tracked_jobs,
            uid_pool: ranges(&self.uid_pool)?,
            add_uids: ranges(&self.add_uids)?,
            remove_uids: ranges(&self.remove_uids)?,
            maintain_node_health: self.maintain_node_health,
            prealloc_wipe_disks: self.prealloc_wipe_disks,
            nicparams,
            ndparams: params(&self.node_parameters),
            ipolicy: (!policy.is_empty()).then_some(policy),
            drbd_helper: self.drbd_usermode_helper.clone(),
            default_iallocator: self.default_iallocator.clone(),
            default_iallocator_params: params(&self.default_iallocator_params),
            mac_prefix: self.mac_prefix.clone(),
            master_netdev: self.master_netdev.clone(),
            master_netmask: self.master_netmask,
            reserved_lvs: self.reserved_lvs.as_deref().map(values::words),
            use_external_mip_script: self.use_external_mip_script,
            enabled_disk_templates: self
                .enabled_disk_templates
                .as_deref()
                .map(values::choices)
                .transpose()?,
            modify_etc_hosts: self.modify_etc_hosts,
            file_storage_dir: self.file_storage_dir.clone(),
            shared_file_storage_dir: self.shared_file_storage_dir.clone(),
            gluster_storage_dir: self.gluster_storage_dir.clone(),
            install_image: self.install_image.clone(),
            instance_communication_network: self.instance_communication_network.clone(),
            zeroing_image: self.zeroing_image.clone(),
            compression_tools,
            enabled_user_shutdown: self.user_shutdown,
            enabled_data_collectors: self.enabled_data_collectors.as_ref().map(switches),
            data_collector_interval: self
                .data_collector_interval
                .as_ref()
                .map(intervals)
                .transpose()?,
            ..ClusterSetParams::new()
        })
    }
}

/// Ganeti's rule: what begins with a t is true. A yes is one too.
fn switches(map: &KvMap) -> BTreeMap<String, bool> {
    map.iter()
        .map(|(name, value)| {
            let text = value.as_text().unwrap_or_default();
            (name.clone(), text.starts_with(['t', 'T', 'y', 'Y']))
        })
        .collect()
}

/// Seconds to microseconds.
fn intervals(map: &KvMap) -> Result<BTreeMap<String, i64>> {
    map.iter()
        .map(|(name, value)| {
            let text = value.as_text().unwrap_or_default();
            match text.parse::<f64>() {
                Ok(seconds) if (0.000_001..1e9).contains(&seconds) => {
                    Ok((name.clone(), (seconds * 1e6) as i64))
                }
                _ => Err(Error::wrong_input(format!(
                    "Invalid interval '{text}' of collector '{name}': write seconds"
                ))),
            }
        })
        .collect()
}

impl Verb for Modify {
    const NAME: &'static str = "modify";
    const ABOUT: &'static str = "Alters the parameters of the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut op = self.opcode()?;
        if op == ClusterSetParams::new() {
            return Err(Failure::say("Please give at least one of the parameters."));
        }
        op.force = self.force;
        let result = submit::run(cx, op, &self.job.how()).await?;
        jobs::all_good(&jobs::wait_for_children(cx, &result).await?)
    }
}
