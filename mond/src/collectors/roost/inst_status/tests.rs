use super::super::libvirt::{Balloon, State, parse_stats, reason};
use super::*;
use proptest::prelude::*;

const RUNNING: &str = include_str!("../../../../fixtures/libvirt/running.txt");
const SUSPENDED: &str = include_str!("../../../../fixtures/libvirt/suspended.txt");
const FROZEN: &str = include_str!("../../../../fixtures/libvirt/frozen.txt");

fn guest(admin_state: &str) -> Guest {
    Guest {
        name: "guest1.lab".into(),
        uuid: "6be964d1".into(),
        admin_state: admin_state.into(),
        hypervisor: "kvm".into(),
        primary: true,
        mtime: Duration::from_millis(1_500),
        ..Guest::default()
    }
}

fn domain(text: &str) -> Domain {
    parse_stats(text, true).pop().unwrap()
}

fn in_state(state: State, reason: u32) -> Domain {
    Domain { name: "guest1.lab".into(), state, reason, answered: Some(true), ..Domain::default() }
}

/// It has been here for an hour.
fn found(domain: &Domain) -> Found<'_> {
    let at = Instant::now() + Duration::from_secs(7_200);
    let since = at - Duration::from_secs(3_600);
    Found { domain, process: None, seen: Seen { since, gone: None, silent: None }, at }
}

/// Its QEMU has not answered for so many seconds, since it had used so much processor time.
fn silent(domain: &Domain, seconds: u64, cpu: Option<u64>) -> Found<'_> {
    let mut found = found(domain);
    found.seen.silent = Some((found.at - Duration::from_secs(seconds), cpu));
    found
}

fn code(guest: &Guest, found: Option<&Found<'_>>) -> Code {
    judge(guest, found, false).code
}

#[test]
fn instances_are_judged_by_the_rules_of_the_reference() {
    let (running, suspended) = (domain(RUNNING), domain(SUSPENDED));
    let (ending, off) = (in_state(State::Ending, 0), in_state(State::Off, 0));
    let all = [&running, &suspended, &ending, &off].map(found);
    let [running, suspended, ending, off] = &all;
    let up = guest("up");
    assert_eq!(judge(&up, Some(running), false), Health::ok());
    for (found, says) in [
        (Some(suspended), "it is paused; 'virsh resume guest1.lab'"),
        (Some(ending), "it is shutting down"),
        (Some(off), "it has ended"),
        (None, "start it with 'gnt-instance start guest1.lab'"),
    ] {
        let health = judge(&up, found, false);
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.starts_with("The instance is not running as it should be: "));
        assert!(health.message.contains(says), "{}", health.message);
    }
    let down = guest("down");
    for found in [None, Some(ending), Some(off)] {
        assert_eq!(judge(&down, found, false), Health::ok());
    }
    for found in [running, suspended] {
        let health = judge(&down, Some(found), false);
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.starts_with("The instance is not stopped as it should be: "));
    }
    for found in [None, Some(running)] {
        let health = judge(&guest("offline"), found, false);
        assert_eq!(health, Health::new(Code::Unknown, "The instance is marked as offline"));
    }
    assert_eq!(code(&guest("sideways"), None), Code::Unknown);
}

#[test]
fn a_pause_is_judged_by_its_reason() {
    for (reason, wanted, says) in [
        (reason::PAUSED_MIGRATION, Code::Fixing, "moved"),
        (reason::PAUSED_STARTING_UP, Code::Fixing, "started"),
        (reason::PAUSED_IOERROR, Code::Bad, "a disk of it failed"),
        (reason::PAUSED_POSTCOPY_FAILED, Code::Bad, "its migration broke"),
        (reason::PAUSED_CRASHED, Code::Bad, "crashed"),
        (1, Code::Bad, "virsh resume"),
    ] {
        let domain = in_state(State::Paused, reason);
        let health = judge(&guest("up"), Some(&found(&domain)), false);
        assert_eq!(health.code, wanted, "{reason}");
        assert!(health.message.contains(says), "{}", health.message);
    }
    let crashed = in_state(State::Paused, reason::PAUSED_CRASHED);
    assert_eq!(actual_state(&found(&crashed)), ActualState::Crashed);
}

