//! New disks of every template: what a user asked for becomes what is stored.
//!
//! | template   | where the data is                                             |
//! |------------|---------------------------------------------------------------|
//! | plain      | (volume group, `U.diskN`)                                     |
//! | drbd       | two such volumes on each of two nodes, `U.diskN_data`, `_meta`|
//! | file       | `DIR/U.file.diskN`; sharedfile: `DIR/U.sharedfile.diskN`      |
//! | gluster    | `ganeti/INSTANCE.N` on the cluster's volume                   |
//! | rbd, ext   | `U.rbd.diskN`; `U.ext.diskN` of a provider                    |
//! | blockdev   | a device that exists                                          |

use crate::config::Config;
use crate::ops::Context;
use crate::ops::disks::{adopt, minors};
use roost_proto::capabilities::Adoption;
use roost_proto::choices::{DiskTemplate, FileDriver};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{InstanceId, NodeId};
use roost_proto::objects::{Disk, LogicalId, Node};
use roost_proto::opcodes::DiskSpec;
use roost_proto::params::{ParamMap, fill};
use serde_json::Value;

/// MiB of a mirror's meta data.
pub const META_SIZE: u64 = 128;
/// The word that means "none" in a disk's settings.
const NONE: &str = "none";

/// A disk to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewDisk<'a> {
    pub template: DiskTemplate,
    pub spec: &'a DiskSpec,
    /// Its place in the instance.
    pub index: usize,
    pub instance: InstanceId,
    pub primary: NodeId,
    /// Where its mirror is; only for templates that we mirror.
    pub secondary: Option<NodeId>,
    /// Where files of the instance are; for `file` and `sharedfile`.
    pub directory: &'a str,
    pub driver: FileDriver,
}

/// A new disk: names, minors, ports and secrets that nobody else has. One that is adopted has the
/// size that the node told, and the name it will have when [`adopt::steps`] are done.
///
/// Errors: settings that do not fit the template, or that the cluster cannot provide.
pub fn new_disk(cx: &mut Context<'_, '_>, new: &NewDisk<'_>) -> Result<Disk> {
    let config = cx.config();
    check_settings(config, new)?;
    let NewDisk { template, spec, index, primary, .. } = *new;
    let uuid = cx.uuid().into();
    let unique = cx.uuid();
    let size = match &spec.adopt {
        Some(_) => adopt::size(cx, new)?,
        None => wanted_size(new)?,
    };
    let mut disk = Disk {
        uuid,
        dev_type: template,
        logical_id: LogicalId::default(),
        children: vec![],
        nodes: vec![],
        iv_name: format!("disk/{index}"),
        size,
        mode: spec.mode.unwrap_or_default(),
        name: spec.name.clone().filter(|name| name != NONE),
        spindles: spec.spindles.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        params: params(config, new)?,
        addresses: Default::default(),
        forthcoming: None,
        ctime: 0.0,
        mtime: 0.0,
        serial_no: 1,
        extra: ParamMap::new(),
    };
    let name = |kind: &str| format!("{unique}.{kind}disk{index}");
    let pair = |first: &str, second: String| LogicalId::Pair(first.into(), second);
    match template {
        DiskTemplate::Diskless => {
            return Err(Error::wrong_input("Disk template 'diskless' takes no disks"));
        }
        DiskTemplate::Plain => {
            disk.nodes = vec![primary];
            disk.logical_id = pair(volume_group(config, spec)?, name(""));
        }
        DiskTemplate::Drbd => {
            let secondary = second_node(new)?;
            disk.nodes = vec![primary, secondary];
            let vg = volume_group(config, spec)?;
            let metavg = meta_group(config, primary, spec, vg)?;
            let mut volume = |vg: &str, suffix: &str, size| Disk {
                uuid: cx.uuid().into(),
                dev_type: DiskTemplate::Plain,
                logical_id: pair(vg, format!("{}{suffix}", name(""))),
                iv_name: String::new(),
                size,
                name: None,
                spindles: None,
                params: ParamMap::new(),
                ..disk.clone()
            };
            let children = vec![volume(vg, "_data", size), volume(&metavg, "_meta", META_SIZE)];
            disk.children = children;
            disk.logical_id = minors::new_mirror(cx, primary, secondary)?;
        }
        DiskTemplate::File | DiskTemplate::SharedFile => {
            if template == DiskTemplate::File {
                disk.nodes = vec![primary];
            }
            let path = format!("{}/{}", new.directory, name(&format!("{template}.")));
            disk.logical_id = pair(new.driver.as_str(), path);
        }
        DiskTemplate::Gluster => {
            let path = format!("ganeti/{}.{index}", new.instance);
            disk.logical_id = pair(new.driver.as_str(), path);
        }
        DiskTemplate::Rbd => disk.logical_id = pair("rbd", name("rbd.")),
        DiskTemplate::Ext => {
            let provider = spec.provider.as_deref().unwrap_or_default();
            disk.logical_id = pair(provider, name("ext."));
        }
        DiskTemplate::BlockDev => {
            let device = spec.adopt.clone().unwrap_or_default();
            disk.logical_id = pair("manual", device);
        }
    }
    Ok(disk)
}

