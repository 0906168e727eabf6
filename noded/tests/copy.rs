//! Copies of disks between two nodeds, over connections that break, nodeds that end and disks of
//! other formats.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Cluster, Master, Node};
use roost_noded::exec::Command;
use roost_noded::{Handle, Noded, Options};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::node::{Action, InstanceRef, Outcome};
use roost_proto::objects::Disk;
use roost_proto::rpc::node as rpc;
use roost_proto::rpc::node::copy_data::Data;
use roost_proto::rpc::node::copy_reply::Reply;
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MIB: usize = 1 << 20;

fn instance() -> InstanceRef {
    InstanceRef {
        uuid: "11111111-0000-4000-8000-000000000000".parse().unwrap(),
        name: roost_proto::names::InstanceName::new("web1.example.com").unwrap(),
    }
}

fn disk(n: u32, file: &str, size: usize, format: &str) -> Disk {
    serde_json::from_value(json!({
        "uuid": format!("22222222-0000-4000-8000-{n:012}"), "dev_type": "file", "size": size,
        "logical_id": ["loop", format!("/srv/files/{file}")], "iv_name": format!("disk/{n}"),
        "params": {"format": format},
    }))
    .unwrap()
}

fn path(node: &Node, disk: &Disk) -> PathBuf {
    node.paths.absolute(disk.path().unwrap())
}

/// Data that cannot be packed much, with a hole and zeros in it.
fn content(mib: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut all: Vec<u8> = (0..mib * MIB)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    all[MIB + 5..2 * MIB].fill(0);
    all[MIB / 2] = 7;
    all
}

/// Two nodes with a disk each; the first holds `content`.
struct Site {
    one: Node,
    two: Node,
    three: Node,
    cluster: Cluster,
    source: Handle,
    from: Vec<Disk>,
    to: Vec<Disk>,
}

impl Site {
    async fn new(content: &[u8]) -> (Site, Handle) {
        let cluster = Cluster::new();
        let (one, two, three) = (cluster.node(1), cluster.node(2), cluster.node(3));
        two.trust(&[&one]);
        three.trust(&[&one]);
        let (source, target) = (two.start().await, three.start().await);
        let size = content.len() / MIB;
        let from = vec![disk(0, "i1/disk0", size, "raw")];
        let to = vec![disk(1, "i1/copy0", size, "raw")];
        let site = Site { one, two, three, cluster, source, from, to };
        let create =
            |disks: &Vec<Disk>| Action::DisksCreate { instance: instance(), disks: disks.clone() };
        site.source().await.run(create(&site.from)).await.expect("made");
        site.target(&target).await.run(create(&site.to)).await.expect("made");
        fs::write(path(&site.two, &site.from[0]), content).unwrap();
        // What an earlier use left.
        fs::write(path(&site.three, &site.to[0]), vec![9; content.len()]).unwrap();
        (site, target)
    }

    async fn source(&self) -> Master {
        self.one.master(&self.cluster, &self.two, &self.source).await
    }

    async fn target(&self, handle: &Handle) -> Master {
        self.one.master(&self.cluster, &self.three, handle).await
    }

    async fn await_copy(&self, handle: &Handle) {
        let receive = Action::DisksReceive {
            instance: instance(),
            disks: self.to.clone(),
            token: "secret".into(),
        };
        self.target(handle).await.run(receive).await.expect("awaited");
    }

    async fn copy(&self, address: SocketAddr, compress: &str) -> Result<Outcome> {
        let copy = Action::DisksCopy {
            instance: instance(),
            from: self.from.clone(),
            to: self.to.clone(),
            target: self.three.id,
            address: address.to_string(),
            token: "secret".into(),
            compress: compress.into(),
        };
        self.source().await.run(copy).await
    }

    fn copied(&self) -> Vec<u8> {
        fs::read(path(&self.three, &self.to[0])).unwrap()
    }

    /// One byte of the copy, if it is that long.
    fn byte(&self, at: usize) -> Option<u8> {
        let mut byte = [0];
        let file = fs::File::open(path(&self.three, &self.to[0])).unwrap();
        file.read_exact_at(&mut byte, at as u64).ok().map(|()| byte[0])
    }

