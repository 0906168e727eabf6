//! Disk templates, what they need, and their parameters.

use crate::config::Config;
use crate::ops::Context;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::{Answer, Question};
use roost_proto::objects::Cluster;
use roost_proto::opcodes::ClusterSetParams;
use roost_proto::params::{disk, fill};

/// Ganeti's least size of a cluster's volume group, MiB.
const LEAST_VG: u64 = 20480;

/// Nodes are asked for their volume groups before the cluster gets another one.
pub fn questions(op: &ClusterSetParams, config: &Config) -> Vec<(NodeId, Question)> {
    let changes = op.vg_name.as_ref().is_some_and(|name| {
        !name.is_empty() && config.cluster.volume_group_name.as_ref() != Some(name)
    });
    let nodes = config.online_nodes().filter(|node| changes && node.vm_capable);
    nodes.map(|node| (node.uuid, Question::Node)).collect()
}

/// The nodes that answer have the volume group.
fn check_volume_group(cx: &mut Context<'_, '_>, name: &str) -> Result<()> {
    for (node, question, answer) in cx.answers() {
        let node = cx.config().node_name(*node);
        match (question, answer) {
            (Question::Node, Ok(Answer::Node(report))) => match report.volume_groups.get(name) {
                None => {
                    return Err(Error::environment(format!(
                        "Error on node '{node}': volume group '{name}' missing; make it there \
                         ('vgcreate {name} DEVICE'), or mark the node not vm_capable"
                    )));
                }
                Some((total, _)) if *total < LEAST_VG => cx.warn(format!(
                    "Volume group '{name}' on node {node} is small ({total} MiB, {LEAST_VG} or \
                     more are usual)"
                )),
                Some(_) => {}
            },
            (Question::Node, Err(error)) => cx.warn(format!(
                "Error while gathering data on node '{node}', its volume groups are not known: \
                 {error}"
            )),
            _ => {}
        }
    }
    Ok(())
}

/// Puts the settings into a cluster.
pub fn put_into(op: &ClusterSetParams, cx: &mut Context<'_, '_>, new: &mut Cluster) -> Result<()> {
    let config = cx.config();
    if let Some(enabled) = &op.enabled_disk_templates {
        check_enabled(config, enabled)?;
        new.enabled_disk_templates.clone_from(enabled);
    }
    volume_group(op, cx, new)?;
    drbd_helper(op, cx, new)?;
    for (template, given) in [
        (DiskTemplate::File, &op.file_storage_dir),
        (DiskTemplate::SharedFile, &op.shared_file_storage_dir),
        (DiskTemplate::Gluster, &op.gluster_storage_dir),
    ] {
        directory(cx, new, template, given.as_deref())?;
    }
    if let Some(volumes) = &op.reserved_lvs {
        for pattern in volumes {
            regex::Regex::new(pattern).map_err(|e| {
                Error::wrong_input(format!("Invalid pattern of reserved volumes '{pattern}': {e}"))
            })?;
        }
        new.reserved_lvs.clone_from(volumes);
    }
    for (template, given) in op.diskparams.iter().flatten() {
        let given = disk::typed(*template, given)?;
        new.diskparams = fill::modified_each(&new.diskparams, [(*template, given)]);
        if *template == DiskTemplate::Drbd {
            cx.warn("Changes of the parameters of DRBD disks count when a disk is next activated;");
            cx.warn("'gnt-instance activate-disks' does so also while it is in use. Numbers of");
            cx.warn("stripes count for new volumes only (gnt-instance replace-disks).");
        }
    }
    needs(new)
}

/// None that disks use goes.
fn check_enabled(config: &Config, enabled: &[DiskTemplate]) -> Result<()> {
    if enabled.is_empty() {
        return Err(Error::wrong_input("At least one disk template must be enabled"));
    }
    if let Some((_, twice)) = enabled.iter().enumerate().find(|(i, t)| enabled[..*i].contains(t)) {
        return Err(Error::wrong_input(format!("Disk template '{twice}' is given twice")));
    }
    for gone in config.cluster.enabled_disk_templates.iter().filter(|t| !enabled.contains(t)) {
        let users = users(config, *gone);
        if !users.is_empty() {
            return Err(Error::wrong_state(format!(
                "Cannot disable disk template '{gone}', because it is used by {}",
                users.join(", ")
            )));
        }
    }
    Ok(())
}

/// Who uses a template: disks of instances, instances without disks, disks without instance.
fn users(config: &Config, template: DiskTemplate) -> Vec<String> {
    let mut users = Vec::new();
    let mut attached = std::collections::BTreeSet::new();
    for instance in config.instances.values() {
        attached.extend(instance.disks.iter().copied());
        if template == DiskTemplate::Diskless && instance.disks.is_empty() {
            users.push(format!("instance {}", instance.name));
        }
        for (index, disk) in config.disks_of(instance).iter().enumerate() {
            if disk.dev_type == template {
                users.push(format!("disk/{index} of instance {}", instance.name));
            }
        }
    }
    for disk in config.disks.values() {
        if disk.dev_type == template && !attached.contains(&disk.uuid) {
            users.push(format!("disk {}", disk.name.clone().unwrap_or(disk.uuid.to_string())));
        }
    }
    nicesort::sort(&mut users);
    users
}