fn wanted_size(new: &NewDisk<'_>) -> Result<u64> {
    let size = new.spec.size.filter(|size| *size > 0);
    size.ok_or_else(|| Error::wrong_input(format!("Missing size of disk/{}", new.index)))
}

/// The secondary of a mirror.
fn second_node(new: &NewDisk<'_>) -> Result<NodeId> {
    let index = new.index;
    match new.secondary {
        None => Err(Error::wrong_input(format!(
            "disk/{index} needs a secondary node: its template '{}' keeps it on two (-n \
             PRIMARY:SECONDARY)",
            new.template
        ))),
        Some(node) if node == new.primary => {
            Err(Error::wrong_input("The secondary node cannot be the primary node"))
        }
        Some(node) => Ok(node),
    }
}

/// The volume group asked for, or the cluster's.
pub(super) fn volume_group<'a>(config: &'a Config, spec: &'a DiskSpec) -> Result<&'a str> {
    spec.vg.as_deref().or(config.cluster.volume_group_name.as_deref()).ok_or_else(|| {
        Error::wrong_state(
            "The cluster has no volume group; set it with 'gnt-cluster modify --vg-name=VG'",
        )
    })
}

/// The volume group for a mirror's meta data: asked for, or the parameter's, or that of the data.
pub(super) fn meta_group(
    config: &Config,
    primary: NodeId,
    spec: &DiskSpec,
    vg: &str,
) -> Result<String> {
    if let Some(metavg) = &spec.metavg {
        return Ok(metavg.clone());
    }
    let node = config.node_by_id(primary)?;
    let group = config
        .groups
        .get(&node.group)
        .ok_or_else(|| Error::internal(format!("Node {} is in no group", node.name)))?;
    let params = fill::diskparams(&config.cluster, group, DiskTemplate::Drbd);
    let metavg = params.get("metavg").and_then(Value::as_str).filter(|name| !name.is_empty());
    Ok(metavg.unwrap_or(vg).to_owned())
}

/// Parameters of its own.
fn params(config: &Config, new: &NewDisk<'_>) -> Result<ParamMap> {
    let NewDisk { template, spec, .. } = *new;
    let mut params = ParamMap::new();
    if let Some(access) = spec.access {
        params.insert("access".into(), access.as_str().into());
    }
    if let Some(provider) = spec.provider.as_deref().filter(|_| template == DiskTemplate::Ext) {
        params.insert("provider".into(), provider.into());
    }
    // Checked to be few and right where they are ours.
    params.extend(spec.extra.clone());
    if template == DiskTemplate::Plain {
        // Kept with the disk: it stays where it was made when the default changes.
        params.remove(THIN_POOL);
        if let Some(pool) = thin_pool(config, new.primary, spec)? {
            params.insert(THIN_POOL.into(), pool.into());
        }
    }
    Ok(params)
}

