//! The soak: a cluster at work while things break, and a judge of what it has promised.
//!
//! ```text
//!   clients ── jobs ──► whoever leads          each keeps what it was told
//!   faults  ── kill, cut, freeze, fill, fail over, mend
//!   watch   ── asks every masterd how it is: epochs and serials
//!      └──────── all of it ──► history ──► at the end, all mended: the promises
//! ```
//!
//! All decisions come from the seed; what the machine makes of them in time does not. A broken
//! promise is told with the seed, and the history (JSON lines) lies beside the nodes' logs.

mod clients;
mod faults;
mod history;
mod promises;
mod random;
mod stop;

use crate::lab::{Hypervisor, Lab, Options};
use crate::master::Master;
use anyhow::{Context as _, Result, ensure};
use history::History;
use random::Random;
use roost_proto::rpc::master::ReplicationReply;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use stop::Stop;

/// A masterd that has not said how it is by then hangs.
const ASK: Duration = Duration::from_secs(2);

/// What kind of soak.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every decision follows from it.
    pub seed: u64,
    /// How long things break.
    pub length: Duration,
    /// How many nodes, 5 or more.
    pub nodes: usize,
    /// How many of them are master candidates, 3 to 5.
    pub candidates: usize,
    /// How many clients submit jobs.
    pub clients: usize,
    /// Where logs and history are put if a promise is broken.
    pub keep: PathBuf,
}

/// The lab, and how its masterds are reached. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Site {
    lab: Arc<RwLock<Lab>>,
    nodes: Arc<Vec<String>>,
    history: History,
}

impl Site {
    /// To look, or to do what needs no change of wires.
    fn lab(&self) -> RwLockReadGuard<'_, Lab> {
        self.lab.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change wires.
    fn lab_mut(&self) -> RwLockWriteGuard<'_, Lab> {
        self.lab.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to a node's masterd.
    async fn connect(&self, node: &str) -> Result<Master> {
        let socket = self.lab().master_socket(node)?;
        Master::connect(&socket).await
    }

    /// How a node's masterd says it is.
    async fn ask(&self, node: &str) -> Option<ReplicationReply> {
        let asked = async { self.connect(node).await.ok()?.replication(&[]).await.ok() };
        tokio::time::timeout(ASK, asked).await.ok()?
    }

    /// A connection to whoever leads: its node, its epoch. A process leads once at most, so all that
    /// is said over this connection is said in this epoch.
    async fn leader(&self) -> Option<(Master, String, u64)> {
        for node in self.nodes.iter() {
            let look = async {
                let master = self.connect(node).await.ok()?;
                let reply = master.replication(&[]).await.ok()?;
                reply.leads.then_some((master, node.clone(), reply.epoch))
            };
            if let Ok(Some(found)) = tokio::time::timeout(ASK, look).await {
                return Some(found);
            }
        }
        None
    }

    /// The same, waited for.
    async fn leader_within(&self, limit: Duration) -> Option<(Master, String, u64)> {
        let end = Instant::now() + limit;
        loop {
            if let Some(found) = self.leader().await {
                return Some(found);
            }
            if Instant::now() > end {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Runs a soak. Errors: the lab could not be made, or a promise was broken (which one, the seed, and
/// where the history is).
pub fn run(plan: &Plan) -> Result<()> {
    ensure!(plan.nodes >= 5, "a soak needs five nodes at least");
    ensure!((3..=5).contains(&plan.candidates), "a soak has three to five candidates");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let lab = make_lab(plan)?;
    let nodes = lab.node_names();
    let history = History::create(&lab.dir().join("history.jsonl"))?;
    let site = Site { lab: Arc::new(RwLock::new(lab)), nodes: Arc::new(nodes), history };
    let outcome = runtime.block_on(soak(plan, &site));
    runtime.shutdown_timeout(Duration::from_secs(5));
    if let Err(error) = outcome {
        let kept = keep(&site, &plan.keep);
        let where_to = kept.unwrap_or_else(|e| format!("could not be kept: {e:#}"));
        return Err(error.context(format!(
            "SEED {} broke it (history and logs: {where_to}); again: make soak SEED={} MINUTES={}",
            plan.seed,
            plan.seed,
            plan.length.as_secs().div_ceil(60)
        )));
    }
    Ok(())
}

fn make_lab(plan: &Plan) -> Result<Lab> {
    let name = format!("soak{}", plan.seed);
    let options = Options {
        nodes: plan.nodes,
        hypervisor: Hypervisor::Fake,
        init: true,
        // Databases that parted from the master's are kept: there must be room for them.
        data_mib: Some(256),
        ..Options::new(&name)
    };
    Lab::down_by_name(&options)?;
    let lab = Lab::up(options)?;
    let pool = format!("--candidate-pool-size={}", plan.candidates);
    lab.check("node1", &["gnt-cluster", "modify", &pool])?;
    for n in plan.candidates + 1..=plan.nodes {
        lab.check("node1", &["gnt-node", "modify", "-C", "no", &format!("node{n}")])?;
    }
    Ok(lab)
}

async fn soak(plan: &Plan, site: &Site) -> Result<()> {
    let mut random = Random::new(plan.seed);
    let stop = Stop::default();
    let watch = tokio::spawn(promises::watch(site.clone(), stop.clone()));
    let clients: Vec<_> = (0..plan.clients)
        .map(|n| tokio::spawn(clients::run(site.clone(), n, random.fork(), stop.clone())))
        .collect();
    let (breaking, faults_random) = (site.clone(), random.fork());
    let (length, handle) = (plan.length, tokio::runtime::Handle::current());
    tokio::task::spawn_blocking(move || faults::run(&breaking, faults_random, length, &handle))
        .await??;
    stop.now();
    let mut told = Vec::new();
    for client in clients {
        told.extend(client.await?);
    }
    site.history.add("mended", &serde_json::json!({}));
    promises::settle(site).await.context("the cluster does not come to rest")?;
    let seen = watch.await?;
    promises::judge(site, &told, &seen).await?;
    let numbers = promises::numbers(&told);
    println!("seed {}: every promise was kept; {numbers}; {}", plan.seed, site.history.summary());
    Ok(())
}

/// Copies history and logs out of the lab, which goes away.
fn keep(site: &Site, to: &Path) -> Result<String> {
    let lab = site.lab();
    std::fs::create_dir_all(to)?;
    std::fs::copy(lab.dir().join("history.jsonl"), to.join("history.jsonl"))?;
    for node in lab.node_names() {
        for daemon in ["masterd", "noded"] {
            let log = lab.log(&node, daemon)?;
            std::fs::write(to.join(format!("{node}-{daemon}.log")), log)?;
        }
    }
    Ok(to.display().to_string())
}
