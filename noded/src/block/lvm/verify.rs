//! What is wrong with LVM on this node, for `gnt-cluster verify`.

use super::inventory::{Inventory, lvm};

/// Ganeti's code.
const ENODELVM: &str = "ENODELVM";

/// Problems of LVM as (verify code, problem). Nothing on a machine without it: whether it must be
/// there, the master knows.
pub async fn problems() -> Vec<(String, String)> {
    if !lvm().is_there() {
        return vec![];
    }
    let texts = match lvm().now().await {
        Ok(seen) => texts(&seen),
        Err(error) => vec![error.message],
    };
    texts.into_iter().map(|text| (ENODELVM.to_owned(), text)).collect()
}

fn texts(seen: &Inventory) -> Vec<String> {
    let mut all = vec![];
    if !seen.whole {
        all.push(format!("LVM could not read everything: {}", seen.warnings.join("; ")));
    }
    for group in seen.groups.values() {
        let name = &group.name;
        if group.missing > 0 {
            all.push(format!(
                "volume group '{name}' lacks {} of its physical volumes; bring them back, or give \
                 them up with 'gnt-node repair-storage NODE lvm-vg {name}'",
                group.missing
            ));
        }
        let odd = group.physical.iter().filter(|pv| pv.name.contains(':'));
        all.extend(
            odd.map(|pv| format!("Invalid character ':' in PV '{}' of VG '{name}'", pv.name)),
        );
    }
    for volume in &seen.volumes {
        let name = volume.full_name();
        match volume.health {
            'F' => all.push(format!("volume '{name}' has failed; see 'lvconvert --repair {name}'")),
            'D' => all.push(format!("thin pool '{name}' is full; extend it: 'lvextend {name}'")),
            'M' => all.push(format!("the metadata of thin pool '{name}' is read-only or full")),
            _ => {}
        }
        if volume.suspended {
            all.push(format!(
                "volume '{name}' is suspended: reads and writes wait; resume it with 'lvchange \
                 --refresh {name}'"
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::lvm::report;

    fn seen(pvs: &[u8], lvs: &[u8]) -> Inventory {
        let (groups, loose) = report::physical(pvs).expect("pvs");
        let volumes = report::logical(lvs).expect("lvs");
        Inventory { groups, loose, volumes, warnings: vec![], whole: true }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = seen(include_bytes!("fixtures/pvs.json"), include_bytes!("fixtures/lvs.json"));
        let all = texts(&good);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains("'xenvg/two.disk0' is suspended"), "{all:?}");
        let lost = seen(
            include_bytes!("fixtures/pvs-lost-pv.json"),
            include_bytes!("fixtures/lvs-lost-pv.json"),
        );
        let all = texts(&Inventory { whole: false, warnings: vec!["bad".into()], ..lost });
        assert_eq!(all[0], "LVM could not read everything: bad");
        assert!(all[1].starts_with("volume group 'xenvg' lacks 1 of its physical volumes"));
    }
}
