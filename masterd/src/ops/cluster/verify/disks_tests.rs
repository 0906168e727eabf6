//! Disks that are not as they should be, and what is said of them.

use crate::ops::testing::{Site, errors, node_id, status, verified};
use roost_proto::choices::DiskTemplate;
use roost_proto::node::{Answer, BlockState, MirrorReport, Question, SyncStatus, VolumeReport};
use roost_proto::opcodes::ClusterVerifyGroup;

fn op() -> ClusterVerifyGroup {
    ClusterVerifyGroup { error_codes: true, ..ClusterVerifyGroup::new("default") }
}

/// web on node1, mirrored on node2; DRBD and LVM are enabled.
fn site() -> Site {
    let mut site = Site::new(&["node1", "node2"]);
    site.cluster(|c| {
        c.volume_group_name = Some("xenvg".into());
        c.enabled_disk_templates.extend([DiskTemplate::Plain, DiskTemplate::Drbd]);
    });
    site.instance("web", "node1", |i| i.disks_active = true);
    site.drbd("web", "node2");
    site
}

fn sync(connection: &str, disk: &str) -> SyncStatus {
    SyncStatus {
        percent: 100.0,
        local_good: disk == "UpToDate",
        degraded: connection != "Connected",
        connection: connection.into(),
        disk: disk.into(),
        ..SyncStatus::default()
    }
}

/// What is said if the sides tell this; nothing: a node was not asked.
fn said(one: SyncStatus, two: Option<SyncStatus>) -> Vec<String> {
    let mut site = site();
    healthy(&mut site, |_, _| {});
    for (node, question, answer) in &mut site.facts.answers {
        if !matches!(question, Question::Blocks { .. }) {
            continue;
        }
        let sync = if *node == node_id("node1") { Some(one.clone()) } else { two.clone() };
        let mut found = status(BlockState::Active);
        if sync.is_none() {
            found.state = BlockState::Inactive;
        }
        found.sync = sync;
        *answer = Ok(Answer::Blocks(vec![found]));
    }
    errors(&site, op())
}

/// Everything is there, until `change` takes it away.
fn healthy(site: &mut Site, change: impl Fn(&str, &mut roost_proto::node::VerifyReport)) {
    verified(site, op(), |node, report| {
        report.node.volume_groups = [("xenvg".to_owned(), (4096, 1024))].into();
        report.volumes = Some(vec![]);
        report.mirrors = Some(vec![MirrorReport { minor: 0, sync: SyncStatus::default() }]);
        change(node, report);
    });
}

#[test]
fn mirrors_are_equal() {
    let good = || sync("Connected", "UpToDate");
    assert_eq!(said(good(), Some(good())), [] as [&str; 0]);
    let source = SyncStatus { percent: 12.34, ..sync("SyncSource", "UpToDate") };
    let target = SyncStatus { percent: 12.34, ..sync("SyncTarget", "Inconsistent") };
    let lines = said(source.clone(), Some(target.clone()));
    assert_eq!(
        lines,
        ["  - WARNING:EINSTANCEFAULTYDISK:instance:web:disk/0 on node2 is degraded: being made \
          equal, 12.3%"]
    );
    let lines = said(target, Some(source));
    assert!(lines[0].starts_with("  - ERROR:EINSTANCEFAULTYDISK:"), "{lines:?}");
    let lines = said(sync("WFConnection", "UpToDate"), None);
    assert_eq!(
        lines,
        ["  - ERROR:EINSTANCEFAULTYDISK:instance:web:disk/0 on node2 is not active; use \
          'gnt-instance activate-disks'"]
    );
}

#[test]
fn a_split_brain_is_named() {
    let side = |generations: [&str; 3]| SyncStatus {
        generations: generations.map(str::to_owned).to_vec(),
        ..sync("StandAlone", "UpToDate")
    };
    let lines = said(side(["A1", "40", "20"]), Some(side(["B0", "40", "20"])));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("ERROR:EINSTANCEFAULTYDISK:instance:web:disk/0 has a split brain"));
    assert!(lines[0].contains("repair-mirror"), "{lines:?}");
    // One is only newer.
    let lines = said(side(["A1", "40", "20"]), Some(side(["40", "20", "10"])));
    assert!(lines[0].contains("not connected"), "{lines:?}");
}

