//! Wiring: what every masterd has, whether it leads or not.

use crate::api::{self, Api, Role};
use crate::failpoint;
use crate::jobs::Engine;
use crate::publish;
use crate::replication::Over;
use crate::role::embedded::{self, Embedded};
use crate::role::etcd::WithEtcd;
use crate::state::State;
use crate::store::settings;
use crate::tls::Tls;
use roost_proto::error::{Error, Result};
use roost_proto::paths::{Identity, Paths};
use roost_proto::store::StoreSettings;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often a machine that is in no cluster looks whether it has joined one.
const JOINED: Duration = Duration::from_secs(1);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to.
    Stopped,
    /// The process is to start over, with nothing in memory.
    StartOver,
}

/// Runs until `shutdown`, or until it has to start over. Errors: it cannot start, or one of its
/// parts gave up.
///
/// `alone_after`: how long one of two master candidates waits for the other.
pub async fn run(
    paths: &Paths,
    alone_after: Duration,
    shutdown: CancellationToken,
) -> Result<Ended> {
    let Some(identity) = identity(paths, &shutdown).await? else { return Ok(Ended::Stopped) };
    let address: IpAddr = identity
        .address
        .parse()
        .map_err(|_| Error::environment(format!("'{}' is not an address", identity.address)))?;
    failpoint::look_in(paths.data_dir().join("failpoint"));
    let tls = Tls::read(paths)?;
    let over = Over::default();
    let stop = shutdown.child_token();
    let (wanted, failovers) = mpsc::channel(1);
    let store = settings::load(paths)?;
    let (role, work) = match store.clone() {
        StoreSettings::Embedded => {
            let state = embedded::open_copy(paths)?;
            check_cluster(state.as_ref(), &identity)?;
            let replica = embedded::replica(paths, &tls, &identity, state.clone(), over.clone())?;
            let role = Role::new(identity.node, state, Some(replica.clone()), wanted);
            let embedded = Embedded {
                paths: paths.clone(),
                tls: tls.clone(),
                role: role.clone(),
                replica,
                alone_after: u64::try_from(alone_after.as_millis()).unwrap_or(u64::MAX),
            };
            let work: Work = Box::pin(embedded.run(failovers, stop.clone()));
            (role, work)
        }
        StoreSettings::Etcd(settings) => {
            let role = Role::new(identity.node, None, None, wanted);
            let etcd = WithEtcd {
                paths: paths.clone(),
                tls: tls.clone(),
                role: role.clone(),
                identity: identity.clone(),
                settings,
                over: over.clone(),
            };
            let work: Work = Box::pin(etcd.run(failovers, stop.clone()));
            (role, work)
        }
    };
    tokio::spawn(publish::status::run(paths.clone(), role.clone(), identity.node, stop.clone()));
    let published =
        tokio::spawn(publish::run(paths.clone(), role.clone(), identity.clone(), stop.clone()));
    let api = Api { role: role.clone() };
    let ended = tokio::select! {
        ended = work => ended.map(|engine| (engine, Ended::Stopped)),
        served = api::serve(api, paths, stop.clone()) => served.map(|()| (None, Ended::Stopped)),
        served = api::serve_port(role.clone(), &tls, address, stop.clone()) => {
            served.map(|()| (None, Ended::Stopped))
        }
        why = over.wait() => {
            tracing::warn!(%why, "starting over");
            return Ok(Ended::StartOver);
        }
        () = another_store(paths, &store) => {
            tracing::info!("the state is kept elsewhere from now on: starting over");
            return Ok(Ended::StartOver);
        }
    };
    stop.cancel();
    // What is published has the last word of this masterd; it takes a moment at most.
    published.await.ok();
    let (engine, ended) = ended?;
    let leading = role.leading().ok().map(|leading| leading.engine.clone());
    if let Some(engine) = engine.or(leading) {
        stop_jobs(&engine).await;
    }
    Ok(ended)
}

/// What decides who leads, at work; ends with the engine, if it led.
type Work = Pin<Box<dyn Future<Output = Result<Option<Engine>>> + Send>>;

/// The database must be this cluster's.
fn check_cluster(state: Option<&State>, identity: &Identity) -> Result<()> {
    let found = state.map(|state| state.config().cluster.uuid);
    match found.filter(|found| *found != identity.cluster) {
        None => Ok(()),
        Some(found) => Err(Error::environment(format!(
            "The database is of cluster {found}, but this node belongs to cluster {}",
            identity.cluster
        ))),
    }
}

/// Returns when this node's settings name another store than they did when it started: the master
/// has told so, or the cluster was moved.
async fn another_store(paths: &Paths, now: &StoreSettings) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(JOINED).await;
        match settings::load(paths) {
            Ok(settings) if settings != *now => return,
            Ok(_) => said.clear(),
            // Most likely files are missing here that they name.
            Err(error) if error.message != said => {
                tracing::error!(%error, "the state is kept elsewhere, and that cannot be used here");
                said = error.message;
            }
            Err(_) => {}
        }
    }
}

/// Jobs at work go on at the next start. One that waits for a majority would wait here, too.
async fn stop_jobs(engine: &Engine) {
    if tokio::time::timeout(Duration::from_secs(5), engine.stop()).await.is_err() {
        tracing::warn!("jobs that wait for something are left as they are");
    }
}

/// Who this machine is; waits until it has joined a cluster.
async fn identity(paths: &Paths, shutdown: &CancellationToken) -> Result<Option<Identity>> {
    let path = paths.identity();
    let mut said = false;
    while !path.exists() {
        if !said {
            tracing::info!("this machine is in no cluster: waiting until it joins one");
            said = true;
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(JOINED) => {}
        }
    }
    serde_json::from_str(&crate::files::read(&path)?)
        .map(Some)
        .map_err(|e| Error::environment(format!("{}: {e}", path.display())))
}
