//! `OP_CLUSTER_RENEW_CRYPTO`: new certificates and shared secrets, while everything goes on.
//!
//! ```text
//!   asked    each node makes a key, masterd signs its certificate (and makes the next authority)
//!   before   nodes trust the new authority beside the old │ new secrets are written
//!   PIVOT    authorities := [new, old], certificates and secrets recorded
//!   after    nodes obey candidates by old and new certificate
//!            nodes use their new certificates, the master last
//!
//!   forget_former, when no node needs it any more:
//!   PIVOT    authorities := [new], former certificates forgotten
//!   after    nodes trust and obey nothing former, and forget their own
//! ```
//!
//! A node that does not answer keeps what it has: the old authority stays trusted, the master shows
//! it the former certificate, and it is renewed when it is back (by the reconciler). Plans have
//! certificates in them and names of secrets, never a key or a secret.
//!
//! SSH keys are not among what the cluster manages (`modify_ssh_setup` is off): nodes need no SSH.

use crate::config::{Change, Config, Object, candidate_certs};
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::{Context, Operate, locking, node};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{
    Action, Answer, Certified, CryptoAction, CryptoAnswer, CryptoQuestion, Question,
};
use roost_proto::objects::Cluster;
use roost_proto::opcodes::ClusterRenewCrypto;
use roost_proto::secrets::SecretFile;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that get their certificates in one step.
const AT_ONCE: usize = 32;

impl Operate for ClusterRenewCrypto {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check(self, config)?;
        // Guests and disks are not concerned: only who else changes the cluster has to wait.
        Ok(LockSet::new().with(locking::cluster_object(), Mode::Exclusive))
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let wanted: BTreeSet<NodeId> = match renews_certificates(self) {
            true => node::named(config, &self.nodes)?.into_iter().collect(),
            false => BTreeSet::new(),
        };
        let mut asked = Vec::new();
        for node in config.online_nodes() {
            asked.push((
                node.uuid,
                Question::Crypto(match wanted.contains(&node.uuid) {
                    true => CryptoQuestion::Certificate { next: self.new_cluster_certificate },
                    false => CryptoQuestion::Report,
                }),
            ));
        }
        if !self.new_secrets.is_empty() || !self.given_secrets.is_empty() {
            let (make, given) = (self.new_secrets.clone(), self.given_secrets.clone());
            let question = Question::Crypto(CryptoQuestion::Secrets { make, given });
            asked.push((config.master(), question));
        }
        Ok(asked)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        check(self, config)?;
        let asked = Asked::of(cx)?;
        let mut cluster = (*config.cluster).clone();
        let mut plan = Plan::default();
        if self.forget_former {
            forget(&mut cluster, &mut plan, &asked, config)?;
        }
        if renews_certificates(self) {
            certificates(self, &mut cluster, &mut plan, &asked, config)?;
        }
        secrets(&mut cluster, &mut plan, &asked, config)?;
        if cluster != *config.cluster {
            plan.pivot.changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
        }
        plan.say = cx.start_plan().say;
        plan.result = Value::Null;
        Ok(plan)
    }
}

fn renews_certificates(op: &ClusterRenewCrypto) -> bool {
    op.node_certificates || op.new_cluster_certificate
}

fn check(op: &ClusterRenewCrypto, config: &Config) -> Result<()> {
    if op.renew_ssh_keys || op.ssh_key_type.is_some() || op.ssh_key_bits.is_some() {
        return Err(Error::wrong_input(
            "SSH keys are not renewed: this cluster does not manage them (modify_ssh_setup is off); \
             its nodes need no SSH between them",
        ));
    }
    if !op.nodes.is_empty() && (!op.node_certificates || op.new_cluster_certificate) {
        return Err(Error::wrong_input(
            "Nodes can be chosen only for new certificates of nodes; a new cluster certificate \
             concerns all of them",
        ));
    }
    if op.forget_former && renews_certificates(op) {
        return Err(Error::wrong_input(
            "Former certificates can't be forgotten while they are being replaced",
        ));
    }
    if let Some(file) = op.new_secrets.iter().find(|file| op.given_secrets.contains_key(file)) {
        return Err(Error::wrong_input(format!(
            "A new {} can't be made and be given at the same time",
            file.describe()
        )));
    }
    let names = op.nodes.iter().map(|name| config.node(name));
    for node in names.collect::<Result<Vec<_>>>()? {
        if node.offline {
            return Err(Error::wrong_state(format!(
                "Node {} is offline; it gets a certificate when it is added again ('gnt-node add \
                 --readd')",
                node.name
            )));
        }
    }
    Ok(())
}

