//! Certificates do not end by accident, and nodes that were away catch up.
//!
//! ```text
//!   what a node reports                         what is done
//!   ─────────────────────────────────────────   ──────────────────────────────────────────
//!   trusts other authorities than it should     copied to it (derived: nothing can be lost)
//!   has another content of a shared secret      copied to it
//!   certificate of a former authority, or not
//!   the one it was given, or less than a        job: new certificates for these nodes
//!   third of its life left
//!   every node has and knows everything new     job: former certificates are forgotten
//!
//!   what masterd knows by itself
//!   ─────────────────────────────────────────   ──────────────────────────────────────────
//!   the authority has less than a third of      job: a new one, trusted beside the old, and
//!   its life left                               certificates of it for all nodes
//!   a certificate of RAPI or SPICE that was     job: a new one
//!   made here has less than a third left
//!   one that the administrator brought ends     nothing: his clients know it; verify warns
//! ```
//!
//! What a node reported once holds while it is away: it does not go back by itself. A node nobody
//! has heard of since masterd started is waited for.

use crate::config::{Config, candidate_certs};
use crate::jobs::{Engine, Hands, StepId};
use crate::nodes::{NodeView, Nodes};
use crate::pki::{self, Said};
use crate::secrets::Origin;
use crate::state::State;
use crate::{authority, clock, secrets};
use roost_proto::error::Result;
use roost_proto::ids::{JobId, NodeId};
use roost_proto::node::{
    Action, Answer, CryptoAction, CryptoAnswer, CryptoQuestion, CryptoReport, Question,
};
use roost_proto::objects::{Crypto, Node};
use roost_proto::opcodes::{ClusterRenewCrypto, Common, OpInput};
use roost_proto::secrets::SecretFile;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked at.
const AGAIN: Duration = Duration::from_secs(5);
/// A node whose renewal was tried is let be for this long, seconds; less where certificates are
/// short-lived.
const PAUSE: f64 = 60.0;
/// So are the authority and certificates of services: there is much time left for them.
const LONG_PAUSE: f64 = 3600.0;
/// What of the shared secrets is renewed together.
const TOGETHER: [&[SecretFile]; 2] =
    [&[SecretFile::RapiCertificate], &[SecretFile::SpiceCertificate, SecretFile::SpiceAuthority]];
/// Steps of ours have numbers far above those of the other reconciler's.
const FIRST_ROUND: usize = 1 << 30;

/// From when to when a certificate is good, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Life {
    begins: f64,
    expires: f64,
}

impl Life {
    fn of(pem: &str) -> Result<Life> {
        let said = Said::of(pem)?;
        Ok(Life { begins: said.begins, expires: said.expires })
    }

    /// Less than a third of it is left.
    fn is_late(self, now: f64) -> bool {
        self.expires - now < (self.expires - self.begins) / 3.0
    }
}

/// How all nodes should be equipped.
#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Ganeti's fingerprints.
    trusted: Vec<String>,
    /// The name of the authority that signs now.
    issuer: String,
    /// SHA-256 of the list of candidates' certificates.
    candidates: String,
    /// Version and SHA-256 of each secret.
    secrets: BTreeMap<SecretFile, (String, String)>,
    /// How long the authority that signs now is good.
    authority: Option<Life>,
    /// How long the certificates among the secrets are that were made here.
    made: BTreeMap<SecretFile, Life>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
struct Todo {
    trust: Vec<NodeId>,
    write: Vec<(NodeId, SecretFile)>,
    renew: Vec<NodeId>,
    /// A new authority.
    authority: bool,
    make: Vec<SecretFile>,
    /// Nobody needs anything former any more.
    forget: bool,
}

impl Todo {
    /// The nodes with which there is something to do.
    fn nodes(&self) -> BTreeSet<NodeId> {
        let write = self.write.iter().map(|(node, _)| node);
        self.trust.iter().chain(write).chain(&self.renew).copied().collect()
    }
}

/// What is let be for a while after it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tried {
    Node(NodeId),
    Authority,
    Secret(SecretFile),
}