#[test]
fn minors_that_are_not_as_recorded() {
    let mut site = site();
    healthy(&mut site, |node, report| {
        if node == "node2" {
            report.mirrors = Some(vec![MirrorReport { minor: 5, sync: SyncStatus::default() }]);
        }
    });
    assert_eq!(
        errors(&site, op()),
        [
            "  - ERROR:ENODEDRBD:node:node2:drbd minor 0 of instance web is not active",
            "  - ERROR:ENODEDRBD:node:node2:unallocated drbd minor 5 is in use",
        ]
    );
}

#[test]
fn spindles_that_differ() {
    let mut site = site();
    let of = |name: &str, mib| ("xenvg".to_owned(), name.to_owned(), mib);
    let mut with = |two| {
        healthy(&mut site, |node, report| {
            report.physical = match node {
                "node1" => vec![of("/dev/sda", 1000), ("other".into(), "/dev/sdz".into(), 1)],
                _ => vec![of("/dev/sdb", 1015), of("/dev/sdc", two)],
            };
        });
        let shared = errors(&site, op());
        site.cluster(|c| {
            c.ndparams.insert("exclusive_storage".into(), true.into());
        });
        let exclusive = errors(&site, op());
        site.cluster(|c| {
            c.ndparams.remove("exclusive_storage");
        });
        let ours = |line: &String| line.contains("EGROUPDIFFERENTPVSIZE");
        assert!(!shared.iter().any(ours), "it does not matter there: {shared:?}");
        exclusive.into_iter().filter(ours).collect::<Vec<_>>()
    };
    assert_eq!(with(1010), [] as [&str; 0], "they are alike");
    assert_eq!(
        with(1500),
        ["  - ERROR:EGROUPDIFFERENTPVSIZE:group:default:physical volumes of volume group 'xenvg' \
          differ too much in size for exclusive storage: '/dev/sda' on node node1 has 1000 MiB, \
          '/dev/sdc' on node node2 has 1500 MiB"]
    );
}

#[test]
fn lvm_and_drbd_themselves() {
    let mut site = site();
    healthy(&mut site, |node, report| {
        if node == "node1" {
            report.node.volume_groups.clear();
            report.devices = vec![
                ("ENODELVM".into(), "a PV is missing".into()),
                ("ENODEDRBDHELPER".into(), "wrong helper".into()),
                ("ELATER".into(), "not known here".into()),
            ];
        } else {
            report.volumes = None;
            report.mirrors = None;
        }
    });
    assert_eq!(
        errors(&site, op()),
        [
            "  - ERROR:ENODELVM:node:node1:volume group 'xenvg' missing",
            "  - ERROR:ENODELVM:node:node1:a PV is missing",
            "  - ERROR:ENODEDRBDHELPER:node:node1:wrong helper",
            "  - ERROR:ENODELVM:node:node2:unable to check volume groups",
            "  - ERROR:ENODEDRBD:node:node2:DRBD is not there; load its kernel module (modprobe \
             drbd)",
        ]
    );
}

#[test]
fn orphan_volumes() {
    let mut site = site();
    site.cluster(|c| c.reserved_lvs = vec!["xenvg/swap.*".into()]);
    let volume = |vg: &str, name: &str, tags: &[&str]| VolumeReport {
        vg: vg.into(),
        name: name.into(),
        size: 100,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..VolumeReport::default()
    };
    site.instance("db", "node1", |i| i.admin_state = roost_proto::choices::AdminState::Down);
    site.disk("db", DiskTemplate::Plain, "db.disk0");
    let db = site.config.instance("db").expect("db").disks[0];
    let mut disk = (**site.config.disks.get(&db).expect("made above")).clone();
    disk.nodes = vec![node_id("node1")];
    disk.logical_id = roost_proto::objects::LogicalId::Pair("xenvg".into(), "db.disk0".into());
    site.apply(&[crate::config::Change::Update(crate::config::Object::Disk(Box::new(disk)))]);
    healthy(&mut site, |_, report| {
        report.volumes = Some(vec![
            volume("xenvg", "db.disk0", &[]),
            volume("xenvg", "swap1", &[]),
            volume("system", "root", &[]),
            volume("other", "left", &["roost-disk+x"]),
        ]);
    });
    let left = |node: &str, name: &str| {
        format!("  - WARNING:ENODEORPHANLV:node:{node}:volume {name} (100 MiB) is unknown")
    };
    assert_eq!(
        errors(&site, op()),
        [left("node1", "other/left"), left("node2", "xenvg/db.disk0"), left("node2", "other/left")]
    );
}