/// What the nodes answered.
#[derive(Default)]
struct Asked {
    /// Those that answer.
    up: Vec<NodeId>,
    certified: BTreeMap<NodeId, Certified>,
    secrets: BTreeMap<SecretFile, String>,
}

impl Asked {
    /// Those that do not answer are told of, unless it is the master: then nothing can be done.
    fn of(cx: &mut Context<'_, '_>) -> Result<Asked> {
        let config = cx.config();
        let mut asked = Asked::default();
        for (node, _, answer) in cx.answers() {
            match answer {
                Ok(Answer::Crypto(CryptoAnswer::Secrets(versions))) => {
                    asked.secrets = versions.clone();
                    continue;
                }
                Ok(Answer::Crypto(CryptoAnswer::Certificate(certified))) => {
                    asked.certified.insert(*node, certified.clone());
                }
                Ok(_) => {}
                Err(error) if *node == config.master() => return Err(error.clone()),
                Err(error) => {
                    let name = config.node_name(*node);
                    cx.warn(format!(
                        "Node {name} does not answer and keeps what it has until it is back: \
                         {error}"
                    ));
                    continue;
                }
            }
            asked.up.push(*node);
        }
        asked.up.sort();
        for node in config.nodes.values().filter(|node| node.offline) {
            cx.warn(format!(
                "Node {} is offline: it is told nothing. Former certificates stay trusted until it \
                 is back, removed or re-added",
                node.name
            ));
        }
        Ok(asked)
    }
}

fn on(nodes: Vec<NodeId>, action: CryptoAction) -> Task {
    Task::Nodes { nodes, action: Box::new(Action::Crypto(action)) }
}

fn certificates(
    op: &ClusterRenewCrypto,
    cluster: &mut Cluster,
    plan: &mut Plan,
    asked: &Asked,
    config: &Config,
) -> Result<()> {
    let old = cluster.crypto.authorities.clone();
    let signer = asked.certified.values().next().map(|certified| certified.authority.clone());
    let signer = signer.ok_or_else(|| {
        Error::environment("None of the nodes answers: no certificate can be renewed")
    })?;
    if asked.certified.values().any(|certified| certified.authority != signer) {
        return Err(Error::wrong_state(
            "The authority changed while certificates were signed, please retry",
        ));
    }
    if op.new_cluster_certificate || old.is_empty() {
        cluster.crypto.authorities.retain(|known| *known != signer);
        cluster.crypto.authorities.insert(0, signer);
        let trust = |authorities: &[String]| {
            let authorities = authorities.to_vec();
            on(asked.up.clone(), CryptoAction::Trust { authorities, candidates: None })
        };
        let mut step = Step::new("trusting the new authority", trust(&cluster.crypto.authorities))
            .saying("Telling all nodes of the new authority");
        if !old.is_empty() {
            step = step.undone_by(trust(&old));
        }
        plan.before.push(step);
    } else if old.first() != Some(&signer) {
        return Err(Error::wrong_state("Another authority signs now, please retry"));
    }
    for (node, certified) in &asked.certified {
        let crypto = &mut cluster.crypto;
        crypto.certs.insert(*node, certified.fingerprint.clone());
        if let Some(known) = cluster.candidate_certs.get_mut(node) {
            let former = std::mem::replace(known, certified.fingerprint.clone());
            crypto.former_certs.entry(*node).or_default().push(former);
        }
    }
    obey(plan, cluster, &asked.up);
    let master = config.master();
    let others: Vec<_> = asked.certified.keys().copied().filter(|node| *node != master).collect();
    for nodes in others.chunks(AT_ONCE) {
        let step = Step::new("putting new certificates to use", install(asked, nodes));
        plan.after.push(step.on_failure(OnFailure::Warn));
    }
    if asked.certified.contains_key(&master) {
        let task = install(asked, &[master]);
        plan.after.push(Step::new("putting the master's new certificate to use", task));
    }
    plan.pivot.say.push("New certificates are signed; nodes change to them one by one".into());
    Ok(())
}

fn install(asked: &Asked, nodes: &[NodeId]) -> Task {
    let of = |node: &NodeId| Some((*node, asked.certified.get(node)?.certificate.clone()));
    let certificates = nodes.iter().filter_map(of).collect();
    on(nodes.to_vec(), CryptoAction::Install { certificates })
}

