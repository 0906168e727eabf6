//! The connection to masterd: the only module that speaks its protocol.

use crate::context::Environment;
use crate::failure::{Failure, Outcome};
use hyper_util::rt::TokioIo;
use roost_proto::balancer::BalancerTold;
use roost_proto::error::{Error, ErrorKind};
use roost_proto::ids::JobId;
use roost_proto::paths::Paths;
use roost_proto::protocol;
use roost_proto::protocol::COPY_HEADER;
use roost_proto::query::{Filter, QueryResponse, Resource};
use roost_proto::rpc::master::master_client::MasterClient;
use roost_proto::rpc::master::{
    AutoArchiveRequest, BalancerRequest, CommandOutput, CommandRequest, DeleteFilterRequest,
    DrainRequest, ExportRequest, FailoverEvent, FailoverRequest, InfoRequest, Job, JobChange,
    JobReply, JobRequest, PutFilterRequest, QueryRequest, RepairReply, RepairRequest,
    ReplicationReply, ReplicationRequest, StoreSecretRequest, SubmitJobsRequest, TokenReply,
    TokenRequest, WaitForJobChangeRequest, command_request, submitted,
};
use roost_proto::secrets::SecretFile;
use roost_proto::status::from_status;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::ErrorKind as IoErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::net::UnixStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

/// A query of 20,000 instances with all fields is some tens of megabytes.
const LARGEST_MESSAGE: usize = 512 << 20;

/// Tells masterd which version of its protocol we speak.
#[derive(Clone, Copy, Debug)]
struct Tell;

impl Interceptor for Tell {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(protocol::HEADER, protocol::MASTER.version.into());
        Ok(request)
    }
}

/// A connection to masterd.
#[derive(Clone, Debug)]
pub struct Client {
    rpc: MasterClient<InterceptedService<Channel, Tell>>,
    /// The master, where a copy of its state has answered.
    copy_of: Arc<OnceLock<String>>,
}

/// A job's changes, as they come.
#[derive(Debug)]
pub struct JobChanges(Streaming<JobChange>);

/// What commands on nodes print, as they finish.
#[derive(Debug)]
pub struct CommandOutputs(Streaming<CommandOutput>);

