//! Waits until the sides of mirrors are equal, and tells how far they are.
//!
//! ```text
//!   moving ──────────────► equal: done
//!     │ ▲ connection lost
//!     ▼ │ and back            a short one is waited for, and told; DRBD goes on where it was
//!   waiting ──PATIENCE──► failed
//!
//!   split brain, no storage on one side, no good data anywhere: failed at once
//! ```

use super::super::device::Work;
use super::disk::DrbdDisk;
use super::mirrors::mirrors;
use super::report;
use super::role::Obstacle;
use super::state::{Connection, DiskState, Live};
use roost_proto::error::{Error, Result};
use roost_proto::node::Progress;
use std::time::Duration;
use tokio::time::Instant;

/// How long the other side may be away.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often figures are told, and lines for the job's log.
const TELL: Duration = Duration::from_secs(1);
const LOG: Duration = Duration::from_secs(20);

/// How a mirror is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Equal,
    Moving,
    /// The other side is away.
    Waiting,
    Failed(Failed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Obstacle(Obstacle),
    /// This side has no storage.
    NoStorageHere,
    /// The other one has none.
    NoStorageThere,
}

fn way(live: Option<&Live>, known: u64) -> Way {
    let Some(live) = live else { return Way::Failed(Failed::Obstacle(Obstacle::Gone)) };
    if live.disk <= DiskState::Failed {
        return Way::Failed(Failed::NoStorageHere);
    }
    match live.connection {
        _ if live.is_equal() => Way::Equal,
        Connection::StandAlone if live.split_brain || live.splits > known => {
            Way::Failed(Failed::Obstacle(Obstacle::SplitBrain))
        }
        Connection::StandAlone => Way::Failed(Failed::Obstacle(Obstacle::GaveUp)),
        connection if !connection.is_connected() => Way::Waiting,
        _ if live.peer_disk <= DiskState::Failed => Way::Failed(Failed::NoStorageThere),
        Connection::Connected
            if live.disk < DiskState::Consistent && live.peer_disk < DiskState::Consistent =>
        {
            Way::Failed(Failed::Obstacle(Obstacle::NoGoodData))
        }
        _ => Way::Moving,
    }
}

/// Seconds as people say them: `1h 2m 3s`.
fn clock(seconds: f64) -> String {
    let all = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {seconds}s"),
        _ => format!("{hours}h {minutes}m {seconds}s"),
    }
}

/// One mirror, waited for.
struct Awaited<'a> {
    disk: &'a DrbdDisk,
    work: &'a Work,
    /// Split brains found before.
    known: u64,
    lost: Option<Instant>,
    logged: Option<Instant>,
}

