//! The master IP follows the leader.
//!
//! ```text
//!   begins to lead ─► others: who has it? ─► down there ─► gone? ─► up here ─► here? ─► leads on
//!                        some s                30 s at most           30 s at most
//! ```
//!
//! Whatever of this fails is a warning: a cluster without its address still works, and
//! `gnt-cluster activate-master-ip` tries again. These actions belong to no job. Like the copies of
//! ssconf they run as job 0, with numbers of their own.

use crate::config::Config;
use crate::jobs::{Hands, StepId};
use crate::nodes::Nodes;
use crate::state::State;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{JobId, NodeId};
use roost_proto::node::{Action, Answer, IpReport, MasterIp, Question};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A node that has not said by then whether it has the address is not waited for.
const ASK: Duration = Duration::from_secs(2);
/// How long the address may take to vanish elsewhere, and to appear here: Ganeti's time.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks.
const AGAIN: Duration = Duration::from_millis(500);
/// For how long taking it is tried again: a node that had it a moment ago may still announce it.
const ANNOUNCED: Duration = Duration::from_secs(6);

/// The numbers of these actions: above all that the copies of ssconf (from 1) and of certificates
/// (from 2^30) will ever have, or a node would take one for the other.
static NEXT: AtomicUsize = AtomicUsize::new(1 << 31);

/// Brings the address to the master of the configuration, which is this node: down on every other
/// node that can be reached and has it, then up here. Result: what did not work, for the log.
pub async fn take(nodes: &Nodes, config: &Config) -> Vec<String> {
    let crew = match Crew::new(nodes.clone(), nodes.epoch().0, config) {
        Ok(crew) => crew,
        Err(error) => return vec![error.message],
    };
    crew.take().await
}

/// Takes the address off every other node that has it, whenever a node begins to answer: one that
/// hung while another took over still has it. Until `shutdown`.
pub async fn keep_off_others(state: State, nodes: Nodes, shutdown: CancellationToken) {
    let mut came = nodes.observed().came();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = came.changed() => if changed.is_err() { return },
        }
        let config = state.config();
        match Crew::new(nodes.clone(), nodes.epoch().0, &config) {
            Ok(crew) => crew.only_here().await.iter().for_each(|said| tracing::warn!("{said}")),
            Err(error) => tracing::warn!(%error, "nobody can tell who has the master IP"),
        }
    }
}

/// Takes the address off a node that leads no more, `here`: its own noded must still obey it, so
/// this comes before another one begins to lead. Result: what did not work, for the log.
pub async fn drop_here(nodes: &Nodes, config: &Config, here: NodeId) -> Vec<String> {
    let crew = match Crew::new(nodes.clone(), nodes.epoch().0, config) {
        Ok(crew) => crew,
        Err(error) => return vec![error.message],
    };
    match crew.down(here).await {
        Ok(messages) => messages,
        Err(error) => vec![crew.stays(here, &error)],
    }
}

/// One address and those who can do something about it.
struct Crew<'a, H> {
    hands: H,
    epoch: usize,
    config: &'a Config,
    address: MasterIp,
}