#[test]
fn a_guest_that_is_merely_idle_does_not_hang() {
    let idle = Domain { cpu_time: Some(7), ..in_state(State::Running, 1) };
    assert_eq!(actual_state(&found(&idle)), ActualState::Running);
    let noted_once = noted(None, &idle, Instant::now());
    assert_eq!(noted_once.silent, None, "it answers");
}

#[test]
fn a_guest_hangs_whose_qemu_does_not_answer() {
    let frozen = domain(FROZEN);
    let cpu = frozen.cpu_time;
    let up = guest("up");
    assert_eq!(
        actual_state(&silent(&frozen, 0, cpu)),
        ActualState::Running,
        "one look tells nothing"
    );
    assert_eq!(actual_state(&silent(&frozen, 2, cpu)), ActualState::Running, "too near");
    for found in [silent(&frozen, 3, cpu), silent(&frozen, 60, Some(0))] {
        assert_eq!(actual_state(&found), ActualState::Hung);
        let health = judge(&up, Some(&found), false);
        assert_eq!(health.code, Code::Unknown);
        let says = "Instance marked as running, but it appears to be hung";
        assert!(health.message.starts_with(says), "{}", health.message);
    }
    assert_eq!(
        actual_state(&silent(&frozen, 59, Some(0))),
        ActualState::Running,
        "it works, though"
    );
    let unasked = Domain { answered: None, ..frozen };
    assert_eq!(actual_state(&silent(&unasked, 3_600, cpu)), ActualState::Running, "nobody knows");
}

#[test]
fn a_guest_hangs_whose_process_is_stopped() {
    let domain = domain(RUNNING);
    let stat = Stat::parse(include_str!("../../../../fixtures/proc/qemu-stopped.stat")).unwrap();
    let mut found = found(&domain);
    found.process = Some(Process { stat: stat.clone(), age: Duration::from_secs(5) });
    let report = instance(&guest("up"), Some(&found), judge(&guest("up"), Some(&found), false));
    assert_eq!((report.actual_state, report.status.code), (ActualState::Hung, Code::Unknown));
    assert_eq!(report.uptime.as_deref(), Some("0:00:05"));
    assert_eq!(report.mtime, 1.5);
    found.process = Some(Process { stat: Stat { state: 'S', ..stat }, age: Duration::ZERO });
    assert_eq!(actual_state(&found), ActualState::Running);
}

#[test]
fn silence_is_remembered_until_an_answer() {
    let start = Instant::now();
    let later = start + Duration::from_secs(5);
    let (frozen, running) = (domain(FROZEN), domain(RUNNING));
    let first = noted(None, &frozen, start);
    assert_eq!(first.silent, Some((start, frozen.cpu_time)));
    assert_eq!(noted(Some(first), &frozen, later).silent, first.silent);
    let unasked = Domain { answered: None, ..frozen.clone() };
    assert_eq!(noted(Some(first), &unasked, later).silent, first.silent);
    let again = noted(Some(first), &running, later);
    assert_eq!((again.silent, again.since), (None, start));
}

#[test]
fn who_runs_on_the_wrong_node_is_reported() {
    let running = in_state(State::Running, 1);
    let own_guest = guest("up");
    let secondary = Guest { primary: false, ..guest("up") };
    let all = HashMap::from([("guest1.lab", found(&running))]);
    let names = || BTreeSet::from(["guest1.lab".to_owned()]);
    assert_eq!(strangers(&[&own_guest], &all, || panic!("not needed")), []);
    for guests in [vec![&secondary], vec![]] {
        let [report] = &strangers(&guests, &all, names)[..] else { panic!("one") };
        assert_eq!(report.status.code, Code::Bad);
        assert!(report.status.message.contains("its primary node is another"));
    }
    assert_eq!(strangers(&[], &all, BTreeSet::new), [], "the cluster has nothing to do with it");
    let named = merged(&strangers(&[], &all, names));
    assert!(named.message.starts_with("\nguest1.lab: The instance runs here"), "{named:?}");
}