impl Client {
    /// Connects to the master of this machine's cluster.
    pub async fn connect(paths: &Paths, environment: &Environment) -> Outcome<Client> {
        let socket = match environment.socket.as_deref() {
            None | Some("" | "master" | "query") => paths.master_socket(),
            Some(path) => PathBuf::from(path),
        };
        let stream = UnixStream::connect(&socket)
            .await
            .map_err(|error| no_connection(paths, error.kind()))?;
        // There is only one connection, and it stands already.
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_| {
            let stream = stream.take().ok_or(std::io::Error::from(IoErrorKind::NotConnected));
            async move { stream }
        });
        let channel = Endpoint::from_static("http://master.invalid")
            .connect_with_connector(connector)
            .await
            .map_err(|_| no_connection(paths, IoErrorKind::ConnectionRefused))?;
        let rpc = MasterClient::with_interceptor(channel, Tell)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        Ok(Client { rpc, copy_of: Arc::default() })
    }

    /// Whether masterd is there at all.
    pub async fn answers(paths: &Paths) -> bool {
        Client::connect(paths, &Environment::default()).await.is_ok()
    }

    /// Submits jobs: lists of opcodes in JSON. Each is accepted or refused by itself.
    pub async fn submit(
        &self,
        jobs: &[Vec<Value>],
        even_if_drained: bool,
    ) -> Outcome<Vec<Result<JobId, Error>>> {
        let jobs = jobs
            .iter()
            .map(|ops| Job { opcodes: ops.iter().map(Value::to_string).collect() })
            .collect();
        let request = SubmitJobsRequest { jobs, even_if_drained };
        let reply = self.rpc.clone().submit_jobs(request).await.map_err(failed)?.into_inner();
        reply
            .jobs
            .into_iter()
            .map(|job| match job.outcome {
                Some(submitted::Outcome::Job(id)) => Ok(Ok(JobId(id))),
                Some(submitted::Outcome::Refused(error)) => Ok(Err(read(&error)?)),
                None => Err(protocol_error("a job was neither accepted nor refused")),
            })
            .collect()
    }

    /// Follows a job from a log entry on.
    pub async fn follow(&self, job: JobId, log_serial: u64) -> Outcome<JobChanges> {
        let request = WaitForJobChangeRequest { job: job.0, log_serial };
        let stream = self.rpc.clone().wait_for_job_change(request).await.map_err(failed)?;
        Ok(JobChanges(stream.into_inner()))
    }

    /// Asks for fields of objects.
    pub async fn query(
        &self,
        what: Resource,
        fields: &[impl AsRef<str>],
        filter: Option<&Filter>,
    ) -> Outcome<QueryResponse> {
        let request = QueryRequest {
            what: what.as_str().to_owned(),
            fields: fields.iter().map(|field| field.as_ref().to_owned()).collect(),
            filter: filter.map(|filter| filter.to_json().to_string()).unwrap_or_default(),
        };
        let reply = self.rpc.clone().query(request).await.map_err(failed)?;
        self.note_copy(&reply);
        let mut stream = reply.into_inner();
        let mut response = QueryResponse::default();
        while let Some(chunk) = stream.message().await.map_err(failed)? {
            if !chunk.fields.is_empty() {
                response.fields = read(&chunk.fields)?;
            }
            if !chunk.rows.is_empty() {
                let rows: Vec<_> = serde_json::from_slice(&chunk.rows).map_err(protocol_error)?;
                response.data.extend(rows);
            }
        }
        Ok(response)
    }

    /// The name of the master, if what was told comes from a copy of its state.
    pub fn copy_of(&self) -> Option<&str> {
        self.copy_of.get().map(String::as_str)
    }

    fn note_copy<T>(&self, reply: &tonic::Response<T>) {
        let master = reply.metadata().get(COPY_HEADER).and_then(|value| value.to_str().ok());
        if let Some(master) = master {
            // One is enough.
            let _ = self.copy_of.set(master.to_owned());
        }
    }

    /// Ganeti's dict of information about the cluster.
    pub async fn info(&self) -> Outcome<Value> {
        let reply = self.rpc.clone().cluster_info(InfoRequest {}).await.map_err(failed)?;
        self.note_copy(&reply);
        read(&reply.into_inner().info)
    }

    /// What the balancer does and why.
    pub async fn balancer(&self) -> Outcome<BalancerTold> {
        let reply = self.rpc.clone().balancer(BalancerRequest {}).await.map_err(failed)?;
        read(&reply.into_inner().told)
    }

    /// Makes this node the master; the stream tells how.
    pub async fn failover(&self, request: FailoverRequest) -> Outcome<Streaming<FailoverEvent>> {
        Ok(self.rpc.clone().failover(request).await.map_err(failed)?.into_inner())
    }

    /// How the copies of the state are. Nodes in `down` are by the operator's word down.
    pub async fn replication(&self, down: Vec<String>) -> Outcome<ReplicationReply> {
        let request = ReplicationRequest { down };
        Ok(self.rpc.clone().replication(request).await.map_err(failed)?.into_inner())
    }

    /// Asks for a job to be cancelled; with `kill`, whatever it is doing.
    pub async fn cancel_job(&self, job: JobId, kill: bool) -> Outcome<JobReply> {
        let request = JobRequest { job: job.0, kill, priority: 0 };
        Ok(self.rpc.clone().cancel_job(request).await.map_err(failed)?.into_inner())
    }

    /// Puts a finished job aside.
    pub async fn archive_job(&self, job: JobId) -> Outcome<JobReply> {
        let request = JobRequest { job: job.0, kill: false, priority: 0 };
        Ok(self.rpc.clone().archive_job(request).await.map_err(failed)?.into_inner())
    }

    /// Gives the rest of a job another priority.
    pub async fn change_priority(&self, job: JobId, priority: i32) -> Outcome<JobReply> {
        let request = JobRequest { job: job.0, kill: false, priority };
        Ok(self.rpc.clone().change_job_priority(request).await.map_err(failed)?.into_inner())
    }

    /// Puts finished jobs of an age in seconds aside (negative: all). Result: how many were, and
    /// how many were not looked at.
    pub async fn auto_archive(&self, age: i64) -> Outcome<(u64, u64)> {
        let request = AutoArchiveRequest { age };
        let reply = self.rpc.clone().auto_archive_jobs(request).await.map_err(failed)?.into_inner();
        Ok((reply.archived, reply.left))
    }

    /// Sets, clears or only reads whether the queue refuses new jobs.
    pub async fn drain(&self, drain: Option<bool>) -> Outcome<bool> {
        let reply = self.rpc.clone().drain(DrainRequest { drain }).await.map_err(failed)?;
        Ok(reply.into_inner().drained)
    }

    /// Adds a job filter rule, or replaces one. Result: its UUID.
    pub async fn put_filter(&self, request: PutFilterRequest) -> Outcome<String> {
        Ok(self.rpc.clone().put_filter(request).await.map_err(failed)?.into_inner().uuid)
    }

    /// Removes a job filter rule.
    pub async fn delete_filter(&self, uuid: String) -> Outcome {
        let request = DeleteFilterRequest { uuid };
        self.rpc.clone().delete_filter(request).await.map_err(failed)?;
        Ok(())
    }

    /// Lists what earlier jobs could not undo; with `repair`, tries to remove it first.
    pub async fn repair_debris(&self, repair: bool) -> Outcome<RepairReply> {
        let request = RepairRequest { repair };
        Ok(self.rpc.clone().repair_debris(request).await.map_err(failed)?.into_inner())
    }

    /// A backup's text in a format, and what the format has no place for.
    pub async fn export_config(
        &self,
        format: &str,
        archived: bool,
    ) -> Outcome<(Vec<u8>, Vec<String>)> {
        let request = ExportRequest { format: format.to_owned(), archived };
        let mut stream =
            self.rpc.clone().export_config(request).await.map_err(failed)?.into_inner();
        let (mut text, mut notes) = (Vec::new(), Vec::new());
        while let Some(chunk) = stream.message().await.map_err(failed)? {
            text.extend(chunk.data);
            notes.extend(chunk.notes);
        }
        Ok((text, notes))
    }

    /// Hands in a secret. Result: the version by which a job names it.
    pub async fn store_secret(&self, file: SecretFile, content: Vec<u8>) -> Outcome<String> {
        let request = StoreSecretRequest { file: file.as_str().to_owned(), content };
        let reply = self.rpc.clone().store_secret(request).await.map_err(failed)?;
        Ok(reply.into_inner().version)
    }

    /// A token with which a node may join once.
    pub async fn join_token(&self, node: &str, address: &str) -> Outcome<TokenReply> {
        let request = TokenRequest { node: node.to_owned(), address: address.to_owned() };
        Ok(self.rpc.clone().create_join_token(request).await.map_err(failed)?.into_inner())
    }

    /// Runs a shell command line on nodes (none named: all that are online).
    pub async fn run_command(&self, nodes: Vec<String>, line: String) -> Outcome<CommandOutputs> {
        self.on_nodes(nodes, command_request::What::Command(line)).await
    }

    /// Copies a file of the master to nodes (none named: all that are online).
    pub async fn copy_file(&self, nodes: Vec<String>, path: String) -> Outcome<CommandOutputs> {
        self.on_nodes(nodes, command_request::What::CopyFile(path)).await
    }

    async fn on_nodes(
        &self,
        nodes: Vec<String>,
        what: command_request::What,
    ) -> Outcome<CommandOutputs> {
        let request = CommandRequest { nodes, what: Some(what) };
        let stream = self.rpc.clone().command(request).await.map_err(failed)?;
        Ok(CommandOutputs(stream.into_inner()))
    }
}