/// The thin pool in which a plain disk is to be made: asked for, or the parameter's. The word
/// `none` stands for none.
pub(super) fn thin_pool(config: &Config, node: NodeId, spec: &DiskSpec) -> Result<Option<String>> {
    let asked = spec.extra.get(THIN_POOL).and_then(Value::as_str).map(str::to_owned);
    let pool = match asked {
        Some(pool) => Some(pool),
        None => {
            let node = config.node_by_id(node)?;
            let group = config.groups.get(&node.group);
            let params = group.map(|g| fill::diskparams(&config.cluster, g, DiskTemplate::Plain));
            let pool = params.as_ref().and_then(|params| params.get(THIN_POOL));
            pool.and_then(Value::as_str).map(str::to_owned)
        }
    };
    Ok(pool.filter(|pool| !pool.is_empty() && pool != NONE && spec.adopt.is_none()))
}

/// The parameter of plain disks that names their thin pool.
pub(super) const THIN_POOL: &str = "thin-pool";

/// The settings fit the template and the nodes.
fn check_settings(config: &Config, new: &NewDisk<'_>) -> Result<()> {
    let NewDisk { template, spec, index, .. } = *new;
    let lvm = template.uses_lvm();
    for (given, fits, what) in [
        (spec.vg.is_some(), lvm, "vg"),
        (spec.metavg.is_some(), template == DiskTemplate::Drbd, "metavg"),
        (spec.provider.is_some(), template == DiskTemplate::Ext, "provider"),
        (spec.access.is_some(), template.has_access_mode(), "access"),
    ] {
        if given && !fits {
            return Err(Error::wrong_input(format!(
                "Setting '{what}' of disk/{index} does not fit the disk template '{template}'"
            )));
        }
    }
    if template == DiskTemplate::Ext && spec.provider.as_deref().is_none_or(str::is_empty) {
        return Err(Error::wrong_input(format!(
            "Missing provider for template 'ext' of disk/{index} (--disk {index}:provider=NAME,…)"
        )));
    }
    match (template.adoption(), &spec.adopt) {
        (Adoption::Never, Some(_)) => {
            return Err(Error::wrong_input(format!(
                "Disk adoption is not supported for the '{template}' disk template"
            )));
        }
        (Adoption::Must, None) => {
            return Err(Error::wrong_input(format!(
                "Disk template '{template}' requires disk adoption, but no 'adopt' is given for \
                 disk/{index}"
            )));
        }
        (_, Some(_)) if spec.size.is_some() => {
            return Err(Error::wrong_input(format!(
                "disk/{index} is adopted and has a size already; give either size or adopt"
            )));
        }
        _ => {}
    }
    check_extra(new)?;
    check_exclusive(config, new)
}

/// Free parameters are for external storage only; files know a format.
fn check_extra(new: &NewDisk<'_>) -> Result<()> {
    let NewDisk { template, spec, index, .. } = *new;
    for (key, value) in &spec.extra {
        match (template, key.as_str(), value.as_str()) {
            (DiskTemplate::Ext, ..) => {}
            (DiskTemplate::File | DiskTemplate::SharedFile, "format", word) => {
                if !matches!(word, Some("raw" | "qcow2")) {
                    return Err(Error::wrong_input(format!(
                        "Invalid format {value} of disk/{index}: raw or qcow2"
                    )));
                }
            }
            (DiskTemplate::Plain, THIN_POOL, Some(_)) => {}
            (DiskTemplate::Plain, ..) => {
                return Err(Error::wrong_input(format!(
                    "Unknown setting '{key}' of disk/{index}: the template '{template}' has: \
                     {THIN_POOL}"
                )));
            }
            (DiskTemplate::File | DiskTemplate::SharedFile, ..) => {
                return Err(Error::wrong_input(format!(
                    "Unknown setting '{key}' of disk/{index}: the template '{template}' has: format"
                )));
            }
            _ => {
                return Err(Error::wrong_input(format!(
                    "Unknown setting '{key}' of disk/{index}: only disks of template 'ext' have \
                     parameters of their provider"
                )));
            }
        }
    }
    Ok(())
}