impl Awaited<'_> {
    /// `disk/0`, as Ganeti has it in the job's log.
    fn name(&self) -> &str {
        if self.disk.name.is_empty() { "disk" } else { &self.disk.name }
    }

    /// Looks at the mirror. Returns whether it is equal; tells how far it is if not.
    fn judge(&mut self, live: Option<&Live>) -> Option<std::result::Result<(), Judged>> {
        match way(live, self.known) {
            Way::Equal => return Some(Ok(())),
            Way::Failed(failed) => return Some(Err(Judged::Failed(failed))),
            Way::Waiting => {
                let lost = match self.lost {
                    Some(lost) => lost,
                    None => {
                        self.work.reporter.message(format!(
                            "- device {}: the connection to node {} is lost; waiting for it",
                            self.name(),
                            self.disk.peer_name(&self.work.paths)
                        ));
                        *self.lost.insert(Instant::now())
                    }
                };
                if lost.elapsed() >= PATIENCE {
                    return Some(Err(Judged::Lost));
                }
            }
            Way::Moving => {
                if self.lost.take().is_some() {
                    let name = self.name();
                    self.work.reporter.message(format!("- device {name}: connected again"));
                }
                if let Some(live) = live {
                    self.tell(live);
                }
            }
        }
        None
    }

    fn tell(&mut self, live: &Live) {
        let told = report::status(live, report::figures(live), vec![]);
        let (percent, eta, rate) = (Some(told.percent), told.eta, told.rate);
        let mut progress = Progress { percent, rate, eta, message: None };
        if self.logged.is_none_or(|last| last.elapsed() >= LOG) {
            self.logged = Some(Instant::now());
            let left = match eta {
                Some(eta) => format!("{} remaining (estimated)", clock(eta)),
                None => "no time estimate".to_owned(),
            };
            let name = self.name();
            let line = format!("- device {name}: {:.2}% done, {left}", told.percent);
            progress.message = Some(line);
        }
        self.work.reporter.progress(progress);
    }

    async fn failed(&self, why: Judged) -> Error {
        let called = self.disk.called();
        let peer = self.disk.peer_name(&self.work.paths);
        match why {
            Judged::Failed(Failed::Obstacle(obstacle)) => {
                self.disk.obstacle(obstacle, self.work).await
            }
            Judged::Failed(Failed::NoStorageHere) => Error::environment(format!(
                "{called} has lost its storage on this node (see 'dmesg'); make it again with \
                 'gnt-instance replace-disks'"
            )),
            Judged::Failed(Failed::NoStorageThere) => Error::environment(format!(
                "{called} has no storage on node {peer}; make it again with 'gnt-instance \
                 replace-disks'"
            )),
            Judged::Lost => Error::environment(format!(
                "{called} is not in sync: node {peer} was away for more than {} s. When it is back, \
                 'gnt-instance activate-disks --wait-for-sync' goes on where it was",
                PATIENCE.as_secs()
            )),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Judged {
    Failed(Failed),
    Lost,
}

/// Waits until all are equal, one after the other (the kernel works on all at once). Errors: one
/// cannot become so.
pub async fn sync(disks: &[DrbdDisk], work: &Work) -> Result<()> {
    for disk in disks {
        disk.set_up(work).await?;
        let known = disk.live().await?.map_or(0, |live| live.splits);
        let mut awaited = Awaited { disk, work, known, lost: None, logged: None };
        // As long as data move, for as long as that takes.
        let judged = loop {
            let until = Instant::now() + PATIENCE;
            let judge = |live: Option<&Live>| awaited.judge(live);
            if let Some(judged) = mirrors().wait(disk.minor, until, Some(TELL), judge).await? {
                break judged;
            }
        };
        if let Err(why) = judged {
            return Err(disk.named(awaited.failed(why).await));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::state::Role;
    use super::*;

    fn live(connection: Connection, disk: DiskState, peer_disk: DiskState) -> Live {
        Live {
            resource: "resource0".into(),
            minor: 0,
            role: Role::Primary,
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
    fn what_can_become_equal_is_waited_for() {
        use Connection as C;
        use DiskState as D;
        let way = |connection, disk, peer| way(Some(&live(connection, disk, peer)), 0);
        assert_eq!(way(C::Connected, D::UpToDate, D::UpToDate), Way::Equal);
        assert_eq!(way(C::SyncSource, D::UpToDate, D::Inconsistent), Way::Moving);
        assert_eq!(way(C::PausedSyncT, D::Inconsistent, D::UpToDate), Way::Moving);
        assert_eq!(way(C::Waiting, D::UpToDate, D::Unknown), Way::Waiting);
        assert_eq!(way(C::NetworkFailure, D::UpToDate, D::Unknown), Way::Waiting);
    }

    #[test]
    fn what_cannot_is_said() {
        use Connection as C;
        use DiskState as D;
        let failed =
            |connection, disk, peer| match super::way(Some(&live(connection, disk, peer)), 0) {
                Way::Failed(why) => why,
                other => panic!("{other:?}"),
            };
        assert_eq!(failed(C::Connected, D::Diskless, D::UpToDate), Failed::NoStorageHere);
        assert_eq!(failed(C::Connected, D::UpToDate, D::Diskless), Failed::NoStorageThere);
        assert_eq!(
            failed(C::Connected, D::Inconsistent, D::Inconsistent),
            Failed::Obstacle(Obstacle::NoGoodData)
        );
        assert_eq!(
            failed(C::StandAlone, D::UpToDate, D::Unknown),
            Failed::Obstacle(Obstacle::GaveUp)
        );
        let split = Live { splits: 1, ..live(C::StandAlone, D::UpToDate, D::Unknown) };
        assert_eq!(way(Some(&split), 0), Way::Failed(Failed::Obstacle(Obstacle::SplitBrain)));
        assert_eq!(way(None, 0), Way::Failed(Failed::Obstacle(Obstacle::Gone)));
    }

    #[test]
    fn time_is_told_as_people_do() {
        assert_eq!(clock(3.4), "3s");
        assert_eq!(clock(62.0), "1m 2s");
        assert_eq!(clock(3723.0), "1h 2m 3s");
    }
}