impl JobChanges {
    /// The next change; none after the last one.
    pub async fn next(&mut self) -> Outcome<Option<JobChange>> {
        self.0.message().await.map_err(failed)
    }
}

impl CommandOutputs {
    /// The next node's output; none after the last one.
    pub async fn next(&mut self) -> Outcome<Option<CommandOutput>> {
        self.0.message().await.map_err(failed)
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Outcome<T> {
    serde_json::from_str(json).map_err(protocol_error)
}

fn protocol_error(why: impl std::fmt::Display) -> Failure {
    Failure::say(format!("Unhandled protocol error while talking to the master daemon:\n{why}"))
}

/// What went wrong with a call.
fn failed(status: Status) -> Failure {
    if let Some(error) = from_status(&status) {
        return Failure::Error(error);
    }
    let lost = || {
        Failure::say(
            "Connection to the master daemon was lost: it ended or was restarted. Jobs that were \
             submitted go on; see 'gnt-job list'.",
        )
    };
    match status.code() {
        Code::Unavailable => lost(),
        // What masterd sends has no source: this is the connection that broke off in the middle.
        Code::Unknown | Code::Internal if std::error::Error::source(&status).is_some() => lost(),
        Code::DeadlineExceeded => Failure::say(format!(
            "Timeout while talking to the master daemon. Jobs might have been submitted and will \
             continue to run in the background.\nUse 'gnt-job list', 'gnt-job cancel' and \
             'gnt-job watch' to look after them.\nError:\n{}",
            status.message()
        )),
        Code::PermissionDenied => no_permission(),
        Code::NotFound => Failure::Error(Error {
            kind: ErrorKind::JobLost,
            error_type: None,
            message: status.message().to_owned(),
        }),
        code => protocol_error(format!("{code}: {}", status.message())),
    }
}

fn no_permission() -> Failure {
    Failure::say(
        "It seems you don't have permissions to connect to the master daemon.\n\
         Please retry as a different user.",
    )
}

/// Why there is no connection: this machine is in no cluster, is not its master, or masterd does
/// not run.
fn no_connection(paths: &Paths, error: IoErrorKind) -> Failure {
    if error == IoErrorKind::PermissionDenied {
        return no_permission();
    }
    let prerequisite = |message: String| {
        Failure::Error(Error { kind: ErrorKind::OpPrereqError, error_type: None, message })
    };
    let identity: Option<roost_proto::paths::Identity> =
        std::fs::read(paths.identity()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let master = std::fs::read_to_string(paths.ssconf("master_node")).ok();
    match (identity, master.as_deref().map(str::trim)) {
        (None, None) => prerequisite(
            "Cluster not initialized or this machine is not part of a cluster".to_owned(),
        ),
        (Some(identity), Some(master)) if identity.name.as_str() != master => {
            prerequisite(format!(
                "This is not the master node, please connect to node '{master}' and rerun the \
                 command"
            ))
        }
        _ => Failure::say(
            "Cannot communicate with the master daemon.\n\
             Is the process running and listening for connections?",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::status::to_status;

    #[test]
    fn statuses_become_failures() {
        let failure = failed(to_status(&Error::wrong_state("busy")));
        assert!(matches!(failure, Failure::Error(error) if error.message == "busy"));
        let failure = failed(Status::permission_denied("no"));
        assert!(failure.text().expect("text").starts_with("It seems you don't have permissions"));
    }

    #[test]
    fn without_a_connection_the_machine_is_looked_at() {
        let root = tempfile::tempdir().expect("temporary directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let text = |paths| no_connection(paths, IoErrorKind::NotFound).text().expect("text");
        assert!(text(&paths).ends_with("not part of a cluster"), "{}", text(&paths));
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        let identity = r#"{"cluster": "a5c9f2f4-7a08-4c0c-9df9-e3a2d3bfca7a",
            "node": "b5c9f2f4-7a08-4c0c-9df9-e3a2d3bfca7a", "name": "n1", "address": "10.0.0.1"}"#;
        std::fs::write(paths.identity(), identity).expect("written");
        assert!(text(&paths).starts_with("Cannot communicate with the master daemon.\n"));
        std::fs::write(paths.ssconf("master_node"), "n2\n").expect("written");
        assert!(text(&paths).contains("please connect to node 'n2' and rerun"));
    }
}
