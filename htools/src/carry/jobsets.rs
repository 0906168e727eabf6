//! Which steps can be done at the same time.

use crate::balance::Step;
use crate::model::NodeIdx;

/// Steps in order, in sets: no two steps of a set have a node in common. The sets are to be carried out one
/// after the other; each but the first is as large as can be, counted from the last step, as in the reference.
pub fn jobsets(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut sets: Vec<Vec<Step>> = vec![];
    let mut busy: Vec<NodeIdx> = vec![];
    for step in steps.iter().rev() {
        let seats = [step.from, step.to];
        let touched: Vec<NodeIdx> =
            seats.iter().flat_map(|seat| [Some(seat.primary), seat.secondary]).flatten().collect();
        let meets = touched.iter().any(|node| busy.contains(node));
        match sets.last_mut() {
            Some(set) if !meets => set.push(*step),
            _ => {
                busy.clear();
                sets.push(vec![*step]);
            }
        }
        busy.extend(touched);
    }
    sets.iter_mut().for_each(|set| set.reverse());
    sets.reverse();
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InstanceIdx;
    use crate::moves::{Kind, Move};
    use crate::state::Seat;

    fn step(instance: u32, from: [u32; 2], to: [u32; 2]) -> Step {
        let seat = |[primary, secondary]: [u32; 2]| Seat {
            primary: NodeIdx(primary),
            secondary: Some(NodeIdx(secondary)),
        };
        let what = Move { instance: InstanceIdx(instance), kind: Kind::Failover };
        Step { what, from: seat(from), to: seat(to), score: 0.0, copied: 0 }
    }

    #[test]
    fn steps_that_share_a_node_are_apart() {
        let steps = [
            step(0, [0, 1], [1, 0]),
            step(1, [2, 3], [2, 4]),
            // The node that step 1 leaves.
            step(2, [3, 5], [5, 3]),
            step(3, [0, 1], [0, 6]),
            // Would fit into the first set, but sets are in order.
            step(4, [7, 8], [8, 7]),
        ];
        let numbers: Vec<Vec<u32>> = jobsets(&steps)
            .iter()
            .map(|set| set.iter().map(|step| step.what.instance.0).collect())
            .collect();
        assert_eq!(numbers, [vec![0, 1], vec![2, 3, 4]]);
        // The one in the middle would fit to either side: it goes with the later.
        let steps = [step(0, [0, 1], [1, 0]), step(1, [2, 3], [3, 2]), step(2, [0, 4], [4, 0])];
        assert_eq!(jobsets(&steps).iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert!(jobsets(&[]).is_empty());
    }
}
