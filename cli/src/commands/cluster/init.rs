//! `gnt-cluster init`: a new cluster of one node, this machine.
//!
//! What can be wrong is looked at here, before anything is made. masterd's own `init` then writes
//! the state, and the daemons are started.

use super::migrate_store::{EtcdOptions, StoreKind};
use crate::commands::daemon::{Daemon, start_daemon, start_watchers};
use crate::context::Cx;
use crate::exec;
use crate::failure::{Failure, Outcome};
use crate::options::ipolicy::{PolicyOptions, SplitOptions, StandardOption};
use crate::options::yes_no;
use crate::resolve::{self, Family, Host};
use crate::submit::{self, How};
use crate::values::{self, Ident, Params};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::{DiskTemplate, Hypervisor};
use roost_proto::error::{Error, Result};
use roost_proto::init::InitSpec;
use roost_proto::opcodes::{ClusterPostInit, ClusterSetParams};
use roost_proto::params::ParamMap;
use roost_proto::paths::{NODED_PORT, Paths};
use serde::Serialize;
use serde_json::{Map, Value};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// `init`.
#[derive(Args, Debug)]
pub struct Init {
    #[command(flatten)]
    policy: PolicyOptions,
    #[command(flatten)]
    standard: StandardOption,
    #[command(flatten)]
    split: SplitOptions,
    /// Memory and CPUs of instances: KEY=VALUE,…
    #[arg(short = 'B', long, value_name = "PARAMS", value_parser = values::params)]
    backend_parameters: Option<Params>,
    /// Wanted number of master candidates
    #[arg(short = 'C', long, value_name = "N")]
    candidate_pool_size: Option<u32>,
    /// Hypervisors, with commas; the first one is the default
    #[arg(long, value_name = "NAMES")]
    enabled_hypervisors: Option<String>,
    /// Disk templates, with commas; the first one is the default
    #[arg(long, value_name = "TEMPLATES")]
    enabled_disk_templates: Option<String>,
    /// Directory of file disks
    #[arg(long, value_name = "DIR")]
    file_storage_dir: Option<String>,
    /// Directory of shared file disks
    #[arg(long, value_name = "DIR")]
    shared_file_storage_dir: Option<String>,
    /// Where Gluster volumes are mounted
    #[arg(long, value_name = "DIR")]
    gluster_storage_dir: Option<String>,
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
    #[arg(short = 'N', long, value_name = "PARAMS", value_parser = values::params)]
    nic_parameters: Option<Params>,
    /// Leave /etc/hosts alone
    #[arg(long)]
    no_etc_hosts: bool,
    /// Leave SSH keys alone
    #[arg(long)]
    no_ssh_init: bool,
    /// Address of this node for mirroring
    #[arg(short, long, value_name = "ADDRESS")]
    secondary_ip: Option<std::net::Ipv4Addr>,
    /// LVM volume group; empty: no LVM
    #[arg(long, value_name = "VG")]
    vg_name: Option<String>,
    /// Stop instances on nodes that are marked offline
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    maintain_node_health: Option<bool>,
    /// User ids for instances: UID or LOW-HIGH, with commas
    #[arg(long, value_name = "RANGES")]
    uid_pool: Option<String>,
    /// DRBD's helper program
    #[arg(long, value_name = "PATH")]
    drbd_usermode_helper: Option<String>,
    /// Default allocator
    #[arg(short = 'I', long, value_name = "NAME")]
    default_iallocator: Option<String>,
    /// Parameters of the default allocator
    #[arg(long, value_name = "PARAMS", value_parser = values::params)]
    default_iallocator_params: Option<Params>,
    /// Family of the nodes' addresses
    #[arg(long, value_name = "4|6", value_parser = family)]
    primary_ip_version: Option<Family>,
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
    /// Image of the helper VM for untrusted OS scripts
    #[arg(long, value_name = "PATH|URL")]
    install_image: Option<String>,
    /// Image of the helper VM that zeroes free space
    #[arg(long, value_name = "PATH|URL")]
    zeroing_image: Option<String>,
    /// Tools for compression of transfers, with commas
    #[arg(long, value_name = "TOOLS")]
    compression_tools: Option<String>,
    /// Notice when a guest is shut down from inside
    #[arg(long, value_name = "yes|no", value_parser = yes_no)]
    user_shutdown: Option<bool>,
    /// Where the configuration and the jobs are kept
    #[arg(long, value_enum, value_name = "embedded|etcd", default_value = "embedded")]
    store: StoreKind,
    #[command(flatten)]
    etcd: EtcdOptions,
    /// Accepted for old scripts
    #[arg(long, value_name = "BITS", hide = true)]
    ssh_key_bits: Option<u32>,
    /// Accepted for old scripts
    #[arg(long, value_name = "TYPE", hide = true)]
    ssh_key_type: Option<String>,
    /// The cluster's name; it must resolve to a free address
    #[arg(value_name = "CLUSTER")]
    name: String,
}

