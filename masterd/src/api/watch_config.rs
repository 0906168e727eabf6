//! The configuration as a stream: from any serial on.

use crate::state::State;
use crate::store::{Key, Since};
use roost_proto::ids::Serial;
use roost_proto::rpc::master as pb;
use roost_proto::status::to_status;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

type Item = Result<pb::ConfigChange, Status>;

fn document((key, body): (Key, String)) -> Option<pb::Document> {
    let space = key.space.as_str().to_owned();
    key.space.is_config().then_some(pb::Document { space, id: key.id, body })
}

fn deleted(key: Key) -> Option<pb::DocumentKey> {
    let space = key.space.as_str().to_owned();
    key.space.is_config().then_some(pb::DocumentKey { space, id: key.id })
}

/// All configuration changes after a serial, for as long as the client listens.
pub fn follow(state: State, from: u64) -> ReceiverStream<Item> {
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut known = Serial(from);
        let mut newest = state.serial();
        loop {
            newest.mark_unchanged();
            let changes = match state.since(known).await {
                Ok(since) => changes(since),
                Err(error) => vec![Err(to_status(&error))],
            };
            for change in changes {
                let failed = change.is_err();
                if let Ok(change) = &change {
                    known = Serial(change.serial);
                    let nothing = change.puts.is_empty() && change.deletes.is_empty();
                    // Commits that only touch jobs are of no interest here.
                    if nothing && !change.snapshot {
                        continue;
                    }
                }
                if sender.send(change).await.is_err() || failed {
                    return;
                }
            }
            tokio::select! {
                () = sender.closed() => return,
                changed = newest.changed() => if changed.is_err() { return },
            }
        }
    });
    ReceiverStream::new(receiver)
}

fn changes(since: Since) -> Vec<Item> {
    match since {
        Since::Snapshot(contents) => vec![Ok(pb::ConfigChange {
            serial: contents.serial.0,
            snapshot: true,
            puts: contents.documents.into_iter().filter_map(document).collect(),
            deletes: vec![],
        })],
        Since::Tail(tail) => tail
            .into_iter()
            .map(|(serial, batch)| {
                Ok(pb::ConfigChange {
                    serial: serial.0,
                    snapshot: false,
                    puts: batch.puts.into_iter().filter_map(document).collect(),
                    deletes: batch.deletes.into_iter().filter_map(deleted).collect(),
                })
            })
            .collect(),
    }
}
