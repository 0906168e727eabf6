//! Making a new cluster of this one machine.
//!
//! Writes certificates, identity, ssconf and the database, the database last: without it there is
//! no cluster, and a failed attempt can simply be repeated.

use crate::config::{Change, Config, Object};
use crate::ops::placement::Allocator;
use crate::store::etcd::Candidate;
use crate::store::etcd::offline::Offline;
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, Key, Space, Store, settings};
use crate::{clock, files, pki};
use roost_proto::choices::{AllocPolicy, DiskTemplate, Hypervisor};
use roost_proto::collectors;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{ClusterId, Epoch, GroupId, NodeId, Serial};
use roost_proto::init::InitSpec;
use roost_proto::names::GroupName;
use roost_proto::objects::{Cluster, CollectorConfig, Node, NodeGroup, ParamMap};
use roost_proto::params::{IPolicy, backend, disk, fill, hypervisor, ipolicy, nic, node, value};
use roost_proto::paths::{Identity, Paths};
use roost_proto::store::StoreSettings;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Ganeti's tools for compressing what goes over the network.
const COMPRESSION_TOOLS: [&str; 3] = ["gzip", "gzip-fast", "gzip-slow"];
/// Ganeti's limits of the job queue.
const MAX_RUNNING_JOBS: u32 = 20;
const MAX_TRACKED_JOBS: u32 = 25;
/// Below the first console port.
const NO_PORT_YET: u16 = 10_999;

/// Makes the cluster. Returns its UUID. Errors: `wrong_input` for the settings, `wrong_state` if
/// there is a cluster already.
pub fn init(paths: &Paths, spec: &InitSpec) -> Result<ClusterId> {
    for path in [paths.database(), paths.identity()] {
        if path.exists() {
            return Err(Error::wrong_state(format!(
                "Cluster is already initialised: {} exists",
                path.display()
            )));
        }
    }
    #[allow(clippy::disallowed_methods, reason = "a new cluster's identifiers come from here")]
    let (cluster_id, node_id, group_id) = (
        ClusterId(uuid::Uuid::new_v4()),
        NodeId(uuid::Uuid::new_v4()),
        GroupId(uuid::Uuid::new_v4()),
    );
    let authority = pki::new_authority(&spec.cluster_name)?;
    let pair = pki::new_node(&authority, node_id)?;
    let mut cluster = new_cluster(spec, cluster_id, node_id)?;
    check_allocator(paths, &cluster)?;
    cluster.candidate_certs.insert(node_id, pki::fingerprint(&pair.certificate)?);

    let objects = [
        Change::Add(Object::Group(new_group(group_id)?)),
        Change::Add(Object::Node(Box::new(new_node(spec, node_id, group_id)?))),
    ];
    let now = clock::seconds();
    let (config, written) = Config::new(cluster)
        .apply(&objects, now)
        .map_err(|e| Error::internal(format!("The new configuration contradicts itself: {e}")))?;

    // First of all: without etcd nothing is begun.
    let mut etcd = match &spec.store {
        StoreSettings::Embedded => None,
        StoreSettings::Etcd(etcd) => {
            let candidate = Candidate { node: node_id, name: spec.node_name.to_string() };
            Some(Offline::lead(etcd, cluster_id, candidate)?)
        }
    };
    files::make_dir(&paths.log_dir())?;
    for dir in [&spec.file_storage_dir, &spec.shared_file_storage_dir] {
        if !dir.is_empty() {
            files::make_dir(&paths.absolute(dir))?;
        }
    }
    files::write(&paths.authority_key(), authority.key.as_bytes(), 0o600)?;
    files::write(&paths.authority(), authority.certificate.as_bytes(), 0o644)?;
    files::write(&paths.key(), pair.key.as_bytes(), 0o600)?;
    files::write(&paths.certificate(), pair.certificate.as_bytes(), 0o644)?;
    for (key, text) in config.ssconf() {
        files::write(&paths.ssconf(&key), text.as_bytes(), 0o444)?;
    }
    let identity = Identity {
        cluster: cluster_id,
        node: node_id,
        name: spec.node_name.clone(),
        address: spec.node_ip.clone(),
    };
    let text = serde_json::to_string_pretty(&identity)
        .map_err(|e| Error::internal(format!("unstorable identity: {e}")))?;
    files::write(&paths.identity(), text.as_bytes(), 0o644)?;
    settings::save(paths, &spec.store)?;
    let mut puts = written.puts;
    let object = Object::Cluster(Box::new((*config.cluster).clone()));
    puts.push((Key::new(Space::Cluster, "cluster"), object.to_body()));
    match &mut etcd {
        None => write_database(paths, Epoch(0), puts)?,
        Some(etcd) => etcd
            .store
            .import(Serial(1), Epoch(0), &mut puts.into_iter().map(Ok))
            .map_err(|e| Error::environment(e.to_string()))?,
    }
    if let Some(etcd) = etcd {
        etcd.finish();
    }
    Ok(cluster_id)
}