/// The specification in the making: only what was given; the rest has masterd's defaults.
#[derive(Default)]
struct Given(Map<String, Value>);

impl Given {
    fn set<T: Serialize>(&mut self, field: &str, value: Option<T>) {
        if let Some(value) = value {
            let value = serde_json::to_value(value).expect("options are plain data");
            self.0.insert(field.to_owned(), value);
        }
    }
}

impl Init {
    /// What masterd is asked to make. Pure: names and addresses are looked up before.
    fn spec(&self, cluster: &Host, node: &Host) -> Result<InitSpec> {
        let hypervisors: Option<Vec<Hypervisor>> =
            self.enabled_hypervisors.as_deref().map(values::choices).transpose()?;
        let templates: Option<Vec<DiskTemplate>> =
            self.enabled_disk_templates.as_deref().map(values::choices).transpose()?;
        let has = |wanted: &[DiskTemplate]| {
            templates.iter().flatten().any(|template| wanted.contains(template))
        };
        let lvm = has(&[DiskTemplate::Plain, DiskTemplate::Drbd]);
        let volume_group = match self.vg_name.as_deref() {
            None => lvm.then(|| "xenvg".to_owned()),
            Some("") if lvm => {
                return Err(Error::wrong_input(
                    "plain and drbd disks need LVM: give --vg-name, or leave them out of \
                     --enabled-disk-templates",
                ));
            }
            Some("") => None,
            Some(name) => Some(name.to_owned()),
        };
        let drbd_helper = self
            .drbd_usermode_helper
            .clone()
            .or_else(|| has(&[DiskTemplate::Drbd]).then(|| "/bin/true".to_owned()));
        let mut policy = self.policy.policy()?;
        self.standard.add_to(&mut policy)?;
        self.split.add_to(&mut policy)?;
        let (nics, netdev) = self.network();
        let params = |option: &Option<Params>| option.clone().map(|params| params.0);

        let mut given = Given::default();
        given.set("cluster_name", Some(&cluster.name));
        given.set("master_ip", Some(cluster.address));
        given.set("node_name", Some(&node.name));
        given.set("node_ip", Some(node.address));
        given.set("secondary_ip", self.secondary_ip);
        given.set("enabled_hypervisors", hypervisors);
        given.set("enabled_disk_templates", templates);
        given.set("hvparams", values::by_hypervisor(&self.hypervisor_parameters)?);
        given.set("beparams", params(&self.backend_parameters));
        given.set("nicparams", nics);
        given.set("ndparams", params(&self.node_parameters));
        given.set("diskparams", values::by_template(&self.disk_parameters)?);
        given.set("ipolicy", Some(policy));
        given.set("candidate_pool_size", self.candidate_pool_size);
        given.set("mac_prefix", self.mac_prefix.as_ref());
        given.set("master_netdev", netdev);
        given.set("master_netmask", self.master_netmask);
        given.set("file_storage_dir", self.file_storage_dir.as_ref());
        given.set("shared_file_storage_dir", self.shared_file_storage_dir.as_ref());
        given.set("gluster_storage_dir", self.gluster_storage_dir.as_ref());
        given.set("volume_group_name", volume_group);
        given.set("drbd_usermode_helper", drbd_helper);
        given.set("maintain_node_health", self.maintain_node_health);
        given.set("prealloc_wipe_disks", self.prealloc_wipe_disks);
        given.set("modify_etc_hosts", Some(!self.no_etc_hosts));
        given.set("modify_ssh_setup", Some(!self.no_ssh_init));
        given.set("use_external_mip_script", self.use_external_mip_script);
        given.set("enabled_user_shutdown", self.user_shutdown);
        given.set("default_iallocator", self.default_iallocator.as_ref());
        given.set("default_iallocator_params", params(&self.default_iallocator_params));
        given.set("uid_pool", self.uid_pool.as_deref().map(values::uid_ranges).transpose()?);
        given.set("install_image", self.install_image.as_ref());
        given.set("zeroing_image", self.zeroing_image.as_ref());
        given.set("compression_tools", self.compression_tools.as_deref().map(values::words));
        given.set("store", Some(self.etcd.settings(self.store)?));
        serde_json::from_value(Value::Object(given.0)).map_err(|why| {
            Error::wrong_input(format!("the new cluster's settings are wrong: {why}"))
        })
    }