/// Tells nodes whom to trust and obey from now on. They would hear of it anyway, but maybe too late.
fn obey(plan: &mut Plan, cluster: &Cluster, nodes: &[NodeId]) {
    let authorities = cluster.crypto.authorities.clone();
    let candidates = Some(candidate_certs(cluster));
    let task = on(nodes.to_vec(), CryptoAction::Trust { authorities, candidates });
    let step = Step::new("telling nodes of the candidates' certificates", task);
    plan.after.push(step.on_failure(OnFailure::Warn));
}

fn forget(cluster: &mut Cluster, plan: &mut Plan, asked: &Asked, config: &Config) -> Result<()> {
    if !cluster.crypto.overlaps() {
        plan.pivot.say.push("There are no former certificates to forget".into());
    }
    cluster.crypto.authorities.truncate(1);
    cluster.crypto.former_certs.clear();
    if cluster.crypto.authorities.is_empty() {
        return Err(Error::wrong_state("This cluster's authority is not recorded"));
    }
    obey(plan, cluster, &asked.up);
    // The master last: until then it can be understood by who knows only its former certificate.
    let (master, others): (Vec<_>, Vec<_>) =
        asked.up.iter().copied().partition(|node| *node == config.master());
    for nodes in [others, master].into_iter().filter(|nodes| !nodes.is_empty()) {
        let step = Step::new("forgetting former certificates", on(nodes, CryptoAction::Forget));
        plan.after.push(step.on_failure(OnFailure::Warn));
    }
    Ok(())
}

