//! The service, and the socket it is served on.

use super::role::{Leading, Role};
use super::{command, failover, filters, jobs, peer, watch_config};
use crate::backup;
use crate::query::{self, World};
use crate::secrets;
use crate::state::State;
use crate::store::Space;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use roost_proto::protocol;
use roost_proto::protocol::COPY_HEADER;
use roost_proto::query::{Filter, Resource};
use roost_proto::rpc::master as pb;
use roost_proto::rpc::master::master_server::{Master, MasterServer};
use roost_proto::secrets::SecretFile;
use roost_proto::status::to_status;
use std::collections::HashMap;
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
    pub role: Role,
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
        let told = request.metadata().get(protocol::HEADER).and_then(|text| text.to_str().ok());
        let version = told.and_then(|text| text.parse().ok()).unwrap_or(0);
        protocol::MASTER.meet(version, "the client").map_err(|e| to_status(&e))?;
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
    async fn leading(&self) -> std::result::Result<Leading, Status> {
        self.role.leading_soon().await.map_err(|e| to_status(&e))
    }

    fn state(&self) -> std::result::Result<State, Status> {
        self.role.state().map_err(|e| to_status(&e))
    }

    /// Says whose copy answers, unless this is the master.
    fn marked<T>(&self, mut reply: Response<T>) -> Response<T> {
        if self.role.leading().is_err()
            && let Ok(state) = self.role.state()
        {
            let config = state.config();
            let name = config.node_name(config.master());
            // Names of nodes are plain ASCII.
            if let Ok(name) = name.parse() {
                reply.metadata_mut().insert(COPY_HEADER, name);
            }
        }
        reply
    }

    /// The answer to a query, from what is known now. Of archived jobs only those are in it that are
    /// asked for by number: see [`jobs::with_archived`].
    pub async fn query(
        &self,
        what: Resource,
        fields: &[String],
        filter: Option<&Filter>,
    ) -> Result<roost_proto::query::QueryResponse> {
        if self.role.is_master_by_config() {
            self.role.leading_soon().await?;
        }
        let Ok(leading) = self.role.leading() else {
            return query::answer(&self.world_of_copy(what).await?, what, fields, filter);
        };
        let mut jobs = Vec::new();
        if what == Resource::Job {
            jobs = leading.engine.jobs().iter().map(|job| job.record()).collect();
            if let Some(filter) = filter {
                jobs.extend(archived_by_number(leading, filter).await?);
            }
        }
        query::answer(&self.world(jobs)?, what, fields, filter)
    }

    /// What is known now, with these jobs.
    pub fn world(&self, jobs: Vec<Arc<roost_proto::job::JobRecord>>) -> Result<World> {
        let leading = self.role.leading()?;
        Ok(World {
            config: self.role.state()?.config(),
            seen: leading.nodes.observed().all(),
            jobs,
            locks: leading.engine.locks().list(),
            drained: leading.engine.is_drained(),
            copies: leading.leadership.as_ref().map(|leadership| leadership.copies()),
        })
    }

    /// What a copy knows: the configuration and the jobs, nothing of what runs.
    async fn world_of_copy(&self, what: Resource) -> Result<World> {
        let state = self.role.state()?;
        let mut jobs = Vec::new();
        if what == Resource::Job {
            for (id, body) in state.scan(Space::Job).await? {
                let record = serde_json::from_str(&body)
                    .map_err(|e| Error::internal(format!("Job {id} cannot be read: {e}")))?;
                jobs.push(Arc::new(record));
            }
        }
        let drained = state.get(crate::jobs::drain_key()).await?.is_some();
        let config = state.config();
        let (seen, locks) = (HashMap::new(), vec![]);
        Ok(World { config, seen, jobs, locks, drained, copies: None })
    }
}

