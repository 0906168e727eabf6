//! The service, and the socket it is served on.

use super::join::Tokens;
use super::{command, jobs, peer, watch_config};
use crate::backup;
use crate::jobs::Engine;
use crate::nodes::Nodes;
use crate::query::{self, World};
use crate::state::State;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use roost_proto::query::{Filter, Resource};
use roost_proto::rpc::master as pb;
use roost_proto::rpc::master::master_server::{Master, MasterServer};
use roost_proto::status::to_status;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

/// Rows in one message of a query's answer.
const CHUNK: usize = 2_000;
/// Larger than any sensible request.
const REQUEST_LIMIT: usize = 16 << 20;

/// Everything a request may need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    pub state: State,
    pub engine: Engine,
    pub nodes: Nodes,
    pub tokens: Tokens,
}

type Stream<T> = ReceiverStream<std::result::Result<T, Status>>;
type Reply<T> = std::result::Result<Response<T>, Status>;

/// Serves until `shutdown`. Errors: the socket cannot be made.
pub async fn serve(api: Api, paths: &Paths, shutdown: CancellationToken) -> Result<()> {
    let path = paths.master_socket();
    let failed =
        |e: std::io::Error| Error::environment(format!("Cannot listen on {}: {e}", path.display()));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    // Only one masterd can hold the database, so a socket that is there is a leftover.
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).map_err(failed)?;
    let service = MasterServer::new(api).max_decoding_message_size(REQUEST_LIMIT);
    let own_paths = paths.clone();
    let service = InterceptedService::new(service, move |mut request: Request<()>| {
        request.extensions_mut().insert(own_paths.clone());
        Ok(request)
    });
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown.cancelled_owned())
        .await
        .map_err(|e| Error::environment(format!("{}: {e}", path.display())))
}

impl Api {
    /// The answer to a query, from what is known now.
    pub async fn query(
        &self,
        what: Resource,
        fields: &[String],
        filter: Option<&Filter>,
    ) -> Result<roost_proto::query::QueryResponse> {
        let mut jobs = Vec::new();
        if what == Resource::Job {
            jobs = self.engine.jobs().iter().map(|job| job.record()).collect();
            if query::wants_archived_jobs(fields, filter) {
                jobs.extend(self.engine.all_archived().await?.into_iter().map(Arc::new));
            } else if let Some(filter) = filter {
                jobs.extend(self.archived_by_number(filter).await?);
            }
        }
        let world = World {
            config: self.state.config(),
            seen: self.nodes.observed().all(),
            jobs,
            locks: self.engine.locks().list(),
            drained: self.engine.is_drained(),
        };
        query::answer(&world, what, fields, filter)
    }

    /// Archived jobs that a filter asks for by number.
    async fn archived_by_number(
        &self,
        filter: &Filter,
    ) -> Result<Vec<Arc<roost_proto::job::JobRecord>>> {
        let mut found = Vec::new();
        for value in filter.requested_names("id").unwrap_or_default() {
            let Ok(id) = value.to_string().trim_matches('"').parse() else { continue };
            if self.engine.job(id).is_none()
                && let Some(record) = self.engine.archived(id).await?
            {
                found.push(Arc::new(record));
            }
        }
        Ok(found)
    }
}

#[tonic::async_trait]
impl Master for Api {
    async fn submit_jobs(
        &self,
        request: Request<pb::SubmitJobsRequest>,
    ) -> Reply<pb::SubmitJobsReply> {
        peer::administrator(&request)?;
        Ok(Response::new(jobs::submit(&self.engine, request.into_inner()).await))
    }

    type WaitForJobChangeStream = Stream<pb::JobChange>;

    async fn wait_for_job_change(
        &self,
        request: Request<pb::WaitForJobChangeRequest>,
    ) -> Reply<Self::WaitForJobChangeStream> {
        let stream = jobs::follow(&self.engine, request.into_inner()).await;
        stream.map(Response::new).map_err(|e| to_status(&e))
    }

    type QueryStream = Stream<pb::QueryChunk>;

