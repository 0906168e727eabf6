//! The wire: one connection to each node, mutual TLS, deadlines.

use crate::tls::{Own, Tls};
use hyper_util::rt::TokioIo;
use roost_proto::error::{Error, ErrorType};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, OOB_AT_ONCE, Outcome, Progress, Question};
use roost_proto::paths::certificate_name;
use roost_proto::protocol;
use roost_proto::rpc::node as pb;
use roost_proto::rpc::node::node_client::NodeClient;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// A connection to a noded.
pub type Client = NodeClient<Channel>;

/// Larger than any list of guests or disks.
const MESSAGE_LIMIT: usize = 64 << 20;
const CONNECT: Duration = Duration::from_secs(3);
/// A node that says nothing for this long while something is going on is gone.
const KEEPALIVE: Duration = Duration::from_secs(3);

/// A client on a channel.
pub fn new(channel: Channel) -> Client {
    NodeClient::new(channel)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

/// A connection to a node, made when it is first used. The node must prove its UUID; what this one
/// shows is looked up whenever it connects.
pub fn channel(
    tls: &Tls,
    own: Own,
    node: NodeId,
    address: &str,
    port: u16,
) -> Result<Channel, Error> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let target = format!("{host}:{port}");
    let name = ServerName::try_from(certificate_name(node))
        .map_err(|e| Error::internal(format!("The name of node {node}'s certificate: {e}")))?;
    // The scheme says nothing here: the connector speaks TLS.
    let endpoint = Endpoint::from_shared(format!("http://{target}"))
        .map_err(|e| Error::internal(format!("Node {node}: cannot connect to {address}: {e}")))?
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .tcp_nodelay(true);
    let tls = tls.clone();
    let connect = tower::service_fn(move |_| {
        let (tls, name, target) = (tls.clone(), name.clone(), target.clone());
        // A stopped daemon's kernel still accepts connections: only a deadline for all of it tells.
        async move {
            let connecting = connect(&tls, own, name, &target);
            tokio::time::timeout(CONNECT, connecting)
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connect))
}

async fn connect(
    tls: &Tls,
    own: Own,
    name: ServerName<'static>,
    target: &str,
) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
    let config = tls.client_config(own).map_err(|e| std::io::Error::other(e.message))?;
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(TokioIo::new(stream))
}

/// Why a node did not do it.
#[derive(Clone, Debug)]
pub enum Failure {
    /// It could not be reached, or fell silent: nobody knows what it did.
    Unreachable(String),
    /// It does not obey us.
    Refused(String),
    /// It tried and failed.
    Failed(Error),
}

