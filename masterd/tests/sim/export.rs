//! Exports on machines that do not exist.

use super::world::{World, wrong};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{
    Answer, ExportAction, ExportAnswer, ExportInfo, ExportQuestion, ExportScripts, Outcome,
};
use roost_proto::objects::Disk;
use std::collections::BTreeMap;

/// An export: its `config.ini`, and what is in its dumps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Export {
    pub config: String,
    pub dumps: BTreeMap<String, String>,
    /// The one it took the place of: it may still be taken back.
    unsettled: Option<Option<Box<Export>>>,
}

/// What a machine has of exports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exports {
    pub whole: BTreeMap<String, Export>,
    pub unfinished: BTreeMap<String, Export>,
    /// Which export dumps of a token belong to.
    receiving: BTreeMap<String, String>,
    /// Scripts that take dumps of a token.
    accepting: BTreeMap<String, ExportScripts>,
}

impl Exports {
    fn changed(&self) -> Outcome {
        Outcome { exports: Some(self.whole.keys().cloned().collect()), ..Outcome::default() }
    }
}

impl World {
    /// Does it.
    pub fn apply_export(&mut self, node: NodeId, action: &ExportAction) -> Result<Outcome> {
        match action {
            ExportAction::Receive { name, token, .. } => {
                let exports = &mut self.machine(node)?.exports;
                exports.unfinished.entry(name.to_string()).or_default();
                exports.receiving.retain(|_, known| known != name.as_str());
                exports.receiving.insert(token.clone(), name.to_string());
                Ok(Outcome::default())
            }
            ExportAction::Send { scripts, disks, target, token, .. } => {
                self.send(node, scripts, disks, *target, token)?;
                Ok(Outcome::default())
            }
            ExportAction::Finish { name, config } => {
                let exports = &mut self.machine(node)?.exports;
                exports.receiving.retain(|_, known| known != name.as_str());
                if let Some(mut new) = exports.unfinished.remove(name.as_str()) {
                    new.config = config.clone();
                    let old = exports.whole.remove(name.as_str());
                    new.unsettled = Some(old.map(Box::new));
                    exports.whole.insert(name.to_string(), new);
                }
                match exports.whole.get(name.as_str()) {
                    Some(export) if export.config == *config => Ok(exports.changed()),
                    _ => Err(wrong(format!("there is nothing to finish of {name}"))),
                }
            }
            ExportAction::Settle { name } => {
                let exports = &mut self.machine(node)?.exports;
                if let Some(export) = exports.whole.get_mut(name.as_str()) {
                    export.unsettled = None;
                }
                Ok(Outcome::default())
            }
            ExportAction::Remove { name, unfinished } => {
                let exports = &mut self.machine(node)?.exports;
                exports.unfinished.remove(name);
                exports.receiving.retain(|_, known| known != name);
                if !unfinished {
                    exports.whole.remove(name);
                } else if let Some(export) = exports.whole.remove(name) {
                    match export.unsettled {
                        Some(None) => {}
                        Some(Some(old)) => drop(exports.whole.insert(name.clone(), *old)),
                        None => drop(exports.whole.insert(name.clone(), export)),
                    }
                }
                Ok(exports.changed())
            }
            ExportAction::Accept { scripts, token } => {
                let exports = &mut self.machine(node)?.exports;
                exports.accepting.insert(token.clone(), (**scripts).clone());
                Ok(Outcome::default())
            }
            ExportAction::SendDumps { path, dumps, target, token, .. } => {
                let export = self.machine(node)?.exports.whole.get(path).cloned();
                let export = export.ok_or_else(|| wrong(format!("there is no export {path}")))?;
                let accepting = self.machine(*target)?.exports.accepting.get(token).cloned();
                let scripts = accepting.ok_or_else(|| wrong("no dumps are awaited".into()))?;
                for (dump, disk) in dumps.iter().zip(&scripts.guest.disks) {
                    let content = export.dumps.get(dump).cloned();
                    let content = content.ok_or_else(|| wrong(format!("no dump {dump}")))?;
                    let disk = &disk.disk;
                    self.must_exist(*target, disk)?;
                    self.machine(*target)?.usable(disk.uuid)?;
                    self.forbid(*target, disk, "importing into");
                    let (files, place) = self.files(*target, disk)?;
                    files.entry(place).and_modify(|data| data.content = content);
                    self.mirror_content(*target, disk);
                }
                Ok(Outcome::default())
            }
        }
    }

    fn send(
        &mut self,
        node: NodeId,
        scripts: &ExportScripts,
        disks: &[Disk],
        target: NodeId,
        token: &str,
    ) -> Result<()> {
        let name = self.machine(target)?.exports.receiving.get(token).cloned();
        let name = name.ok_or_else(|| wrong("no export is awaited under this token".into()))?;
        for (disk, own) in disks.iter().zip(&scripts.guest.disks) {
            self.machine(node)?.usable(disk.uuid)?;
            self.must_exist(node, disk)?;
            // What is read while a guest writes is of no moment.
            self.forbid(node, disk, "exporting");
            let (files, place) = self.files(node, disk)?;
            let content = files[&place].content.clone();
            let exports = &mut self.machine(target)?.exports;
            let export = exports.unfinished.get_mut(&name);
            let export = export.ok_or_else(|| wrong(format!("{name} was not begun")))?;
            export.dumps.insert(own.disk.uuid.to_string(), content);
        }
        Ok(())
    }

    /// Answers.
    pub fn answer_export(&mut self, node: NodeId, question: &ExportQuestion) -> Result<Answer> {
        let whole = &self.machine(node)?.exports.whole;
        Ok(Answer::Export(match question {
            ExportQuestion::List => ExportAnswer::List(whole.keys().cloned().collect()),
            ExportQuestion::Info { path } => {
                ExportAnswer::Info(whole.get(path).map(|export| ExportInfo {
                    config: export.config.clone(),
                    dumps: export.dumps.keys().map(|dump| (dump.clone(), 1)).collect(),
                }))
            }
            ExportQuestion::Scripts { .. } => ExportAnswer::List(vec![]),
        }))
    }
}