/// Writes the database beside its place and moves it there: half a database is never found.
pub(crate) fn write_database(paths: &Paths, epoch: Epoch, puts: Vec<(Key, String)>) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| {
        Error::environment(format!("The configuration could not be stored: {e}"))
    };
    let temporary = paths.data_dir().join("config.db.new");
    for leftover in ["config.db.new", "config.db.new-wal", "config.db.new-shm"] {
        std::fs::remove_file(paths.data_dir().join(leftover)).ok();
    }
    let mut store = SqliteStore::create(&temporary).map_err(|e| failed(&e))?;
    store.commit(epoch, &[Batch { puts, deletes: vec![] }]).map_err(|e| failed(&e))?;
    // Closing it empties the write-ahead log into the file.
    drop(store);
    std::fs::rename(&temporary, paths.database()).map_err(|e| failed(&e))
}

/// The default allocator is there: on this machine, which is the master.
fn check_allocator(paths: &Paths, cluster: &Cluster) -> Result<()> {
    let Allocator::Script(name) = Allocator::of_cluster(cluster)? else { return Ok(()) };
    let places = paths.iallocator_search_path();
    if places.iter().any(|dir| dir.join(&name).is_file()) {
        return Ok(());
    }
    let places: Vec<_> = places.iter().map(|dir| dir.display().to_string()).collect();
    Err(Error::wrong_input(format!(
        "Invalid default iallocator script '{name}' specified: it is neither 'hail' nor in {}",
        places.join(" or ")
    )))
}

fn address(text: &str, what: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::wrong_input(format!("Invalid {what} '{text}'")))
}

