//! Leadership on a real etcd.

use super::connection::Etcd;
use super::testing::{Server, campaign, cluster};
use super::{EtcdStore, follow};
use crate::store::{Batch, Store, StoreError};
use nix::sys::signal::Signal;
use roost_proto::ids::{Epoch, Serial};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_and_the_next_follows_at_once() {
    let Some(server) = Server::start() else { return };
    let etcd = Etcd::new(&server.settings()).unwrap();
    let other = Etcd::new(&server.settings()).unwrap();
    let mut first = campaign(&etcd, "node1").win().await.unwrap();
    first.announce(Epoch(7)).await.unwrap();
    let leader = campaign(&other, "node2").try_win().await.unwrap().unwrap_err();
    assert_eq!((leader.name.as_str(), leader.epoch), ("node1", Epoch(7)));

    let waiting = tokio::spawn(async move { campaign(&other, "node2").win().await });
    // It outlives its lease only by signs of life.
    assert!(timeout(Duration::from_secs(5), first.lost().cancelled()).await.is_err());
    assert!(!waiting.is_finished() && first.holds());

    let asked = Instant::now();
    let (lost, revision) = (first.lost(), first.revision());
    first.resign().await;
    assert!(lost.is_cancelled());
    let second = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(2), "a resignation is noticed by watching");
    assert!(second.revision() > revision, "each leadership has its own revision");
    let leader = campaign(&etcd, "node1").leader().await.unwrap().unwrap();
    assert_eq!(leader.name, "node2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_is_replaced_when_its_lease_expires() {
    let Some(server) = Server::start() else { return };
    let etcd = Etcd::new(&server.settings()).unwrap();
    let first = campaign(&etcd, "node1").win().await.unwrap();
    let guard = first.guard();
    drop(first);
    let second = timeout(SOON, campaign(&etcd, "node2").win()).await.unwrap().unwrap();
    assert!(second.holds());
    assert!(!guard.holds(), "the first knew before the second could begin");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_leadership_before_the_lease_expires() {
    let Some(server) = Server::start() else { return };
    let etcd = Etcd::new(&server.settings()).unwrap();
    let first = campaign(&etcd, "node1").win().await.unwrap();
    let lost = first.lost();
    server.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    timeout(SOON, lost.cancelled()).await.unwrap();
    let took = stopped.elapsed();
    assert!(took < Duration::from_millis(2_700), "two thirds of 3 s, not {took:?}");
    server.signal(Signal::SIGCONT);
    assert!(!first.holds(), "a lost leadership does not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_key_ends_a_leadership() {
    let Some(server) = Server::start() else { return };
    let etcd = Etcd::new(&server.settings()).unwrap();
    let mut first = campaign(&etcd, "node1").win().await.unwrap();
    let Some(_) = server.control(&["del", "--prefix", "/roost/"]) else { return };
    let error = first.announce(Epoch(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::NotLeader { .. }), "{error}");
    assert!(!first.holds());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_lease_ends_a_leadership() {
    let Some(server) = Server::start() else { return };
    let etcd = Etcd::new(&server.settings()).unwrap();
    let first = campaign(&etcd, "node1").win().await.unwrap();
    etcd.revoke(SOON, first.lease()).await.unwrap();
    timeout(Duration::from_millis(1_500), first.lost().cancelled()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_silent_is_left_for_another() {
    let (Some(server), Some(silent)) = (Server::start(), Server::start()) else { return };
    let mut settings = server.settings();
    settings.endpoints.insert(0, silent.url.clone());
    silent.signal(Signal::SIGSTOP);
    let etcd = Etcd::new(&settings).unwrap();
    let first = campaign(&etcd, "node1").win().await.unwrap();
    assert!(timeout(Duration::from_secs(4), first.lost().cancelled()).await.is_err());
    silent.signal(Signal::SIGCONT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_hear_of_commits() {
    let Some(server) = Server::start() else { return };
    let etcd = Etcd::new(&server.settings()).unwrap();
    let stop = CancellationToken::new();
    let mut serial = follow(etcd.clone(), cluster(), stop.clone());
    let leadership = campaign(&etcd, "node1").win().await.unwrap();
    let mut store = EtcdStore::new(Handle::current(), etcd, cluster());
    store.lead(leadership.guard());
    let writer = tokio::task::spawn_blocking(move || {
        store.create().unwrap();
        for _ in 0..3 {
            store.commit(Epoch(1), &[Batch::default()]).unwrap();
        }
    });
    timeout(SOON, serial.wait_for(|serial| *serial == Serial(3))).await.unwrap().unwrap();
    writer.await.unwrap();
    stop.cancel();
    timeout(SOON, async { while serial.changed().await.is_ok() {} }).await.unwrap();
}
