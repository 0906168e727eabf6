//! What holds of every cluster: what a move is said to cost is what it costs, and what is undone is as before.

mod generated;

use generated::clusters;
use proptest::prelude::*;
use roost_htools::model::{GroupIdx, InstanceIdx, NodeIdx, Utilisation};
use roost_htools::moves::{Kind, Move};
use roost_htools::rules;
use roost_htools::score::{Score, Scorer};
use roost_htools::state::{Options, Placement};
use roost_htools::text;

fn kind(choice: usize, to: NodeIdx) -> Kind {
    match choice {
        0 => Kind::Failover,
        1 => Kind::FailoverToAny(to),
        2 => Kind::ReplacePrimary(to),
        3 => Kind::ReplaceSecondary(to),
        4 => Kind::ReplaceAndFailover(to),
        _ => Kind::FailoverAndReplace(to),
    }
}

/// The move that brings an instance back.
fn inverse(kind: Kind, primary: NodeIdx, secondary: Option<NodeIdx>) -> Kind {
    let secondary = secondary.unwrap_or(primary);
    match kind {
        Kind::Failover => Kind::Failover,
        Kind::FailoverToAny(_) => Kind::FailoverToAny(primary),
        Kind::ReplacePrimary(_) => Kind::ReplacePrimary(primary),
        Kind::ReplaceSecondary(_) => Kind::ReplaceSecondary(secondary),
        Kind::ReplaceAndFailover(_) => Kind::FailoverAndReplace(secondary),
        Kind::FailoverAndReplace(_) => Kind::ReplaceAndFailover(primary),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_a_move_is_said_to_cost_is_what_it_costs(
        cluster in clusters(),
        tries in prop::collection::vec((0..100_usize, 0..6_usize, 0..100_usize, any::<bool>()), 1..30),
    ) {
        let mut placement = Placement::new(cluster.clone(), &Options::default());
        let nodes: Vec<NodeIdx> = cluster.nodes_of(GroupIdx(0)).collect();
        let mut scorer = Scorer::new(&placement, nodes.clone());
        for (which, choice, to, force) in tries {
            let instance = InstanceIdx::of(which % cluster.instances.len());
            let to = NodeIdx::of(to % nodes.len());
            let (primary, secondary) = (placement.primary(instance), placement.secondary(instance));
            let drbd = secondary.is_some();
            if to == primary || Some(to) == secondary || drbd == (choice == 1) {
                continue;
            }
            let kind = kind(choice, to);
            let what = Move { instance, kind };
            let Ok(outcome) = what.outcome(&placement, force) else { continue };
            let hard = |placement: &Placement| -> Vec<i64> {
                let rules = cluster.rules.iter().enumerate().filter(|(_, rule)| rule.is_hard());
                rules.map(|(at, _)| placement.ruling().broken(at)).collect()
            };
            let said = scorer.after(&placement, &outcome);
            let exact = scorer.exact_after(&placement, &outcome).total;
            let before = placement.clone();
            scorer.apply(&placement, &outcome);
            placement.apply(instance, &outcome);
            let is = Score::of(&placement, &nodes).total;
            let close = |one: f64, other: f64| (one - other).abs() <= 1e-7 * other.abs().max(1.0);
            prop_assert!(close(said, is), "{what:?}: said {said}, is {is}");
            prop_assert_eq!(exact, is);
            let broken = (0..cluster.rules.len()).map(|at| placement.ruling().broken(at));
            let judged = rules::judge(&placement.to_cluster()).into_iter().map(|verdict| verdict.broken);
            prop_assert_eq!(broken.collect::<Vec<_>>(), judged.collect::<Vec<_>>());
            let worse = hard(&before).into_iter().zip(hard(&placement)).any(|(was, is)| is > was);
            prop_assert!(!worse, "{what:?} breaks a hard rule");
            prop_assert!(close(scorer.now(), is), "{what:?}: kept {}, is {is}", scorer.now());

            // And back: everything is as it was.
            let back = Move { instance, kind: inverse(kind, primary, secondary) };
            let returned = back.outcome(&placement, true);
            if let Ok(returned) = returned {
                let mut again = placement.clone();
                again.apply(instance, &returned);
                for &node in &nodes {
                    let (now, was) = (again.node(node), before.node(node));
                    prop_assert!((now.cpu_load - was.cpu_load).abs() < 1e-9);
                    prop_assert!((now.disk_load - was.disk_load).abs() < 1e-9);
                    prop_assert_eq!(
                        (now.unallocated, now.free_disk, now.reserved, now.n1_fails, now.conflicts),
                        (was.unallocated, was.free_disk, was.reserved, was.n1_fails, was.conflicts)
                    );
                    prop_assert_eq!(
                        (now.primaries, now.secondaries, now.location, now.forth),
                        (was.primaries, was.secondaries, was.location, was.forth)
                    );
                }
                prop_assert_eq!(again.location_conflicts(), before.location_conflicts());
            }
        }
    }

    #[test]
    fn text_is_read_as_it_was_written(mut cluster in clusters()) {
        // The text does not know them.
        cluster.instances.iter_mut().for_each(|i| i.utilisation = Utilisation::ONE);
        cluster.rules.clear();
        prop_assert_eq!(text::read(&text::write(&cluster)), Ok(cluster));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
        let _ = text::read(&text);
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line(
        cluster in clusters(), at in 0..4000_usize, with in "[|,;\\-\nYN?9a]{0,3}",
    ) {
        let mut text = text::write(&cluster);
        let at = at % text.len();
        text.replace_range(at..=at, &with);
        if let Ok(cluster) = text::read(&text) {
            Placement::new(cluster.clone(), &Options::default());
        }
    }
}
