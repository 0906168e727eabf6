//! How long a cluster with its state in etcd is without a master when the master dies.
//!
//! ```text
//!   kill -9 ─► lease expires ─► another candidate leads ─► its first job is accepted
//!   └──────────────────────── what is measured ─────────────────────────────────┘
//! ```

use crate::lab::{Hypervisor, Lab, Options};
use crate::master::{Master, Submitted, noop};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::sleep;

const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const AGAIN: Duration = Duration::from_millis(20);
/// How long somebody who does not lead may take to say so.
const ANSWER: Duration = Duration::from_millis(500);

/// Kills the master that often; returns the seconds each time.
pub fn kills(times: usize) -> Result<Vec<f64>> {
    let options = Options {
        hypervisor: Hypervisor::Fake,
        etcd: true,
        init: true,
        ..Options::new("bench-etcd")
    };
    let lab = Lab::up(options)?;
    let runtime = Runtime::new()?;
    let mut master = "node1";
    let mut all = Vec::new();
    for _ in 0..times {
        runtime.block_on(others_follow(&lab, master))?;
        let began = Instant::now();
        lab.kill_daemon(master, "masterd")?;
        let next = runtime.block_on(next_master(&lab, master))?;
        all.push(began.elapsed().as_secs_f64());
        lab.start_daemon(master, "masterd")?;
        master = next;
    }
    lab.down()?;
    Ok(all)
}

async fn connect(lab: &Lab, node: &str) -> Result<Master> {
    Master::connect(&lab.master_socket(node)?).await
}

/// Waits until all other candidates could lead.
async fn others_follow(lab: &Lab, master: &str) -> Result<()> {
    let end = Instant::now() + LIMIT;
    for node in NODES {
        let wanted = node == master;
        loop {
            let reply = async { connect(lab, node).await?.replication(&[]).await }.await;
            if reply.is_ok_and(|r| r.store == "etcd" && r.leads == wanted && r.written > 0) {
                break;
            }
            ensure!(Instant::now() < end, "{node} does not follow {master}");
            sleep(AGAIN).await;
        }
    }
    Ok(())
}

/// Waits until somebody else accepts a job.
async fn next_master(lab: &Lab, dead: &str) -> Result<&'static str> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        for node in NODES.into_iter().filter(|node| *node != dead) {
            let Ok(master) = connect(lab, node).await else { continue };
            if let Submitted::Accepted(_) = master.submit_within(ANSWER, &noop()).await {
                return Ok(node);
            }
        }
        sleep(AGAIN).await;
    }
    Err(anyhow::anyhow!("nobody leads after {dead} was killed")).context("no failover")
}
