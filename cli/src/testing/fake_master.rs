//! A master that takes every job, lets it succeed at once, and knows the tables a test gives it.

use super::{Ran, run_answering};
use crate::context::Environment;
use roost_proto::error::Error;
use roost_proto::opcodes::OpInput;
use roost_proto::query::fields::{
    FilterField, GroupField, InstanceField, JobField, LockField, NodeField, RuleField,
};
use roost_proto::query::filter::Comparison;
use roost_proto::query::{Cell, Field, Filter, Prepared, QueryResponse, Resource, Row};
use roost_proto::rpc::master as pb;
use roost_proto::rpc::master::master_server::{Master, MasterServer};
use roost_proto::status::to_status;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

/// What the master knows and was told.
#[derive(Debug, Default)]
struct State {
    /// Opcodes of each submitted job.
    submitted: Vec<Vec<Value>>,
    /// Whether each call said "even if drained".
    even_if_drained: Vec<bool>,
    /// Direct calls, in a line each.
    calls: Vec<String>,
    /// By OP_ID.
    results: BTreeMap<String, Result<Value, Error>>,
    /// By OP_ID.
    logs: BTreeMap<String, Value>,
    /// Rows of each resource.
    tables: BTreeMap<&'static str, Vec<Value>>,
    info: Value,
    drained: bool,
}

/// The master, its socket and its root directory.
#[derive(Debug)]
pub struct FakeMaster {
    state: Arc<Mutex<State>>,
    root: TempDir,
}

struct Service(Arc<Mutex<State>>);

impl FakeMaster {
    /// Starts one in this runtime.
    pub fn start() -> FakeMaster {
        let root = tempfile::tempdir().expect("temporary directory");
        let paths = roost_proto::paths::Paths::new(Some(root.path().to_owned()));
        let socket = paths.master_socket();
        std::fs::create_dir_all(socket.parent().expect("a parent")).expect("directory");
        let listener = UnixListener::bind(socket).expect("socket");
        let state = Arc::new(Mutex::new(State::default()));
        let server = tonic::transport::Server::builder()
            .add_service(MasterServer::new(Service(state.clone())))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(server);
        FakeMaster { state, root }
    }

    /// What an opcode returns, or how it fails.
    pub fn answer(self, op_id: &str, result: Result<Value, Error>) -> FakeMaster {
        self.state.lock().unwrap().results.insert(op_id.into(), result);
        self
    }

    /// What an opcode logs: entries as in a job.
    pub fn log(self, op_id: &str, entries: Value) -> FakeMaster {
        self.state.lock().unwrap().logs.insert(op_id.into(), entries);
        self
    }

    /// The objects of a resource: JSON with the fields' names.
    pub fn table(self, resource: Resource, rows: Value) -> FakeMaster {
        let rows = rows.as_array().expect("a list").clone();
        self.state.lock().unwrap().tables.insert(resource.as_str(), rows);
        self
    }

    /// The cluster info.
    pub fn info(self, info: Value) -> FakeMaster {
        self.state.lock().unwrap().info = info;
        self
    }

    /// Runs a command line.
    pub async fn run(&self, line: &str) -> Ran {
        self.run_answering(line, &[]).await
    }

    /// Runs a command line with answers to its questions.
    pub async fn run_answering(&self, line: &str, answers: &[&str]) -> Ran {
        run_answering(line, self.environment(), answers).await
    }

    /// The environment of its machine.
    pub fn environment(&self) -> Environment {
        Environment { root: Some(self.root.path().to_owned()), ..Environment::default() }
    }

    /// What was submitted since the last time: the opcodes of each job.
    pub fn submitted(&self) -> Vec<Vec<Value>> {
        std::mem::take(&mut self.state.lock().unwrap().submitted)
    }

    /// The direct calls since the last time.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// Whether the last submission wanted a drained queue too.
    pub fn last_even_if_drained(&self) -> bool {
        self.state.lock().unwrap().even_if_drained.last().copied().unwrap_or_default()
    }
}

/// A row of a table, in JSON.
struct JsonRow<'a, F>(&'a Value, std::marker::PhantomData<F>);

impl<F: Field> Row for JsonRow<'_, F> {
    type Field = F;
    fn cell(&self, field: &F) -> Cell {
        match self.0.get(field.def().name.as_ref()) {
            Some(value) => Cell::new(value.clone()),
            None => Cell::UNAVAILABLE,
        }
    }
}