/// Whether volumes on a node get physical volumes of their own.
pub fn is_exclusive(config: &Config, node: &Node) -> bool {
    let group = config.groups.get(&node.group);
    group.is_some_and(|group| fill::ndparams(&config.cluster, group, node).exclusive_storage)
}

/// On nodes with exclusive storage: only plain disks, and spindles for each.
fn check_exclusive(config: &Config, new: &NewDisk<'_>) -> Result<()> {
    let NewDisk { template, spec, index, .. } = *new;
    for id in std::iter::once(new.primary).chain(new.secondary) {
        let node = config.node_by_id(id)?;
        let exclusive = is_exclusive(config, node) && template.uses_lvm();
        if exclusive && !template.can_use_exclusive_storage() {
            return Err(Error::wrong_state(format!(
                "Disk template '{template}' is not supported on node {}, which has exclusive \
                 storage; use 'plain'",
                node.name
            )));
        }
        if exclusive && spec.spindles.is_none() && spec.adopt.is_none() {
            return Err(Error::wrong_input(format!(
                "Missing spindles of disk/{index}: node {} has exclusive storage (--disk \
                 {index}:size=…,spindles=N)",
                node.name
            )));
        }
        if !exclusive && spec.spindles.is_some() {
            return Err(Error::wrong_input(format!(
                "Spindles of disk/{index} can't be given: node {} has no exclusive storage",
                node.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::disks::space;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::node::{Answer, NodeReport, Question, VolumeReport};
    use serde_json::json;
    use uuid::Uuid;

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2"]);
        site.cluster(|c| c.volume_group_name = Some("xenvg".into()));
        site
    }

    fn made(site: &Site, template: DiskTemplate, spec: serde_json::Value) -> Result<Disk> {
        let spec: DiskSpec = serde_json::from_value(spec).expect("a spec");
        let new = NewDisk {
            template,
            spec: &spec,
            index: 1,
            instance: InstanceId(Uuid::from_u128(0xabc)),
            primary: node_id("node1"),
            secondary: Some(node_id("node2")).filter(|_| template == DiskTemplate::Drbd),
            directory: "/srv/file/web",
            driver: FileDriver::Loop,
        };
        site.planning(|cx| new_disk(cx, &new))
    }

    /// Counted UUIDs: the second one is in the names.
    const U: &str = "00000000-0000-0000-0000-000000000002";

    #[test]
    fn thin_disks_remember_their_pool() {
        let mut site = site();
        let pool = |site: &Site, spec| {
            let disk = made(site, DiskTemplate::Plain, spec).expect("a disk");
            let taken = space::needed(std::slice::from_ref(&disk)).values().sum::<u64>();
            (disk.params.get(THIN_POOL).cloned(), taken)
        };
        assert_eq!(pool(&site, json!({"size": 10})), (None, 10));
        let thin = |name: &str| (Some(Value::from(name)), 0);
        assert_eq!(pool(&site, json!({"size": 10, "thin-pool": "p1"})), thin("p1"));
        site.cluster(|c| {
            let own = ParamMap::from([(THIN_POOL.to_owned(), "p2".into())]);
            c.diskparams.insert("plain".into(), own);
        });
        assert_eq!(pool(&site, json!({"size": 10})), thin("p2"));
        assert_eq!(pool(&site, json!({"size": 10, "thin-pool": "none"})), (None, 10));
        let drbd = made(&site, DiskTemplate::Drbd, json!({"size": 10})).expect("a disk");
        let filled = crate::ops::guest::filled_disks(&site.config, node_id("node1"), &[drbd]);
        let children = &filled.expect("filled")[0].children;
        assert!(children.iter().all(|c| c.params.get(THIN_POOL) == Some(&"".into())), "never thin");
        let error = made(&site, DiskTemplate::Plain, json!({"size": 10, "pool": "p1"}));
        assert!(
            error.expect_err("unknown").message.contains("the template 'plain' has: thin-pool")
        );
    }

    #[test]
    fn where_the_data_is() {
        let site = site();
        let id = |template, spec| match made(&site, template, spec).expect("a disk").logical_id {
            LogicalId::Pair(a, b) => format!("{a} {}", b.replace(U, "U")),
            other => panic!("{other:?}"),
        };
        use DiskTemplate as T;
        assert_eq!(id(T::Plain, json!({"size": 1024})), "xenvg U.disk1");
        assert_eq!(id(T::Plain, json!({"size": 1024, "vg": "fast"})), "fast U.disk1");
        assert_eq!(id(T::File, json!({"size": 1024})), "loop /srv/file/web/U.file.disk1");
        let shared = id(T::SharedFile, json!({"size": 1024, "format": "qcow2"}));
        assert_eq!(shared, "loop /srv/file/web/U.sharedfile.disk1");
        let gluster = id(T::Gluster, json!({"size": 1024, "access": "userspace"}));
        assert_eq!(gluster, "loop ganeti/00000000-0000-0000-0000-000000000abc.1");
        assert_eq!(id(T::Rbd, json!({"size": 1024})), "rbd U.rbd.disk1");
        let ext = json!({"size": 1024, "provider": "loop", "pool": "fast"});
        assert_eq!(id(T::Ext, ext.clone()), "loop U.ext.disk1");
        let params = made(&site, T::Ext, ext).expect("a disk").params;
        assert_eq!(json!(params), json!({"provider": "loop", "pool": "fast"}));
    }

    #[test]
    fn a_mirror_stands_on_two_volumes() {
        let site = site();
        let spec = json!({"size": 2048, "vg": "fast", "metavg": "meta", "name": "data"});
        let disk = made(&site, DiskTemplate::Drbd, spec).expect("a disk");
        assert_eq!(disk.nodes, [node_id("node1"), node_id("node2")]);
        assert!(matches!(disk.logical_id, LogicalId::Drbd(_, _, 11000, 0, 0, _)));
        let volumes: Vec<_> = disk.children.iter().map(|c| (&c.logical_id, c.size)).collect();
        let pair = |vg: &str, name: String| LogicalId::Pair(vg.into(), name);
        assert_eq!(
            volumes,
            [
                (&pair("fast", format!("{U}.disk1_data")), 2048),
                (&pair("meta", format!("{U}.disk1_meta")), 128),
            ]
        );
        let disks = [disk];
        assert_eq!(space::needed(&disks), [("fast", 2048), ("meta", 128)].into());
        let default = made(&site, DiskTemplate::Drbd, json!({"size": 1})).expect("a disk");
        assert_eq!(space::needed(&[default]), [("xenvg", 129)].into());
    }

    #[test]
    fn refusals() {
        let mut site = site();
        let why = |site: &Site, template, spec| {
            made(site, template, spec).expect_err("it must be refused").message
        };
        use DiskTemplate as T;
        for (template, spec, part) in [
            (T::Plain, json!({}), "Missing size of disk/1"),
            (T::Plain, json!({"size": 1, "metavg": "a"}), "'metavg' of disk/1 does not fit"),
            (T::File, json!({"size": 1, "vg": "a"}), "'vg' of disk/1 does not fit"),
            (T::Rbd, json!({"size": 1, "pool": "a"}), "only disks of template 'ext'"),
            (T::File, json!({"size": 1, "format": "vmdk"}), "raw or qcow2"),
            (T::Ext, json!({"size": 1}), "Missing provider"),
            (T::Rbd, json!({"adopt": "x"}), "adoption is not supported for the 'rbd'"),
            (T::BlockDev, json!({"size": 1}), "requires disk adoption"),
            (T::Plain, json!({"size": 1, "adopt": "x"}), "either size or adopt"),
            (T::Plain, json!({"size": 1, "spindles": 1}), "has no exclusive storage"),
            (T::BlockDev, json!({"adopt": "/dev/sda"}), "lie outside /dev/disk/"),
        ] {
            let why = why(&site, template, spec);
            assert!(why.contains(part), "{why}");
        }
        site.cluster(|c| {
            c.ndparams.insert("exclusive_storage".into(), true.into());
        });
        let mirror = why(&site, T::Drbd, json!({"size": 1}));
        assert!(mirror.contains("node1, which has exclusive storage"), "{mirror}");
        let missing = why(&site, T::Plain, json!({"size": 1}));
        assert!(missing.contains("Missing spindles"), "{missing}");
        made(&site, T::Plain, json!({"size": 1, "spindles": 2})).expect("spindles are given");
        site.cluster(|c| c.volume_group_name = None);
        let none = why(&site, T::Plain, json!({"size": 1, "spindles": 2}));
        assert!(none.contains("no volume group"), "{none}");
    }

    #[test]
    fn adoption_of_volumes() {
        let mut site = site();
        site.cluster(|c| c.reserved_lvs = vec!["xenvg/swap.*".into()]);
        let volume = |name: &str, open| VolumeReport {
            vg: "xenvg".into(),
            name: name.into(),
            size: 3072,
            open,
            ..VolumeReport::default()
        };
        let all = vec![volume("old", false), volume("busy", true), volume("swap0", false)];
        site.answer("node1", Question::Volumes, Ok(Answer::Volumes(all)));
        let disk = made(&site, DiskTemplate::Plain, json!({"adopt": "old"})).expect("a disk");
        assert_eq!(disk.size, 3072);
        assert_eq!(disk.logical_id, LogicalId::Pair("xenvg".into(), format!("{U}.disk1")));
        for (name, part) in
            [("busy", "is in use"), ("swap0", "reserved volumes"), ("none", "Missing logical")]
        {
            let error = made(&site, DiskTemplate::Plain, json!({"adopt": name}));
            let error = error.expect_err("it must be refused");
            assert!(error.message.contains(part), "{error}");
        }
        let one: DiskSpec = serde_json::from_value(json!({"adopt": "old"})).expect("a spec");
        adopt::check_all(std::slice::from_ref(&one)).expect("one");
        adopt::check_all(&[one.clone(), one.clone()]).expect_err("twice the same");
        adopt::check_all(&[one, DiskSpec::sized(1)]).expect_err("mixed");
    }

    #[test]
    fn room() {
        let mut site = site();
        let groups = [("xenvg".to_owned(), (4096, 2000))].into();
        let report = NodeReport { volume_groups: groups, ..NodeReport::default() };
        site.answer("node1", Question::Node, Ok(Answer::Node(Box::new(report))));
        let disk = |size, vg: &str| {
            let disk = made(&site, DiskTemplate::Plain, json!({"size": size, "vg": vg}));
            vec![disk.expect("a disk")]
        };
        let check =
            |disks: &[Disk]| site.planning(|cx| space::check(cx, &[node_id("node1")], disks));
        check(&disk(2000, "xenvg")).expect("it fits");
        let error = check(&disk(2001, "xenvg")).expect_err("too large").message;
        assert!(error.contains("required 2001 MiB, available 2000 MiB"), "{error}");
        let error = check(&disk(1, "other")).expect_err("none").message;
        assert!(error.contains("'other' not found on node node1; it has: xenvg"), "{error}");
    }
}