fn volume_group(op: &ClusterSetParams, cx: &mut Context<'_, '_>, new: &mut Cluster) -> Result<()> {
    let Some(name) = &op.vg_name else { return Ok(()) };
    if name.is_empty() {
        let users: Vec<_> = DiskTemplate::ALL
            .iter()
            .filter(|template| template.uses_lvm())
            .flat_map(|template| users(cx.config(), *template))
            .collect();
        if !users.is_empty() {
            return Err(Error::wrong_state(format!(
                "Cannot disable lvm storage while lvm-based instances exist: {}",
                users.join(", ")
            )));
        }
    }
    let name = (!name.is_empty()).then(|| name.clone());
    if let Some(name) = name.as_deref().filter(|_| name != new.volume_group_name) {
        check_volume_group(cx, name)?;
    }
    if name == new.volume_group_name {
        cx.say(match &name {
            Some(name) => format!("Cluster LVM configuration already in desired state ({name})"),
            None => "Cluster LVM storage is already disabled".to_owned(),
        });
    }
    new.volume_group_name = name;
    Ok(())
}

fn drbd_helper(op: &ClusterSetParams, cx: &mut Context<'_, '_>, new: &mut Cluster) -> Result<()> {
    let Some(helper) = &op.drbd_helper else { return Ok(()) };
    if helper.is_empty() {
        let users = users(cx.config(), DiskTemplate::Drbd);
        if !users.is_empty() {
            return Err(Error::wrong_state(format!(
                "Cannot disable drbd helper while drbd-based instances exist: {}",
                users.join(", ")
            )));
        }
    } else if !helper.starts_with('/') {
        return Err(Error::wrong_input(format!(
            "The DRBD helper '{helper}' must be an absolute path"
        )));
    }
    let helper = (!helper.is_empty()).then(|| helper.clone());
    if helper == new.drbd_usermode_helper {
        cx.say("Cluster DRBD helper already in desired state");
    }
    new.drbd_usermode_helper = helper;
    Ok(())
}

/// A directory for disks that are files.
fn directory(
    cx: &mut Context<'_, '_>,
    new: &mut Cluster,
    template: DiskTemplate,
    given: Option<&str>,
) -> Result<()> {
    let Some(given) = given else { return Ok(()) };
    let enabled = new.enabled_disk_templates.contains(&template);
    if given.is_empty() && enabled {
        return Err(Error::wrong_input(format!(
            "Unsetting the '{template}' storage directory while having '{template}' storage \
             enabled is not permitted"
        )));
    }
    let good = given.starts_with('/')
        && given.len() > 1
        && !given.ends_with('/')
        && given[1..].split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !given.is_empty() && !good {
        return Err(Error::wrong_input(format!(
            "The directory '{given}' for disks of template '{template}' must be an absolute path, \
             without '..' and other detours"
        )));
    }
    if !given.is_empty() && !enabled {
        cx.warn(format!(
            "Although the '{template}' disk template is not enabled, its storage directory is \
             being set"
        ));
    }
    let place = match template {
        DiskTemplate::File => &mut new.file_storage_dir,
        DiskTemplate::SharedFile => &mut new.shared_file_storage_dir,
        _ => &mut new.gluster_storage_dir,
    };
    given.clone_into(place);
    Ok(())
}

/// Where disks that are files may lie, as nodes know it.
pub fn directories(cluster: &Cluster) -> [&str; 3] {
    [&cluster.file_storage_dir, &cluster.shared_file_storage_dir, &cluster.gluster_storage_dir]
}