impl Failure {
    /// For people.
    pub fn into_error(self, place: &str) -> Error {
        match self {
            Failure::Unreachable(why) => Error {
                error_type: Some(ErrorType::EnvironmentError),
                ..Error::exec(format!("{place} does not answer: {why}"))
            },
            Failure::Refused(why) => Error::exec(format!("{place} refuses to obey: {why}")),
            Failure::Failed(error) => error.at(place),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        match status.code() {
            Code::PermissionDenied | Code::FailedPrecondition | Code::Unauthenticated => {
                Failure::Refused(status.message().to_owned())
            }
            Code::InvalidArgument | Code::Unimplemented => Failure::Failed(Error::internal(
                format!("it does not understand the request: {}", status.message()),
            )),
            _ => Failure::Unreachable(reason(&status)),
        }
    }
}

/// The innermost cause says most: `connection refused`, not `transport error`.
fn reason(status: &Status) -> String {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

fn failed(text: &str) -> Failure {
    Failure::Failed(
        serde_json::from_str(text).unwrap_or_else(|_| Error::exec(format!("unreadable: {text}"))),
    )
}

/// Who answers, for messages that get its name in front.
const PEER: &str = "the node";

/// Reads what a node says.
fn read<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, Failure> {
    protocol::read(text, what, PEER).map_err(Failure::Failed)
}

/// Refuses to go on with a node whose program is too old or too new.
pub fn meet(version: u32) -> Result<(), Failure> {
    protocol::NODE.meet(version, PEER).map(drop).map_err(Failure::Failed)
}

/// How long a question may take.
fn deadline(question: &Question) -> Duration {
    Duration::from_secs(match question {
        Question::Node | Question::Guests => 10,
        Question::Command { .. } => 3600,
        // A little more than the script has, so that the node says what became of it.
        Question::Iallocator { .. } => 930,
        Question::Oob { calls } => {
            let slowest = calls.iter().map(|call| call.timeout).max().unwrap_or_default();
            30 + slowest * calls.len().div_ceil(OOB_AT_ONCE) as u64
        }
        Question::PutFile { .. } | Question::Verify { .. } | Question::OsValidate { .. } => 120,
        _ => 60,
    })
}

/// Asks.
pub async fn ask(
    mut client: Client,
    fence: Option<pb::Fence>,
    question: &Question,
) -> Result<Answer, Failure> {
    let text = serde_json::to_string(question)
        .map_err(|e| Failure::Failed(Error::internal(format!("unsendable question: {e}"))))?;
    let mut request = tonic::Request::new(pb::AskRequest { fence, question: text });
    let limit = deadline(question);
    request.set_timeout(limit);
    // The request's own time runs from when it is sent, and it may wait for a connection.
    let reply = tokio::time::timeout(limit, client.ask(request)).await.map_err(|_| {
        Failure::Unreachable(format!("it gave no answer within {} seconds", limit.as_secs()))
    })??;
    let reply = reply.into_inner();
    meet(reply.protocol)?;
    match reply.reply {
        Some(pb::ask_reply::Reply::Answer(answer)) => read(&answer, "answer"),
        Some(pb::ask_reply::Reply::Failed(error)) => Err(failed(&error)),
        None => Err(Failure::Failed(Error::internal("it gave an empty answer"))),
    }
}

/// How long an action may take altogether. Connections that fall silent are noticed by keep-alive;
/// this is for nodes that are alive and hang.
fn limit(action: &str) -> Duration {
    // OS scripts, copies and migrations of large guests take hours; the rest does not.
    let long = ["os-run", "disks-copy", "disks-wipe", "migrate-run"];
    let is_long = long.iter().any(|what| action.starts_with(&format!("{{\"do\":\"{what}\"")));
    Duration::from_secs(if is_long { 86_400 } else { 900 })
}

/// Has it do something; tells progress as it comes.
pub async fn run(
    mut client: Client,
    request: pb::RunRequest,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Outcome, Failure> {
    let limit = limit(&request.action);
    let work = async {
        let mut events = client.run(request).await?.into_inner();
        while let Some(event) = events.message().await? {
            meet(event.protocol)?;
            match event.event {
                Some(pb::run_event::Event::Progress(text)) => {
                    // Progress we cannot read is no reason to fail.
                    if let Ok(p) = serde_json::from_str(&text) {
                        progress(p);
                    }
                }
                Some(pb::run_event::Event::Done(text)) => {
                    return read(&text, "outcome");
                }
                Some(pb::run_event::Event::Failed(text)) => return Err(failed(&text)),
                None => {}
            }
        }
        Err(Failure::Unreachable("it ended the conversation".into()))
    };
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Failed(Error::exec(format!(
            "it did not finish within {} seconds",
            limit.as_secs()
        )))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::node::Action;

    #[test]
    fn long_actions_are_known_by_their_tag() {
        let delay = serde_json::to_string(&Action::Delay { duration: 1.0 }).unwrap();
        assert!(delay.starts_with("{\"do\":\"delay\""), "{delay}");
        assert_eq!(limit(&delay).as_secs(), 900);
        assert_eq!(limit("{\"do\":\"migrate-run\",").as_secs(), 86_400);
    }
}