impl Tried {
    /// For how long, seconds.
    fn pause(self) -> f64 {
        let most = match self {
            Tried::Node(_) => PAUSE,
            Tried::Authority | Tried::Secret(_) => LONG_PAUSE,
        };
        most.min(pki::lifetime().as_secs_f64() / 10.0)
    }
}

/// A job to submit.
#[derive(Debug, PartialEq)]
struct Job {
    op: ClusterRenewCrypto,
    tries: Vec<Tried>,
    why: &'static str,
}

/// Runs until `shutdown`.
pub async fn run(state: State, nodes: Nodes, engine: Engine, shutdown: CancellationToken) {
    let mut watcher = Watcher {
        state,
        nodes,
        engine,
        tried: HashMap::new(),
        round: FIRST_ROUND,
        known: None,
        wanted: Wanted::default(),
    };
    loop {
        if let Err(error) = watcher.look().await {
            tracing::warn!(%error, "certificates cannot be looked after");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

struct Watcher {
    state: State,
    nodes: Nodes,
    engine: Engine,
    /// When something was tried last.
    tried: HashMap<Tried, f64>,
    round: usize,
    /// For which settings `wanted` was computed.
    known: Option<Crypto>,
    wanted: Wanted,
}

impl Watcher {
    async fn look(&mut self) -> Result<()> {
        let config = self.state.config();
        let crypto = &config.cluster.crypto;
        if crypto.authorities.is_empty() || self.is_at_work() {
            return Ok(());
        }
        if self.known.as_ref() != Some(crypto) {
            authority::settle(&self.state).await?;
            self.wanted = self.wanted_of(&config).await?;
            self.known = Some(crypto.clone());
        }
        self.wanted.candidates = pki::sha256(candidate_certs(&config.cluster).as_bytes());
        let now = clock::seconds();
        let mut seen = self.nodes.observed().all();
        let first = todo(&config, &self.wanted, &seen, now);
        // Reports are some seconds old: who seems to need something is asked again.
        for node in first.nodes() {
            let question = Question::Crypto(CryptoQuestion::Report);
            let answer = self.nodes.ask(node, &question).await;
            let view = seen.entry(node).or_default();
            match answer {
                Ok(Answer::Crypto(CryptoAnswer::Report(report))) => {
                    Arc::make_mut(view).report.crypto = Some(*report);
                }
                _ => Arc::make_mut(view).up = false,
            }
        }
        let mut todo = todo(&config, &self.wanted, &seen, now);
        for node in std::mem::take(&mut todo.trust) {
            let authorities = crypto.authorities.clone();
            self.copy(&config, node, CryptoAction::Trust { authorities, candidates: None }).await;
        }
        for (node, file) in std::mem::take(&mut todo.write) {
            let Some((version, _)) = self.wanted.secrets.get(&file) else { continue };
            let version = version.clone();
            self.copy(&config, node, CryptoAction::Write { file, version, content: None }).await;
        }
        self.tried.retain(|what, then| now - *then < what.pause());
        if let Some(job) = job(&config, &todo, |what| self.tried.contains_key(&what)) {
            self.tried.extend(job.tries.iter().map(|what| (*what, now)));
            self.submit(job).await;
        }
        Ok(())
    }

    async fn wanted_of(&self, config: &Config) -> Result<Wanted> {
        let crypto = &config.cluster.crypto;
        let mut wanted = Wanted::default();
        for pem in &crypto.authorities {
            wanted.trusted.push(pki::fingerprint(pem)?);
        }
        if let Some(first) = crypto.authorities.first() {
            wanted.issuer = Said::of(first)?.subject;
            wanted.authority = Some(Life::of(first)?);
        }
        for (file, version) in &crypto.secrets {
            let (content, origin) = secrets::known(&self.state, version).await?;
            if origin == Origin::Made && file.is_certificate() {
                wanted.made.insert(*file, Life::of(&content)?);
            }
            let digest = pki::sha256(content.as_bytes());
            wanted.secrets.insert(*file, (version.clone(), digest));
        }
        Ok(wanted)
    }

    /// A job about certificates is under way: it knows best.
    fn is_at_work(&self) -> bool {
        let ours = |input: &serde_json::Value| input["OP_ID"] == "OP_CLUSTER_RENEW_CRYPTO";
        let jobs = self.engine.jobs();
        let mut open = jobs.iter().filter(|job| !job.status().is_final());
        open.any(|job| job.record().ops.iter().any(|op| ours(&op.input)))
    }

    async fn copy(&mut self, config: &Config, node: NodeId, action: CryptoAction) {
        self.round += 1;
        // No job has number 0; with the epoch no copy is ever taken for an earlier one.
        let op = usize::try_from(self.nodes.epoch().0).unwrap_or(usize::MAX);
        let id = StepId { job: JobId(0), op, step: self.round, undo: false };
        let what = format!("{action:?}");
        let copied = self.nodes.run(id, node, &Action::Crypto(action), &|_| {}).await;
        let name = config.node_name(node);
        match copied {
            Ok(_) => tracing::info!(node = %name, what, "a node was brought up to date"),
            Err(error) => tracing::warn!(node = %name, what, %error, "a node stays out of date"),
        }
        self.nodes.forget(JobId(0));
    }

    async fn submit(&self, job: Job) {
        let Job { op, why, .. } = job;
        let nodes = op.nodes.join(", ");
        let input = OpInput { common: Common::default(), op: op.into() };
        for submitted in self.engine.submit(vec![vec![input]], true).await {
            match submitted {
                Ok(job) => tracing::info!(%job, nodes, why, "certificates are looked after"),
                Err(error) => tracing::warn!(%error, nodes, why, "no job could be submitted"),
            }
        }
    }
}

/// Compares what nodes report with what should be. Pure.
fn todo(config: &Config, wanted: &Wanted, seen: &HashMap<NodeId, Arc<NodeView>>, now: f64) -> Todo {
    let is_late = |file: &SecretFile| wanted.made.get(file).is_some_and(|life| life.is_late(now));
    let is_ours = |file: &SecretFile| wanted.made.contains_key(file);
    let due = |files: &&&[SecretFile]| files.iter().all(is_ours) && files.iter().any(is_late);
    let mut todo = Todo {
        forget: config.cluster.crypto.overlaps(),
        authority: wanted.authority.is_some_and(|life| life.is_late(now)),
        make: TOGETHER.iter().filter(due).copied().flatten().copied().collect(),
        ..Todo::default()
    };
    for node in config.nodes.values() {
        let view = seen.get(&node.uuid);
        let Some(report) = view.and_then(|view| view.report.crypto.as_ref()) else {
            todo.forget = false;
            continue;
        };
        let renew = needs_certificate(config, wanted, node.uuid, report, now);
        let trusts = report.trusted == wanted.trusted;
        if renew || !trusts || report.candidates != wanted.candidates {
            todo.forget = false;
        }
        if node.offline || !view.is_some_and(|view| view.up) {
            continue;
        }
        if !trusts {
            todo.trust.push(node.uuid);
        }
        for (file, (_, digest)) in &wanted.secrets {
            if holds(node, *file) && report.secrets.get(file) != Some(digest) {
                todo.write.push((node.uuid, *file));
            }
        }
        if renew {
            todo.renew.push(node.uuid);
        }
    }
    todo.renew.sort();
    todo
}

/// The most urgent job, but for what was just tried. Pure.
fn job(config: &Config, todo: &Todo, tried: impl Fn(Tried) -> bool) -> Option<Job> {
    // It gives all nodes certificates, too.
    if todo.authority && !tried(Tried::Authority) {
        let op = ClusterRenewCrypto { new_cluster_certificate: true, ..ClusterRenewCrypto::new() };
        return Some(Job { op, tries: vec![Tried::Authority], why: "the authority ends" });
    }
    let renew: Vec<_> =
        todo.renew.iter().copied().filter(|node| !tried(Tried::Node(*node))).collect();
    if !renew.is_empty() {
        let nodes = renew.iter().map(|node| config.node_name(*node)).collect();
        let op = ClusterRenewCrypto { node_certificates: true, nodes, ..ClusterRenewCrypto::new() };
        let tries = renew.into_iter().map(Tried::Node).collect();
        return Some(Job { op, tries, why: "nodes need certificates" });
    }
    let make: Vec<_> =
        todo.make.iter().copied().filter(|file| !tried(Tried::Secret(*file))).collect();
    if !make.is_empty() {
        let tries = make.iter().copied().map(Tried::Secret).collect();
        let op = ClusterRenewCrypto { new_secrets: make, ..ClusterRenewCrypto::new() };
        return Some(Job { op, tries, why: "certificates of services end" });
    }
    todo.forget.then(|| Job {
        op: ClusterRenewCrypto { forget_former: true, ..ClusterRenewCrypto::new() },
        tries: vec![],
        why: "all nodes have new certificates",
    })
}

/// Whether a node is to have a secret.
fn holds(node: &Node, file: SecretFile) -> bool {
    file.is_everywhere() || node.master_candidate
}

fn needs_certificate(
    config: &Config,
    wanted: &Wanted,
    node: NodeId,
    report: &CryptoReport,
    now: f64,
) -> bool {
    let given = config.cluster.crypto.certs.get(&node);
    let life = Life { begins: report.begins, expires: report.expires };
    report.issuer != wanted.issuer
        || given.is_some_and(|given| *given != report.fingerprint)
        || life.is_late(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{NOW, Site, node_id};

    fn site() -> (Site, Wanted) {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.cluster(|c| c.crypto.authorities = vec!["NEW".into()]);
        let secrets = [
            (SecretFile::ConfdHmacKey, ("v".to_owned(), "d".to_owned())),
            (SecretFile::RapiCertificate, ("w".to_owned(), "e".to_owned())),
        ];
        let wanted = Wanted {
            trusted: vec!["A".into()],
            issuer: "CN=new".into(),
            candidates: "list".into(),
            secrets: secrets.into(),
            authority: Some(Life { begins: NOW, expires: NOW + 1800.0 }),
            made: BTreeMap::new(),
        };
        for name in ["node1", "node2", "node3"] {
            let view = site.facts.seen.entry(node_id(name)).or_default();
            let view = Arc::make_mut(view);
            view.up = true;
            view.report.crypto = Some(CryptoReport {
                fingerprint: format!("FP {name}"),
                issuer: "CN=new".into(),
                begins: NOW,
                expires: NOW + 900.0,
                trusted: vec!["A".into()],
                candidates: "list".into(),
                secrets: [
                    (SecretFile::ConfdHmacKey, "d".to_owned()),
                    (SecretFile::RapiCertificate, "e".to_owned()),
                ]
                .into(),
                ..CryptoReport::default()
            });
        }
        (site, wanted)
    }

    fn change(site: &mut Site, name: &str, change: impl FnOnce(&mut CryptoReport)) {
        let view = site.facts.seen.get_mut(&node_id(name)).unwrap();
        change(Arc::make_mut(view).report.crypto.as_mut().unwrap());
    }

    fn of(site: &Site, wanted: &Wanted, now: f64) -> Todo {
        todo(&site.config, wanted, &site.facts.seen, now)
    }

    #[test]
    fn nothing_is_done_when_all_is_well() {
        let (site, wanted) = site();
        assert_eq!(of(&site, &wanted, NOW), Todo::default());
        assert_eq!(of(&site, &wanted, NOW + 599.0), Todo::default());
    }

    #[test]
    fn certificates_are_renewed_in_the_last_third_of_their_life() {
        let (mut site, wanted) = site();
        change(&mut site, "node2", |report| report.expires = NOW + 1800.0);
        let mut late = [node_id("node1"), node_id("node3")];
        late.sort();
        assert_eq!(of(&site, &wanted, NOW + 601.0).renew, late);
        change(&mut site, "node2", |report| report.issuer = "CN=old".into());
        assert_eq!(of(&site, &wanted, NOW).renew, [node_id("node2")]);
        change(&mut site, "node2", |report| report.issuer = "CN=new".into());
        site.cluster(|c| {
            c.crypto.certs = [(node_id("node2"), "given".into())].into();
        });
        assert_eq!(of(&site, &wanted, NOW).renew, [node_id("node2")], "not the one it was given");
    }

    #[test]
    fn the_authority_is_renewed_in_the_last_third_of_its_life() {
        let (mut site, wanted) = site();
        for name in ["node1", "node2", "node3"] {
            change(&mut site, name, |report| report.expires = NOW + 9000.0);
        }
        assert!(!of(&site, &wanted, NOW + 1199.0).authority);
        let todo = of(&site, &wanted, NOW + 1201.0);
        assert_eq!(todo, Todo { authority: true, ..Todo::default() });
        let job = |tried: &[Tried]| job(&site.config, &todo, |what| tried.contains(&what));
        let found = job(&[]).unwrap();
        assert!(found.op.new_cluster_certificate && found.op.nodes.is_empty());
        assert_eq!(job(&found.tries), None, "not at once again");
    }

    #[test]
    fn certificates_made_here_are_renewed_and_brought_ones_are_not() {
        let (site, mut wanted) = site();
        let (rapi, spice, ca) =
            (SecretFile::RapiCertificate, SecretFile::SpiceCertificate, SecretFile::SpiceAuthority);
        let (short, long) = (
            Life { begins: NOW, expires: NOW + 300.0 },
            Life { begins: NOW, expires: NOW + 9000.0 },
        );
        wanted.made = [(rapi, long), (spice, short), (ca, short)].into();
        assert_eq!(of(&site, &wanted, NOW + 199.0).make, []);
        assert_eq!(of(&site, &wanted, NOW + 201.0).make, [spice, ca]);
        wanted.made.insert(ca, long);
        assert_eq!(of(&site, &wanted, NOW + 201.0).make, [spice, ca], "they go together");
        wanted.made.remove(&ca);
        assert_eq!(of(&site, &wanted, NOW + 201.0).make, [], "half of it was brought");
        wanted.made = [(rapi, short)].into();
        assert_eq!(of(&site, &wanted, NOW + 900_000.0).make, [rapi], "also when it is too late");
        wanted.made.clear();
        assert_eq!(of(&site, &wanted, NOW + 201.0), Todo::default());
    }

    #[test]
    fn the_most_urgent_job_comes_first() {
        let (site, _) = site();
        let todo = Todo {
            renew: vec![node_id("node2"), node_id("node3")],
            authority: true,
            make: vec![SecretFile::RapiCertificate],
            forget: true,
            ..Todo::default()
        };
        let mut tried: Vec<Tried> = vec![];
        let mut next = || {
            let job = job(&site.config, &todo, |what| tried.contains(&what)).unwrap();
            tried.extend(&job.tries);
            job.op
        };
        assert!(next().new_cluster_certificate);
        let op = next();
        assert!(op.node_certificates && op.nodes == ["node2", "node3"]);
        assert_eq!(next().new_secrets, [SecretFile::RapiCertificate]);
        assert!(next().forget_former);
    }

    #[test]
    fn who_was_away_is_brought_up_to_date() {
        let (mut site, wanted) = site();
        change(&mut site, "node3", |report| {
            report.trusted = vec!["Z".into()];
            // node3 is no candidate: the gateway's key is not for it.
            report.secrets = [(SecretFile::ConfdHmacKey, "old".to_owned())].into();
        });
        let todo = of(&site, &wanted, NOW);
        assert_eq!(todo.trust, [node_id("node3")]);
        assert_eq!(todo.write, [(node_id("node3"), SecretFile::ConfdHmacKey)]);
        let view = site.facts.seen.get_mut(&node_id("node3")).unwrap();
        Arc::make_mut(view).up = false;
        assert_eq!(of(&site, &wanted, NOW), Todo::default(), "nobody could tell it");
    }

    #[test]
    fn former_certificates_go_when_no_node_needs_them() {
        let (mut site, wanted) = site();
        site.cluster(|c| c.crypto.authorities.push("OLD".into()));
        assert!(of(&site, &wanted, NOW).forget);
        // Away, but it was seen with everything new.
        let view = site.facts.seen.get_mut(&node_id("node3")).unwrap();
        Arc::make_mut(view).up = false;
        assert!(of(&site, &wanted, NOW).forget);
        change(&mut site, "node3", |report| report.candidates = "old list".into());
        assert!(!of(&site, &wanted, NOW).forget, "it would not obey the master");
        site.facts.seen.remove(&node_id("node3"));
        assert!(!of(&site, &wanted, NOW).forget, "nobody knows what it has");
        site.node("node3", |node| node.offline = true);
        assert!(!of(&site, &wanted, NOW).forget, "it may come back");
    }
}