/// Archived jobs that a filter asks for by number.
async fn archived_by_number(
    leading: &Leading,
    filter: &Filter,
) -> Result<Vec<Arc<roost_proto::job::JobRecord>>> {
    let mut found = Vec::new();
    for value in filter.requested_names("id").unwrap_or_default() {
        let Ok(id) = value.to_string().trim_matches('"').parse() else { continue };
        if leading.engine.job(id).is_none()
            && let Some(record) = leading.engine.archived(id).await?
        {
            found.push(Arc::new(record));
        }
    }
    Ok(found)
}

#[tonic::async_trait]
impl Master for Api {
    async fn submit_jobs(
        &self,
        request: Request<pb::SubmitJobsRequest>,
    ) -> Reply<pb::SubmitJobsReply> {
        peer::administrator(&request)?;
        Ok(Response::new(jobs::submit(&self.leading().await?.engine, request.into_inner()).await))
    }

    type WaitForJobChangeStream = Stream<pb::JobChange>;

    async fn wait_for_job_change(
        &self,
        request: Request<pb::WaitForJobChangeRequest>,
    ) -> Reply<Self::WaitForJobChangeStream> {
        let stream = jobs::follow(&self.leading().await?.engine, request.into_inner()).await;
        stream.map(Response::new).map_err(|e| to_status(&e))
    }

    type QueryStream = Stream<pb::QueryChunk>;

    async fn query(&self, request: Request<pb::QueryRequest>) -> Reply<Self::QueryStream> {
        let request = request.into_inner();
        let read = || {
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
            Ok((what, filter))
        };
        let (what, filter) = read().map_err(|e: Error| to_status(&e))?;
        if what == Resource::Job && query::wants_archived_jobs(&request.fields, filter.as_ref()) {
            let rows = jobs::with_archived(self.clone(), request.fields, filter).await;
            return rows.map(Response::new).map_err(|e| to_status(&e));
        }
        let answer = Api::query(self, what, &request.fields, filter.as_ref()).await;
        let answer = answer.map_err(|e| to_status(&e))?;
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
        Ok(self.marked(Response::new(ReceiverStream::new(receiver))))
    }

    async fn cluster_info(&self, _: Request<pb::InfoRequest>) -> Reply<pb::InfoReply> {
        let info = query::cluster_info(&self.state()?.config());
        Ok(self.marked(Response::new(pb::InfoReply { info: info.to_string() })))
    }

