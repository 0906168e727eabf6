//! What machines answer: the truth, from the model.

use super::world::{Data, World};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{
    Answer, BlockState, BlockStatus, ConsoleInfo, IpReport, OsReport, Question, ResolvedName,
    StorageUnit, VerifyReport,
};
use roost_proto::objects::Disk;

/// The OS that every machine has.
pub const OS: &str = "debian";
/// The bridges that every machine has.
const BRIDGES: [&str; 3] = ["br0", "br1", "xen-br0"];
/// What every name of a cluster stands for.
pub const RENAMED: &str = "192.0.2.251";
/// MiB that every storage has, and how much of it is free.
const STORAGE: (u64, u64) = (1 << 20, 1 << 19);

fn os() -> OsReport {
    OsReport {
        name: OS.into(),
        path: format!("/srv/ganeti/os/{OS}"),
        valid: true,
        api_versions: vec![20],
        trusted: true,
        ..OsReport::default()
    }
}

fn missing(bridges: &[String]) -> Vec<String> {
    bridges.iter().filter(|b| !BRIDGES.contains(&b.as_str())).cloned().collect()
}

impl World {
    /// Answers a question.
    pub fn answer(&mut self, node: NodeId, question: &Question) -> Result<Answer> {
        let machine = self.machine(node)?;
        Ok(match question {
            Question::Node => Answer::Node(Box::new(machine.report())),
            Question::Guests => Answer::Guests(machine.reports()),
            Question::Blocks { disks } => {
                let all = disks.iter().map(|disk| self.block(node, disk));
                Answer::Blocks(all.collect::<Result<_>>()?)
            }
            Question::OsList => Answer::Os(vec![os()]),
            Question::OsValidate { .. }
            | Question::HvValidate { .. }
            | Question::PutFile { .. } => Answer::Done,
            Question::MissingBridges { bridges } => Answer::Names(missing(bridges)),
            Question::Console { guest } => Answer::Console(ConsoleInfo {
                instance: guest.name.to_string(),
                kind: "msg".into(),
                ..ConsoleInfo::default()
            }),
            Question::Verify { bridges, .. } => {
                let mut files: Vec<_> =
                    machine.files.iter().map(|(path, data)| (path.clone(), data.size)).collect();
                let (report, guests) = (machine.report(), machine.reports());
                let ssconf = Default::default();
                files.extend(self.shared.iter().map(|(path, data)| (path.clone(), data.size)));
                Answer::Verify(Box::new(VerifyReport {
                    node: report,
                    guests,
                    missing_bridges: missing(bridges),
                    ssconf,
                    os: vec![os()],
                    files,
                    ..VerifyReport::default()
                }))
            }
            Question::IpAddress { ip, probe, .. } => {
                let here = machine.addresses.contains_key(ip);
                let answers = probe.then(|| self.has(*ip, Some(node)));
                Answer::IpAddress(IpReport { here, answers })
            }
            Question::Resolve { name, .. } => {
                let ip = RENAMED.parse().expect("an address");
                let taken = self.has(ip, None);
                Answer::Resolved(ResolvedName { name: name.clone(), ip, taken })
            }
            Question::Volumes => Answer::Volumes(vec![]),
            Question::Storage { names, .. } => {
                let (size, free) = STORAGE;
                let unit = |name: &String| StorageUnit {
                    name: name.clone(),
                    size,
                    used: size - free,
                    free,
                    allocatable: true,
                };
                Answer::Storage(names.iter().map(unit).collect())
            }
            Question::Crypto(question) => Answer::Crypto(self.answer_crypto(node, question)?),
            Question::Space { .. } => Answer::Space(Some(STORAGE)),
            Question::Command { .. } => Answer::Command { code: 0, output: vec![] },
        })
    }

    fn block(&mut self, node: NodeId, disk: &Disk) -> Result<BlockStatus> {
        let assembled = self.machine(node)?.assembled.contains_key(&disk.uuid);
        let (files, path) = self.files(node, disk)?;
        let found: Option<&Data> = files.get(&path).filter(|data| data.disk == disk.uuid);
        Ok(BlockStatus {
            state: match (found, assembled) {
                (None, _) => BlockState::Missing,
                (Some(_), true) => BlockState::Active,
                (Some(_), false) => BlockState::Inactive,
            },
            size: found.map(|data| data.size),
            path: assembled.then_some(path),
            major_minor: None,
            sync: None,
            detail: String::new(),
            children: vec![],
        })
    }
}
