//! Fake guests: life, death by hand, a restart of noded.

use super::*;
use roost_proto::names::InstanceName;
use std::time::Instant;
use uuid::Uuid;

fn spec(number: u128) -> GuestSpec {
    serde_json::from_value(serde_json::json!({
        "uuid": Uuid::from_u128(number), "name": format!("web{number}.example.com"),
        "hypervisor": "fake", "hvparams": {},
        "beparams": {"maxmem": 512, "minmem": 256, "vcpus": 2},
    }))
    .expect("a guest")
}

fn reference(guest: &GuestSpec) -> InstanceRef {
    InstanceRef { uuid: guest.uuid, name: guest.name.clone() }
}

fn new() -> (tempfile::TempDir, Paths, Fake) {
    let dir = tempfile::tempdir().expect("directory");
    let paths = Paths::new(Some(dir.path().to_owned()));
    let fake = Fake::new(&paths, EventSender::new()).expect("fake");
    (dir, paths, fake)
}

#[tokio::test]
async fn a_life() {
    let (_dir, paths, fake) = new();
    let guest = spec(1);
    fake.start(&guest, &[], true).await.expect("start");
    fake.start(&guest, &[], false).await.expect("started already");
    let report = fake.info(&guest.name).await.expect("info").expect("there");
    assert_eq!((report.state, report.memory, report.vcpus), (GuestState::Paused, 512, 2));
    fake.resume(&reference(&guest)).await.expect("resume");
    fake.balloon(&reference(&guest), 300).await.expect("balloon");

    let again = Fake::new(&paths, EventSender::new()).expect("noded restarted");
    let report = again.info(&guest.name).await.expect("info").expect("still there");
    assert_eq!((report.state, report.memory), (GuestState::Running, 300));

    let error = fake.forget(&reference(&guest)).await.expect_err("it runs");
    assert!(error.message.contains("stop it first"), "{error}");
    fake.stop(&reference(&guest), Duration::ZERO).await.expect("stop");
    fake.stop(&reference(&guest), Duration::ZERO).await.expect("stopped already");
    assert_eq!(fake.list().await.expect("list"), vec![]);
    let error = fake.balloon(&reference(&guest), 300).await.expect_err("not running");
    assert!(error.message.contains("web1.example.com does not run"), "{error}");
}

#[tokio::test]
async fn death_and_shutdown_by_hand_are_noticed() {
    let (_dir, paths, fake) = new();
    let mut events = fake.0.events.subscribe();
    let dir = paths.run_dir().join("fake-hypervisor");
    for number in 1..=2 {
        fake.start(&spec(number), &[], false).await.expect("start");
        assert!(matches!(events.recv().await, Ok(GuestEvent::Changed(_))));
    }
    let before = Instant::now();
    std::fs::remove_file(dir.join("web1.example.com")).expect("kill");
    assert_eq!(events.recv().await.expect("event"), gone("web1.example.com"));
    std::fs::rename(dir.join("web2.example.com"), dir.join("web2.example.com@shutdown"))
        .expect("shut down");
    match events.recv().await.expect("event") {
        GuestEvent::Changed(report) => assert_eq!(report.state, GuestState::Shutdown),
        other => panic!("{other:?}"),
    }
    assert!(before.elapsed() < Duration::from_secs(10));
    fake.start(&spec(2), &[], false).await.expect("start again");
    assert!(!dir.join("web2.example.com@shutdown").exists());
    fake.stop(&InstanceRef { uuid: spec(2).uuid, name: name(2) }, Duration::ZERO)
        .await
        .expect("stop");
    assert_eq!(fake.list().await.expect("list"), vec![]);
}

#[tokio::test]
async fn thousands_cost_next_to_nothing() {
    let (_dir, paths, fake) = new();
    let began = Instant::now();
    for number in 0..3000 {
        fake.start(&spec(number), &[], false).await.expect("start");
    }
    println!("3000 started in {:?}", began.elapsed());
    // Ten times what it takes on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(fake.list().await.expect("list").len(), 3000);
    let again = Fake::new(&paths, EventSender::new()).expect("noded restarted");
    assert_eq!(again.list().await.expect("list").len(), 3000);
}

#[tokio::test]
async fn a_received_guest_waits_to_be_resumed() {
    let (_dir, _paths, source) = new();
    let (_dir2, _paths2, target) = new();
    let guest = spec(7);
    source.start(&guest, &[], false).await.expect("start");
    target.receive_state(source.send_state(&guest.name).expect("state")).expect("receive");
    let report = target.info(&guest.name).await.expect("info").expect("there");
    assert_eq!(report.state, GuestState::Incoming);
    assert!(!report.state.is_running());
    target.start(&guest, &[], false).await.expect_err("being received");
    target.resume(&reference(&guest)).await.expect("resume");
    target.receive_state(source.send_state(&guest.name).expect("state")).expect_err("runs");
}

fn name(number: u128) -> InstanceName {
    spec(number).name
}

#[tokio::test]
async fn disks_that_a_guest_has_are_not_given_away() {
    let (dir, paths, fake) = new();
    let guest = spec(1);
    let disk: roost_proto::objects::Disk = serde_json::from_value(serde_json::json!({
        "uuid": Uuid::from_u128(7), "dev_type": "file", "size": 1, "iv_name": "disk/0",
    }))
    .expect("a disk");
    let attached = Attachment {
        index: 0,
        uuid: disk.uuid,
        source: crate::hypervisor::Source::File("/x".into()),
        format: crate::hypervisor::ImageFormat::Raw,
        readonly: false,
        shared: false,
    };
    fake.start(&guest, &[attached], false).await.expect("start");
    let all = crate::hypervisor::Hypervisors::new(paths);
    all.enable(&[Hypervisor::Fake]);
    let disks = [disk.clone()];
    let error = all.let_go(&reference(&guest), &disks).await.expect_err("in use");
    assert!(error.message.contains("(disk/0) is in use"), "{error}");
    fake.unplug_disk(&guest, disk.uuid).await.expect("unplugged");
    let again = crate::hypervisor::Hypervisors::new(Paths::new(Some(dir.path().to_owned())));
    again.enable(&[Hypervisor::Fake]);
    again.let_go(&reference(&guest), &disks).await.expect("the guest has it no more");
}
