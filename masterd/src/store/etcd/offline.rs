//! An etcd store in the hands of a program that serves nobody: `init`, `migrate-store`.
//!
//! It leads while it works, so no masterd does. Everything in here blocks.

use super::{Campaign, Candidate, Etcd, EtcdStore, Leader, Leadership};
use crate::store::{Position, StoreError};
use roost_proto::error::{Error, Result};
use roost_proto::ids::ClusterId;
use roost_proto::store::EtcdSettings;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The oldest etcd that is known to work.
const OLDEST: (u32, u32) = (3, 4);

/// See the module.
#[derive(Debug)]
pub struct Offline {
    /// The store, which may commit.
    pub store: EtcdStore,
    leadership: Leadership,
    runtime: Runtime,
}

impl Offline {
    /// Leads the cluster. Errors: settings, etcd does not answer, is too old or refuses, somebody
    /// leads.
    pub fn lead(
        settings: &EtcdSettings,
        cluster: ClusterId,
        candidate: Candidate,
    ) -> Result<Offline> {
        let (runtime, etcd) = connect(settings)?;
        let own = candidate.node;
        let campaign = Campaign::new(etcd.clone(), cluster, candidate, settings.ttl);
        let lead = async {
            match campaign.try_win().await.map_err(failed)? {
                // A masterd of this node that was killed has not given its lease back.
                Err(leader) if leader.node == own => {
                    let limit = Duration::from_secs((settings.ttl * 2 + 1).into());
                    let waited = tokio::time::timeout(limit, campaign.win()).await;
                    waited.map_err(|_| leads(&leader))?.map_err(failed)
                }
                Err(leader) => Err(leads(&leader)),
                Ok(leadership) => Ok(leadership),
            }
        };
        let leadership = runtime.block_on(lead)?;
        Ok(Offline::of(runtime, etcd, cluster, leadership))
    }

    /// The same while a masterd of this node leads, or nobody: no other node leads in between. That
    /// masterd starts over. Errors: as above; another node leads.
    pub fn take_over(
        settings: &EtcdSettings,
        cluster: ClusterId,
        candidate: Candidate,
    ) -> Result<Offline> {
        let (runtime, etcd) = connect(settings)?;
        let own = candidate.node;
        let campaign = Campaign::new(etcd.clone(), cluster, candidate, settings.ttl);
        let take_over = async {
            if let Some(leader) = campaign.leader().await.map_err(failed)?
                && leader.node != own
            {
                return Err(Error::wrong_state(format!(
                    "Node {name} leads this cluster: run this command on {name}, or make this node \
                     the master first: 'gnt-cluster master-failover'",
                    name = leader.name
                )));
            }
            let (claim, time) = campaign.succeed().await.map_err(failed)?;
            match tokio::time::timeout(time, campaign.win()).await {
                Ok(won) => won.map_err(failed),
                Err(_) => {
                    claim.withdraw().await;
                    Err(Error::environment(format!(
                        "masterd of this node did not stop leading within {} s; stop it: \
                         'gnt daemon stop masterd'",
                        time.as_secs()
                    )))
                }
            }
        };
        let leadership = runtime.block_on(take_over)?;
        Ok(Offline::of(runtime, etcd, cluster, leadership))
    }

    fn of(runtime: Runtime, etcd: Etcd, cluster: ClusterId, leadership: Leadership) -> Offline {
        let mut store = EtcdStore::new(runtime.handle().clone(), etcd, cluster);
        store.lead(leadership.guard());
        Offline { store, leadership, runtime }
    }

    /// Gives leadership back.
    pub fn finish(self) {
        self.runtime.block_on(self.leadership.resign());
    }
}

/// Only reads: is there a store of this cluster? Returns where it ends.
pub fn look(settings: &EtcdSettings, cluster: ClusterId) -> Result<Option<Position>> {
    let (runtime, etcd) = connect(settings)?;
    let mut store = EtcdStore::new(runtime.handle().clone(), etcd, cluster);
    if !store.exists().map_err(failed)? {
        return Ok(None);
    }
    store.position().map(Some).map_err(failed)
}

fn connect(settings: &EtcdSettings) -> Result<(Runtime, Etcd)> {
    let etcd = Etcd::new(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::environment(format!("Cannot start: {e}")))?;
    let version = runtime.block_on(etcd.version()).map_err(|e| failed(etcd.error(e)))?;
    check_version(&version)?;
    Ok((runtime, etcd))
}

fn check_version(version: &str) -> Result<()> {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => Err(Error::environment(format!(
            "etcd {version} is too old: {}.{} or newer is needed",
            OLDEST.0, OLDEST.1
        ))),
        _ => Ok(()),
    }
}

fn leads(leader: &Leader) -> Error {
    Error::wrong_state(format!(
        "Node {} leads this cluster in etcd: stop masterd there first",
        leader.name
    ))
}

fn failed(error: StoreError) -> Error {
    Error::environment(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_refused() {
        check_version("3.4.23").unwrap();
        check_version("3.6.0-rc.1").unwrap();
        check_version("4.0.0").unwrap();
        let error = check_version("3.3.27").unwrap_err().message;
        assert!(error.contains("3.4 or newer"), "{error}");
    }
}
