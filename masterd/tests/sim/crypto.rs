//! Certificates and shared secrets of machines that do not exist: texts that say what they are.

use super::world::World;
use roost_masterd::config::{Change, Config, Object};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Certified, CryptoAction, CryptoAnswer, CryptoQuestion};
use roost_proto::secrets::SecretFile;
use std::collections::BTreeMap;

/// How a machine is equipped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Equipment {
    pub trusted: Vec<String>,
    pub candidates: Option<String>,
    /// Certificates are numbered: `certificate 2 of node1.example.com by authority 1`.
    pub number: u32,
    pub certificate: String,
    pub former: Option<String>,
    /// Versions.
    pub secrets: BTreeMap<SecretFile, String>,
}

fn fingerprint(name: &str, number: u32) -> String {
    format!("FP {number} of {name}")
}

/// The configuration of a cluster whose certificates are known.
pub fn configured(config: &Config) -> Vec<Change> {
    let mut cluster = (*config.cluster).clone();
    cluster.crypto.authorities = vec!["authority 1".into()];
    cluster.crypto.secrets = SecretFile::ALL.map(|file| (file, "version 1".to_owned())).into();
    for node in config.nodes.values() {
        let print = fingerprint(&node.name, 1);
        cluster.crypto.certs.insert(node.uuid, print.clone());
        if let Some(listed) = cluster.candidate_certs.get_mut(&node.uuid) {
            *listed = print;
        }
    }
    vec![Change::Update(Object::Cluster(Box::new(cluster)))]
}

/// The machines of that cluster. All are candidates.
pub fn equipped(world: &mut World) {
    for machine in world.machines.values_mut() {
        machine.crypto = Equipment {
            trusted: vec!["authority 1".into()],
            number: 1,
            certificate: format!("certificate 1 of {} by authority 1", machine.name),
            secrets: SecretFile::ALL.map(|file| (file, "version 1".to_owned())).into(),
            ..Equipment::default()
        };
    }
}

impl World {
    /// Answers as masterd and a node do together.
    pub fn answer_crypto(
        &mut self,
        node: NodeId,
        question: &CryptoQuestion,
    ) -> Result<CryptoAnswer> {
        let machine = self.machine(node)?;
        Ok(match question {
            CryptoQuestion::Report => CryptoAnswer::Report(Box::default()),
            CryptoQuestion::Request => CryptoAnswer::Request("request".into()),
            CryptoQuestion::Certificate { next } => {
                let crypto = &machine.crypto;
                let current = crypto.trusted.first().cloned().unwrap_or_default();
                let authority = if *next { "authority 2".into() } else { current };
                let number = crypto.number + 1;
                CryptoAnswer::Certificate(Certified {
                    certificate: format!("certificate {number} of {} by {authority}", machine.name),
                    fingerprint: fingerprint(&machine.name, number),
                    authority,
                })
            }
            CryptoQuestion::Secrets { make, given } => {
                let made = make.iter().map(|file| (*file, "version 2".to_owned()));
                CryptoAnswer::Secrets(made.chain(given.clone()).collect())
            }
        })
    }

    /// Does it.
    pub fn apply_crypto(&mut self, node: NodeId, action: &CryptoAction) -> Result<()> {
        let machine = self.machine(node)?;
        let name = machine.name.clone();
        let crypto = &mut machine.crypto;
        match action {
            CryptoAction::Trust { authorities, candidates } => {
                if authorities.is_empty() {
                    return Err(Error::wrong_input("nobody to trust"));
                }
                crypto.trusted = authorities.clone();
                if let Some(list) = candidates {
                    crypto.candidates = Some(list.clone());
                }
            }
            CryptoAction::Install { certificates } => {
                let new = certificates
                    .get(&node)
                    .ok_or_else(|| Error::wrong_input("no certificate for this node"))?;
                if *new == crypto.certificate {
                    return Ok(());
                }
                if !crypto.trusted.iter().any(|authority| new.ends_with(authority)) {
                    let text = format!("{name}: {new} is put to use before it is trusted");
                    self.violations.push(text);
                    return Ok(());
                }
                crypto.former.get_or_insert_with(|| crypto.certificate.clone());
                crypto.certificate = new.clone();
                crypto.number += 1;
            }
            CryptoAction::Forget => crypto.former = None,
            CryptoAction::Write { file, version, content } => {
                assert_eq!(*content, None, "a secret in a plan");
                crypto.secrets.insert(*file, version.clone());
            }
        }
        Ok(())
    }

    /// Where a machine is not equipped as the configuration says.
    pub fn crypto_disagreements(&self, config: &Config) -> Vec<String> {
        let wanted = &config.cluster.crypto;
        let mut problems = Vec::new();
        if wanted.is_empty() {
            return problems;
        }
        let equipped = self.machines.iter().filter(|(id, m)| {
            config.nodes.contains_key(id)
                && !m.dead
                && !self.silent.contains(id)
                && m.crypto.number > 0
        });
        for (id, machine) in equipped {
            let mut problem = |text: String| problems.push(format!("{}: {text}", machine.name));
            let crypto = &machine.crypto;
            if crypto.trusted != wanted.authorities {
                problem(format!("trusts {:?}, not {:?}", crypto.trusted, wanted.authorities));
            }
            if let Some(given) = wanted.certs.get(id)
                && *given != fingerprint(&machine.name, crypto.number)
            {
                problem(format!("has certificate number {}, not {given}", crypto.number));
            }
            if crypto.secrets != wanted.secrets {
                problem(format!("has secrets {:?}, not {:?}", crypto.secrets, wanted.secrets));
            }
        }
        problems
    }
}