    async fn query(&self, request: Request<pb::QueryRequest>) -> Reply<Self::QueryStream> {
        let request = request.into_inner();
        let work = async {
            let what: Resource = Resource::parse(&request.what).ok_or_else(|| {
                Error::wrong_input(format!("'{}' is not something to query", request.what))
            })?;
            let filter = match request.filter.as_str() {
                "" => None,
                text => {
                    let json: serde_json::Value = serde_json::from_str(text)
                        .map_err(|e| Error::wrong_input(format!("Unreadable filter: {e}")))?;
                    Filter::from_json_optional(&json)?
                }
            };
            Api::query(self, what, &request.fields, filter.as_ref()).await
        };
        let answer = work.await.map_err(|e| to_status(&e))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            let json = |e: serde_json::Error| Status::internal(e.to_string());
            let mut fields = match serde_json::to_string(&answer.fields).map_err(json) {
                Ok(fields) => fields,
                Err(status) => return drop(sender.send(Err(status)).await),
            };
            let mut rest = answer.data.as_slice();
            loop {
                let (rows, later) = rest.split_at(rest.len().min(CHUNK));
                rest = later;
                let chunk = serde_json::to_vec(rows)
                    .map_err(json)
                    .map(|rows| pb::QueryChunk { fields: std::mem::take(&mut fields), rows });
                // A client that went away wants no more.
                if sender.send(chunk).await.is_err() || rest.is_empty() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn cluster_info(&self, _: Request<pb::InfoRequest>) -> Reply<pb::InfoReply> {
        let info = query::cluster_info(&self.state.config());
        Ok(Response::new(pb::InfoReply { info: info.to_string() }))
    }

    async fn cancel_job(&self, request: Request<pb::JobRequest>) -> Reply<pb::JobReply> {
        peer::administrator(&request)?;
        let job = roost_proto::ids::JobId(request.into_inner().job);
        jobs::reply(self.engine.cancel(job).await)
    }

    async fn archive_job(&self, request: Request<pb::JobRequest>) -> Reply<pb::JobReply> {
        peer::administrator(&request)?;
        let job = roost_proto::ids::JobId(request.into_inner().job);
        let done = self.engine.archive(job).await.map_err(|e| to_status(&e))?;
        let message = match done {
            true => format!("Archived job {job}"),
            false => format!("Failed to archive job with ID '{job}'"),
        };
        Ok(Response::new(pb::JobReply { done, message }))
    }

    async fn change_job_priority(&self, request: Request<pb::JobRequest>) -> Reply<pb::JobReply> {
        peer::administrator(&request)?;
        let request = request.into_inner();
        let job = roost_proto::ids::JobId(request.job);
        jobs::reply(self.engine.change_priority(job, request.priority).await)
    }

    async fn auto_archive_jobs(
        &self,
        request: Request<pb::AutoArchiveRequest>,
    ) -> Reply<pb::AutoArchiveReply> {
        peer::administrator(&request)?;
        let age = u64::try_from(request.into_inner().age).ok();
        let (archived, left) = self.engine.autoarchive(age).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::AutoArchiveReply { archived, left }))
    }

    async fn drain(&self, request: Request<pb::DrainRequest>) -> Reply<pb::DrainReply> {
        if request.get_ref().drain.is_some() {
            peer::administrator(&request)?;
        }
        if let Some(drain) = request.into_inner().drain {
            self.engine.drain(drain).await.map_err(|e| to_status(&e))?;
        }
        Ok(Response::new(pb::DrainReply { drained: self.engine.is_drained() }))
    }

    type WatchConfigStream = Stream<pb::ConfigChange>;

    async fn watch_config(
        &self,
        request: Request<pb::WatchConfigRequest>,
    ) -> Reply<Self::WatchConfigStream> {
        // The whole configuration has private parameters in it.
        peer::administrator(&request)?;
        Ok(Response::new(watch_config::follow(self.state.clone(), request.into_inner().from)))
    }

    async fn create_join_token(&self, request: Request<pb::TokenRequest>) -> Reply<pb::TokenReply> {
        peer::administrator(&request)?;
        let request = request.into_inner();
        let config = self.state.config();
        let made = self.tokens.create(&config, &request.node, &request.address);
        made.map(Response::new).map_err(|e| to_status(&e))
    }

    type CommandStream = Stream<pb::CommandOutput>;

    async fn command(&self, request: Request<pb::CommandRequest>) -> Reply<Self::CommandStream> {
        peer::administrator(&request)?;
        let stream = command::run(&self.state.config(), &self.nodes, request.into_inner());
        stream.map(Response::new).map_err(|e| to_status(&e))
    }

    type ExportConfigStream = Stream<pb::ExportChunk>;

    async fn export_config(
        &self,
        request: Request<pb::ExportRequest>,
    ) -> Reply<Self::ExportConfigStream> {
        // Private parameters and keys are in it.
        peer::administrator(&request)?;
        let paths = request
            .extensions()
            .get::<Paths>()
            .cloned()
            .ok_or_else(|| Status::internal("the request does not say where files are"))?;
        let stream = backup::export(&self.state, &paths, request.get_ref()).await;
        stream.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn repair_debris(&self, request: Request<pb::RepairRequest>) -> Reply<pb::RepairReply> {
        if request.get_ref().repair {
            peer::administrator(&request)?;
        }
        let made = jobs::debris(&self.engine, request.into_inner().repair).await;
        made.map(Response::new).map_err(|e| to_status(&e))
    }
}
