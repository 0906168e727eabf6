//! Who may write: promotion and demotion.

use super::super::device::{Assembly, Work};
use super::disk::{DrbdDisk, node_name};
use super::mirrors::mirrors;
use super::plan;
use super::state::{Connection, DiskState, Live, Role};
use super::tools::{self, Failure};
use super::version::Dialect;
use roost_proto::error::{Error, Result};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the other side may take to come.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long somebody may have the device open still: what looks at devices when they are closed.
const CLOSING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);
/// How long a side that parted in a split brain may take to come back, if that was settled there.
const REPENT: Duration = Duration::from_secs(5);

/// Why it is not ready for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Gone,
    SplitBrain,
    /// It does not look for the other side any more.
    GaveUp,
    /// Neither side has data that can be used.
    NoGoodData,
}

/// Whether a mirror is ready to be promoted; nothing where that is not certain yet. `known`: split
/// brains found before. `waited`: how long it was looked for the other side.
pub(super) fn ready(
    live: Option<&Live>,
    how: Assembly,
    known: u64,
    waited: Duration,
) -> Option<std::result::Result<(), Obstacle>> {
    let Some(live) = live else { return Some(Err(Obstacle::Gone)) };
    let good = how.force || live.has_good_data();
    let usable = if good { Ok(()) } else { Err(Obstacle::NoGoodData) };
    match live.connection {
        Connection::StandAlone if live.split_brain || live.splits > known => {
            Some(Err(Obstacle::SplitBrain))
        }
        _ if how.alone && live.peer_role != Role::Primary => Some(usable),
        Connection::StandAlone => Some(Err(Obstacle::GaveUp)),
        Connection::StartingSyncS
        | Connection::StartingSyncT
        | Connection::WFBitMapS
        | Connection::WFBitMapT
        | Connection::WFSyncUuid => None,
        connection if connection.is_connected() => Some(usable),
        // The other side gave up when they last met: nobody comes.
        _ if live.split_brain && waited >= REPENT => Some(Err(Obstacle::SplitBrain)),
        _ => None,
    }
}

impl DrbdDisk {
    /// Allows writing here, when the other side is there, or known to be away.
    pub(super) async fn promote(&self, how: Assembly, known: u64, work: &Work) -> Result<()> {
        let began = Instant::now();
        let judge = |live: Option<&Live>| ready(live, how, known, began.elapsed());
        let (until, look) = (began + HANDSHAKE, Some(REPENT));
        let judged = mirrors().wait(self.minor, until, look, judge).await?;
        match judged {
            Some(Ok(())) => {}
            Some(Err(obstacle)) => return Err(self.obstacle(obstacle, work).await),
            None if how.force || how.alone => {}
            None => {
                return Err(Error::environment(format!(
                    "{}: node {} did not answer within {} s; see to the network between the \
                     addresses for replication, or mark it offline ('gnt-node modify --offline \
                     yes') to go on without it",
                    self.called(),
                    self.peer_name(&work.paths),
                    HANDSHAKE.as_secs()
                )));
            }
        }
        let live = self.live().await?;
        if live.is_some_and(|live| live.role == Role::Primary) {
            return Ok(());
        }
        match self.primary(how.force).await? {
            Ok(()) => Ok(()),
            Err(failure) if failure.code == Some(Failure::NEEDS_GOOD_DATA) => {
                Err(self.obstacle(Obstacle::NoGoodData, work).await)
            }
            Err(failure) if failure.code == Some(-1) => Err(Error::wrong_state(format!(
                "{} is in use on node {}: only one node may write it",
                self.called(),
                self.peer_name(&work.paths)
            ))),
            Err(failure) => {
                Err(Error::exec(format!("Cannot use {}: {}", self.called(), failure.words)))
            }
        }
    }

    /// Makes it primary, whatever is to be said against it.
    pub(super) async fn primary(&self, force: bool) -> Result<std::result::Result<(), Failure>> {
        let name = self.device_or_resource();
        let mut words = vec!["primary".to_owned(), name];
        words.extend(force.then(|| "--force".to_owned()));
        Ok(tools::call(plan::setup(words)).await?.map(drop))
    }

    /// 8.4 changes the role of a device, 9 that of a resource.
    fn device_or_resource(&self) -> String {
        match Self::dialect() {
            Dialect::Eight => self.minor.to_string(),
            Dialect::Nine => self.resource(),
        }
    }

