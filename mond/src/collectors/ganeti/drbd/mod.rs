//! The state of DRBD on this node. Source: Ganeti's reference on mond, drbd.
//!
//! ```text
//!   /proc/drbd ─┬─ DRBD 8: devices ──────────────────────► proc ─┐
//!               ├─ DRBD 9: none; drbdsetup status ───────► nine ─┼─► devices, judged ─► data, metrics
//!               └─ not there: no DRBD, which is well, unless guests that are to run need it
//! ```

mod nine;
mod proc;

use super::read_if_there;
use crate::collector::{About, Collected, Collector, Pending};
use crate::exec::is_missing;
use crate::helper::Task;
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::{ClusterView, World};
use roost_proto::error::Result;
use serde::Serialize;

/// Sizes and speeds are in KiB.
const UNIT: f64 = 1024.0;

/// The collector.
#[derive(Debug, Default)]
pub struct Drbd;

impl Collector for Drbd {
    fn about(&self) -> About {
        About::built_in("drbd", Category::Storage, Kind::Status)
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async {
            let cluster = world.cluster();
            let Some(text) = read_if_there("/proc/drbd")? else { return absent(&cluster) };
            let mut seen = proc::parse(&text)?;
            if seen.devices.is_empty() && seen.version.is_nine() {
                seen.devices = match world.privileged(Task::DrbdStatus).await {
                    Ok(json) => nine::parse(&json)?,
                    Err(error) if is_missing(&error) => vec![],
                    Err(error) => return Err(error),
                };
            }
            report(seen, &cluster.drbd)
        })
    }
}

/// The report on the text of `/proc/drbd`; `pairs` are minors and their instances.
pub fn collected(text: &str, pairs: &[(u32, String)]) -> Result<Collected> {
    report(proc::parse(text)?, pairs)
}

/// The report where the kernel has no DRBD.
fn absent(cluster: &ClusterView) -> Result<Collected> {
    let needed = cluster.drbd.iter().map(|(_, instance)| instance).find(|instance| {
        cluster.guests.iter().any(|guest| guest.name == **instance && guest.admin_state == "up")
    });
    let status = needed.map_or_else(Health::ok, |instance| {
        Health::new(
            Code::Bad,
            format!("The kernel has not loaded DRBD, which the disks of {instance} need"),
        )
    });
    let data = Report { status, version_info: &Version::default(), device_infos: &[] };
    Ok(Collected { data: Data::of(&data)?, metrics: Metrics::default() })
}

fn report(mut seen: Seen, pairs: &[(u32, String)]) -> Result<Collected> {
    for device in &mut seen.devices {
        if let Some(mirror) = &mut device.mirror {
            let pair = pairs.iter().find(|(minor, _)| *minor == device.minor);
            mirror.instance = pair.map(|(_, instance)| instance.clone());
        }
    }
    let judged: Vec<_> = seen.devices.iter().map(Device::judge).collect();
    let data = Report {
        status: Health::merged(&judged),
        version_info: &seen.version,
        device_infos: &seen.devices,
    };
    Ok(Collected { data: Data::of(&data)?, metrics: metrics(&seen.devices, &judged) })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    status: Health,
    version_info: &'a Version,
    device_infos: &'a [Device],
}

/// What the kernel says.
#[derive(Debug, PartialEq)]
struct Seen {
    version: Version,
    devices: Vec<Device>,
}

/// The kernel's DRBD. What is not known is left out.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    srcversion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_by: Option<String>,
}

impl Version {
    /// It does not tell its devices in `/proc`.
    fn is_nine(&self) -> bool {
        let major = self.version.as_deref().and_then(|text| text.split('.').next()?.parse().ok());
        major.is_some_and(|major: u32| major >= 9)
    }
}

/// A device.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    minor: u32,
    /// In the words of DRBD 8, whatever the kernel has.
    connection_state: String,
    /// `None`: it is not configured.
    #[serde(flatten)]
    mirror: Option<Mirror>,
}

/// What a configured device mirrors.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mirror {
    local_role: String,
    remote_role: String,
    local_state: String,
    remote_state: String,
    /// A letter; a blank without a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    io_flags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    perf_indicators: Option<Indicators>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_status: Option<Sync>,
    instance: Option<String>,
}

/// Figures since the device was made; sizes in KiB.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Indicators {
    network_send: i64,
    network_receive: i64,
    disk_write: i64,
    disk_read: i64,
    activity_log: i64,
    bit_map: i64,
    local_count: i64,
    pending: i64,
    unacknowledged: i64,
    application_pending: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<i64>,
    /// A letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    write_order: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out_of_sync: Option<i64>,
}

/// How far a synchronization is.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sync {
    percentage: f64,
    /// What is left and what there was: `900000/950000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<String>,
    /// `KiloByte` or `MegaByte`.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_unit: Option<&'static str>,
    /// `hh:mm:ss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_finish: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    want: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_unit: Option<&'static str>,
}

impl Device {
    fn judge(&self) -> Health {
        let (code, why) = judge(&self.connection_state);
        match code {
            Code::Ok => Health::ok(),
            _ => Health::new(code, format!("{}: {why}", self.minor)),
        }
    }
}

