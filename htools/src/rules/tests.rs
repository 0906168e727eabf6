use super::*;
use crate::balance::{Algorithm, Scope, Selection};
use crate::model::GroupIdx;
use crate::moves::{Kind, Move};
use crate::state::{Options, Placement};
use crate::{allocate, balance, fail::FailMode, text};
use roost_proto::choices::EvacMode;

/// Four nodes in two racks and one without; instances a, b, c on node1, node1, node2 with mirrors.
fn cluster() -> Cluster {
    let node = |name: &str, tags: &str| {
        format!("{name}|16384|512|8192|1000000|500000|8|N|u1|8|{tags}|N|8|1|1.0")
    };
    let instance = |name: &str, primary: &str, secondary: &str, tags: &str| {
        format!("{name}|512|1024|1|running|Y|{primary}|{secondary}|drbd|{tags}|1|-")
    };
    let text = [
        "default|u1|preferred||".to_owned(),
        String::new(),
        node("node1", "rack:a,disk:ssd"),
        node("node2", "rack:a"),
        node("node3", "rack:b,disk:ssd"),
        node("node4", ""),
        String::new(),
        instance("db1", "node1", "node2", "service:db"),
        instance("db2", "node1", "node3", "service:db"),
        instance("web1", "node2", "node1", ""),
        String::new(),
        "some:tag".into(),
    ];
    text::read(&text.join("\n")).expect("a cluster")
}

fn with(lines: &[&str]) -> Cluster {
    let mut cluster = cluster();
    let specs = read(&lines.join("\n")).expect("rules");
    cluster.rules = resolve(&cluster, &specs).expect("rules");
    cluster
}

fn said(cluster: &Cluster) -> Vec<String> {
    judge(cluster).into_iter().flat_map(|v| v.problems).map(|problem| problem.text).collect()
}

fn node(name: u32) -> NodeIdx {
    NodeIdx(name - 1)
}

fn attempt(cluster: &Cluster, instance: u32, kind: Kind) -> std::result::Result<i64, FailMode> {
    let placement = Placement::new(cluster.clone(), &Options::default());
    let what = Move { instance: InstanceIdx(instance), kind };
    let out = what.outcome(&placement, false)?;
    let forced = what.outcome(&placement, true).map(|out| out.rules);
    assert_eq!(forced, Ok(out.rules), "force makes no difference");
    Ok(out.rules)
}

const DB: &str = r#"--instances '"service:db" in tags'"#;

#[test]
fn members_are_found() {
    let cluster = with(&[
        &format!("db apart {DB}"),
        r#"web prefer --instances 'name =* "web*"' --nodes '"disk:ssd" in tags or name == "node4"'"#,
        r#"off apart --instances 'name == "db1"' --disabled"#,
    ]);
    let [db, web] = cluster.rules.as_slice() else { panic!("a disabled rule is not there") };
    assert_eq!(db.members, [InstanceIdx(0), InstanceIdx(1)]);
    assert_eq!(web.members, [InstanceIdx(2)]);
    assert_eq!(web.shape, Shape::Only(vec![true, false, true, true]));
    let Shape::Apart(domains) = &db.shape else { panic!("apart") };
    assert_eq!(domains.of, [0, 1, 2, 3]);
}

#[test]
fn places_are_tags_groups_or_nodes() {
    let cluster = with(&[
        &format!("racks apart {DB} --domain rack"),
        &format!("groups together {DB} --domain group"),
    ]);
    let Shape::Apart(racks) = &cluster.rules[0].shape else { panic!("apart") };
    assert_eq!(
        (racks.of.as_slice(), racks.names.join(" ")),
        (&[0, 0, 1, 2][..], "rack:a rack:b node4".into())
    );
    assert_eq!(said(&cluster), ["db1, db2 are in rack:a"]);
}

#[test]
fn apart_is_mended_and_not_broken() {
    let cluster = with(&[&format!("db apart {DB}")]);
    assert_eq!(said(&cluster), ["db1, db2 are on node1"]);
    assert_eq!(attempt(&cluster, 0, Kind::Failover), Ok(-16_000));
    assert_eq!(attempt(&cluster, 0, Kind::ReplaceSecondary(node(4))), Ok(0));
    let mut mended = cluster.clone();
    mended.instances[0].primary = node(2);
    mended.instances[0].secondary = Some(node(1));
    assert_eq!(said(&mended), [] as [&str; 0]);
    assert_eq!(attempt(&mended, 0, Kind::Failover), Err(FailMode::Rule));
    assert_eq!(attempt(&mended, 2, Kind::Failover), Ok(0), "not a member");
    let soft = with(&[&format!("db apart {DB} --strength 2.5")]);
    let rules = soft.rules;
    let soft = Cluster { rules, ..mended };
    assert_eq!(attempt(&soft, 0, Kind::Failover), Ok(2_500));
}