    /// Forbids writing here; not being set up is success.
    pub(super) async fn demote(&self, _work: &Work) -> Result<()> {
        let until = Instant::now() + CLOSING;
        loop {
            match self.live().await? {
                Some(live) if live.role == Role::Primary => {}
                _ => return Ok(()),
            }
            let name = self.device_or_resource();
            let failure = match tools::call(plan::setup(["secondary", &name])).await? {
                Ok(_) => return Ok(()),
                Err(failure) => failure,
            };
            if failure.code != Some(Failure::IN_USE) || Instant::now() >= until {
                let users = self.users().await;
                return Err(Error::exec(format!(
                    "{} is still in use: {}{users}",
                    self.called(),
                    failure.words
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// What an obstacle means, and the way out.
    pub(super) async fn obstacle(&self, obstacle: Obstacle, work: &Work) -> Error {
        let called = self.called();
        let peer = self.peer_name(&work.paths);
        match obstacle {
            Obstacle::Gone => Error::exec(format!("{called} went away while it was activated")),
            Obstacle::SplitBrain => {
                let instance =
                    work.instance.as_ref().map_or("INSTANCE", |instance| instance.name.as_str());
                let here = node_name(work.node, &work.paths);
                Error::wrong_state(format!(
                    "{called}: split brain: nodes {here} and {peer} have both written it while they \
                     did not see each other. Choose whose changes are thrown away: 'gnt-instance \
                     repair-mirror {instance} --discard NODE' ({here} or {peer})"
                ))
            }
            Obstacle::GaveUp => Error::environment(format!(
                "{called}: node {peer} was reached and refused, or was refused: the kernel's log \
                 ('dmesg') of both nodes says why. Are the disk's parameters the same on both? \
                 'gnt-instance activate-disks' tries again"
            )),
            Obstacle::NoGoodData => {
                let state = match self.live().await {
                    Ok(Some(live)) => live.disk,
                    _ => DiskState::Unknown,
                };
                Error::wrong_state(format!(
                    "{called}: this node's data are {state}, and node {peer} is not there with \
                     better ones. Bring it back; or, if its data are lost, use these with '--force' \
                     ('gnt-instance failover --ignore-consistency')"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::node::DiskRole;

    const NOW: Duration = Duration::ZERO;

    fn live(connection: Connection, disk: DiskState, peer_disk: DiskState) -> Live {
        Live {
            resource: "resource0".into(),
            minor: 0,
            role: Role::Secondary,
            peer_role: Role::Unknown,
            disk,
            peer_disk,
            connection,
            size: 1000,
            out_of_sync: 0,
            split_brain: false,
            splits: 1,
        }
    }

    #[test]
    fn a_primary_waits_for_its_other_side() {
        use Connection as C;
        use DiskState as D;
        let how = Assembly::of(DiskRole::Primary);
        let ready =
            |connection, disk, peer| ready(Some(&live(connection, disk, peer)), how, 1, NOW);
        assert_eq!(ready(C::Waiting, D::UpToDate, D::Unknown), None);
        assert_eq!(ready(C::Comparing, D::UpToDate, D::Unknown), None);
        assert_eq!(ready(C::WFBitMapT, D::UpToDate, D::UpToDate), None);
        assert_eq!(ready(C::Connected, D::UpToDate, D::UpToDate), Some(Ok(())));
        assert_eq!(ready(C::SyncSource, D::UpToDate, D::Inconsistent), Some(Ok(())));
        // It reads what it lacks from the other side.
        assert_eq!(ready(C::SyncTarget, D::Inconsistent, D::UpToDate), Some(Ok(())));
        let blank = Some(Err(Obstacle::NoGoodData));
        assert_eq!(ready(C::Connected, D::Inconsistent, D::Inconsistent), blank);
        assert_eq!(ready(C::StandAlone, D::UpToDate, D::Unknown), Some(Err(Obstacle::GaveUp)));
    }

    #[test]
    fn alone_nobody_is_waited_for_but_good_data_are_needed() {
        use Connection as C;
        use DiskState as D;
        let how = Assembly { alone: true, ..Assembly::of(DiskRole::Primary) };
        let waiting = |disk| live(C::Waiting, disk, D::Unknown);
        assert_eq!(ready(Some(&waiting(D::UpToDate)), how, 1, NOW), Some(Ok(())));
        let bad = Some(Err(Obstacle::NoGoodData));
        assert_eq!(ready(Some(&waiting(D::Outdated)), how, 1, NOW), bad);
        assert_eq!(ready(Some(&waiting(D::Inconsistent)), how, 1, NOW), bad);
        let forced = Assembly { force: true, ..how };
        assert_eq!(ready(Some(&waiting(D::Outdated)), forced, 1, NOW), Some(Ok(())));
        // The dead one may still look alive for some seconds.
        let stale =
            Live { peer_role: Role::Primary, ..live(C::Comparing, D::UpToDate, D::Unknown) };
        assert_eq!(ready(Some(&stale), how, 1, NOW), None);
    }

    #[test]
    fn a_split_brain_is_an_obstacle_for_everybody() {
        let split = live(Connection::StandAlone, DiskState::UpToDate, DiskState::Unknown);
        for alone in [true, false] {
            let how = Assembly { alone, force: true, ..Assembly::of(DiskRole::Primary) };
            assert_eq!(ready(Some(&split), how, 0, NOW), Some(Err(Obstacle::SplitBrain)));
        }
        let how = Assembly::of(DiskRole::Primary);
        let before = Live { split_brain: true, ..split.clone() };
        assert_eq!(ready(Some(&before), how, 1, NOW), Some(Err(Obstacle::SplitBrain)));
        // The other side has found it out, too, and does not come.
        let waiting = Live { connection: Connection::Waiting, ..before };
        assert_eq!(ready(Some(&waiting), how, 1, NOW), None);
        assert_eq!(ready(Some(&waiting), how, 1, REPENT), Some(Err(Obstacle::SplitBrain)));
        assert_eq!(ready(None, how, 0, NOW), Some(Err(Obstacle::Gone)));
    }
}
