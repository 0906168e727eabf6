//! Which instances are broken, and what would mend them.

use super::tags::Repair;
use crate::model::{Cluster, DiskTemplate, Instance, NodeIdx};
use roost_proto::choices::ReplaceDisksMode;
use roost_proto::opcodes::{
    InstanceFailover, InstanceRecreateDisks, InstanceReinstall, InstanceReplaceDisks, OpCode,
};

/// What would mend an instance.
#[derive(Clone, Debug)]
pub struct Broken {
    pub repair: Repair,
    /// Of one job.
    pub opcodes: Vec<OpCode>,
}

/// Whether an instance is broken. `down`: by node, whether it was marked as offline. (A node that is only drained
/// still has its instances and their data: nothing is to be mended there.)
///
/// Instances with mirrored disks and with plain ones are known; of others nobody can say from here.
pub fn detect(cluster: &Cluster, down: &[bool], instance: &Instance) -> Option<Broken> {
    let gone = |node: NodeIdx| down.get(node.at()).copied().unwrap_or(false);
    debug_assert_eq!(cluster.nodes.len(), down.len());
    let primary = gone(instance.primary);
    let secondary = instance.secondary.is_some_and(gone);
    let repair = match (instance.template, primary, secondary) {
        (DiskTemplate::Drbd, true, true) | (DiskTemplate::Plain, true, _) => Repair::Reinstall,
        (DiskTemplate::Drbd, true, false) => Repair::Failover,
        (DiskTemplate::Drbd, false, true) => Repair::FixStorage,
        _ => return None,
    };
    Some(Broken { repair, opcodes: opcodes(repair, &instance.name) })
}

fn opcodes(repair: Repair, name: &str) -> Vec<OpCode> {
    let iallocator = Some("hail".to_owned());
    match repair {
        Repair::Reinstall => vec![
            InstanceRecreateDisks { iallocator, ..InstanceRecreateDisks::new(name) }.into(),
            InstanceReinstall::new(name).into(),
        ],
        Repair::FixStorage => vec![
            InstanceReplaceDisks {
                iallocator,
                ..InstanceReplaceDisks::new(name, ReplaceDisksMode::NewSecondary)
            }
            .into(),
        ],
        // Nothing that is detected asks for a migration: whoever can be migrated runs.
        Repair::Failover | Repair::Migrate => vec![InstanceFailover::new(name).into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    /// (repair, opcodes) of an instance with this template on nodes that are down or not.
    fn broken(template: &str, secondary: bool, down: [bool; 2]) -> Option<(Repair, Vec<String>)> {
        let secondary = if secondary { "n2" } else { "" };
        let text = format!(
            "g|u|preferred|\n\nn1|9|0|9|9|9|1|N|u\nn2|9|0|9|9|9|1|N|u\n\n\
             i1|1|1|1|running|Y|n1|{secondary}|{template}|\n\n\n"
        );
        let cluster = text::read(&text).expect("cluster");
        let broken = detect(&cluster, &down, &cluster.instances[0])?;
        Some((broken.repair, broken.opcodes.iter().map(|op| op.to_json().to_string()).collect()))
    }

    fn repair(template: &str, secondary: bool, down: [bool; 2]) -> Option<Repair> {
        broken(template, secondary, down).map(|(repair, _)| repair)
    }

    #[test]
    fn what_is_gone_says_what_is_to_be_done() {
        assert_eq!(repair("drbd", true, [false, false]), None);
        assert_eq!(repair("drbd", true, [false, true]), Some(Repair::FixStorage));
        assert_eq!(repair("drbd", true, [true, false]), Some(Repair::Failover));
        assert_eq!(repair("drbd", true, [true, true]), Some(Repair::Reinstall));
        assert_eq!(repair("plain", false, [true, false]), Some(Repair::Reinstall));
        assert_eq!(repair("plain", false, [false, true]), None);
        for template in ["file", "sharedfile", "ext", "rbd", "gluster", "diskless", "blockdev"] {
            assert_eq!(repair(template, false, [true, true]), None, "{template}");
        }
    }

    #[test]
    fn repairs_are_jobs_of_these_opcodes() {
        let (_, opcodes) = broken("drbd", true, [true, true]).expect("broken");
        assert!(opcodes[0].contains(r#""OP_ID":"OP_INSTANCE_RECREATE_DISKS""#), "{opcodes:?}");
        assert!(opcodes[0].contains(r#""iallocator":"hail""#), "{opcodes:?}");
        assert!(opcodes[1].contains(r#""OP_ID":"OP_INSTANCE_REINSTALL""#), "{opcodes:?}");
        let (_, opcodes) = broken("drbd", true, [false, true]).expect("broken");
        assert!(opcodes[0].contains(r#""mode":"replace_new_secondary""#), "{opcodes:?}");
        let (_, opcodes) = broken("drbd", true, [true, false]).expect("broken");
        assert!(opcodes[0].contains(r#""OP_ID":"OP_INSTANCE_FAILOVER""#), "{opcodes:?}");
        assert_eq!(opcodes.len(), 1);
    }
}