    async fn balancer(&self, _: Request<pb::BalancerRequest>) -> Reply<pb::BalancerReply> {
        let told = self.leading().await?.balancer.read(&self.state()?.config());
        let told = serde_json::to_string(&told).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(pb::BalancerReply { told }))
    }

    async fn cancel_job(&self, request: Request<pb::JobRequest>) -> Reply<pb::JobReply> {
        peer::administrator(&request)?;
        let request = request.into_inner();
        let job = roost_proto::ids::JobId(request.job);
        jobs::reply(self.leading().await?.engine.cancel(job, request.kill).await)
    }

    async fn archive_job(&self, request: Request<pb::JobRequest>) -> Reply<pb::JobReply> {
        peer::administrator(&request)?;
        let job = roost_proto::ids::JobId(request.into_inner().job);
        let done = self.leading().await?.engine.archive(job).await.map_err(|e| to_status(&e))?;
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
        jobs::reply(self.leading().await?.engine.change_priority(job, request.priority).await)
    }

    async fn auto_archive_jobs(
        &self,
        request: Request<pb::AutoArchiveRequest>,
    ) -> Reply<pb::AutoArchiveReply> {
        peer::administrator(&request)?;
        let age = u64::try_from(request.into_inner().age).ok();
        let (archived, left) =
            self.leading().await?.engine.autoarchive(age).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(pb::AutoArchiveReply { archived, left }))
    }

    async fn drain(&self, request: Request<pb::DrainRequest>) -> Reply<pb::DrainReply> {
        if request.get_ref().drain.is_some() {
            peer::administrator(&request)?;
        }
        if let Some(drain) = request.into_inner().drain {
            self.leading().await?.engine.drain(drain).await.map_err(|e| to_status(&e))?;
        }
        Ok(Response::new(pb::DrainReply { drained: self.leading().await?.engine.is_drained() }))
    }

    async fn put_filter(&self, request: Request<pb::PutFilterRequest>) -> Reply<pb::FilterReply> {
        peer::administrator(&request)?;
        let put = filters::put(&self.leading().await?.engine, request.into_inner()).await;
        put.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn delete_filter(
        &self,
        request: Request<pb::DeleteFilterRequest>,
    ) -> Reply<pb::FilterReply> {
        peer::administrator(&request)?;
        let deleted =
            filters::delete(&self.leading().await?.engine, &request.into_inner().uuid).await;
        deleted.map(Response::new).map_err(|e| to_status(&e))
    }

    type WatchConfigStream = Stream<pb::ConfigChange>;

    async fn watch_config(
        &self,
        request: Request<pb::WatchConfigRequest>,
    ) -> Reply<Self::WatchConfigStream> {
        // The whole configuration has private parameters in it.
        peer::administrator(&request)?;
        Ok(Response::new(watch_config::follow(self.state()?, request.into_inner().from)))
    }

    async fn create_join_token(&self, request: Request<pb::TokenRequest>) -> Reply<pb::TokenReply> {
        peer::administrator(&request)?;
        let request = request.into_inner();
        let config = self.state()?.config();
        let made = self.leading().await?.tokens.create(&config, &request.node, &request.address);
        made.map(Response::new).map_err(|e| to_status(&e))
    }

    type CommandStream = Stream<pb::CommandOutput>;

    async fn command(&self, request: Request<pb::CommandRequest>) -> Reply<Self::CommandStream> {
        peer::administrator(&request)?;
        let stream = command::run(
            &self.state()?.config(),
            &self.leading().await?.nodes,
            request.into_inner(),
        );
        stream.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn store_secret(
        &self,
        request: Request<pb::StoreSecretRequest>,
    ) -> Reply<pb::StoreSecretReply> {
        peer::administrator(&request)?;
        let request = request.into_inner();
        let work = async {
            let file = SecretFile::of(&request.file).ok_or_else(|| {
                Error::wrong_input(format!("'{}' is not a secret of clusters", request.file))
            })?;
            let content = String::from_utf8(request.content)
                .map_err(|_| Error::wrong_input(format!("The {} is not text", file.describe())))?;
            secrets::check(file, &content)?;
            let (state, contents) = (self.role.state()?, [(file, content)].into());
            let versions = secrets::store(&state, &contents, secrets::Origin::Brought).await?;
            Ok(versions.into_values().next().unwrap_or_default())
        };
        let stored = work.await.map_err(|e: Error| to_status(&e))?;
        Ok(Response::new(pb::StoreSecretReply { version: stored }))
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
        let stream = backup::export(&self.state()?, &paths, request.get_ref()).await;
        stream.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn repair_debris(&self, request: Request<pb::RepairRequest>) -> Reply<pb::RepairReply> {
        if request.get_ref().repair {
            peer::administrator(&request)?;
        }
        let made = jobs::debris(&self.leading().await?.engine, request.into_inner().repair).await;
        made.map(Response::new).map_err(|e| to_status(&e))
    }

    type FailoverStream = Stream<pb::FailoverEvent>;

    async fn failover(&self, request: Request<pb::FailoverRequest>) -> Reply<Self::FailoverStream> {
        peer::administrator(&request)?;
        let started = failover::start(&self.role, request.into_inner()).await;
        started.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn replication(
        &self,
        request: Request<pb::ReplicationRequest>,
    ) -> Reply<pb::ReplicationReply> {
        if !request.get_ref().down.is_empty() {
            peer::administrator(&request)?;
        }
        let told = failover::replication(&self.role, request.get_ref()).await;
        told.map(Response::new).map_err(|e| to_status(&e))
    }
}