fn new_cluster(spec: &InitSpec, uuid: ClusterId, master: NodeId) -> Result<Cluster> {
    let master_ip = address(&spec.master_ip, "address of the cluster name")?;
    let bits = if master_ip.is_ipv6() { 128 } else { 32 };
    let netmask = spec.master_netmask.unwrap_or(bits);
    if netmask > bits {
        return Err(Error::wrong_input(format!("Netmask {netmask} is not between 0 and {bits}")));
    }
    if spec.enabled_hypervisors.is_empty() {
        return Err(Error::wrong_input("At least one hypervisor must be enabled"));
    }
    if spec.enabled_disk_templates.is_empty() {
        return Err(Error::wrong_input("At least one disk template must be enabled"));
    }
    if spec.candidate_pool_size == 0 {
        return Err(Error::wrong_input("The candidate pool must have room for one node"));
    }
    check_mac_prefix(&spec.mac_prefix)?;
    let policy = ipolicy::typed(&spec.ipolicy, ipolicy::Level::Cluster)?;
    let policy = IPolicy::default().over(&policy);
    policy.check_with_std()?;
    let now = clock::seconds();
    let mut tools = spec.compression_tools.clone();
    if tools.is_empty() {
        tools = COMPRESSION_TOOLS.map(String::from).to_vec();
    }
    Ok(Cluster {
        uuid,
        cluster_name: spec.cluster_name.clone(),
        ctime: now,
        mtime: now,
        serial_no: 1,
        tags: vec![],
        master_node: master,
        master_ip: master_ip.to_string(),
        master_netdev: spec.master_netdev.clone(),
        master_netmask: netmask,
        use_external_mip_script: spec.use_external_mip_script,
        primary_ip_family: if master_ip.is_ipv6() { 10 } else { 2 },
        rsahostkeypub: String::new(),
        dsahostkeypub: None,
        highest_used_port: NO_PORT_YET,
        tcpudp_port_pool: vec![],
        mac_prefix: spec.mac_prefix.to_ascii_lowercase(),
        volume_group_name: spec.volume_group_name.clone(),
        reserved_lvs: vec![],
        drbd_usermode_helper: spec.drbd_usermode_helper.clone(),
        file_storage_dir: spec.file_storage_dir.clone(),
        shared_file_storage_dir: spec.shared_file_storage_dir.clone(),
        gluster_storage_dir: spec.gluster_storage_dir.clone(),
        prealloc_wipe_disks: spec.prealloc_wipe_disks,
        enabled_hypervisors: spec.enabled_hypervisors.clone(),
        enabled_disk_templates: spec.enabled_disk_templates.clone(),
        hvparams: cluster_hvparams(spec)?,
        os_hvp: BTreeMap::new(),
        beparams: only(cluster_beparams(spec)?),
        osparams: BTreeMap::new(),
        osparams_private_cluster: BTreeMap::new(),
        nicparams: only(cluster_nicparams(spec)?),
        ndparams: cluster_ndparams(spec)?,
        diskparams: cluster_diskparams(spec)?,
        ipolicy: policy.to_map(),
        hv_state_static: json!({}),
        disk_state_static: json!({}),
        candidate_pool_size: spec.candidate_pool_size,
        candidate_certs: BTreeMap::new(),
        crypto: Default::default(),
        balancer: Default::default(),
        // Nodes talk over their own TLS and know each other's addresses: neither is touched.
        modify_etc_hosts: false,
        modify_ssh_setup: false,
        ssh_key_type: "rsa".into(),
        ssh_key_bits: 2048,
        maintain_node_health: spec.maintain_node_health,
        uid_pool: spec.uid_pool.clone(),
        default_iallocator: spec.default_iallocator.clone(),
        default_iallocator_params: spec.default_iallocator_params.clone(),
        hidden_os: vec![],
        blacklisted_os: vec![],
        max_running_jobs: MAX_RUNNING_JOBS,
        max_tracked_jobs: MAX_TRACKED_JOBS,
        install_image: spec.install_image.clone(),
        instance_communication_network: String::new(),
        zeroing_image: spec.zeroing_image.clone(),
        compression_tools: tools,
        enabled_user_shutdown: spec.enabled_user_shutdown,
        // Ganeti's only, so that the configuration stays one that it can load.
        data_collectors: collectors::GANETI
            .into_iter()
            .map(|name| {
                let config = CollectorConfig { active: true, interval: collectors::INTERVAL };
                (name.to_owned(), config)
            })
            .collect(),
        extra: ParamMap::new(),
    })
}

/// The cluster's maps keep their only entry under this key.
fn only(map: ParamMap) -> BTreeMap<String, ParamMap> {
    BTreeMap::from([("default".to_owned(), map)])
}

/// Three bytes, the first even: addresses of single cards.
fn check_mac_prefix(prefix: &str) -> Result<()> {
    let bytes: Option<Vec<u8>> = prefix
        .split(':')
        .map(|part| if part.len() == 2 { u8::from_str_radix(part, 16).ok() } else { None })
        .collect();
    match bytes.as_deref() {
        Some([first, _, _]) if first & 1 == 0 => Ok(()),
        _ => Err(Error::wrong_input(format!(
            "Invalid MAC prefix '{prefix}': three bytes as aa:00:00, the first an even number"
        ))),
    }
}