    /// The network cards' parameters and the master IP's device. With Open vSwitch both are on the
    /// switch unless said otherwise.
    fn network(&self) -> (Option<ParamMap>, Option<String>) {
        let mut nics = self.nic_parameters.clone().map(|params| params.0);
        let mut netdev = self.master_netdev.clone();
        if let Some(nics) = &mut nics
            && nics.get("mode").is_some_and(|mode| mode == "openvswitch")
        {
            nics.entry("link".into()).or_insert("switch1".into());
            netdev.get_or_insert_with(|| "switch1".to_owned());
        }
        (nics, netdev)
    }
}

/// Refuses a machine that has a cluster already.
fn check_unused(paths: &Paths) -> Result<()> {
    let used = [paths.database(), paths.identity(), paths.authority_key()]
        .into_iter()
        .find(|path| path.exists());
    match used {
        None => Ok(()),
        Some(path) => Err(Error::wrong_state(format!(
            "Cluster is already initialised: {} exists. To begin anew run 'gnt-cluster destroy \
             --yes-do-it' first",
            path.display()
        ))),
    }
}

/// The master IP needs a device, unless a script of the site takes care of it.
fn check_netdev(spec: &InitSpec, devices: &Path) -> Result<()> {
    let name = &spec.master_netdev;
    if spec.use_external_mip_script || (!name.is_empty() && devices.join(name).exists()) {
        return Ok(());
    }
    Err(Error::wrong_input(format!(
        "Invalid master netdev ({name}): this machine has no such network device; name one with \
         --master-netdev"
    )))
}

/// A value parser for 4 and 6.
fn family(text: &str) -> Result<Family> {
    match text {
        "4" => Ok(Family::V4),
        "6" => Ok(Family::V6),
        other => Err(Error::wrong_input(format!("'{other}' is neither 4 nor 6"))),
    }
}

/// This machine's name and address.
fn own_host(family: Family) -> Result<Host> {
    let host = resolve::host_in(&resolve::own_name()?, family)?;
    if host.address.is_loopback() {
        return Err(Error::environment(format!(
            "This host's IP resolves to an address of the loopback network ({}); please fix DNS or \
             /etc/hosts so that {} has an address other machines can reach",
            host.address, host.name
        )));
    }
    if !resolve::is_local(host.address) {
        return Err(Error::environment(format!(
            "This host's IP ({}, of the name {}) is not an address of this machine",
            host.address, host.name
        )));
    }
    Ok(host)
}

/// The cluster's name and address, which nobody may have yet.
fn cluster_host(name: &str, node: &Host) -> Result<Host> {
    let family = if node.address.is_ipv6() { Family::V6 } else { Family::V4 };
    let host = resolve::host_in(name, family)?;
    // A machine that refuses the connection is there too.
    let answers = || {
        let place = SocketAddr::new(host.address, NODED_PORT);
        match TcpStream::connect_timeout(&place, Duration::from_secs(1)) {
            Ok(_) => true,
            Err(why) => why.kind() == std::io::ErrorKind::ConnectionRefused,
        }
    };
    if host.address != node.address && answers() {
        return Err(Error::environment(format!(
            "Cluster IP {} (of {}) is in use already: a machine answers there; give the cluster's \
             name an address that nobody has",
            host.address, host.name
        )));
    }
    Ok(host)
}

impl Verb for Init {
    const NAME: &'static str = "init";
    const ABOUT: &'static str = "Initializes a new cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        if self.ssh_key_bits.is_some() || self.ssh_key_type.is_some() {
            cx.note("Warning: --ssh-key-type and --ssh-key-bits have no effect: nodes need no SSH");
        }
        check_unused(&cx.paths)?;
        let node = own_host(self.primary_ip_version.unwrap_or(Family::V4))?;
        let cluster = cluster_host(&self.name, &node)?;
        let spec = self.spec(&cluster, &node)?;
        check_netdev(&spec, Path::new("/sys/class/net"))?;
        let state = ClusterSetParams {
            hv_state: values::by_any_name(&self.hypervisor_state)?,
            disk_state: values::disk_state(&self.disk_state)?,
            ..ClusterSetParams::new()
        };
        make(&spec)?;
        start_daemon(cx, Daemon::Noded).await?;
        start_daemon(cx, Daemon::Masterd).await?;
        start_watchers(cx).await;
        submit::run(cx, ClusterPostInit::new(), &How::default()).await?;
        if state.hv_state.is_some() || state.disk_state.is_some() {
            submit::run(cx, state, &How::default()).await?;
        }
        Ok(())
    }
}

