//! What is told of mirrors to others.

use super::figures::{self, Figures};
use super::mirrors::mirrors;
use super::state::{DiskState, Live};
use super::{tools, version};
use roost_proto::node::{MirrorReport, SyncStatus};
use roost_proto::paths::Paths;
use std::fs;

/// A mirror in the words of the protocol.
pub fn status(live: &Live, figures: Figures, generations: Vec<String>) -> SyncStatus {
    let out_of_sync = figures.out_of_sync.unwrap_or(live.out_of_sync);
    let percent = match live.size {
        _ if live.is_equal() => 100.0,
        0 => 0.0,
        // What is not known to be equal is not.
        _ if live.disk < DiskState::Outdated && !live.connection.is_connected() => 0.0,
        size => 100.0 * (1.0 - out_of_sync.min(size) as f64 / size as f64),
    };
    let moving = live.connection.is_moving();
    SyncStatus {
        percent,
        eta: figures.eta.filter(|_| moving),
        degraded: !live.is_equal(),
        local_good: live.disk >= DiskState::Consistent,
        rate: figures.rate.filter(|_| moving),
        connection: live.connection.word().to_owned(),
        role: live.role.word().to_owned(),
        disk: live.disk.word().to_owned(),
        peer_disk: live.peer_disk.word().to_owned(),
        generations,
        split_brain: live.split_brain && !live.connection.is_connected(),
    }
}

/// Figures of a mirror that is being made equal.
pub fn figures(live: &Live) -> Figures {
    if !live.connection.is_syncing() {
        return Figures::default();
    }
    figures::of(&fs::read_to_string("/proc/drbd").unwrap_or_default(), live.minor)
}

/// All mirrors of this node, as last heard of; nothing where there is no DRBD.
pub fn all() -> Option<Vec<MirrorReport>> {
    let all = mirrors().all()?;
    let report =
        |live: &Live| MirrorReport { minor: live.minor, sync: status(live, figures(live), vec![]) };
    Some(all.values().map(report).collect())
}

/// All mirrors of this node with the identifiers of their data, asked of the kernel, and what is
/// wrong with DRBD itself: (verify code, problem). No mirrors where there is no DRBD.
pub async fn verify(paths: &Paths) -> (Option<Vec<MirrorReport>>, Vec<(String, String)>) {
    mirrors().follow();
    let version = match version::Version::now() {
        None => return (None, vec![]),
        Some(version) => version,
    };
    let mut problems = vec![];
    let mut problem = |code: &str, text: String| problems.push((code.to_owned(), text));
    let wanted = tools::wanted_helper(paths);
    match tools::helper() {
        Some(helper) if helper == wanted => {}
        Some(helper) => problem(
            "ENODEDRBDHELPER",
            format!(
                "DRBD calls '{helper}' and should call '{wanted}'; write \
                 'options drbd usermode_helper={wanted}' to /etc/modprobe.d/drbd.conf, and the \
                 same to /sys/module/drbd/parameters/usermode_helper"
            ),
        ),
        None => problem("ENODEDRBDHELPER", "what DRBD calls cannot be told".into()),
    }
    let version = match version {
        Ok(version) => version,
        Err(why) => {
            problem("ENODEDRBDVERSION", why);
            return (None, problems);
        }
    };
    let (devices, table) = match (tools::configured().await, tools::now().await) {
        (Ok(devices), Ok(table)) => (devices, table.mirrors()),
        (Err(error), _) | (_, Err(error)) => {
            problem("ENODEDRBD", error.message);
            return (None, problems);
        }
    };
    let mut all = vec![];
    for mut live in table.into_values() {
        let heard = mirrors().all().and_then(|mut all| all.remove(&live.minor));
        live.split_brain = heard.is_some_and(|heard| heard.split_brain);
        let device = devices.iter().find(|device| device.minor == live.minor);
        let generations = match device {
            Some(device) if device.backing.is_some() => {
                tools::generations(version.dialect, device, 1).await
            }
            _ => vec![],
        };
        let sync = status(&live, figures(&live), generations);
        all.push(MirrorReport { minor: live.minor, sync });
    }
    (Some(all), problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::drbd::state::{Connection, Role};

    fn live() -> Live {
        Live {
            resource: "resource0".into(),
            minor: 0,
            role: Role::Primary,
            peer_role: Role::Secondary,
            disk: DiskState::UpToDate,
            peer_disk: DiskState::UpToDate,
            connection: Connection::Connected,
            size: 1000,
            out_of_sync: 0,
            split_brain: false,
            splits: 0,
        }
    }

    #[test]
    fn equal_sides_are_not_degraded() {
        let told = status(&live(), Figures::default(), vec!["A".into()]);
        assert!(!told.degraded && told.local_good);
        assert_eq!((told.percent, told.connection.as_str()), (100.0, "Connected"));
        assert_eq!((told.role.as_str(), told.disk.as_str()), ("Primary", "UpToDate"));
        assert_eq!(told.generations, ["A"]);
    }

    #[test]
    fn progress_is_told_while_data_move() {
        let moving = Live {
            connection: Connection::SyncTarget,
            disk: DiskState::Inconsistent,
            out_of_sync: 900,
            ..live()
        };
        let figures = Figures { out_of_sync: Some(250), eta: Some(9.0), rate: Some(4096.0) };
        let told = status(&moving, figures, vec![]);
        assert!(told.degraded && !told.local_good);
        assert_eq!((told.percent, told.eta, told.rate), (75.0, Some(9.0), Some(4096.0)));
        let without = status(&moving, Figures::default(), vec![]);
        assert!((without.percent - 10.0).abs() < 1e-9 && without.eta.is_none());
    }

    #[test]
    fn a_parted_side_is_degraded() {
        let alone = Live {
            connection: Connection::StandAlone,
            peer_disk: DiskState::Unknown,
            split_brain: true,
            ..live()
        };
        let told = status(&alone, Figures::default(), vec![]);
        assert!(told.degraded && told.local_good && told.split_brain);
        let empty = Live { disk: DiskState::Inconsistent, ..alone };
        assert_eq!(status(&empty, Figures::default(), vec![]).percent, 0.0);
    }
}