fn cluster_hvparams(spec: &InitSpec) -> Result<BTreeMap<String, ParamMap>> {
    let mut all = BTreeMap::new();
    for (name, given) in &spec.hvparams {
        let hv: Hypervisor = name.parse()?;
        let typed = hypervisor::typed(hv, given, hypervisor::Scope::Cluster)?;
        all.insert(name.clone(), fill::differences(&typed, &hypervisor::defaults(hv)));
    }
    for hv in &spec.enabled_hypervisors {
        let own = all.get(hv.as_str()).cloned().unwrap_or_default();
        let filled = fill::layers(hypervisor::defaults(*hv), [Some(&own)]);
        hypervisor::check_hvparams(*hv, &filled)?;
        all.entry(hv.to_string()).or_default();
    }
    Ok(all)
}

fn cluster_beparams(spec: &InitSpec) -> Result<ParamMap> {
    let given = backend::typed(&spec.beparams)?;
    let filled = fill::layers(value::defaults(backend::TABLE), [Some(&given)]);
    roost_proto::params::FilledBe::from_map(&filled).check()?;
    Ok(filled)
}

fn cluster_nicparams(spec: &InitSpec) -> Result<ParamMap> {
    let given = nic::typed(&spec.nicparams)?;
    let filled = fill::layers(value::defaults(nic::TABLE), [Some(&given)]);
    roost_proto::params::FilledNic::from_map(&filled).check()?;
    Ok(filled)
}

fn cluster_ndparams(spec: &InitSpec) -> Result<ParamMap> {
    let given = node::typed(&spec.ndparams, node::Level::Cluster)?;
    Ok(fill::layers(value::defaults(node::TABLE), [Some(&given)]))
}

fn cluster_diskparams(spec: &InitSpec) -> Result<BTreeMap<String, ParamMap>> {
    let mut all = BTreeMap::new();
    for template in DiskTemplate::ALL {
        let own = spec.diskparams.get(template.as_str()).cloned().unwrap_or_default();
        all.insert(template.to_string(), disk::typed(*template, &own)?);
    }
    if let Some(unknown) = spec.diskparams.keys().find(|name| !all.contains_key(*name)) {
        return Err(Error::wrong_input(format!("'{unknown}' is not a disk template")));
    }
    Ok(all)
}

fn new_group(uuid: GroupId) -> Result<NodeGroup> {
    Ok(NodeGroup {
        uuid,
        name: GroupName::new("default")?,
        members: vec![],
        ndparams: ParamMap::new(),
        alloc_policy: AllocPolicy::Preferred,
        ipolicy: ParamMap::new(),
        diskparams: BTreeMap::new(),
        networks: BTreeMap::new(),
        hv_state_static: Value::Object(Default::default()),
        disk_state_static: Value::Object(Default::default()),
        ctime: 0.0,
        mtime: 0.0,
        serial_no: 1,
        tags: vec![],
        extra: ParamMap::new(),
    })
}