impl<'a, H: Hands + Clone> Crew<'a, H> {
    fn new(hands: H, epoch: u64, config: &'a Config) -> Result<Crew<'a, H>> {
        let master = &config.node_by_id(config.master())?.name;
        let address = MasterIp::of(&config.cluster, master)?;
        // No job has number 0; with the epoch no action is ever taken for an earlier one.
        Ok(Crew { hands, epoch: usize::try_from(epoch).unwrap_or(usize::MAX), config, address })
    }

    fn others(&self) -> Vec<NodeId> {
        let master = self.config.master();
        self.config.online_nodes().map(|n| n.uuid).filter(|id| *id != master).collect()
    }

    /// Down on every other node that has it. Result: what was done, and what could not be.
    async fn only_here(&self) -> Vec<String> {
        let mut said = Vec::new();
        for (node, report) in self.ask_all(&self.others()).await {
            if !report.here {
                continue;
            }
            said.push(match self.down(node).await {
                Ok(_) => format!(
                    "Node {} still had the master IP {} from its time as the master: it was taken \
                     off",
                    self.config.node_name(node),
                    self.address.ip
                ),
                Err(error) => self.stays(node, &error),
            });
        }
        if !said.is_empty() {
            self.hands.forget(JobId(0));
        }
        said
    }

    async fn take(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let master = self.config.master();
        let others = self.others();
        let reports = self.ask_all(&others).await;
        let silent = others.iter().any(|id| !reports.contains_key(id));
        let holders: Vec<_> =
            reports.iter().filter(|(_, report)| report.here).map(|(id, _)| *id).collect();
        for holder in &holders {
            if let Err(error) = self.down(*holder).await {
                warnings.push(self.stays(*holder, &error));
            }
        }
        if !self.vanishes(&holders, silent).await {
            warnings.push(format!(
                "The master IP {} is still reachable after {} seconds; another machine has it and \
                 activating it here will probably fail",
                self.address.ip,
                PATIENCE.as_secs()
            ));
        }
        match self.up(master, &others).await {
            Ok(messages) => warnings.extend(messages),
            Err(error) => {
                warnings.push(format!(
                    "The master IP {} could not be activated on node {}: {error}; the cluster \
                     works without it, 'gnt-cluster activate-master-ip' tries again",
                    self.address.ip,
                    self.config.node_name(master)
                ));
                return warnings;
            }
        }
        // Where a script of the site puts it is the script's matter.
        if !self.address.external_script && !self.appears(master).await {
            warnings.push(format!(
                "The master IP {} is not on node {} after {} seconds; see 'gnt-cluster verify'",
                self.address.ip,
                self.config.node_name(master),
                PATIENCE.as_secs()
            ));
        }
        self.hands.forget(JobId(0));
        warnings
    }

    fn stays(&self, node: NodeId, error: &Error) -> String {
        format!(
            "The master IP {} could not be taken off node {}: {error}",
            self.address.ip,
            self.config.node_name(node)
        )
    }

    /// Whether nobody has it any more, after a while at most.
    async fn vanishes(&self, holders: &[NodeId], silent: bool) -> bool {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let reports = self.ask_all(holders).await;
            let gone = holders.iter().all(|id| reports.get(id).is_some_and(|r| !r.here));
            // Somebody who says nothing may have it: only the network itself can tell.
            let answers = match silent || !gone {
                true => self.ask(self.config.master(), true).await,
                false => Ok(IpReport::default()),
            };
            if gone && !answers.is_ok_and(|report| report.answers == Some(true)) {
                return true;
            }
            if Instant::now() >= give_up {
                return false;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether it is on a node, after a while at most.
    async fn appears(&self, node: NodeId) -> bool {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if self.ask(node, false).await.is_ok_and(|report| report.here) {
                return true;
            }
            if Instant::now() >= give_up {
                return false;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// What nodes say, at the same time; those that do not answer are missing.
    async fn ask_all(&self, nodes: &[NodeId]) -> BTreeMap<NodeId, IpReport> {
        let mut asking = JoinSet::new();
        for node in nodes.iter().copied() {
            let (hands, question) = (self.hands.clone(), self.question(false));
            asking.spawn(async move { (node, ask(&hands, node, &question).await) });
        }
        let mut reports = BTreeMap::new();
        while let Some(asked) = asking.join_next().await {
            if let Ok((node, Ok(report))) = asked {
                reports.insert(node, report);
            }
        }
        reports
    }

    async fn ask(&self, node: NodeId, probe: bool) -> Result<IpReport> {
        ask(&self.hands, node, &self.question(probe)).await
    }

    fn question(&self, probe: bool) -> Question {
        let address = &self.address;
        Question::IpAddress { ip: address.ip, netdev: address.netdev.clone(), probe }
    }

    /// Puts it on this node. What a former master began may have ended only now, on one of the others.
    async fn up(&self, node: NodeId, others: &[NodeId]) -> Result<Vec<String>> {
        let up = Action::MasterIpUp { address: self.address.clone() };
        let give_up = Instant::now() + ANNOUNCED;
        loop {
            match self.run(node, &up).await {
                Err(_) if Instant::now() < give_up => tokio::time::sleep(AGAIN).await,
                ended => return ended,
            }
            for (other, report) in self.ask_all(others).await {
                if report.here {
                    // If it stays there, the next attempt says so.
                    self.down(other).await.ok();
                }
            }
        }
    }

    async fn down(&self, node: NodeId) -> Result<Vec<String>> {
        self.run(node, &Action::MasterIpDown { address: self.address.clone() }).await
    }

    async fn run(&self, node: NodeId, action: &Action) -> Result<Vec<String>> {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = StepId { job: JobId(0), op: self.epoch, step, undo: false };
        Ok(self.hands.run(id, node, action, &|_| {}).await?.messages)
    }
}

async fn ask(hands: &impl Hands, node: NodeId, question: &Question) -> Result<IpReport> {
    match tokio::time::timeout(ASK, hands.ask(node, question)).await {
        Ok(Ok(Answer::IpAddress(report))) => Ok(report),
        Ok(Ok(_)) => Err(Error::internal("a node's answer does not fit the question")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::environment("the node gave no answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::BoxFuture;
    use crate::nodes::{Joined, NodeView};
    use crate::ops::testing::{Site, node_id};
    use roost_proto::node::{Outcome, Progress};
    use std::collections::{BTreeSet, HashMap};
    use std::sync::{Arc, Mutex};

    /// Nodes that do as they are told, but for some that are dead or stubborn.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Inner>>);

    #[derive(Default)]
    struct Inner {
        /// Who has the address; dead ones still answer to it.
        holders: BTreeSet<NodeId>,
        dead: BTreeSet<NodeId>,
        /// Says that it gave the address up, and keeps it until it was told so often.
        slow: HashMap<NodeId, u32>,
        done: Vec<(&'static str, NodeId)>,
        ids: BTreeSet<usize>,
    }

    impl Hands for Fake {
        fn ask<'a>(
            &'a self,
            node: NodeId,
            question: &'a Question,
        ) -> BoxFuture<'a, Result<Answer>> {
            Box::pin(async move {
                let mut inner = self.0.lock().expect("not poisoned");
                if inner.dead.contains(&node) {
                    return Err(Error::environment("no route"));
                }
                let Question::IpAddress { probe, .. } = question else { panic!("{question:?}") };
                if let Some(left) = inner.slow.get_mut(&node) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        inner.holders.remove(&node);
                    }
                }
                let answers = probe.then(|| inner.holders.iter().any(|id| *id != node));
                Ok(Answer::IpAddress(IpReport { here: inner.holders.contains(&node), answers }))
            })
        }

        fn run<'a>(
            &'a self,
            id: StepId,
            node: NodeId,
            action: &'a Action,
            _: &'a (dyn Fn(Progress) + Send + Sync),
        ) -> BoxFuture<'a, Result<Outcome>> {
            Box::pin(async move {
                let mut inner = self.0.lock().expect("not poisoned");
                assert_eq!((id.job, id.op, id.undo), (JobId(0), 7, false));
                assert!(inner.ids.insert(id.step), "a number is used once");
                match action {
                    Action::MasterIpUp { .. } if inner.holders.iter().any(|id| *id != node) => {
                        return Err(Error::environment("another machine answers to it"));
                    }
                    Action::MasterIpUp { .. } => {
                        inner.done.push(("up", node));
                        inner.holders.insert(node);
                    }
                    Action::MasterIpDown { .. } => {
                        inner.done.push(("down", node));
                        if !inner.slow.contains_key(&node) {
                            inner.holders.remove(&node);
                        }
                    }
                    other => panic!("{other:?}"),
                }
                Ok(Outcome::default())
            })
        }

        fn seen(&self) -> HashMap<NodeId, Arc<NodeView>> {
            HashMap::new()
        }

        fn joined(&self) -> Vec<Joined> {
            vec![]
        }

        fn forget(&self, _: JobId) {}
    }

    /// node1 begins to lead; `set` says how it finds the others.
    async fn take(set: impl FnOnce(&mut Inner)) -> (Vec<String>, Vec<(&'static str, NodeId)>) {
        let site = Site::new(&["node1", "node2", "node3"]);
        let fake = Fake::default();
        set(&mut fake.0.lock().expect("not poisoned"));
        let warnings = Crew::new(fake.clone(), 7, &site.config).expect("an address").take().await;
        let done = fake.0.lock().expect("not poisoned").done.clone();
        (warnings, done)
    }

    #[tokio::test(start_paused = true)]
    async fn it_moves_from_the_former_master() {
        let (warnings, done) = take(|nodes| {
            nodes.holders.insert(node_id("node3"));
        })
        .await;
        assert_eq!(warnings, [] as [&str; 0]);
        assert_eq!(done, [("down", node_id("node3")), ("up", node_id("node1"))]);
        let (warnings, done) = take(|_| {}).await;
        assert_eq!((warnings.len(), done), (0, vec![("up", node_id("node1"))]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_node_is_waited_for() {
        let started = Instant::now();
        let (warnings, done) = take(|nodes| {
            nodes.holders.insert(node_id("node2"));
            nodes.slow.insert(node_id("node2"), 20);
        })
        .await;
        assert_eq!(warnings, [] as [&str; 0]);
        assert_eq!(done, [("down", node_id("node2")), ("up", node_id("node1"))]);
        assert!(started.elapsed() >= Duration::from_secs(8), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_node_may_have_it_or_not() {
        let (warnings, done) = take(|nodes| {
            nodes.dead.insert(node_id("node2"));
        })
        .await;
        assert_eq!((warnings.len(), done), (0, vec![("up", node_id("node1"))]));
        // Its daemon is dead, its kernel answers.
        let started = Instant::now();
        let (warnings, done) = take(|nodes| {
            nodes.dead.insert(node_id("node2"));
            nodes.holders.insert(node_id("node2"));
        })
        .await;
        assert!(started.elapsed() >= PATIENCE && started.elapsed() < 2 * PATIENCE);
        assert_eq!(done, []);
        assert!(warnings[0].contains("192.0.2.100 is still reachable after 30"), "{warnings:?}");
        assert!(warnings[1].contains("gnt-cluster activate-master-ip"), "{warnings:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_former_master_began_may_end_late() {
        let site = Site::new(&["node1", "node2"]);
        let fake = Fake::default();
        // When they were asked, it was nowhere.
        fake.0.lock().expect("not poisoned").holders.insert(node_id("node2"));
        let crew = Crew::new(fake.clone(), 7, &site.config).expect("an address");
        let others = [node_id("node2")];
        let raised = crew.up(node_id("node1"), &others).await;
        raised.expect("it is taken off the other");
        let done = fake.0.lock().expect("not poisoned").done.clone();
        assert_eq!(done, [("down", node_id("node2")), ("up", node_id("node1"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_hung_gives_it_up_when_it_is_back() {
        let site = Site::new(&["node1", "node2", "node3"]);
        let fake = Fake::default();
        fake.0.lock().expect("not poisoned").holders.insert(node_id("node3"));
        let crew = Crew::new(fake.clone(), 7, &site.config).expect("an address");
        let said = crew.only_here().await;
        assert!(said[0].contains("node3") && said[0].contains("was taken off"), "{said:?}");
        assert!(crew.only_here().await.is_empty(), "there is nothing more to do");
        assert_eq!(fake.0.lock().expect("not poisoned").done, [("down", node_id("node3"))]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leads_no_more_gives_it_up() {
        let site = Site::new(&["node1", "node2"]);
        let fake = Fake::default();
        let crew = Crew::new(fake.clone(), 7, &site.config).expect("an address");
        crew.down(node_id("node2")).await.expect("it obeys");
        assert_eq!(fake.0.lock().expect("not poisoned").done, [("down", node_id("node2"))]);
    }
}