    /// Limits the source to so many MiB a second.
    async fn limit(&self, rate: usize) {
        let mut values = std::collections::BTreeMap::new();
        for key in ["file_storage_dir", "hypervisor_list", "node_uuids", "master_candidates_certs"]
        {
            values.insert(key.to_owned(), fs::read_to_string(self.two.paths.ssconf(key)).unwrap());
        }
        values.insert("node_disk_rates".to_owned(), format!("{} {rate} 0\n", self.two.id));
        let mut source = self.source().await;
        // A job of its own: the copy's step would be joined.
        source.job = 1000 + rate as u64;
        source.run(Action::SsconfWrite { values }).await.expect("told");
    }
}

/// Carries connections to another address. The first `breaks` of them are cut after `limit` bytes.
struct Cable {
    address: SocketAddr,
    carried: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Cable {
    async fn new(to: SocketAddr, breaks: u64, limit: u64) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (carried, connections) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let cable = Cable { address, carried: carried.clone(), connections: connections.clone() };
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let n = connections.fetch_add(1, Ordering::Relaxed);
                let limit = if n < breaks { limit } else { u64::MAX };
                tokio::spawn(carry(from, to, limit, carried.clone()));
            }
        });
        cable
    }
}

async fn carry(mut from: TcpStream, to: SocketAddr, limit: u64, carried: Arc<AtomicU64>) {
    let Ok(mut to) = TcpStream::connect(to).await else { return };
    let (mut from_read, mut from_write) = from.split();
    let (mut to_read, mut to_write) = to.split();
    let forth = async {
        let mut left = limit;
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from_read.read(&mut buffer).await {
            if n as u64 > left || to_write.write_all(&buffer[..n]).await.is_err() {
                return;
            }
            left -= n as u64;
            carried.fetch_add(n as u64, Ordering::Relaxed);
        }
    };
    let back = tokio::io::copy(&mut to_read, &mut from_write);
    tokio::select! { () = forth => {}, _ = back => {} }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_breaks_goes_on_where_it_was() {
    let content = content(160);
    let (site, target) = Site::new(&content).await;
    site.await_copy(&target).await;
    let cable = Cable::new(target.address(), 2, 90 << 20).await;
    site.copy(cable.address, "none").await.expect("copied in the end");
    assert!(site.copied() == content, "the same data");
    assert_eq!(cable.connections.load(Ordering::Relaxed), 3);
    let carried = cable.carried.load(Ordering::Relaxed) >> 20;
    // 160 in all, and what was on the way twice: less than 64 and what is in buffers.
    assert!((160..160 + 2 * 90).contains(&carried), "{carried} MiB went over the cable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_survives_the_end_of_both_nodeds() {
    let content = content(140);
    let (mut site, target) = Site::new(&content).await;
    site.await_copy(&target).await;
    site.limit(60).await;
    let address = target.address();
    let kept = || fs::read_dir(site.three.paths.copies_dir()).unwrap().next().unwrap().unwrap();
    let copying = site.copy(address, "lz4");
    // Once something is kept, the target's noded dies and another one takes its place.
    let restart = async {
        loop {
            let record = fs::read_to_string(kept().path()).unwrap_or_default();
            if record.contains("\"bytes\":6") {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(target);
        loop {
            let options = Options {
                paths: site.three.paths.clone(),
                listen: Some(address.to_string()),
                hypervisors: vec![Hypervisor::Fake],
            };
            // Until the port is free again.
            if let Ok(handle) = Noded::start(options).await {
                return handle;
            }
            tokio::task::yield_now().await;
        }
    };
    let (copied, target) = tokio::join!(copying, restart);
    copied.expect("copied in the end");
    assert!(site.copied() == content, "the same data");
    // Now the source's: the new one is asked to do it again.
    let old = std::mem::replace(&mut site.source, site.two.start().await);
    drop(old);
    site.limit(0).await;
    site.copy(target.address(), "").await.expect("it is all there");
    assert!(site.copied() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_packing_brings_over_the_same() {
    let content = content(9);
    let (site, target) = Site::new(&content).await;
    for tool in ["gzip-fast", "gzip", "zstd", "lz4"] {
        fs::write(path(&site.three, &site.to[0]), vec![9; 10 * MIB]).unwrap();
        // Awaited anew: nothing of the copy before counts.
        let end = Action::DisksShutdown { instance: instance(), disks: site.to.clone() };
        site.target(&target).await.run(end).await.expect("ended");
        site.await_copy(&target).await;
        site.copy(target.address(), tool).await.expect(tool);
        assert!(site.copied() == content, "{tool}");
    }
    let error = site.copy(target.address(), "lzop").await.expect_err("not by library");
    assert!(error.message.contains("Compression tool 'lzop'"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_are_converted_here_and_elsewhere() {
    let content = content(8);
    let (site, target) = Site::new(&content).await;
    let image = vec![disk(2, "i1/image0", 8, "qcow2")];
    let local = |from: &Vec<Disk>, to: &Vec<Disk>, token: &str| Action::DisksCopy {
        instance: instance(),
        from: from.clone(),
        to: to.clone(),
        target: site.two.id,
        address: String::new(),
        token: token.into(),
        compress: "gzip".into(),
    };
    let create = Action::DisksCreate { instance: instance(), disks: image.clone() };
    let mut source = site.source().await;
    source.run(create).await.expect("made");
    source.run(local(&site.from, &image, "a")).await.expect("raw to qcow2");
    let file = path(&site.two, &image[0]);
    let compare = Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "qcow2"]);
    let original = path(&site.two, &site.from[0]);
    compare.arg(&original).arg(&file).run_ok().await.expect("the same disk");
    Command::new("qemu-img").arg("check").arg(&file).run_ok().await.expect("a sound image");
    // And back, on the other node.
    let there = Site { from: image.clone(), ..site };
    there.await_copy(&target).await;
    there.copy(target.address(), "").await.expect("qcow2 to raw");
    assert!(there.copied() == content);
    // An image goes over an image as it is, snapshots in it and all.
    let snapshot = Command::new("qemu-img").args(["snapshot", "-c", "inside"]);
    snapshot.arg(&file).run_ok().await.expect("a snapshot");
    let to = vec![disk(3, "i1/image1", 8, "qcow2")];
    let there = Site { to, ..there };
    let create = Action::DisksCreate { instance: instance(), disks: there.to.clone() };
    there.target(&target).await.run(create).await.expect("made");
    there.await_copy(&target).await;
    there.copy(target.address(), "").await.expect("qcow2 to qcow2");
    assert!(there.copied() == fs::read(&file).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_garbage_is_made_zero_where_the_source_is() {
    let (site, _target) = Site::new(&content(8)).await;
    // An image's disk is not emptied by opening it, just as a new volume is not.
    let (small, large) =
        (vec![disk(2, "i1/small", 4, "raw")], vec![disk(3, "i1/image", 8, "qcow2")]);
    let mut source = site.source().await;
    let create =
        |disks: &Vec<Disk>| Action::DisksCreate { instance: instance(), disks: disks.clone() };
    source.run(create(&small)).await.expect("made");
    source.run(create(&large)).await.expect("made");
    let local = |from: &Vec<Disk>, to: &Vec<Disk>, token: &str| Action::DisksCopy {
        instance: instance(),
        from: from.clone(),
        to: to.clone(),
        target: site.two.id,
        address: String::new(),
        token: token.into(),
        compress: String::new(),
    };
    source.run(local(&site.from, &large, "a")).await.expect("garbage");
    let mut content = vec![0; 4 * MIB];
    content[3 * MIB..3 * MIB + 7].fill(5);
    fs::write(path(&site.two, &small[0]), &content).unwrap();
    source.run(local(&small, &large, "b")).await.expect("copied");
    let raw = site.two.root.path().join("raw");
    let convert = Command::new("qemu-img").args(["convert", "-O", "raw"]);
    convert.arg(path(&site.two, &large[0])).arg(&raw).run_ok().await.expect("converted");
    content.resize(8 * MIB, 0);
    assert!(fs::read(raw).unwrap() == content, "also behind its end");
    let error = source.run(local(&site.from, &small, "c")).await;
    error.expect("a file grows");
    let tiny = vec![disk(4, "i1/tiny", 4, "qcow2")];
    source.run(create(&tiny)).await.expect("made");
    let error = source.run(local(&site.from, &tiny, "d")).await.expect_err("too small");
    assert!(error.message.contains("repair-disk-sizes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_used_otherwise_end_the_copy_at_once() {
    let (site, target) = Site::new(&content(40)).await;
    site.await_copy(&target).await;
    site.limit(4).await;
    let copying = site.copy(target.address(), "");
    let remove = async {
        // It has begun: the garbage is gone.
        while site.byte(20 * MIB) == Some(9) {
            tokio::task::yield_now().await;
        }
        let remove = Action::DisksRemove { instance: instance(), disks: site.to.clone() };
        site.target(&target).await.run(remove).await.expect("removed");
    };
    let (copied, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(8), copying), remove);
    let error = copied.expect("at once, not after ten seconds").expect_err("ended");
    assert!(
        error.message.contains("used otherwise") || error.message.contains("awaited"),
        "{error}"
    );
    assert!(error.message.contains("node3"), "{error}");
    assert!(!path(&site.three, &site.to[0]).exists(), "nothing came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_its_digest_is_refused() {
    let (site, target) = Site::new(&content(2)).await;
    site.await_copy(&target).await;
    let channel = site.two.channel(&site.three, &target).await.expect("connected");
    let begin = rpc::CopyBegin { length: 2 << 20, ..Default::default() };
    let piece = rpc::CopyPiece { offset: 0, data: vec![1; 4096], ..Default::default() };
    let check = rpc::CopyCheck { offset: 4096, digest: "00".into() };
    let messages =
        [Data::Token("secret".into()), Data::Begin(begin), Data::Piece(piece), Data::Check(check)];
    let messages = messages.map(|data| rpc::CopyData { data: Some(data) });
    let mut client = rpc::node_client::NodeClient::new(channel);
    let answers = client.copy(tokio_stream::iter(messages)).await.expect("let in");
    let mut answers = answers.into_inner();
    let first = answers.message().await.expect("stream").expect("an answer").reply;
    assert_eq!(first, Some(Reply::From(0)));
    let Some(Reply::Failed(json)) = answers.message().await.expect("stream").expect("two").reply
    else {
        panic!("it must be refused")
    };
    let error: Error = serde_json::from_str(&json).unwrap();
    assert!(error.message.contains("changed on the way"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_copies_together_keep_to_the_budget() {
    let (site, target) = Site::new(&content(3)).await;
    site.await_copy(&target).await;
    // Of three MiB, one is zero.
    site.limit(10).await;
    let site = Arc::new(site);
    let mut copies = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for n in 0..10 {
        let to = vec![disk(10 + n, &format!("i{n}/x"), 3, "raw")];
        let instance = InstanceRef {
            uuid: format!("11111111-0000-4000-8000-0000000000{n:02}").parse().unwrap(),
            ..instance()
        };
        let copy = Action::DisksCopy {
            instance,
            from: site.from.clone(),
            to: to.clone(),
            target: site.two.id,
            address: String::new(),
            token: format!("t{n}"),
            compress: String::new(),
        };
        let site = site.clone();
        copies.spawn(async move {
            let mut source = site.source().await;
            source.job = 100 * u64::from(n + 1);
            let create = Action::DisksCreate { instance: self::instance(), disks: to };
            source.run(create).await.expect("made");
            source.run(copy).await.expect("copied");
        });
    }
    copies.join_all().await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1800), "20 MiB at 10 a second took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_budget_counts_at_once() {
    let (site, target) = Site::new(&content(30)).await;
    site.await_copy(&target).await;
    site.limit(1).await;
    let copying = site.copy(target.address(), "");
    let faster = async {
        while matches!(site.byte(MIB / 2), None | Some(0 | 9)) {
            tokio::task::yield_now().await;
        }
        site.limit(0).await;
    };
    let (copied, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(25), copying), faster);
    copied.expect("not after half a minute").expect("copied");
}