fn new_node(spec: &InitSpec, uuid: NodeId, group: GroupId) -> Result<Node> {
    let primary_ip = address(&spec.node_ip, "address of this node")?;
    let secondary_ip = match &spec.secondary_ip {
        Some(text) => address(text, "secondary address")?,
        None => primary_ip,
    };
    Ok(Node {
        uuid,
        name: spec.node_name.clone(),
        primary_ip: primary_ip.to_string(),
        secondary_ip: secondary_ip.to_string(),
        master_candidate: true,
        offline: false,
        drained: false,
        group,
        master_capable: true,
        vm_capable: true,
        ndparams: ParamMap::new(),
        powered: true,
        hv_state_static: Value::Object(Default::default()),
        disk_state_static: Value::Object(Default::default()),
        ctime: 0.0,
        mtime: 0.0,
        serial_no: 1,
        tags: vec![],
        extra: ParamMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Commit, State};
    use crate::store::etcd::testing::{self, Server};
    use crate::store::etcd::{Campaign, Etcd, EtcdStore};
    use roost_proto::store::EtcdSettings;

    fn spec() -> InitSpec {
        serde_json::from_value(json!({
            "cluster_name": "cluster.example.com", "master_ip": "192.0.2.250",
            "node_name": "node1.example.com", "node_ip": "192.0.2.1",
            "enabled_hypervisors": ["fake"], "enabled_disk_templates": ["diskless"],
            "file_storage_dir": "/srv/files", "shared_file_storage_dir": "",
        }))
        .unwrap()
    }

    #[test]
    fn a_new_cluster_can_be_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        let uuid = init(&paths, &spec()).unwrap();
        let store = SqliteStore::open(&paths.database()).unwrap();
        let (state, rest) = State::start(Box::new(store)).unwrap();
        let config = state.config();
        assert_eq!(config.cluster.uuid, uuid);
        assert_eq!(config.nodes.size(), 1);
        assert!(rest.is_empty());
        let certs = std::fs::read_to_string(paths.ssconf("master_candidates_certs")).unwrap();
        assert!(certs.starts_with(&config.master().to_string()), "{certs}");
        let error = init(&paths, &spec()).unwrap_err();
        assert_eq!(error.error_type, Some(roost_proto::error::ErrorType::WrongState));
    }

    #[test]
    fn a_new_cluster_in_etcd_can_be_loaded() {
        let Some(server) = Server::start() else { return };
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        let nowhere =
            EtcdSettings { endpoints: vec!["https://192.0.2.1:2379".into()], ..server.settings() };
        let spec = |etcd: EtcdSettings| InitSpec { store: StoreSettings::Etcd(etcd), ..spec() };
        init(&paths, &spec(nowhere)).unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is begun");

        let uuid = init(&paths, &spec(server.settings())).unwrap();
        assert!(!paths.database().exists());
        let StoreSettings::Etcd(settings) = settings::load(&paths).unwrap() else {
            panic!("the settings are kept")
        };
        let runtime = testing::runtime();
        let etcd = Etcd::new(&settings).unwrap();
        let campaign = Campaign::new(etcd.clone(), uuid, candidate(), settings.ttl);
        let leadership = runtime.block_on(campaign.win()).unwrap();
        let mut store = EtcdStore::new(runtime.handle().clone(), etcd, uuid);
        store.lead(leadership.guard());
        let (state, rest) = State::start(Box::new(store)).unwrap();
        let config = state.config();
        assert_eq!((config.cluster.uuid, config.nodes.size()), (uuid, 1));
        assert!(rest.is_empty());
        // The writer's thread waits for etcd while the caller waits for the writer.
        let puts = vec![(Key::new(Space::Meta, "note"), "1".to_owned())];
        let commit = Commit { puts, ..Commit::default() };
        assert_eq!(runtime.block_on(state.commit(commit)).unwrap(), Serial(2));
    }

    fn candidate() -> Candidate {
        Candidate { node: NodeId(uuid::Uuid::nil()), name: "node1.example.com".into() }
    }

    #[test]
    fn keys_are_for_root_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        init(&paths, &spec()).unwrap();
        for path in [paths.key(), paths.authority_key()] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn bad_settings_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        let bad = InitSpec { mac_prefix: "zz".into(), ..spec() };
        assert!(init(&paths, &bad).unwrap_err().message.contains("MAC prefix"));
        let bad = InitSpec { default_iallocator: "spread".into(), ..spec() };
        assert!(init(&paths, &bad).unwrap_err().message.contains("script 'spread'"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let places = paths.iallocator_search_path();
        std::fs::create_dir_all(&places[1]).unwrap();
        std::fs::write(places[1].join("spread"), "#!/bin/sh").unwrap();
        init(&paths, &bad).unwrap();
    }
}
