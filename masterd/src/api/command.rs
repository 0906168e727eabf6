//! What no opcode covers: a command line or a file for many nodes.

use crate::config::Config;
use crate::files;
use crate::jobs::Hands;
use crate::nodes::Nodes;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::{Answer, Question};
use roost_proto::rpc::master as pb;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// The largest file that is copied.
const FILE_LIMIT: u64 = 32 << 20;

/// Does it on the nodes one by one, the master last, as Ganeti does.
pub fn run(
    config: &Config,
    nodes: &Nodes,
    request: pb::CommandRequest,
) -> Result<ReceiverStream<std::result::Result<pb::CommandOutput, Status>>> {
    let master = config.master();
    let (question, with_master) = match request.what {
        Some(pb::command_request::What::Command(command)) => (Question::Command { command }, true),
        Some(pb::command_request::What::CopyFile(path)) => (put_file(&path)?, false),
        None => return Err(Error::wrong_input("Nothing to do")),
    };
    let mut wanted: Vec<(String, NodeId, bool)> = Vec::new();
    if request.nodes.is_empty() {
        wanted.extend(config.nodes.values().map(|n| (n.name.to_string(), n.uuid, n.offline)));
    }
    for name in &request.nodes {
        let node = config.node(name)?;
        wanted.push((node.name.to_string(), node.uuid, node.offline));
    }
    wanted.sort_by(|a, b| nicesort::compare(&a.0, &b.0));
    wanted.sort_by_key(|(_, id, _)| *id == master);
    wanted.retain(|(_, id, _)| with_master || *id != master);
    let nodes = nodes.clone();
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        for (name, node, offline) in wanted {
            let mut output = pb::CommandOutput { node: name, ..Default::default() };
            if offline {
                output.error = "is marked offline, skipped".into();
                output.code = -1;
            } else {
                match nodes.ask(node, &question).await {
                    Ok(Answer::Command { code, output: text }) => {
                        output.code = code;
                        output.output = text;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        output.code = -1;
                        output.error = error.message;
                    }
                }
            }
            // Whoever asked is gone: nothing more is started.
            if sender.send(Ok(output)).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}

fn put_file(path: &str) -> Result<Question> {
    if !path.starts_with('/') {
        return Err(Error::wrong_input(format!("'{path}' is not an absolute path")));
    }
    let unreadable =
        |e: std::io::Error| Error::wrong_input(format!("Can't read file '{path}': {e}"));
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() || meta.len() > FILE_LIMIT {
        return Err(Error::wrong_input(format!(
            "'{path}' must be a file of at most {} MiB",
            FILE_LIMIT >> 20
        )));
    }
    let content = files::read_bytes(Path::new(path))?;
    Ok(Question::PutFile {
        path: path.to_owned(),
        mode: meta.permissions().mode() & 0o7777,
        content,
    })
}
