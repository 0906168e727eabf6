//! What answers cost while 10,000 datagrams of nonsense arrive a second.

use super::Plan;
use super::confd::{SHAPE, questions};
use super::daemons::Daemon;
use super::udp::{Figures, Load};
use super::world::{KEY, Node};
use crate::bench::figure;
use anyhow::{Context, Result};
use roost_confd::clock;
use roost_confd::wire::{Envelope, HmacKey, Query, QueryType, Request, Tag};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Datagrams a second.
const RATE: u32 = 10_000;
/// Between an answer and the next question.
const PACE: Duration = Duration::from_millis(2);

/// Datagrams of every kind that is to be dropped.
fn nonsense() -> Result<Vec<Vec<u8>>> {
    let signed = |key: &[u8], tag, salt: &str, msg: &str| -> Result<Vec<u8>> {
        let mut out = Vec::new();
        Envelope::write(&HmacKey::new(key)?, tag, salt, msg, &mut out);
        Ok(out)
    };
    let now = clock::seconds();
    let question = |query| Request { kind: QueryType::NodeInstances, query, rsalt: "x".into() };
    let node = question(Query::Text("node1.example.org".into())).message();
    let (time, past) = (now.to_string(), (now - 3600).to_string());
    let good = signed(KEY, Tag::Sha1, &time, &node)?;
    let cut = good[..good.len() / 2].to_vec();
    let long = question(Query::Text("x".repeat(8000).into())).message();
    Ok(vec![
        vec![],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"plj0".to_vec(),
        b"plj0{}".to_vec(),
        [b"plj0".as_slice(), &[b'['; 1400]].concat(),
        vec![0xff; 1400],
        cut,
        // Another key; an hour ago; a type nobody knows; a tag that was not allowed; too long.
        signed(b"another key", Tag::Sha1, &time, &node)?,
        signed(KEY, Tag::Sha1, &past, &node)?,
        signed(KEY, Tag::Sha1, &time, r#"{"protocol":1,"type":99,"rsalt":"x"}"#)?,
        signed(KEY, Tag::Sha256, &time, &node)?,
        signed(b"another key", Tag::Sha1, &time, &long)?,
    ])
}

/// Sends them until told to stop; how many a second.
fn flood(port: u16, stop: &AtomicBool) -> Result<f64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    let kinds = nonsense()?;
    let begin = Instant::now();
    let mut sent: u32 = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        while sent < due {
            socket.send(&kinds[sent as usize % kinds.len()])?;
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(f64::from(sent) / begin.elapsed().as_secs_f64())
}

/// Questions at a modest rate, without and with.
pub(super) fn measure(plan: &Plan, scratch: &Path) -> Result<()> {
    let node = Node::new(scratch.join("flood"), SHAPE)?;
    let confd = Daemon::confd(&plan.programs, &node, 1914)?;
    let all: Vec<_> = questions(SHAPE).into_iter().flat_map(|question| question.all).collect();
    let span = if plan.quick { Duration::from_secs(5) } else { Duration::from_secs(60) };
    let ask = || -> Result<Figures> {
        let mut load = Load::new(confd.port, 1, &all)?;
        load.pace = Some(PACE);
        load.run(span)
    };
    let print = |name: &str, figures: &Figures, cpu: f64| {
        figure(&format!("confd {name}, p50"), figures.percentile(50), "µs");
        figure(&format!("confd {name}, p99"), figures.percentile(99), "µs");
        figure(&format!("confd {name}, lost"), figures.lost as f64, "answers");
        figure(&format!("confd {name}, processor"), 100.0 * cpu / span.as_secs_f64(), "%");
    };
    let before = confd.cpu()?;
    let quiet = ask()?;
    let between = confd.cpu()?;
    print("without a flood", &quiet, between - before);
    let stop = AtomicBool::new(false);
    let (flooded, rate) = std::thread::scope(|scope| -> Result<(Figures, f64)> {
        let sender = scope.spawn(|| flood(confd.port, &stop));
        let asked = ask();
        stop.store(true, Ordering::Relaxed);
        let rate = sender.join().ok().context("the flood has failed")??;
        Ok((asked?, rate))
    })?;
    print("in a flood", &flooded, confd.cpu()? - between);
    figure("confd in a flood, nonsense", rate, "datagrams/s");
    figure("confd memory after a flood", confd.memory("VmRSS")?, "MiB");
    let (with, without) = (flooded.percentile(99), quiet.percentile(99));
    figure("confd p99 in a flood to that without", with / without.max(1e-9), "times");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_of_many_kinds() {
        let kinds = nonsense().expect("datagrams");
        let readable = kinds.iter().filter(|kind| Envelope::parse(kind).is_some()).count();
        assert_eq!((kinds.len(), readable), (12, 5));
        assert!(kinds.iter().all(|kind| kind.len() < 10_000));
    }
}