fn secrets(cluster: &mut Cluster, plan: &mut Plan, asked: &Asked, config: &Config) -> Result<()> {
    for (file, version) in &asked.secrets {
        let old = cluster.crypto.secrets.insert(*file, version.clone());
        let holds = |node: &NodeId| {
            file.is_everywhere() || config.nodes.get(node).is_some_and(|n| n.master_candidate)
        };
        let nodes: Vec<_> = asked.up.iter().copied().filter(holds).collect();
        let write = |version: &str| {
            let version = version.to_owned();
            on(nodes.clone(), CryptoAction::Write { file: *file, version, content: None })
        };
        let mut step = Step::new(format!("writing the new {}", file.describe()), write(version))
            .saying(format!("Writing the new {}", file.describe()));
        if let Some(old) = old {
            step = step.undone_by(write(&old));
        }
        plan.before.push(step);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::node::CryptoReport;

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.cluster(|c| {
            c.crypto.authorities = vec!["OLD".into()];
            c.candidate_certs = [(node_id("node1"), "FP1".into())].into();
            c.crypto.secrets = [(SecretFile::ConfdHmacKey, "v1".into())].into();
        });
        site
    }

    fn certified(node: &str, authority: &str) -> Answer {
        Answer::Crypto(CryptoAnswer::Certificate(Certified {
            certificate: format!("certificate of {node}"),
            fingerprint: format!("NEW:{node}"),
            authority: authority.into(),
        }))
    }

    fn answer(site: &mut Site, op: &ClusterRenewCrypto, authority: &str, silent: &[&str]) {
        site.facts.answers.clear();
        for (node, question) in site.questions(op.clone()) {
            let answer = match &question {
                _ if silent.contains(&node.as_str()) => Err(Error::environment("no answer")),
                Question::Crypto(CryptoQuestion::Certificate { .. }) => {
                    Ok(certified(&node, authority))
                }
                Question::Crypto(CryptoQuestion::Secrets { make, given }) => {
                    let made = make.iter().map(|file| (*file, "made".to_owned()));
                    let all = made.chain(given.clone()).collect();
                    Ok(Answer::Crypto(CryptoAnswer::Secrets(all)))
                }
                _ => {
                    let report = Box::new(CryptoReport::default());
                    Ok(Answer::Crypto(CryptoAnswer::Report(report)))
                }
            };
            site.answer(&node, question, answer);
        }
    }

    fn names(steps: &[Step]) -> Vec<String> {
        steps.iter().map(|step| format!("{} on {}", step.name, step.task.nodes().len())).collect()
    }

    #[test]
    fn a_new_authority_is_trusted_before_it_is_used() {
        let mut site = site();
        let op = ClusterRenewCrypto { new_cluster_certificate: true, ..ClusterRenewCrypto::new() };
        answer(&mut site, &op, "NEW", &["node3"]);
        let plan = site.run(op);
        assert_eq!(names(&plan.before), ["trusting the new authority on 2"]);
        assert_eq!(
            names(&plan.after),
            [
                "telling nodes of the candidates' certificates on 2",
                "putting new certificates to use on 1",
                "putting the master's new certificate to use on 1",
            ]
        );
        assert!(plan.say[0].contains("Node node3 does not answer"), "{:?}", plan.say);
        let crypto = &site.config.cluster.crypto;
        assert_eq!(crypto.authorities, ["NEW", "OLD"]);
        assert_eq!(site.config.cluster.candidate_certs[&node_id("node1")], "NEW:node1");
        assert_eq!(crypto.former_certs[&node_id("node1")], ["FP1"]);
        assert!(!crypto.certs.contains_key(&node_id("node3")));
        let obeyed = candidate_certs(&site.config.cluster);
        let id = node_id("node1");
        assert_eq!(obeyed, format!("{id}=NEW:node1\n{id}=FP1\n"));

        let op = ClusterRenewCrypto { forget_former: true, ..ClusterRenewCrypto::new() };
        answer(&mut site, &op, "", &[]);
        let plan = site.run(op);
        assert_eq!(
            names(&plan.after),
            [
                "telling nodes of the candidates' certificates on 3",
                "forgetting former certificates on 2",
                "forgetting former certificates on 1",
            ]
        );
        assert_eq!(site.config.cluster.crypto.authorities, ["NEW"]);
        assert!(!site.config.cluster.crypto.overlaps());
        assert_eq!(candidate_certs(&site.config.cluster), format!("{id}=NEW:node1\n"));
    }

    #[test]
    fn some_nodes_only() {
        let mut site = site();
        let op = ClusterRenewCrypto {
            node_certificates: true,
            nodes: vec!["node2".into()],
            ..ClusterRenewCrypto::new()
        };
        answer(&mut site, &op, "OLD", &[]);
        let plan = site.run(op.clone());
        assert!(plan.before.is_empty());
        assert_eq!(plan.after.len(), 2);
        assert_eq!(plan.after[1].task.nodes(), [node_id("node2")]);
        assert_eq!(site.config.cluster.crypto.authorities, ["OLD"]);
        assert!(site.config.cluster.crypto.former_certs.is_empty(), "it is no candidate");
        answer(&mut site, &op, "ANOTHER", &[]);
        assert!(site.plan(op.clone()).unwrap_err().message.contains("please retry"));
        answer(&mut site, &op, "OLD", &["node2"]);
        assert!(site.plan(op).unwrap_err().message.contains("None of the nodes answers"));
    }

    #[test]
    fn secrets_go_where_they_are_needed() {
        let mut site = site();
        let op = ClusterRenewCrypto {
            new_secrets: vec![SecretFile::ConfdHmacKey],
            given_secrets: [(SecretFile::RapiCertificate, "handed".to_owned())].into(),
            ..ClusterRenewCrypto::new()
        };
        answer(&mut site, &op, "", &[]);
        let plan = site.run(op);
        assert_eq!(
            names(&plan.before),
            ["writing the new RAPI certificate on 1", "writing the new confd HMAC key on 3"]
        );
        let undo = plan.before[1].undo.as_ref().and_then(Task::action);
        let old = CryptoAction::Write {
            file: SecretFile::ConfdHmacKey,
            version: "v1".into(),
            content: None,
        };
        assert_eq!(undo, Some(&Action::Crypto(old)));
        let secrets = &site.config.cluster.crypto.secrets;
        assert_eq!(secrets[&SecretFile::RapiCertificate], "handed");
        assert_eq!(secrets[&SecretFile::ConfdHmacKey], "made");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let site = site();
        let new = ClusterRenewCrypto::new;
        let refused = |op: ClusterRenewCrypto| site.refusal(op).message;
        let ssh = refused(ClusterRenewCrypto { renew_ssh_keys: true, ..new() });
        assert!(ssh.contains("does not manage them"), "{ssh}");
        let both = ClusterRenewCrypto { forget_former: true, node_certificates: true, ..new() };
        assert!(refused(both).contains("being replaced"));
        let nodes = vec!["node1".to_owned()];
        let all = ClusterRenewCrypto { nodes, new_cluster_certificate: true, ..new() };
        assert!(refused(all).contains("concerns all of them"));
        let twice = ClusterRenewCrypto {
            new_secrets: vec![SecretFile::RapiCertificate],
            given_secrets: [(SecretFile::RapiCertificate, "x".to_owned())].into(),
            ..new()
        };
        assert!(refused(twice).contains("at the same time"));
    }

    #[test]
    fn a_silent_master_stops_it() {
        let mut site = site();
        let op = ClusterRenewCrypto { node_certificates: true, ..ClusterRenewCrypto::new() };
        answer(&mut site, &op, "OLD", &["node1"]);
        assert_eq!(site.plan(op).unwrap_err().message, "no answer");
    }
}