#[test]
fn apart_after_a_failover_too() {
    let mut cluster = with(&[&format!("db apart {DB} --mirrors")]);
    cluster.instances[1].primary = node(2);
    assert_eq!(said(&cluster), ["the mirror of db1 is on node2, where db2 is"]);
    assert_eq!(attempt(&cluster, 0, Kind::ReplaceSecondary(node(3))), Ok(-16_000));
    cluster.instances[0].secondary = Some(node(3));
    assert_eq!(said(&cluster), [] as [&str; 0], "two mirrors may share a node");
    assert_eq!(attempt(&cluster, 0, Kind::ReplaceSecondary(node(2))), Err(FailMode::Rule));
    assert_eq!(attempt(&cluster, 0, Kind::Failover), Err(FailMode::Rule), "the mirror of db2");
}

#[test]
fn together() {
    let mut cluster = with(&[&format!("db together {DB}")]);
    assert_eq!(said(&cluster), [] as [&str; 0]);
    assert_eq!(attempt(&cluster, 0, Kind::Failover), Err(FailMode::Rule));
    cluster.instances[1].primary = node(2);
    assert_eq!(said(&cluster), ["db2 is on node2, but db1 is on node1"]);
    assert_eq!(attempt(&cluster, 0, Kind::Failover), Ok(-16_000));
    assert_eq!(attempt(&cluster, 1, Kind::Failover), Ok(0), "no better, no worse");
}

#[test]
fn what_is_on_a_lost_node_may_go_anywhere() {
    let mut cluster = with(&[&format!("db together {DB}")]);
    let mut placement = Placement::new(cluster.clone(), &Options::default());
    let leave = Move { instance: InstanceIdx(0), kind: Kind::Failover };
    assert_eq!(leave.outcome(&placement, false).unwrap_err(), FailMode::Rule);
    placement.empty_out(&[node(1)]);
    assert_eq!(leave.outcome(&placement, false).map(|out| out.rules), Ok(0));
    cluster.nodes[0].offline = true;
    let mut placement = Placement::new(cluster, &Options::default());
    let out = leave.outcome(&placement, false).expect("a dead node holds nobody");
    placement.apply(InstanceIdx(0), &out);
    // The first has chosen for the other, which has its mirror elsewhere.
    let other = Move { instance: InstanceIdx(1), kind: Kind::Failover };
    assert_eq!(other.outcome(&placement, true).unwrap_err(), FailMode::Rule);
    let other = Move { instance: InstanceIdx(1), kind: Kind::ReplacePrimary(node(2)) };
    assert_eq!(other.outcome(&placement, true).map(|out| out.rules), Ok(0));
}

#[test]
fn only_on_is_about_both_sides() {
    let rule = r#"ssd only-on --instances 'name =* "*1"' --nodes '"disk:ssd" in tags'"#;
    let cluster = with(&[rule]);
    assert_eq!(said(&cluster), ["the mirror of db1 is on node2", "web1 is on node2"]);
    assert_eq!(attempt(&cluster, 0, Kind::Failover), Ok(0));
    assert_eq!(attempt(&cluster, 0, Kind::ReplaceSecondary(node(3))), Ok(-16_000));
    assert_eq!(attempt(&cluster, 0, Kind::ReplacePrimary(node(4))), Err(FailMode::Rule));
    let prefer = with(&[&rule.replace("only-on", "prefer")]);
    assert_eq!(attempt(&prefer, 0, Kind::ReplacePrimary(node(4))), Ok(1_000));
}

#[test]
fn new_instances_join() {
    let cluster = with(&[&format!("db apart {DB}")]);
    let mut new = cluster.instances[0].clone();
    new.name = "db3".into();
    let mut placement = Placement::new(cluster, &Options::default());
    let index = placement.add(new.clone());
    let try_on = |placement: &Placement, index, at: u32| {
        let mut out = Default::default();
        let seat = (node(at), Some(node(4)));
        placement.begin(index).place(seat.0, seat.1, (true, true), &mut out).map(|()| out)
    };
    assert_eq!(try_on(&placement, index, 1).unwrap_err(), FailMode::Rule);
    let out = try_on(&placement, index, 2).expect("free of others");
    placement.apply(index, &out);
    let last = placement.add(new);
    assert_eq!(try_on(&placement, last, 2).unwrap_err(), FailMode::Rule);
    placement.change_unplaced(last, |instance| instance.tags.clear());
    assert_eq!(try_on(&placement, last, 2).map(|out| out.rules), Ok(0), "no member any more");
    let cluster = placement.to_cluster();
    assert_eq!(judge(&cluster)[0].broken, 1);
}