/// Lets masterd write the new cluster's state.
fn make(spec: &InitSpec) -> Outcome {
    let program = exec::find("roost-masterd").ok_or_else(|| {
        Failure::say(
            "cannot find the program roost-masterd: it is neither beside this one nor in PATH",
        )
    })?;
    let mut command = exec::command(&program);
    command.arg("init");
    let input = serde_json::to_vec(spec).expect("a specification is plain data");
    let (status, _, errors) = exec::run_with_input(command, &input)
        .map_err(|why| Failure::say(format!("cannot run {}: {why}", program.display())))?;
    if status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&errors);
    Err(Failure::say(format!("The cluster could not be initialised:\n{}", errors.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};
    use serde_json::json;

    fn spec(words: &[&str]) -> Result<Value> {
        let matches = Init::augment_args(Command::new("init"))
            .get_matches_from(["init"].iter().chain(words).chain(&["c1"]));
        let init = Init::from_arg_matches(&matches).expect("good options");
        let cluster = Host { name: "c1.example.com".into(), address: [10, 0, 0, 9].into() };
        let node = Host { name: "n1.example.com".into(), address: [10, 0, 0, 1].into() };
        init.spec(&cluster, &node).map(|spec| serde_json::to_value(spec).expect("json"))
    }

    #[test]
    fn names_and_addresses_are_enough() {
        let spec = spec(&[]).expect("good");
        assert_eq!(spec["cluster_name"], "c1.example.com");
        assert_eq!(spec["master_ip"], "10.0.0.9");
        assert_eq!(spec["node_ip"], "10.0.0.1");
        assert_eq!(spec["enabled_hypervisors"], json!(["kvm"]));
        assert_eq!(spec["volume_group_name"], Value::Null);
        assert_eq!(spec["modify_etc_hosts"], true);
    }

    #[test]
    fn options_become_settings() {
        let spec = spec(&[
            "--enabled-hypervisors=fake,kvm",
            "--enabled-disk-templates=drbd,diskless",
            "-Bmaxmem=1g",
            "-Hkvm:acpi=true",
            "-Dplain:stripes=2",
            "-Nmode=openvswitch",
            "-C3",
            "--no-etc-hosts",
            "--master-netmask=24",
            "--specs-mem-size=min=1g",
            "--uid-pool=1000-1999",
        ])
        .expect("good");
        assert_eq!(spec["enabled_hypervisors"], json!(["fake", "kvm"]));
        assert_eq!(spec["volume_group_name"], "xenvg");
        assert_eq!(spec["drbd_usermode_helper"], "/bin/true");
        assert_eq!(spec["beparams"], json!({"maxmem": "1g"}));
        assert_eq!(spec["hvparams"], json!({"kvm": {"acpi": "true"}}));
        assert_eq!(spec["diskparams"], json!({"plain": {"stripes": "2"}}));
        assert_eq!(spec["nicparams"], json!({"mode": "openvswitch", "link": "switch1"}));
        assert_eq!(spec["master_netdev"], "switch1");
        assert_eq!(spec["candidate_pool_size"], 3);
        assert_eq!(spec["modify_etc_hosts"], false);
        assert_eq!(spec["ipolicy"]["minmax"][0]["min"]["memory-size"], 1024);
        assert_eq!(spec["uid_pool"], json!([[1000, 1999]]));
    }

    #[test]
    fn the_store_is_chosen() {
        assert_eq!(spec(&[]).expect("good")["store"], json!({"store": "embedded"}));
        let words = ["--store=etcd", "--etcd-endpoints=http://localhost:2379"];
        let store = &spec(&words).expect("good")["store"];
        assert_eq!(store["endpoints"], json!(["http://localhost:2379"]));
        assert!(spec(&["--store=etcd"]).is_err());
        assert!(spec(&["--etcd-user=x", "--etcd-password-file=y"]).is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(spec(&["--enabled-disk-templates=plain", "--vg-name="]).is_err());
        assert!(spec(&["--enabled-hypervisors=vmware"]).is_err());
    }

    #[test]
    fn the_device_of_the_master_ip_must_exist() {
        let devices = tempfile::tempdir().expect("temporary directory");
        let check = |words: &[&str]| {
            let spec = serde_json::from_value(spec(words).expect("good")).expect("a spec");
            check_netdev(&spec, devices.path())
        };
        let error = check(&["--master-netdev=eth7"]).expect_err("there is none");
        assert!(error.message.starts_with("Invalid master netdev (eth7)"), "{error}");
        check(&["--master-netdev=eth7", "--use-external-mip-script=yes"]).expect("a script's");
        std::fs::create_dir(devices.path().join("eth7")).expect("directory");
        check(&["--master-netdev=eth7"]).expect("it is there");
    }

    #[test]
    fn a_used_machine_is_refused() {
        let root = tempfile::tempdir().expect("temporary directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        check_unused(&paths).expect("nothing there");
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        std::fs::write(paths.database(), "").expect("written");
        let error = check_unused(&paths).expect_err("used");
        assert!(error.message.starts_with("Cluster is already initialised"), "{error}");
    }
}