fn answer<F: Field>(
    rows: &[Value],
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse, Error> {
    let prepared = Prepared::<F>::new(fields, filter)
        .map_err(|error| Error::wrong_input(error.to_string()))?;
    let name_field = F::RESOURCE.name_field();
    let rows: Vec<_> = rows.iter().map(|row| JsonRow::<F>(row, Default::default())).collect();
    let mut data = Vec::new();
    let wanted = filter.and_then(|filter| filter.requested_names(name_field));
    if let Some(names) = wanted.filter(|_| F::RESOURCE != Resource::Job) {
        // In the order asked, and all of them must be there.
        for name in names {
            let one = Filter::Compare(Comparison::Equal, name_field.into(), name.clone());
            let one = Prepared::<F>::new(fields, Some(&one)).expect("names are fields");
            let found = rows.iter().find(|row| one.matches(row).expect("names compare"));
            let row =
                found.ok_or_else(|| Error::unknown(format!("{} {name} not known", F::RESOURCE)))?;
            data.push(one.cells(row));
        }
        return Ok(QueryResponse { data, fields: prepared.defs().to_vec() });
    }
    for row in &rows {
        if prepared.matches(row).map_err(|error| Error::wrong_input(error.to_string()))? {
            data.push(prepared.cells(row));
        }
    }
    Ok(QueryResponse { data, fields: prepared.defs().to_vec() })
}

type Stream<T> = ReceiverStream<Result<T, Status>>;

fn stream<T>(items: Vec<T>) -> Stream<T> {
    let (sender, receiver) = tokio::sync::mpsc::channel(items.len().max(1));
    for item in items {
        sender.try_send(Ok(item)).unwrap_or_else(|_| panic!("there is room"));
    }
    ReceiverStream::new(receiver)
}

impl Service {
    fn call(&self, what: String) {
        self.0.lock().unwrap().calls.push(what);
    }
}

#[tonic::async_trait]
impl Master for Service {
    async fn submit_jobs(
        &self,
        request: Request<pb::SubmitJobsRequest>,
    ) -> Result<Response<pb::SubmitJobsReply>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        state.even_if_drained.push(request.even_if_drained);
        let mut reply = pb::SubmitJobsReply::default();
        for job in request.jobs {
            let ops: Vec<Value> =
                job.opcodes.iter().map(|op| serde_json::from_str(op).expect("JSON")).collect();
            let refused = ops.iter().find_map(|op| OpInput::from_json(op).err());
            state.submitted.push(ops);
            let outcome = match refused {
                Some(error) => pb::submitted::Outcome::Refused(json!(error).to_string()),
                None => pb::submitted::Outcome::Job(state.submitted.len() as u64),
            };
            reply.jobs.push(pb::Submitted { outcome: Some(outcome) });
        }
        Ok(Response::new(reply))
    }

    type WaitForJobChangeStream = Stream<pb::JobChange>;

    /// Jobs beyond those submitted are children of one that said so; they succeed with true.
    async fn wait_for_job_change(
        &self,
        request: Request<pb::WaitForJobChangeRequest>,
    ) -> Result<Response<Self::WaitForJobChangeStream>, Status> {
        let id = request.into_inner().job;
        let state = self.0.lock().unwrap();
        let child = vec![json!({"OP_ID": "CHILD"})];
        let ops = state.submitted.get(id as usize - 1).unwrap_or(&child);
        let mut status = "success";
        let mut results = Vec::new();
        let mut log = Vec::new();
        for op in ops {
            let op_id = op["OP_ID"].as_str().expect("an opcode");
            log.extend(
                state.logs.get(op_id).and_then(Value::as_array).cloned().unwrap_or_default(),
            );
            match state.results.get(op_id) {
                Some(Err(error)) => {
                    status = "error";
                    results.push(json!(["error", error.to_result()]));
                }
                Some(Ok(value)) => results.push(json!(["success", value])),
                None if op_id == "CHILD" => results.push(json!(["success", true])),
                None => results.push(json!(["success", null])),
            }
        }
        let queued = pb::JobChange { status: "queued".into(), ..Default::default() };
        let done = pb::JobChange {
            status: status.into(),
            log: if log.is_empty() { String::new() } else { Value::from(log).to_string() },
            progress: String::new(),
            results: Value::from(results).to_string(),
        };
        Ok(Response::new(stream(vec![queued, done])))
    }

    type QueryStream = Stream<pb::QueryChunk>;

    async fn query(
        &self,
        request: Request<pb::QueryRequest>,
    ) -> Result<Response<Self::QueryStream>, Status> {
        let request = request.into_inner();
        let filter = match request.filter.as_str() {
            "" => None,
            text => Some(
                Filter::from_json(&serde_json::from_str(text).expect("JSON")).expect("a filter"),
            ),
        };
        let state = self.0.lock().unwrap();
        let rows = state.tables.get(request.what.as_str()).cloned().unwrap_or_default();
        let (fields, filter) = (&request.fields, filter.as_ref());
        let response = match request.what.as_str() {
            "instance" => answer::<InstanceField>(&rows, fields, filter),
            "node" => answer::<NodeField>(&rows, fields, filter),
            "group" => answer::<GroupField>(&rows, fields, filter),
            "job" => answer::<JobField>(&rows, fields, filter),
            "lock" => answer::<LockField>(&rows, fields, filter),
            "filter" => answer::<FilterField>(&rows, fields, filter),
            "rule" => answer::<RuleField>(&rows, fields, filter),
            other => Err(Error::wrong_input(format!("no {other} here"))),
        };
        let response = response.map_err(|error| to_status(&error))?;
        // In two chunks, as a large answer comes.
        let rows = serde_json::to_vec(&response.data).expect("JSON");
        let fields = serde_json::to_string(&response.fields).expect("JSON");
        Ok(Response::new(stream(vec![
            pb::QueryChunk { fields, rows: Vec::new() },
            pb::QueryChunk { fields: String::new(), rows },
        ])))
    }

    async fn cluster_info(
        &self,
        _: Request<pb::InfoRequest>,
    ) -> Result<Response<pb::InfoReply>, Status> {
        let info = self.0.lock().unwrap().info.to_string();
        Ok(Response::new(pb::InfoReply { info }))
    }

    async fn cancel_job(
        &self,
        request: Request<pb::JobRequest>,
    ) -> Result<Response<pb::JobReply>, Status> {
        let request = request.into_inner();
        self.call(format!("cancel {} kill={}", request.job, request.kill));
        let message = format!("Job {} canceled", request.job);
        Ok(Response::new(pb::JobReply { done: request.job != 13, message }))
    }

    async fn archive_job(
        &self,
        request: Request<pb::JobRequest>,
    ) -> Result<Response<pb::JobReply>, Status> {
        let job = request.into_inner().job;
        self.call(format!("archive {job}"));
        Ok(Response::new(pb::JobReply { done: job != 13, message: String::new() }))
    }

    async fn change_job_priority(
        &self,
        request: Request<pb::JobRequest>,
    ) -> Result<Response<pb::JobReply>, Status> {
        let request = request.into_inner();
        self.call(format!("priority {} {}", request.job, request.priority));
        Ok(Response::new(pb::JobReply { done: true, message: "changed".into() }))
    }

    async fn auto_archive_jobs(
        &self,
        request: Request<pb::AutoArchiveRequest>,
    ) -> Result<Response<pb::AutoArchiveReply>, Status> {
        self.call(format!("autoarchive {}", request.into_inner().age));
        Ok(Response::new(pb::AutoArchiveReply { archived: 3, left: 2 }))
    }

    async fn drain(
        &self,
        request: Request<pb::DrainRequest>,
    ) -> Result<Response<pb::DrainReply>, Status> {
        let mut state = self.0.lock().unwrap();
        state.drained = request.into_inner().drain.unwrap_or(state.drained);
        Ok(Response::new(pb::DrainReply { drained: state.drained }))
    }

    async fn put_filter(
        &self,
        request: Request<pb::PutFilterRequest>,
    ) -> Result<Response<pb::FilterReply>, Status> {
        let pb::PutFilterRequest { uuid, priority, predicates, action, reason_trail } =
            request.into_inner();
        let trail: Vec<(String, String, u64)> =
            serde_json::from_str(&reason_trail).expect("a reason trail");
        let reasons: Vec<_> = trail.iter().map(|(source, text, _)| (source, text)).collect();
        self.call(format!(
            "put filter '{uuid}' {priority} {predicates} {action} {}",
            json!(reasons)
        ));
        let uuid = if uuid.is_empty() { "new-uuid".to_owned() } else { uuid };
        Ok(Response::new(pb::FilterReply { uuid }))
    }

    async fn delete_filter(
        &self,
        request: Request<pb::DeleteFilterRequest>,
    ) -> Result<Response<pb::FilterReply>, Status> {
        let uuid = request.into_inner().uuid;
        self.call(format!("delete filter {uuid}"));
        Ok(Response::new(pb::FilterReply { uuid }))
    }

    type WatchConfigStream = Stream<pb::ConfigChange>;

    async fn watch_config(
        &self,
        _: Request<pb::WatchConfigRequest>,
    ) -> Result<Response<Self::WatchConfigStream>, Status> {
        Err(Status::unimplemented("the command line does not watch"))
    }

    async fn create_join_token(
        &self,
        request: Request<pb::TokenRequest>,
    ) -> Result<Response<pb::TokenReply>, Status> {
        let request = request.into_inner();
        let token = format!("token-of-{}-at-{}", request.node, request.address);
        Ok(Response::new(pb::TokenReply { token, lifetime: 3600 }))
    }

    type CommandStream = Stream<pb::CommandOutput>;

    /// The last node answers first, the node `bad` fails.
    async fn command(
        &self,
        request: Request<pb::CommandRequest>,
    ) -> Result<Response<Self::CommandStream>, Status> {
        let request = request.into_inner();
        let what = match request.what {
            Some(pb::command_request::What::Command(line)) => line,
            Some(pb::command_request::What::CopyFile(path)) => format!("copy {path}"),
            None => return Err(Status::invalid_argument("nothing to do")),
        };
        let outputs = request.nodes.into_iter().rev().map(|node| pb::CommandOutput {
            output: format!("{what} on {node}\n").into_bytes(),
            code: i32::from(node == "bad"),
            error: String::new(),
            node,
        });
        Ok(Response::new(stream(outputs.collect())))
    }

    type ExportConfigStream = Stream<pb::ExportChunk>;

    async fn export_config(
        &self,
        request: Request<pb::ExportRequest>,
    ) -> Result<Response<Self::ExportConfigStream>, Status> {
        let request = request.into_inner();
        self.call(format!("export {} {}", request.format, request.archived));
        let chunks = ["{\"a\"", ": 1}\n"].map(|data| pb::ExportChunk {
            data: data.into(),
            notes: vec!["the cluster: 'extra'".into()],
        });
        Ok(Response::new(stream(chunks.into())))
    }

    async fn store_secret(
        &self,
        request: Request<pb::StoreSecretRequest>,
    ) -> Result<Response<pb::StoreSecretReply>, Status> {
        let request = request.into_inner();
        self.call(format!("store {} {} bytes", request.file, request.content.len()));
        Ok(Response::new(pb::StoreSecretReply { version: "version".into() }))
    }

    async fn repair_debris(
        &self,
        request: Request<pb::RepairRequest>,
    ) -> Result<Response<pb::RepairReply>, Status> {
        self.call(format!("repair {}", request.into_inner().repair));
        Ok(Response::new(pb::RepairReply::default()))
    }

    type FailoverStream = Stream<pb::FailoverEvent>;

    async fn failover(
        &self,
        request: Request<pb::FailoverRequest>,
    ) -> Result<Response<Self::FailoverStream>, Status> {
        let pb::FailoverRequest { no_voting, accept_loss } = request.into_inner();
        self.call(format!("failover {no_voting} {accept_loss}"));
        let events = [
            pb::failover_event::Event::Message("asking".into()),
            pb::failover_event::Event::Warning("the address is still there".into()),
            pb::failover_event::Event::Done(true),
        ];
        let events = events.map(|event| pb::FailoverEvent { event: Some(event) });
        Ok(Response::new(stream(events.into())))
    }

    async fn balancer(
        &self,
        _: Request<pb::BalancerRequest>,
    ) -> Result<Response<pb::BalancerReply>, Status> {
        let told = include_str!("../../fixtures/balancer.json").to_owned();
        Ok(Response::new(pb::BalancerReply { told }))
    }

    async fn replication(
        &self,
        request: Request<pb::ReplicationRequest>,
    ) -> Result<Response<pb::ReplicationReply>, Status> {
        for node in request.into_inner().down {
            self.call(format!("down {node}"));
        }
        Ok(Response::new(pb::ReplicationReply {
            leads: true,
            master: "node1".into(),
            store: "embedded".into(),
            ..pb::ReplicationReply::default()
        }))
    }
}