#[test]
fn who_arrives_by_migration_is_given_time() {
    let arriving = in_state(State::Paused, reason::PAUSED_MIGRATION);
    assert_eq!(judge_stranger(&found(&arriving)).code, Code::Unknown);
    let arrived = in_state(State::Running, 5);
    let mut seen = found(&arrived);
    assert_eq!(judge_stranger(&seen).code, Code::Bad, "an hour ago");
    seen.seen.since = seen.at - Duration::from_secs(59);
    assert_eq!(judge_stranger(&seen).code, Code::Unknown);
}

#[test]
fn who_leaves_is_given_time() {
    let up = guest("up");
    assert_eq!(judge(&up, None, true).code, Code::Unknown);
    assert_eq!(judge(&up, None, false).code, Code::Bad);
    assert_eq!(judge(&guest("down"), None, true), Health::ok());
    let status = InstStatus::new(Source::new(Driver::Qemu));
    let start = Instant::now();
    let running = in_state(State::Running, 1);
    let look = |seconds: u64, domains: &[&Domain]| {
        let at = start + Duration::from_secs(seconds);
        let domains = domains.iter().map(|domain| (*domain).clone()).collect();
        status.note(&Look { at, domains }).get("guest1.lab").copied()
    };
    assert!(look(0, &[]).is_none(), "never seen");
    let seen = look(10, &[&running]).unwrap();
    assert_eq!((seen.gone, seen.since), (None, start + Duration::from_secs(10)));
    assert_eq!(look(15, &[&running]).unwrap().since, seen.since);
    assert!(look(100, &[]).unwrap().gone.is_some(), "the first look without it");
    assert!(look(119, &[]).unwrap().gone.is_some());
    assert!(look(120, &[]).is_none());
    let off = in_state(State::Off, 0);
    look(130, &[&running]);
    assert!(look(131, &[&off]).unwrap().gone.is_some(), "libvirt keeps it, but it has ended");
    let back = look(135, &[&running]).unwrap();
    assert_eq!((back.gone, back.since), (None, start + Duration::from_secs(135)));
}

#[test]
fn outside_a_cluster_only_the_guest_itself_counts() {
    let (running, crashed) = (in_state(State::Running, 1), in_state(State::Crashed, 0));
    let all = HashMap::from([("guest1.lab", found(&running))]);
    let [report] = &without_cluster(&all)[..] else { panic!("one") };
    assert_eq!((report.admin_state.as_str(), report.status.code), ("unknown", Code::Ok));
    let all = HashMap::from([("guest1.lab", found(&crashed))]);
    assert_eq!(without_cluster(&all)[0].status.code, Code::Bad);
}

#[test]
fn a_cluster_that_has_not_been_heard_is_not_taken_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::new(Some(dir.path().into()));
    let world = World::new(paths.clone(), Default::default());
    assert_eq!(belongs(&world, &world.cluster()), Belongs::Nowhere);
    std::fs::create_dir_all(paths.data_dir()).unwrap();
    std::fs::write(paths.identity(), "{}").unwrap();
    assert_eq!(belongs(&world, &world.cluster()), Belongs::Unheard);
    world.set_cluster(ClusterView { node: Some("node1.lab".into()), ..ClusterView::default() });
    assert_eq!(belongs(&world, &world.cluster()), Belongs::Known);
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Unknown),
        Just(State::Running),
        Just(State::Blocked),
        Just(State::Paused),
        Just(State::Ending),
        Just(State::Off),
        Just(State::Crashed),
        Just(State::Asleep),
    ]
}

proptest! {
    #[test]
    fn every_judgement_but_well_has_a_sentence(
        state in any_state(), reason in 0u32..16, admin in "up|down|offline|x", cpu in any::<Option<u64>>(),
        answered in any::<Option<bool>>(), seconds in 0u64..7_000, was in any::<Option<u64>>(),
    ) {
        let balloon = Balloon::default();
        let domain = Domain { cpu_time: cpu, answered, balloon, ..in_state(state, reason) };
        let found = silent(&domain, seconds, was);
        for health in [judge(&guest(&admin), Some(&found), false), judge_stranger(&found)] {
            prop_assert_eq!(health.code == Code::Ok, health.message.is_empty());
        }
    }
}
