//! What is done with the sides of a mirror: seeding, parting, letting go, giving up.

use super::super::device::{Assembly, Work};
use super::disk::{DrbdDisk, block_path};
use super::mirrors::mirrors;
use super::plan;
use super::role::Obstacle;
use super::state::{Connection, DiskState, Live, Role};
use super::tools;
use roost_proto::error::{Error, Result};
use roost_proto::node::DiskRole;
use std::time::Duration;
use tokio::time::Instant;

/// How long the other side may take to come.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Whether a new mirror can be seeded from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seed {
    Now,
    /// It was, before.
    Done,
    /// The other side has data, and this one has not.
    WrongSide,
    Obstacle(Obstacle),
}

fn seed(live: Option<&Live>, known: u64) -> Option<Seed> {
    let Some(live) = live else { return Some(Seed::Obstacle(Obstacle::Gone)) };
    match live.connection {
        Connection::StandAlone if live.split_brain || live.splits > known => {
            Some(Seed::Obstacle(Obstacle::SplitBrain))
        }
        Connection::StandAlone => Some(Seed::Obstacle(Obstacle::GaveUp)),
        connection if !connection.is_connected() => None,
        _ if live.disk >= DiskState::Consistent => Some(Seed::Done),
        _ if live.peer_disk >= DiskState::Outdated && live.peer_disk != DiskState::Unknown => {
            Some(Seed::WrongSide)
        }
        _ => Some(Seed::Now),
    }
}

impl DrbdDisk {
    /// What this side has is what counts; the other one gets all of it.
    pub async fn seed(&self, work: &Work) -> Result<()> {
        let _lock = mirrors().lock(self.minor).await;
        self.set_up(work).await?;
        let known = self.live().await?.map_or(0, |live| live.splits);
        let until = Instant::now() + HANDSHAKE;
        match mirrors().wait(self.minor, until, None, |live| seed(live, known)).await? {
            Some(Seed::Now) => {}
            Some(Seed::Done) => {
                return self.promote(Assembly::of(DiskRole::Primary), known, work).await;
            }
            Some(Seed::Obstacle(obstacle)) => return Err(self.obstacle(obstacle, work).await),
            Some(Seed::WrongSide) => {
                return Err(Error::wrong_state(format!(
                    "{} is not overwritten with this node's data, which are not good: node {} has \
                     better ones",
                    self.called(),
                    self.peer_name(&work.paths)
                )));
            }
            None => {
                return Err(Error::environment(format!(
                    "{}: node {} did not come within {} s; see to the network between the \
                     addresses for replication",
                    self.called(),
                    self.peer_name(&work.paths),
                    HANDSHAKE.as_secs()
                )));
            }
        }
        self.primary(true).await?.map_err(|failure| {
            Error::exec(format!("Cannot begin to mirror {}: {}", self.called(), failure.words))
        })
    }

    /// Lets go of this node's storage; the other side's is used.
    pub async fn detach(&self, work: &Work) -> Result<()> {
        let _lock = mirrors().lock(self.minor).await;
        let Some(live) = self.live().await? else { return Ok(()) };
        if self.set_up(work).await.is_err() || live.disk == DiskState::Diskless {
            return Ok(());
        }
        let peer = self.peer_name(&work.paths);
        if live.role == Role::Primary && live.peer_disk != DiskState::UpToDate {
            return Err(Error::wrong_state(format!(
                "{} is in use here and node {peer} has no good data ({}): its storage cannot be let \
                 go; wait until it is in sync",
                self.called(),
                live.peer_disk
            )));
        }
        let call = plan::setup(["detach", &self.minor.to_string()]);
        self.done("let go of the storage of", call).await.map(drop)
    }

    /// Parts it from its other side. `outdate`: what this side has is not used any more.
    pub async fn disconnect(&self, outdate: bool, work: &Work) -> Result<()> {
        let _lock = mirrors().lock(self.minor).await;
        let Some((device, _)) = self.configured(work).await? else {
            return if outdate { self.outdate_at_rest(work).await } else { Ok(()) };
        };
        self.set_up(work).await?;
        if let Some(net) = device.net {
            let ends = (net.local.as_str(), net.peer.as_str());
            let who = (device.resource.as_str(), 1 - self.number);
            for call in plan::disconnect(Self::dialect(), who, ends) {
                self.done("part", call).await?;
            }
        }
        let live = self.live().await?;
        if outdate && live.is_some_and(|live| live.disk > DiskState::Outdated) {
            let call = plan::setup(["outdate", &self.minor.to_string()]);
            self.done("outdate this node's data of", call).await?;
        }
        Ok(())
    }

    /// The same where the mirror is not set up: it is written into its meta data.
    async fn outdate_at_rest(&self, work: &Work) -> Result<()> {
        let dialect = tools::module(&work.paths).await?.dialect;
        self.meta.assemble(DiskRole::Secondary, work).await?;
        let path = block_path(&self.meta, work).await?;
        let call = plan::metadata(dialect, self.minor, &path, &["outdate"]);
        let outdated = self.done("outdate this node's data of", call).await;
        self.meta.shutdown(work).await?;
        outdated.map(drop)
    }

    /// Both sides were written: gives up what this one wrote, and takes the other's.
    pub async fn discard(&self, work: &Work) -> Result<()> {
        let dialect = tools::module(&work.paths).await?.dialect;
        let _lock = mirrors().lock(self.minor).await;
        let live = self.live().await?;
        if live.as_ref().is_some_and(|live| live.connection.is_connected()) {
            // They agree already.
            return Ok(());
        }
        self.demote(work).await.map_err(|e| {
            let e = e.message;
            Error::wrong_state(format!(
                "This node's changes to {} cannot be given up while they are in use: {e}",
                self.called()
            ))
        })?;
        self.set_up_as(Assembly::of(DiskRole::Secondary), dialect, true, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(connection: Connection, disk: DiskState, peer_disk: DiskState) -> Live {
        Live {
            resource: "resource0".into(),
            minor: 0,
            role: Role::Secondary,
            peer_role: Role::Secondary,
            disk,
            peer_disk,
            connection,
            size: 1000,
            out_of_sync: 0,
            split_brain: false,
            splits: 0,
        }
    }

    #[test]
    fn only_a_blank_mirror_is_seeded() {
        use Connection as C;
        use DiskState as D;
        let seed = |connection, disk, peer| seed(Some(&live(connection, disk, peer)), 0);
        assert_eq!(seed(C::Waiting, D::Inconsistent, D::Unknown), None);
        assert_eq!(seed(C::Connected, D::Inconsistent, D::Inconsistent), Some(Seed::Now));
        assert_eq!(seed(C::SyncSource, D::UpToDate, D::Inconsistent), Some(Seed::Done));
        assert_eq!(seed(C::SyncTarget, D::Inconsistent, D::UpToDate), Some(Seed::WrongSide));
        let gave_up = Some(Seed::Obstacle(Obstacle::GaveUp));
        assert_eq!(seed(C::StandAlone, D::Inconsistent, D::Unknown), gave_up);
        assert_eq!(super::seed(None, 0), Some(Seed::Obstacle(Obstacle::Gone)));
    }
}
