//! What the master says of the copies of its state: printed where people look, so that a cluster
//! whose changes wait, or lie on one machine only, is noticed.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::note;
use roost_proto::rpc::master::ReplicationReply;
use roost_proto::rpc::master::replication_reply::Safety;
use std::time::Duration;

/// A submission that takes longer than this is explained.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What is wrong with the copies.
#[derive(Debug)]
pub struct Complaint {
    /// Changes wait or are not replicated; otherwise a candidate is away and nothing else.
    pub is_error: bool,
    /// The master's words: what, and what to do.
    pub text: String,
}

/// What the leading master says is wrong. A masterd that does not lead, or cannot tell, says
/// nothing here: whoever needs it to lead hears of that anyway.
pub async fn complaint(cx: &Cx) -> Option<Complaint> {
    let reply = cx.client().await.ok()?.replication(Vec::new()).await.ok()?;
    read(&reply)
}

fn read(reply: &ReplicationReply) -> Option<Complaint> {
    (reply.leads && !reply.message.is_empty()).then(|| Complaint {
        is_error: matches!(reply.safety(), Safety::Alone | Safety::Waiting),
        text: reply.message.clone(),
    })
}

/// Where the state is, if it is not in masterd's own database: `etcd: URL, URL`.
pub async fn shared_store(cx: &Cx) -> Option<String> {
    let reply = cx.client().await.ok()?.replication(Vec::new()).await.ok()?;
    let members: Vec<&str> = reply.members.iter().map(|m| m.endpoint.as_str()).collect();
    (!members.is_empty()).then(|| format!("{}: {}", reply.store, members.join(", ")))
}

/// Says on standard error what is wrong with the copies.
pub async fn warn(cx: &Cx) {
    if let Some(complaint) = complaint(cx).await {
        note!(cx, "WARNING: {}", complaint.text);
    }
}

/// The operator marks a node offline. If changes wait because of nodes that are away, this change
/// would wait too: so the master is told first that the node is down by the operator's word.
///
/// Errors: the node is there after all.
pub async fn mark_down(cx: &Cx, node: &str) -> Outcome {
    let client = cx.client().await?;
    let before = client.replication(Vec::new()).await?;
    if !before.leads || before.safety() != Safety::Waiting {
        return Ok(());
    }
    client.replication(vec![node.to_owned()]).await?;
    note!(cx, "Changes do not wait for node {node} any more.");
    Ok(())
}

/// Does something that needs the master to accept a change; if that takes long, says why.
pub async fn explained<T>(cx: &Cx, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    match complaint(cx).await {
        Some(complaint) => note!(cx, "The job is not accepted yet. {}", complaint.text),
        None => note!(cx, "The master has not accepted the job yet, waiting"),
    }
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leader_that_complains_is_quoted() {
        let reply = |leads, safety: Safety, message: &str| ReplicationReply {
            leads,
            safety: safety.into(),
            message: message.into(),
            ..ReplicationReply::default()
        };
        assert!(read(&reply(true, Safety::Replicated, "")).is_none());
        assert!(read(&reply(false, Safety::Single, "level 3 ms ago")).is_none());
        assert!(!read(&reply(true, Safety::Replicated, "node3 is away")).expect("said").is_error);
        assert!(read(&reply(true, Safety::Waiting, "Changes wait")).expect("said").is_error);
        assert!(read(&reply(true, Safety::Alone, "NOT REPLICATED")).expect("said").is_error);
    }
}