#[test]
fn whoever_looks_for_a_place_obeys() {
    let cluster =
        with(&[&format!("db apart {DB} --mirrors"), &format!("near together {DB} --disabled")]);
    let mut new = cluster.instances[0].clone();
    new.name = "db3".into();
    let mut placement = Placement::new(cluster.clone(), &Options::default());
    let index = placement.add(new);
    let asked = allocate::Request { nodes: 2, group: None };
    let rules = allocate::Rules { capacity_checks: false, ..Default::default() };
    let found = allocate::allocate(&placement, index, &asked, &rules).expect("a place");
    assert_eq!(
        placement.refusing_rule(index, node(1), None).map(|rule| rule.spec.name.as_str()),
        Some("db")
    );
    let (primary, secondary) = (found.primary, found.secondary.expect("two"));
    assert!(
        primary == node(4) && secondary != node(1),
        "{primary:?} {secondary:?}: others have mirrors"
    );

    let mut cluster = with(&[&format!("near together {DB}")]);
    cluster.instances[1].secondary = Some(node(2));
    let placement = Placement::new(cluster, &Options::default());
    let both = [InstanceIdx(0), InstanceIdx(1)];
    let one = allocate::evacuate(&placement, &both[..1], EvacMode::All, &rules);
    assert_eq!(one.failed.len(), 1, "the other would stay alone: {:?}", one.moved);
    let all = allocate::evacuate(&placement, &both, EvacMode::All, &rules);
    let seats: Vec<_> = both.iter().map(|member| all.placement.primary(*member)).collect();
    assert!(
        all.failed.is_empty() && seats[0] == seats[1] && seats[0] != node(1),
        "{:?}",
        all.failed
    );
}

#[test]
fn plans_mend_what_is_broken() {
    let mut cluster = with(&[
        &format!("db apart {DB}"),
        r#"web only-on --instances 'name == "web1"' --nodes 'name == "node3" or name == "node4"'"#,
    ]);
    cluster.rules[0].spec.weight = Some(5.0);
    for algorithm in [Algorithm::Greedy, Algorithm::Search] {
        let placement = Placement::new(cluster.clone(), &Options::default());
        let scope = Scope::of(&cluster, GroupIdx(0), &Selection::default());
        let options = balance::Options { algorithm, ..Default::default() };
        let plan = balance::plan(&placement, &scope, &options);
        let verdicts = judge(&plan.placement.to_cluster());
        assert!(verdicts.iter().all(|verdict| verdict.broken == 0), "{algorithm:?}: {verdicts:?}");
    }
}

#[test]
fn files_are_read() {
    let text = format!("# wishes\n\n  db apart {DB}\nweb near --instances 'name == \"a\"'\n");
    let error = read(&text).expect_err("a kind that is none");
    assert_eq!((error.line, error.field), (4, "kind"));
    let twice = format!("db apart {DB}\ndb apart {DB}");
    assert_eq!(
        read(&twice).expect_err("twice").to_string(),
        "line 2: name: there is a rule 'db' already"
    );
}

#[test]
fn what_cannot_be_kept_is_doubtful() {
    let cluster = with(&[
        r#"nobody apart --instances 'name == "x"'"#,
        r#"racks apart --instances 'name != "x"' --domain disk"#,
        r#"nowhere only-on --instances 'name == "web1"' --nodes 'name == "x"'"#,
        r#"one only-on --instances 'name == "web1"' --nodes 'name == "node3"'"#,
        &format!("near together {DB}"),
        &format!("far apart {DB}"),
        &format!("rack together {DB} --domain rack"),
    ]);
    let all: Vec<_> = doubts(&cluster)
        .into_iter()
        .map(|(at, text)| format!("{}: {text}", cluster.rules[at].spec.name))
        .collect();
    assert_eq!(
        all,
        [
            "nobody: it is about no instance that is there",
            "nowhere: there is no such node",
            "one: there is only one such node, and mirrored disks need two",
            "one: with rule 'nowhere' there is no node left for web1",
            "near: it contradicts rule 'racks': db1 and db2 cannot be together and apart",
            "far: it contradicts rule 'near': db1 and db2 cannot be together and apart",
        ]
    );
}
