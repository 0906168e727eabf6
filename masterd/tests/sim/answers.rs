//! What machines answer: the truth, from the model.

use super::world::World;
use roost_proto::choices::OobAction;
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{
    Answer, ConsoleInfo, ExtReport, IpReport, OobCall, OobReply, OsReport, Question, ResolvedName,
    StorageUnit, VerifyReport,
};
use std::collections::BTreeMap;

/// The OS that every machine has.
pub const OS: &str = "debian";
/// The external storage provider that every machine has.
pub const PROVIDER: &str = "loop";
/// The bridges that every machine has.
const BRIDGES: [&str; 3] = ["br0", "br1", "xen-br0"];
/// What every name of a cluster stands for.
pub const RENAMED: &str = "192.0.2.251";
/// The allocator script that every machine has.
pub const ALLOCATOR: &str = "first";
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

fn provider() -> ExtReport {
    ExtReport {
        name: PROVIDER.into(),
        path: format!("/srv/ganeti/extstorage/{PROVIDER}"),
        valid: true,
        problem: String::new(),
        parameters: vec![("dir".into(), "where volumes are".into())],
    }
}

fn missing(bridges: &[String]) -> Vec<String> {
    bridges.iter().filter(|b| !BRIDGES.contains(&b.as_str())).cloned().collect()
}

/// The script's answer to `allocate`: the first nodes.
fn allocate(request: &str) -> String {
    let request: serde_json::Value = serde_json::from_str(request).expect("JSON");
    let count = request["request"]["required_nodes"].as_u64().expect("how many") as usize;
    let nodes = request["nodes"].as_object().expect("nodes");
    let nodes: Vec<_> = nodes.keys().take(count).collect();
    serde_json::json!({"success": true, "info": "the first", "result": nodes}).to_string()
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
            Question::ExtProviders => Answer::ExtProviders(vec![provider()]),
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
                let (report, guests) = (machine.report(), machine.reports());
                let ssconf = Default::default();
                let files = self.machines[&node].files.iter().chain(&self.shared);
                let files = files.filter(|(path, _)| path.starts_with("/srv/"));
                let files = files.map(|(path, data)| (path.clone(), data.size)).collect();
                let volumes = Some(self.volumes(node));
                let mirrors = Some(self.mirror_reports(node));
                Answer::Verify(Box::new(VerifyReport {
                    node: report,
                    guests,
                    missing_bridges: missing(bridges),
                    ssconf,
                    os: vec![os()],
                    files,
                    volumes,
                    mirrors,
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
            Question::Volumes => Answer::Volumes(self.volumes(node)),
            Question::Storage { names, .. } => {
                let (size, free) = STORAGE;
                let unit = |name: &String| StorageUnit {
                    name: name.clone(),
                    size,
                    used: size - free,
                    free,
                    allocatable: !machine.not_allocatable.contains(name),
                };
                Answer::Storage(names.iter().map(unit).collect())
            }
            Question::Crypto(question) => Answer::Crypto(self.answer_crypto(node, question)?),
            Question::Space { .. } => Answer::Space(Some(STORAGE)),
            Question::Export(question) => self.answer_export(node, question)?,
            Question::IallocatorList => Answer::Names(vec![ALLOCATOR.into()]),
            Question::Iallocator { request, .. } => Answer::Iallocator(allocate(request)),
            Question::Oob { calls } => {
                let said = |call: &OobCall| match call.command {
                    OobAction::Health => OobReply::Said("[[\"fan\", \"OK\"]]".into()),
                    _ => OobReply::Said(format!(
                        "{{\"powered\": {}}}",
                        !self.off.contains(&call.node)
                    )),
                };
                Answer::Oob(calls.iter().map(said).collect())
            }
            Question::OobPrograms { .. } => Answer::OobPrograms(BTreeMap::new()),
            Question::Command { .. } => Answer::Command { code: 0, output: vec![] },
        })
    }
}