/// What the enabled templates cannot do without.
fn needs(new: &Cluster) -> Result<()> {
    let enabled = &new.enabled_disk_templates;
    if new.volume_group_name.is_none()
        && let Some(template) = enabled.iter().find(|template| template.uses_lvm())
    {
        return Err(Error::wrong_input(format!(
            "Disk template '{template}' needs a volume group: give one with --vg-name"
        )));
    }
    if enabled.contains(&DiskTemplate::Drbd) && new.drbd_usermode_helper.is_none() {
        return Err(Error::wrong_input(
            "Disk template 'drbd' needs a helper: give one with --drbd-usermode-helper",
        ));
    }
    for (template, directory, option) in [
        (DiskTemplate::File, &new.file_storage_dir, "--file-storage-dir"),
        (DiskTemplate::SharedFile, &new.shared_file_storage_dir, "--shared-file-storage-dir"),
        (DiskTemplate::Gluster, &new.gluster_storage_dir, "--gluster-storage-dir"),
    ] {
        if enabled.contains(&template) && directory.is_empty() {
            return Err(Error::wrong_input(format!(
                "Disk template '{template}' needs a directory: give one with {option}"
            )));
        }
    }
    let policy = fill::cluster_ipolicy(new);
    if !policy.disk_templates.iter().any(|template| enabled.contains(template)) {
        return Err(Error::wrong_input(
            "The instance policy allows none of the enabled disk templates; change it with \
             --ipolicy-disk-templates",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::given as op;
    use super::*;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::node::Action;
    use serde_json::{Value, json};

    #[test]
    fn templates_and_what_they_need() {
        let mut site = Site::new(&["node1"]);
        let plan = site.run(op(json!({
            "enabled_disk_templates": ["plain", "drbd", "sharedfile"],
            "vg_name": "xenvg",
            "drbd_helper": "/bin/true",
            "diskparams": {"drbd": {"resync-rate": "100"}},
            "file_storage_dir": "",
            "shared_file_storage_dir": "/srv/other",
            "reserved_lvs": ["xenvg/swap.*"],
        })));
        assert_eq!(plan.say.len(), 3, "{:?}", plan.say);
        let cluster = &site.config.cluster;
        assert_eq!(cluster.default_disk_template(), Some(DiskTemplate::Plain));
        assert_eq!(cluster.volume_group_name.as_deref(), Some("xenvg"));
        assert_eq!(json!(cluster.diskparams), json!({"drbd": {"resync-rate": 100}}));
        assert_eq!(cluster.shared_file_storage_dir, "/srv/other");
        let same = site.run(op(json!({"vg_name": "xenvg"})));
        assert_eq!(same.say[0], "Cluster LVM configuration already in desired state (xenvg)");
        let odd = site.run(op(json!({"file_storage_dir": "/srv/file"})));
        assert_eq!(
            odd.say,
            [" - WARNING: Although the 'file' disk template is not enabled, its storage \
              directory is being set"]
        );
    }

    #[test]
    fn refusals() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |_| {});
        site.disk("web", DiskTemplate::File, "/srv/file/web/0");
        site.instance("bare", "node1", |_| {});
        let templates = |list: Value| op(json!({"enabled_disk_templates": list}));
        assert_eq!(
            site.refusal(templates(json!(["diskless", "sharedfile"]))),
            Error::wrong_state(
                "Cannot disable disk template 'file', because it is used by disk/0 of instance web"
            )
        );
        assert_eq!(
            site.refusal(templates(json!(["file"]))),
            Error::wrong_state(
                "Cannot disable disk template 'diskless', because it is used by instance bare"
            )
        );
        let refused = |value: Value| site.refusal(op(value)).message;
        assert!(
            refused(json!({"enabled_disk_templates": ["file", "diskless", "plain"]}))
                .contains("needs a volume group")
        );
        assert!(
            refused(json!({
                "enabled_disk_templates": ["file", "diskless", "drbd"], "vg_name": "vg"
            }))
            .contains("needs a helper")
        );
        assert!(refused(json!({"file_storage_dir": ""})).contains("is not permitted"));
        assert!(refused(json!({"file_storage_dir": "/a/../b"})).contains("absolute path"));
        assert!(refused(json!({"drbd_helper": "true"})).contains("absolute path"));
        assert!(refused(json!({"reserved_lvs": ["("]})).contains("Invalid pattern"));
        assert!(
            refused(json!({"enabled_disk_templates": ["file", "diskless", "gluster"]}))
                .contains("--gluster-storage-dir")
        );
        assert!(
            refused(json!({"enabled_disk_templates": []})).contains("At least one disk template")
        );
    }

    #[test]
    fn nodes_know_other_directories_before_it_ends() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node2", |node| node.offline = true);
        for key in ["file_storage_dir", "shared_file_storage_dir", "gluster_storage_dir"] {
            let plan = site.run(op(json!({key: "/srv/new"})));
            let told: Vec<_> = plan.after.iter().flat_map(|s| s.task.nodes()).copied().collect();
            assert_eq!(told, [node_id("node1"), node_id("node3")], "{key}");
            for step in &plan.after {
                let Some(Action::SsconfWrite { values }) = step.task.action() else {
                    panic!("{step:?}")
                };
                assert_eq!(values[key], "/srv/new\n");
            }
            let same = site.run(op(json!({key: "/srv/new", "maintain_node_health": true})));
            assert!(same.after.is_empty(), "{same:?}");
            site.cluster(|c| c.maintain_node_health = false);
        }
    }

    #[test]
    fn nodes_have_the_volume_group() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node3", |node| node.vm_capable = false);
        let change = || op(json!({"vg_name": "xenvg"}));
        assert_eq!(site.questions(change()).len(), 2);
        assert!(site.questions(op(json!({"vg_name": ""}))).is_empty());
        site.answer("node1", Question::Node, Err(Error::exec("silent")));
        site.room("node2", 100);
        let said = site.plan(change()).expect("a plan").say;
        assert!(said[0].contains("gathering data on node 'node1'"), "{said:?}");
        let other = op(json!({"vg_name": "other"}));
        let error = site.refusal(other).message;
        assert!(error.contains("Error on node 'node2': volume group 'other' missing"), "{error}");
        site.cluster(|c| c.volume_group_name = Some("xenvg".into()));
        assert!(site.questions(change()).is_empty(), "it has it already");
    }
}
