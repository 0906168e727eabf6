//! Instances and where they are.

use super::{Table, decimals};
use crate::model::{InstanceIdx, NodeIdx};
use crate::state::Placement;

/// The instances named, in order. Names are whole; memory in MiB, disk in GiB.
pub fn instances(placement: &Placement, shown: impl IntoIterator<Item = InstanceIdx>) -> Table {
    let mut table = Table::new([
        ("F", false),
        ("Name", false),
        ("Pri_node", false),
        ("Sec_node", false),
        ("Auto_bal", false),
        ("vcpu", true),
        ("mem", true),
        ("dsk", true),
        ("lCpu", true),
        ("lMem", true),
        ("lDsk", true),
        ("lNet", true),
    ]);
    let cluster = placement.cluster();
    let name =
        |node: NodeIdx| cluster.nodes.get(node.at()).map_or("", |node| &node.name).to_owned();
    for index in shown {
        let instance = placement.instance(index);
        let load = &instance.utilisation;
        let loads = [load.cpu, load.memory, load.disk, load.net];
        let mut row = vec![
            if instance.status.running() { "R" } else { " " }.to_owned(),
            instance.name.clone(),
            name(placement.primary(index)),
            placement.secondary(index).map(name).unwrap_or_default(),
            if instance.auto_balance { "Y" } else { "N" }.to_owned(),
            instance.vcpus.to_string(),
            // At least so wide, however narrow the column is.
            format!("{:>5}", instance.memory),
            format!("{:>5}", instance.disk / 1024),
        ];
        row.extend(loads.map(|load| decimals(load, 3)));
        table.rows.push(row);
    }
    table
}