/// What a state of the connection means.
fn judge(connection_state: &str) -> (Code, &'static str) {
    match connection_state {
        "StandAlone" => (Code::Bad, "No network config available"),
        "Disconnecting" => (Code::Bad, "The peer is being disconnected"),
        "TearDown" => (Code::Bad, "The peer is closing the connection"),
        "Unconnected" | "WFConnection" | "WFReportParams" => {
            (Code::Fixing, "Trying to establish a network connection")
        }
        "Timeout" | "BrokenPipe" | "NetworkFailure" | "ProtocolError" => {
            (Code::Fixing, "Communication problems between the peers")
        }
        _ => (Code::Ok, ""),
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures for graphs")]
fn metrics(devices: &[Device], judged: &[Health]) -> Metrics {
    let mut metrics = Metrics::default();
    for (device, health) in devices.iter().zip(judged) {
        let Some(mirror) = &device.mirror else { continue };
        let minor = device.minor.to_string();
        let instance = mirror.instance.as_deref().unwrap_or_default();
        let labels = [("minor", minor.as_str()), ("instance_name", instance)];
        let mut gauge = |name, help, value| metrics.gauge(name, help, &labels, value);
        let whether = |yes| f64::from(u8::from(yes));
        gauge(
            "roost_drbd_status",
            "Whether the mirror is connected: 0 yes, 1 being mended, 4 no.",
            f64::from(health.code as u8),
        );
        gauge(
            "roost_drbd_primary",
            "Whether it is primary here.",
            whether(mirror.local_role == "Primary"),
        );
        gauge(
            "roost_drbd_disk_up_to_date",
            "Whether the data of this node is good.",
            whether(mirror.local_state == "UpToDate"),
        );
        gauge(
            "roost_drbd_peer_disk_up_to_date",
            "Whether the data of the other node is good.",
            whether(mirror.remote_state == "UpToDate"),
        );
        if let Some(sync) = &mirror.sync_status {
            gauge(
                "roost_drbd_sync_ratio",
                "How far the synchronization is.",
                sync.percentage / 100.0,
            );
        }
        let Some(figures) = &mirror.perf_indicators else { continue };
        if let Some(size) = figures.out_of_sync {
            gauge(
                "roost_drbd_out_of_sync_bytes",
                "What is still to be copied.",
                size as f64 * UNIT,
            );
        }
        gauge(
            "roost_drbd_pending",
            "Requests that the other node has not answered.",
            figures.pending as f64,
        );
        let mut count = |name, help, size| metrics.counter(name, help, &labels, size as f64 * UNIT);
        count("roost_drbd_sent_bytes", "Sent to the other node.", figures.network_send);
        count(
            "roost_drbd_received_bytes",
            "Received from the other node.",
            figures.network_receive,
        );
        count("roost_drbd_written_bytes", "Written to the disk of this node.", figures.disk_write);
        count("roost_drbd_read_bytes", "Read from the disk of this node.", figures.disk_read);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Guest;

    #[test]
    fn the_example_of_the_reference_comes_out_exactly() {
        let pairs = [(0, "inst1.example.org".to_owned())];
        let collected =
            collected(include_str!("../../../../fixtures/proc-drbd-example"), &pairs).unwrap();
        let expected = include_str!("../../../../fixtures/report-drbd-example.json").trim_end();
        assert_eq!(collected.data.get(), expected);
    }

    #[test]
    fn connections_are_judged_as_in_the_reference() {
        let codes = |states: &[&str]| -> Vec<u8> {
            states.iter().map(|state| judge(state).0 as u8).collect()
        };
        assert_eq!(codes(&["StandAlone", "Disconnecting", "TearDown"]), [4; 3]);
        assert_eq!(
            codes(&[
                "Unconnected",
                "WFConnection",
                "WFReportParams",
                "Timeout",
                "BrokenPipe",
                "NetworkFailure",
                "ProtocolError"
            ]),
            [1; 7]
        );
        assert_eq!(
            codes(&["Connected", "SyncSource", "PausedSyncT", "VerifyS", "Unconfigured"]),
            [0; 5]
        );
    }

    #[test]
    fn without_drbd_all_is_well_unless_somebody_needs_it() {
        let mut cluster = ClusterView::default();
        let data = |cluster: &ClusterView| absent(cluster).unwrap().data.get().to_owned();
        let well = r#"{"status":{"code":0,"message":""},"versionInfo":{},"deviceInfos":[]}"#;
        assert_eq!(data(&cluster), well);
        cluster.drbd = vec![(3, "inst1".into())];
        cluster.guests =
            vec![Guest { name: "inst1".into(), admin_state: "down".into(), ..Guest::default() }];
        assert_eq!(data(&cluster), well);
        cluster.guests[0].admin_state = "up".into();
        assert!(data(&cluster).starts_with(r#"{"status":{"code":4,"message":"The kernel has not"#));
    }

    #[test]
    fn metrics_are_in_base_units() {
        let text = include_str!("../../../../fixtures/proc-drbd-example");
        let metrics = collected(text, &[]).unwrap().metrics;
        let values = |name| -> Vec<f64> {
            let family = metrics.families.iter().find(|family| family.name == name).unwrap();
            family.samples.iter().map(|sample| sample.value).collect()
        };
        assert_eq!(values("roost_drbd_status"), [0.0, 0.0, 1.0]);
        assert_eq!(values("roost_drbd_out_of_sync_bytes"), [0.0, 921_600_000.0, 10_240.0]);
        assert_eq!(values("roost_drbd_sent_bytes"), [2_097_152.0, 512_000.0, 0.0]);
        assert_eq!(values("roost_drbd_sync_ratio"), [0.053]);
    }
}
