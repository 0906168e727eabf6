//! Reports of mond, each path over 1 and over 8 connections.

use super::confd::SHAPE;
use super::daemons::Daemon;
use super::http::{Figures, Load};
use super::world::{Node, Peer};
use super::{Plan, Rounds};
use crate::bench::{figure, median};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

const CONNECTIONS: [usize; 2] = [1, 8];

/// The body of a path.
fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

/// The paths of all reports.
pub(super) fn reports(port: u16) -> Result<Vec<String>> {
    let (status, body) = get(port, "/1/list/collectors")?;
    ensure!(status == 200, "no list of collectors: {status}");
    // In chunks or not: the list is one line that begins with a bracket.
    let line = body.lines().find(|line| line.starts_with('[')).context("no list")?;
    let list: Vec<(String, String, Value)> = serde_json::from_str(line)?;
    Ok(list.iter().map(|(name, category, _)| format!("/1/report/{category}/{name}")).collect())
}

/// Both daemons, in turns.
pub(super) fn measure(plan: &Plan, scratch: &Path) -> Result<()> {
    let theirs = Node::new(scratch.join("peer-mond"), SHAPE)?;
    let own = Node::new(scratch.join("mond"), SHAPE)?;
    let peer = Peer::prepare(&plan.root, &theirs, scratch)?;
    // Both monds ask the usual port. Ours answers both: the faster one is in nobody's way.
    let _confd = Daemon::confd(&plan.programs, &own, 1814)?;
    let peer = Daemon::peer_mond(&peer, &theirs, 1815)?;
    let ours = Daemon::mond(&plan.programs, &own, 1915)?;
    let known = reports(peer.port)?;
    let mut paths: Vec<(String, bool)> =
        ["/", "/1/list/collectors", "/1/report/all"].map(|p| (p.to_owned(), true)).into();
    let all = reports(ours.port)?;
    paths.extend(all.into_iter().map(|path| (path.clone(), known.contains(&path))));
    paths.extend(["/metrics", "/healthz"].map(|path| (path.to_owned(), false)));
    for (path, shared) in paths {
        for connections in CONNECTIONS {
            let name = format!("mond {path}, {connections} connections");
            let (mut rounds, mut cpu) = (Rounds::default(), Rounds::default());
            let (mut p50, mut p99) = (Vec::new(), Vec::new());
            for _ in 0..plan.rounds {
                let run = |daemon: &Daemon| -> Result<(Figures, f64)> {
                    let mut load = Load::new(daemon.port, connections, &[path.as_str()])?;
                    let before = daemon.cpu()?;
                    let figures = load.run(plan.span, usize::MAX)?;
                    let cpu = (daemon.cpu()? - before) * 1e6 / figures.answered.max(1) as f64;
                    Ok((figures, cpu))
                };
                if shared {
                    let (figures, used) = run(&peer).with_context(|| format!("{name}, peer"))?;
                    match figures.status {
                        200 => {
                            rounds.peer.push(figures.per_second());
                            cpu.peer.push(used);
                        }
                        status => eprintln!("{name}: the peer answers {status}: not compared"),
                    }
                }
                let (figures, used) = run(&ours).with_context(|| format!("{name}, ours"))?;
                if figures.status != 200 {
                    eprintln!("{name}: ours answers {}", figures.status);
                    continue;
                }
                rounds.ours.push(figures.per_second());
                cpu.ours.push(used);
                p50.push(figures.percentile(50));
                p99.push(figures.percentile(99));
            }
            if rounds.ours.is_empty() {
                continue;
            }
            rounds.print(&name, "requests/s");
            cpu.print(&format!("{name}, processor for a request"), "µs");
            figure(&format!("{name}, p50, ours"), median(p50), "µs");
            figure(&format!("{name}, p99, ours"), median(p99), "µs");
        }
    }
    figure("mond memory, peer", peer.memory("VmRSS")?, "MiB");
    figure("mond memory, ours", ours.memory("VmRSS")?, "MiB");
    Ok(())
}
