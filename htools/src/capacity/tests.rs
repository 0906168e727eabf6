use super::*;
use crate::allocate::Rules;
use crate::fail::FailMode;
use crate::sources::simulate;
use crate::state::Options;

const SIZE: Size = Size { memory: 1024, disk: 10_240, cpus: 1, spindles: 1 };

fn empty(spec: &str) -> Placement {
    let cluster = simulate::read(&[spec.to_owned()]).expect("a cluster");
    Placement::new(cluster, &Options::default())
}

fn field(placement: &Placement) -> Field {
    let rules = Rules::default();
    let health = Health::of(placement, &rules.redundancy);
    Field::new(placement.cluster(), &health, rules, false)
}

fn kind(template: DiskTemplate) -> Kind {
    Kind { template, spindle_use: 1 }
}

#[test]
fn one_size_fits_until_something_is_full() {
    let placement = empty("p,2,1000000,8192,100");
    let found =
        standard(&field(&placement), placement.clone(), kind(DiskTemplate::Drbd), SIZE, None);
    let filled = found.expect("nodes");
    // Each node keeps what the other's instances need, and a bit.
    assert_eq!(filled.instances.len(), 7);
    assert_eq!(filled.failures.of(FailMode::Mem), 2);
    assert_eq!(filled.runs(), [(SIZE, 7)]);
    let after = Resources::of(&filled.placement);
    assert_eq!((after.instances, after.used_memory), (7, 7 * 1024));
    let [before, added, left] = Resources::of(&placement).delta(&after);
    assert_eq!((before.memory, added.memory, left.memory), (0, 7168, 9216));
}

#[test]
fn no_more_than_asked_for() {
    let placement = empty("p,2,1000000,8192,100");
    let filled = standard(&field(&placement), placement, kind(DiskTemplate::Ext), SIZE, Some(3));
    assert_eq!(filled.expect("nodes").instances.len(), 3);
}

#[test]
fn instances_that_any_node_may_lose_fit_on_the_others() {
    let placement = empty("p,3,1000000,8192,100");
    let filled = standard(&field(&placement), placement, kind(DiskTemplate::Plain), SIZE, None);
    let filled = filled.expect("nodes");
    // Seven fit on each node, of which two have to hold those of the third.
    assert_eq!(filled.instances.len(), 14);
    assert!(filled.failures.of(FailMode::N1) > 0, "{}", filled.failures);
}

#[test]
fn sizes_shrink_in_what_fails() {
    let placement = empty("p,2,20480,8192,100");
    let field = field(&placement);
    let mut filled = Filled::nothing(placement);
    let size = Size { memory: 4096, disk: 16_384, ..SIZE };
    tiered(&field, &mut filled, kind(DiskTemplate::Drbd), &[size], None).expect("nodes");
    let runs = filled.runs();
    assert_eq!(runs[0], (size, 1));
    assert!(runs.len() > 1, "{runs:?}");
    assert!(
        runs.windows(2).all(|pair| {
            pair[1].0.memory <= pair[0].0.memory && pair[1].0.disk <= pair[0].0.disk
        })
    );
}

#[test]
fn whole_rounds_of_a_mix() {
    let placement = empty("p,2,1000000,8192,100");
    let field = field(&placement);
    let kind = kind(DiskTemplate::Ext);
    let large = Size { memory: 2048, ..SIZE };
    let mix = [Mix { count: 2, size: SIZE, kind }, Mix { count: 1, size: large, kind }];
    let found = mixed(&field, Filled::nothing(empty("p,2,1000000,8192,100")), &mix, None);
    let mixed = found.expect("nodes");
    // One node has to be able to hold everything: less than 8 GiB, and a round has 4.
    assert_eq!((mixed.rounds, mixed.short_of), (1, Some(0)));
    assert_eq!(mixed.parts[0].placed, 2);
    assert_eq!(mixed.parts[0].more, 3);
    assert_eq!(mixed.parts[1].more, 1);
    assert_eq!(mixed.filled.instances.len(), 3);
}

#[test]
fn nodes_that_fail_already_close_everything_or_their_group() {
    let text = "g1|u1|preferred||\ng2|u2|preferred||\n\n\
                n1|4096|0|4096|102400|102400|8|N|u1|1\nn2|4096|0|4096|102400|102400|8|N|u1|1\n\
                n3|4096|0|4096|102400|102400|8|N|u2|1\nn4|4096|0|4096|102400|102400|8|N|u2|1\n\n\
                a|4096|1024|1|ADMIN_down|Y|n1|n2|drbd||1\n\n\n";
    let cluster = crate::text::read(text).expect("a cluster");
    let placement = Placement::new(cluster, &Options::default());
    assert!(field(&placement).is_closed());
    let rules = Rules::default();
    let health = Health::of(&placement, &rules.redundancy);
    assert_eq!(health.bad_nodes, [NodeIdx(1)]);
    let independent = Field::new(placement.cluster(), &health, rules.clone(), true);
    assert!(!independent.is_closed());
    assert_eq!(independent.nodes(), [NodeIdx(2), NodeIdx(3)]);
}
