//! One node of an instance becomes another: a mirrored one's secondary, another's primary.

use super::evacuate::{Evacuation, evacuate};
use super::{NoAllocation, Rules};
use crate::model::{InstanceIdx, NodeIdx};
use crate::state::Placement;
use roost_proto::capabilities::Mirroring;
use roost_proto::choices::EvacMode;

/// The node that takes the place of `from`, which has to be the one that is to be left. The evacuation has the way
/// there. Errors: there is none, and why.
pub fn relocate(
    placement: &Placement,
    instance: InstanceIdx,
    from: &[NodeIdx],
    rules: &Rules,
) -> Result<(NodeIdx, Evacuation), NoAllocation> {
    let given = placement.instance(instance);
    let (expected, what, mode) = match given.template.mirroring() {
        Mirroring::None => {
            return Err(NoAllocation::because("Can't relocate non-mirrored instances"));
        }
        Mirroring::Internal => {
            (placement.secondary(instance), "secondary", EvacMode::SecondaryOnly)
        }
        Mirroring::External => {
            (Some(placement.primary(instance)), "primary", EvacMode::PrimaryOnly)
        }
    };
    let names = |nodes: &[NodeIdx]| {
        let nodes = nodes.iter().map(|node| placement.cluster().nodes.get(node.at()));
        let names: Vec<&str> = nodes.map(|node| node.map_or("?", |n| n.name.as_str())).collect();
        names.join(", ")
    };
    let expected: Vec<NodeIdx> = expected.into_iter().collect();
    if expected.is_empty() || from != expected {
        return Err(NoAllocation::because(format!(
            "Unsupported request: excluded nodes not equal to instance's {what} ({} versus {})",
            names(&expected),
            names(from)
        )));
    }
    let evacuation = evacuate(placement, &[instance], mode, rules);
    if let Some((_, why)) = evacuation.failed.first() {
        return Err(NoAllocation::because(why.clone()));
    }
    let after = &evacuation.placement;
    let node = match after.secondary(instance) {
        Some(secondary) => secondary,
        None => after.primary(instance),
    };
    Ok((node, evacuation))
}
