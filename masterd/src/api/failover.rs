//! What concerns the leadership itself: taking it over, and how its copies are.

use super::role::{FailoverEvent, FailoverRequest, Role};
use crate::replication::Safety;
use crate::state::State;
use crate::store::etcd::{Etcd, complaint};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::rpc::master as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Asks this masterd to become the master; the stream tells what happens.
pub async fn start(
    role: &Role,
    request: pb::FailoverRequest,
) -> Result<ReceiverStream<std::result::Result<pb::FailoverEvent, Status>>> {
    if role.leading().is_ok() {
        return Err(Error::wrong_state("This node is already the master, there is nothing to do"));
    }
    role.state()?;
    let (tell, mut events) = mpsc::unbounded_channel();
    let wanted =
        FailoverRequest { no_voting: request.no_voting, accept_loss: request.accept_loss, tell };
    let stopping = |_| Error::environment("masterd is stopping");
    role.failovers().send(wanted).await.map_err(stopping)?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let event = match event {
                FailoverEvent::Message(text) => pb::failover_event::Event::Message(text),
                FailoverEvent::Warning(text) => pb::failover_event::Event::Warning(text),
                FailoverEvent::Ended(Ok(())) => pb::failover_event::Event::Done(true),
                FailoverEvent::Ended(Err(error)) => {
                    let text = serde_json::to_string(&error).unwrap_or_else(|_| error.to_string());
                    pb::failover_event::Event::Failed(text)
                }
            };
            // The work goes on without a listener.
            sender.send(Ok(pb::FailoverEvent { event: Some(event) })).await.ok();
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// How the copies are; nodes named as down are taken as such first.
pub async fn replication(
    role: &Role,
    request: &pb::ReplicationRequest,
) -> Result<pb::ReplicationReply> {
    let state = role.state()?;
    if let Some(etcd) = role.etcd() {
        return shared(role, &state, etcd, request).await;
    }
    let config = state.config();
    let master = config.node_name(config.master());
    let Ok(leading) = role.leading() else {
        if !request.down.is_empty() {
            role.leading()?;
        }
        let serial = config.serial.0;
        let heard = role.replica().and_then(crate::replication::Replica::heard);
        let message = match heard {
            Some((_, _, ago)) => {
                format!("This copy of the configuration was level with {master} {ago} ms ago")
            }
            None => format!("{master} has not been heard since masterd was started here"),
        };
        return Ok(pb::ReplicationReply {
            epoch: heard.map_or(0, |(epoch, ..)| epoch.0),
            written: serial,
            counts: serial,
            message,
            master,
            store: "embedded".into(),
            ..pb::ReplicationReply::default()
        });
    };
    let leadership = leading
        .leadership
        .as_ref()
        .ok_or_else(|| Error::internal("This master has neither copies nor a shared store"))?;
    for name in &request.down {
        let name = roost_proto::names::NodeName::new(name)?;
        let node = config.node(&name)?;
        if !leadership.exclude(node.uuid) && node.master_candidate && !node.offline {
            return Err(Error::wrong_state(format!(
                "Node {name} is not down: its masterd answered a moment ago"
            )));
        }
    }
    let copies = leadership.copies();
    let names = |node: NodeId| config.node_name(node);
    Ok(pb::ReplicationReply {
        safety: match copies.safety {
            Safety::Single => pb::replication_reply::Safety::Single,
            Safety::Replicated => pb::replication_reply::Safety::Replicated,
            Safety::Alone { .. } => pb::replication_reply::Safety::Alone,
            Safety::Waiting => pb::replication_reply::Safety::Waiting,
        }
        .into(),
        epoch: copies.epoch.0,
        written: copies.written.0,
        counts: copies.counts.0,
        replicas: (copies.others.iter())
            .map(|(node, holds, heard)| pb::Replica {
                node: names(*node),
                holds: holds.0,
                heard: *heard,
            })
            .collect(),
        message: copies.complaint(&names),
        master,
        leads: true,
        store: "embedded".into(),
        members: Vec::new(),
    })
}

/// The same with etcd: its members are what the state is on.
async fn shared(
    role: &Role,
    state: &State,
    etcd: &Etcd,
    request: &pb::ReplicationRequest,
) -> Result<pb::ReplicationReply> {
    if !request.down.is_empty() {
        return Err(Error::wrong_state(
            "The state is in etcd: changes wait for its members, not for nodes of the cluster",
        ));
    }
    let mut members = etcd.known_members();
    if members.is_empty() {
        members = etcd.members().await;
    }
    let config = state.config();
    let leading = role.leading().ok();
    let safety = match members.len() {
        1 => pb::replication_reply::Safety::Single,
        _ => pb::replication_reply::Safety::Replicated,
    };
    Ok(pb::ReplicationReply {
        safety: safety.into(),
        epoch: leading.map_or(0, |leading| leading.nodes.epoch().0),
        written: config.serial.0,
        counts: config.serial.0,
        message: complaint(&members).unwrap_or_default(),
        master: config.node_name(config.master()),
        leads: leading.is_some(),
        store: "etcd".into(),
        members: (members.into_iter())
            .map(|member| pb::StoreMember {
                endpoint: member.endpoint,
                trouble: member.trouble.unwrap_or_default(),
            })
            .collect(),
        ..pb::ReplicationReply::default()
    })
}
