//! Against libvirt's test driver: a real connection, in this process, without any daemon.

use super::*;
use crate::hypervisor::Events;
use roost_proto::node::{GuestState, InstanceRef};
use virt::domain::Domain;

const XML: &str = "<domain type='test'><name>NAME</name><uuid>UUID</uuid>\
    <memory unit='MiB'>64</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>";

fn kvm() -> (tempfile::TempDir, Kvm, Events) {
    let dir = tempfile::tempdir().expect("directory");
    let paths = Paths::new(Some(dir.path().to_owned()));
    let events = EventSender::new();
    let received = events.subscribe();
    // Each process has one test host that all its connections share.
    let kvm = Kvm::at("test:///default", &paths, events).expect("kvm");
    (dir, kvm, received)
}

async fn create(kvm: &Kvm, number: u128) -> InstanceRef {
    let name = format!("guest{number}");
    let uuid = uuid::Uuid::from_u128(number);
    let xml = XML.replace("NAME", &name).replace("UUID", &uuid.to_string());
    let start = move |c: &Connection| Domain::create_xml(c, &xml, 0).map(drop);
    kvm.0.link.call("create", QUICK, start).await.expect("create");
    let name = roost_proto::names::InstanceName::new(name).expect("name");
    InstanceRef { uuid: uuid.into(), name }
}

async fn next_about(events: &mut Events, name: &str) -> GuestEvent {
    loop {
        match events.recv().await.expect("event") {
            GuestEvent::Changed(report) if report.name == name => {
                return GuestEvent::Changed(report);
            }
            GuestEvent::Gone { name: who, hypervisor } if who == name => {
                return GuestEvent::Gone { name: who, hypervisor };
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_listed_frozen_resumed_and_killed() {
    let (_dir, kvm, mut events) = kvm();
    let guest = create(&kvm, 101).await;
    let report = kvm.info(&guest.name).await.expect("info").expect("there");
    assert_eq!((report.uuid, report.state), (Some(guest.uuid), GuestState::Running));
    assert_eq!((report.memory, report.vcpus), (64, 2));
    assert!(kvm.list().await.expect("list").iter().any(|r| r.name == *guest.name));
    match next_about(&mut events, &guest.name).await {
        GuestEvent::Changed(report) => assert_eq!(report.state, GuestState::Running),
        other => panic!("{other:?}"),
    }

    let freeze = |domain: &Domain| domain.suspend().map(drop);
    kvm.with(&guest.name, "freeze", QUICK, freeze).await.expect("freeze");
    assert_eq!(kvm.state(&guest.name).await.expect("state"), Some(GuestState::Paused));
    kvm.resume(&guest).await.expect("resume");
    kvm.resume(&guest).await.expect("resumed already");
    assert_eq!(kvm.state(&guest.name).await.expect("state"), Some(GuestState::Running));
    let error = kvm.forget(&guest).await.expect_err("it runs");
    assert!(error.message.contains("stop it first"), "{error}");

    kvm.stop(&guest, Duration::ZERO).await.expect("stop");
    kvm.stop(&guest, Duration::ZERO).await.expect("stopped already");
    assert_eq!(kvm.info(&guest.name).await.expect("info"), None);
    while !matches!(next_about(&mut events, &guest.name).await, GuestEvent::Gone { .. }) {}
    let error = kvm.resume(&guest).await.expect_err("gone");
    assert!(error.message.contains("does not run"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_shuts_itself_down_is_told_from_one_that_was_stopped() {
    let (_dir, kvm, mut events) = kvm();
    let guest = create(&kvm, 102).await;
    // As if from inside: nobody asked our stop.
    let shutdown = |domain: &Domain| domain.shutdown().map(drop);
    kvm.with(&guest.name, "shutdown", QUICK, shutdown).await.expect("shutdown");
    let report = loop {
        match next_about(&mut events, &guest.name).await {
            GuestEvent::Changed(report) if report.state == GuestState::Shutdown => break report,
            GuestEvent::Changed(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((report.uuid, report.memory), (Some(guest.uuid), 0));
    let listed = kvm.list().await.expect("list").into_iter().find(|r| r.name == *guest.name);
    assert_eq!(listed.map(|r| r.state), Some(GuestState::Shutdown));
    kvm.stop(&guest, Duration::ZERO).await.expect("stop");
    assert_eq!(kvm.info(&guest.name).await.expect("info"), None);

    // Asked by us: it is just gone.
    let guest = create(&kvm, 103).await;
    kvm.stop(&guest, Duration::from_secs(60)).await.expect("stop");
    while !matches!(next_about(&mut events, &guest.name).await, GuestEvent::Gone { .. }) {}
    assert_eq!(kvm.info(&guest.name).await.expect("info"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_libvirt_that_is_away_is_named() {
    let dir = tempfile::tempdir().expect("directory");
    let paths = Paths::new(Some(dir.path().to_owned()));
    let uri = format!("qemu+unix:///system?socket={}/none", dir.path().display());
    let kvm = Kvm::at(&uri, &paths, EventSender::new()).expect("kvm");
    let error = kvm.list().await.expect_err("away");
    assert!(error.message.contains(&uri) && error.message.contains("systemctl"), "{error}");
}

#[test]
fn versions_read_as_people_write_them() {
    assert_eq!(version_text(11_003_000), "11.3.0");
}
