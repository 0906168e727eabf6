//! How long a cluster is without a master when the operator acts at once.

use crate::lab::Lab;
use crate::master::{Master, Submitted, noop};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Who is killed last may take this long to be level again.
const LEVEL: Duration = Duration::from_secs(60);

/// How long a new master announces its address: a failover meanwhile waits for the end of that.
const ANNOUNCES: Duration = Duration::from_secs(4);

/// Kills the master's masterd, runs `gnt-cluster master-failover` on the next node, and submits a job
/// there; as often as `times`. Returns the milliseconds from the kill to the acceptance of the job,
/// and who is the master now.
pub fn measure(lab: &Lab, mut master: String, times: usize) -> Result<(Vec<f64>, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let nodes = lab.node_names();
    let mut all = Vec::new();
    for _ in 0..times {
        let place = nodes.iter().position(|n| *n == master).unwrap_or_default();
        let next = nodes[(place + 1) % nodes.len()].clone();
        runtime.block_on(level(lab, &master, nodes.len() - 1))?;
        std::thread::sleep(ANNOUNCES);
        let begin = Instant::now();
        lab.kill_daemon(&master, "masterd")?;
        lab.check(&next, &["gnt-cluster", "master-failover"])?;
        let accepted = runtime.block_on(async {
            let client = Master::connect(&lab.master_socket(&next)?).await?;
            anyhow::Ok(client.submit(&noop()).await)
        })?;
        all.push(begin.elapsed().as_secs_f64() * 1e3);
        ensure!(matches!(accepted, Submitted::Accepted(_)), "{accepted:?}");
        lab.start_daemon(&master, "masterd")?;
        master = next;
    }
    runtime.block_on(level(lab, &master, nodes.len() - 1))?;
    Ok((all, master))
}

/// Waits until all other candidates hold what the master has.
async fn level(lab: &Lab, master: &str, others: usize) -> Result<()> {
    let end = Instant::now() + LEVEL;
    loop {
        let client = Master::connect(&lab.master_socket(master)?).await?;
        let reply = client.replication(&[]).await?;
        let near = reply
            .replicas
            .iter()
            .filter(|r| r.heard.is_some_and(|ago| ago < 2_000) && r.holds >= reply.counts);
        if near.count() == others {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the copies do not become level: {reply:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
