//! Answers questions: reads, changes nothing (but for `PutFile` and what a shell command does).

use crate::block::{self, Work};
use crate::blocking::blocking;
use crate::exec::Command;
use crate::host::Host;
use crate::steps::Reporter;
use crate::{durable, facts, iallocator, net, oob, os};
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::node::{Answer, Question};
use roost_proto::objects::Disk;
use std::path::{Component, Path};

/// Answers, or says why that is not possible.
pub async fn answer(host: &Host, question: Question) -> Result<Answer> {
    let paths = host.paths.clone();
    match question {
        Question::Node => {
            let (guests, _) = host.hypervisors.list().await;
            Ok(Answer::Node(Box::new(facts::node(host, &guests).await)))
        }
        Question::Guests => {
            let (guests, problems) = host.hypervisors.list().await;
            match problems.into_iter().next() {
                None => Ok(Answer::Guests(guests)),
                Some((hypervisor, error)) => Err(error.at(format!("hypervisor {hypervisor}"))),
            }
        }
        Question::Blocks { disks } => {
            Ok(Answer::Blocks(block::statuses(&disks, &work(host)).await))
        }
        Question::OsList => blocking(move || Ok(Answer::Os(os::list(&paths)))).await,
        Question::ExtProviders => block::ext_providers(&paths).await.map(Answer::ExtProviders),
        Question::OsValidate { os, osparams, force_variant } => {
            os::validate(&paths, &os, &osparams, force_variant).await.map(|()| Answer::Done)
        }
        Question::HvValidate { hypervisor, hvparams } => {
            host.hypervisors.get(hypervisor)?.validate(&hvparams).await.map(|()| Answer::Done)
        }
        Question::MissingBridges { bridges } => Ok(Answer::Names(facts::missing_bridges(bridges))),
        Question::IpAddress { ip, netdev, probe } => {
            net::report(ip, &netdev, probe).await.map(Answer::IpAddress)
        }
        Question::Resolve { name, ipv6, netdev } => {
            net::resolve(&name, ipv6, &netdev).await.map(Answer::Resolved)
        }
        Question::Console { guest } => {
            let mut console = host.hypervisors.get(guest.hypervisor)?.console(&guest).await?;
            console.host.get_or_insert_with(|| host.identity.name.to_string());
            Ok(Answer::Console(console))
        }
        Question::Verify { hypervisors, storage, bridges } => {
            let report = facts::verify(host, hypervisors, storage, bridges).await?;
            Ok(Answer::Verify(Box::new(report)))
        }
        Question::Crypto(question) => {
            crate::crypto::answer(host, question).await.map(Answer::Crypto)
        }
        Question::Export(question) => {
            crate::export::answer(host, question).await.map(Answer::Export)
        }
        Question::Volumes => block::lvm::volumes(true).await.map(Answer::Volumes),
        Question::Storage { storage_type, names } => {
            facts::units(&paths, &storage_type, names).await.map(Answer::Storage)
        }
        Question::Space { disk } if disk.dev_type == DiskTemplate::Plain => {
            block::lvm::space(&disk).await.map(Answer::Space)
        }
        Question::Space { disk } => blocking(move || space(&paths, &disk)).await,
        Question::Command { command } => {
            // The master stops waiting when it wants to; a command that was begun goes on.
            let run = Command::new("/bin/sh").arg("-c").arg(command).env("HOME", "/root");
            let task = tokio::spawn(run.env("LANG", "C.UTF-8").run());
            let end = task.await.map_err(|e| Error::internal(e.to_string()))??;
            Ok(Answer::Command { code: end.code, output: end.output })
        }
        Question::IallocatorList => {
            blocking(move || Ok(Answer::Names(iallocator::list(&paths)))).await
        }
        Question::Iallocator { name, request, args } => {
            iallocator::run(&paths, &name, &request, args).await.map(Answer::Iallocator)
        }
        Question::Oob { calls } => Ok(Answer::Oob(oob::ask(&paths, calls).await)),
        Question::OobPrograms { programs } => {
            oob::problems(&paths, programs).await.map(Answer::OobPrograms)
        }
        Question::PutFile { path, mode, content } => {
            let local = paths.absolute(absolute(&path)?);
            blocking(move || durable::write(&local, &content, mode & 0o7777)).await?;
            tracing::info!(path, "file written");
            Ok(Answer::Done)
        }
    }
}

fn work(host: &Host) -> Work {
    Work {
        paths: host.paths.clone(),
        node: host.identity.node,
        instance: None,
        undo: false,
        reporter: Reporter::silent(),
        budget: host.budgets.copies.clone(),
    }
}

/// Total and free MiB where the disk would be made.
fn space(paths: &roost_proto::paths::Paths, disk: &Disk) -> Result<Answer> {
    match disk.path() {
        Some(path) => Ok(Answer::Space(block::space(&block::check_place(path, paths)?))),
        None => Ok(Answer::Space(None)),
    }
}

fn absolute(path: &str) -> Result<&Path> {
    let plain = |c| matches!(c, Component::RootDir | Component::Normal(_));
    if path.starts_with('/') && !path.ends_with('/') && Path::new(path).components().all(plain) {
        return Ok(Path::new(path));
    }
    Err(Error::wrong_input(format!("'{path}' is not the absolute path of a file")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_are_written() {
        assert_eq!(absolute("/etc/hosts").expect("good"), Path::new("/etc/hosts"));
        for bad in ["etc/hosts", "/etc/../x", "/etc/", "/", ""] {
            absolute(bad).expect_err(bad);
        }
    }
}
