//! Certificates of running nodeds: renewed without a restart, and of no use to who has left.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Cluster, Master, Node};
use roost_noded::credentials::fingerprint;
use roost_proto::node::{
    Action, Answer, CryptoAction, CryptoAnswer, CryptoQuestion, CryptoReport, Question,
};
use roost_proto::rpc::node as rpc;
use roost_proto::rpc::node::node_client::NodeClient;
use roost_proto::secrets::SecretFile;
use std::collections::BTreeMap;
use tonic::Code;

async fn do_it(master: &mut Master, action: CryptoAction) {
    master.run(Action::Crypto(action)).await.expect("done");
}

async fn report(master: &mut Master) -> CryptoReport {
    match master.ask(Question::Crypto(CryptoQuestion::Report)).await.expect("an answer") {
        Answer::Crypto(CryptoAnswer::Report(report)) => *report,
        other => panic!("{other:?}"),
    }
}

async fn request(master: &mut Master) -> String {
    match master.ask(Question::Crypto(CryptoQuestion::Request)).await.expect("an answer") {
        Answer::Crypto(CryptoAnswer::Request(csr)) => csr,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_running_node_changes_to_a_new_authority() {
    let (old, new) = (Cluster::new(), Cluster::new());
    let (master, node) = (old.node(1), old.node(2));
    node.trust(&[&master]);
    let handle = node.start().await;
    let mut before = master.master(&old, &node, &handle).await;
    let first = report(&mut before).await;
    assert_eq!(first.fingerprint, fingerprint(&node.certificate));
    assert_eq!(first.trusted.len(), 1);

    let csr = request(&mut before).await;
    let (pem, der) = new.sign(&csr, node.id);
    let authorities = vec![new.authority(), old.authority()];
    let candidates = Some(format!("{}={}\n", master.id, fingerprint(&master.certificate)));
    do_it(&mut before, CryptoAction::Trust { authorities: authorities.clone(), candidates }).await;
    let certificates = BTreeMap::from([(node.id, pem)]);
    do_it(&mut before, CryptoAction::Install { certificates }).await;
    // The connection from before goes on; its master still has an old certificate.
    let second = report(&mut before).await;
    assert_eq!(second.fingerprint, fingerprint(&der));
    assert!(second.former);
    assert_eq!(second.trusted.len(), 2);
    // Who does not trust the new authority yet is not understood any more ...
    master.channel(&node, &handle).await.expect_err("the node's certificate is new");
    // ... who does, is; with an old certificate of its own, too.
    std::fs::write(master.paths.authority(), authorities.concat()).unwrap();
    let mut after = master.master(&old, &node, &handle).await;
    after.job = before.job;
    assert_eq!(report(&mut after).await, second);

    // The old authority goes: an old certificate does not get in.
    let authorities = vec![new.authority()];
    do_it(&mut after, CryptoAction::Trust { authorities, candidates: None }).await;
    do_it(&mut after, CryptoAction::Forget).await;
    assert!(!report(&mut after).await.former);
    let refused = match master.channel(&node, &handle).await {
        Err(_) => return,
        // TLS 1.3: that the certificate was refused shows at the first request.
        Ok(channel) => {
            let mut client = NodeClient::new(channel);
            let question = serde_json::to_string(&Question::Node).unwrap();
            client.ask(rpc::AskRequest { fence: after.fence(), question }).await
        }
    };
    refused.expect_err("refused");
}

#[tokio::test]
async fn secrets_are_written_where_only_root_reads() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::new();
    let (master, node) = (cluster.node(1), cluster.node(2));
    node.trust(&[&master]);
    let handle = node.start().await;
    let mut connection = master.master(&cluster, &node, &handle).await;
    let file = SecretFile::ClusterDomainSecret;
    let content = Some("hush\n".to_owned());
    do_it(&mut connection, CryptoAction::Write { file, version: "1".into(), content }).await;
    let path = node.paths.secret(file);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hush\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(report(&mut connection).await.secrets.len(), 1);
    // What is remembered of the step does not say it.
    let remembered = std::fs::read_to_string(node.paths.noded_dir().join("steps")).unwrap();
    assert!(!remembered.contains("hush"), "{remembered}");
    let empty = CryptoAction::Write { file, version: "2".into(), content: None };
    connection.run(Action::Crypto(empty)).await.expect_err("no content");
}

async fn copy_from(from: &Node, to: &Node, handle: &roost_noded::Handle) -> tonic::Status {
    let channel = from.channel(to, handle).await.expect("a connection");
    let token = rpc::copy_data::Data::Token("none".into());
    let stream = tokio_stream::iter(vec![rpc::CopyData { data: Some(token) }]);
    NodeClient::new(channel).copy(stream).await.expect_err("no such copy is awaited")
}

#[tokio::test]
async fn a_removed_node_is_not_let_in_any_more() {
    let cluster = Cluster::new();
    let (master, node, other) = (cluster.node(1), cluster.node(2), cluster.node(3));
    node.trust(&[&master]);
    let handle = node.start().await;
    // A member gets as far as its token.
    let status = copy_from(&other, &node, &handle).await;
    assert!(!status.message().contains("does not belong"), "{status}");
    let members = format!("{} node1\n{} node2\n", master.id, node.id);
    std::fs::write(node.paths.ssconf("node_uuids"), members).unwrap();
    let status = copy_from(&other, &node, &handle).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains("does not belong to this cluster"), "{status}");
}
