//! Reads `drbdsetup status --json --statistics` of DRBD 9, in the words of DRBD 8.
//!
//! Protocol, flags and epochs are not in it and so not in the report; of a synchronization only how far it is. A device
//! with several peers is reported with the one whose connection is worst: Ganeti's have one.

use super::{Device, Indicators, Mirror, Sync, judge};
use roost_proto::error::{Error, Result};
use serde::Deserialize;

/// Reads the output. Errors: it is not of that form.
pub fn parse(json: &[u8]) -> Result<Vec<Device>> {
    let resources: Vec<Resource> = serde_json::from_slice(json).map_err(|error| {
        Error::environment(format!("What 'drbdsetup status' printed is not understood: {error}"))
    })?;
    let mut devices: Vec<Device> = resources
        .iter()
        .flat_map(|resource| resource.devices.iter().map(|device| resource.translate(device)))
        .collect();
    devices.sort_by_key(|device| device.minor);
    Ok(devices)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Resource {
    role: String,
    write_ordering: String,
    devices: Vec<Volume>,
    connections: Vec<Connection>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Volume {
    volume: u32,
    minor: u32,
    disk_state: String,
    read: i64,
    written: i64,
    al_writes: i64,
    bm_writes: i64,
    upper_pending: i64,
    lower_pending: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Connection {
    connection_state: String,
    peer_role: String,
    #[serde(rename = "peer_devices")]
    peer_devices: Vec<Peer>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Peer {
    volume: u32,
    replication_state: String,
    peer_disk_state: String,
    received: i64,
    sent: i64,
    out_of_sync: i64,
    pending: i64,
    unacked: i64,
    percent_in_sync: f64,
}

impl Resource {
    fn translate(&self, device: &Volume) -> Device {
        let nobody = Peer::default();
        let peers = self.connections.iter().map(|connection| {
            let peer = connection.peer_devices.iter().find(|peer| peer.volume == device.volume);
            (connection.state(peer), connection.peer_role.as_str(), peer.unwrap_or(&nobody))
        });
        // Of equally bad ones the first.
        let worst = peers.rev().max_by_key(|(state, ..)| judge(state).0);
        let (state, peer_role, peer) = worst.unwrap_or(("StandAlone", "Unknown", &nobody));
        let or_unknown = |text: &str, unknown: &str| {
            if text.is_empty() { unknown.to_owned() } else { text.to_owned() }
        };
        let syncs = matches!(state, "SyncSource" | "SyncTarget");
        let mirror = Mirror {
            local_role: or_unknown(&self.role, "Unknown"),
            remote_role: or_unknown(peer_role, "Unknown"),
            local_state: device.disk_state.clone(),
            remote_state: or_unknown(&peer.peer_disk_state, "DUnknown"),
            perf_indicators: Some(Indicators {
                network_send: peer.sent,
                network_receive: peer.received,
                disk_write: device.written,
                disk_read: device.read,
                activity_log: device.al_writes,
                bit_map: device.bm_writes,
                local_count: device.lower_pending,
                pending: peer.pending,
                unacknowledged: peer.unacked,
                application_pending: device.upper_pending,
                epochs: None,
                // flush, drain, barrier, none: in 8 their first letters.
                write_order: self.write_ordering.chars().next().map(String::from),
                out_of_sync: Some(peer.out_of_sync),
            }),
            sync_status: syncs
                .then(|| Sync { percentage: peer.percent_in_sync, ..Sync::default() }),
            ..Mirror::default()
        };
        Device { minor: device.minor, connection_state: state.to_owned(), mirror: Some(mirror) }
    }
}

impl Connection {
    /// Connection and replication in one word, as 8 has it.
    fn state<'a>(&'a self, peer: Option<&'a Peer>) -> &'a str {
        match (self.connection_state.as_str(), peer.map(|peer| peer.replication_state.as_str())) {
            ("Connected", None | Some("" | "Established" | "Off")) => "Connected",
            ("Connected", Some(replication)) => replication,
            ("Connecting", _) => "WFConnection",
            ("", _) => "StandAlone",
            (other, _) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_status_of_9_is_told_in_the_words_of_8() {
        let devices =
            parse(include_bytes!("../../../../fixtures/drbdsetup-status-9.json")).unwrap();
        let states: Vec<_> =
            devices.iter().map(|device| (device.minor, device.connection_state.as_str())).collect();
        assert_eq!(
            states,
            [
                (0, "Connected"),
                (1, "SyncSource"),
                (2, "WFConnection"),
                (3, "StandAlone"),
                (4, "WFConnection")
            ]
        );
        assert_eq!(
            serde_json::to_string(&devices[1]).unwrap(),
            r#"{"minor":1,"connectionState":"SyncSource","localRole":"Primary","remoteRole":"Secondary","localState":"UpToDate","remoteState":"Inconsistent","perfIndicators":{"networkSend":500,"networkReceive":0,"diskWrite":0,"diskRead":500,"activityLog":1,"bitMap":20,"localCount":0,"pending":1,"unacknowledged":2,"applicationPending":3,"writeOrder":"f","outOfSync":900000},"syncStatus":{"percentage":5.3},"instance":null}"#
        );
        let alone = devices[3].mirror.as_ref().unwrap();
        assert_eq!(
            (alone.remote_role.as_str(), alone.remote_state.as_str()),
            ("Unknown", "DUnknown")
        );
    }

    #[test]
    fn other_output_is_an_error() {
        assert!(parse(b"").is_err());
        assert!(parse(b"# No currently configured DRBD found.").is_err());
        assert_eq!(parse(b"[]").unwrap(), vec![]);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
