//! Reads `/proc/drbd` of DRBD 8.
//!
//! ```text
//!   version: 8.4.11 (api:1/proto:86-101)
//!   srcversion: … | GIT-hash: … build by …
//!    0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----      a device
//!       ns:500 nr:0 dw:0 … wo:f oos:900000                                        its figures
//!       [>...................] sync'ed:  5.3% (900000/950000)K                    how far it is
//!       finish: 0:01:30 speed: 10,000 (10,000) K/sec
//!       resync: used:0/61 hits:…      act_log: used:0/257 hits:…                  not reported
//!    1: cs:Unconfigured
//! ```

use super::{Device, Indicators, Mirror, Seen, Sync, Version};
use roost_proto::error::{Error, Result};

/// Reads the file. Errors: a line of a device that is not understood.
pub fn parse(text: &str) -> Result<Seen> {
    let mut seen = Seen { version: Version::default(), devices: vec![] };
    for line in text.lines() {
        if let Some((minor, rest)) = device(line) {
            seen.devices.push(parse_device(minor, rest).ok_or_else(|| {
                Error::environment(format!(
                    "/proc/drbd has a line that is not understood: '{line}'"
                ))
            })?);
        } else if let Some(device) = seen.devices.last_mut() {
            if let Some(mirror) = &mut device.mirror {
                parse_details(line.trim(), &device.connection_state, mirror);
            }
        } else {
            parse_version(line, &mut seen.version);
        }
    }
    Ok(seen)
}

/// A device's minor and what its line says.
fn device(line: &str) -> Option<(u32, &str)> {
    let (minor, rest) = line.trim_start().split_once(':')?;
    Some((minor.parse().ok()?, rest.trim_start().strip_prefix("cs:")?))
}

fn parse_device(minor: u32, rest: &str) -> Option<Device> {
    let (state, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let connection_state = state.trim_end().to_owned();
    if connection_state.is_empty() {
        return None;
    }
    if connection_state == "Unconfigured" {
        return Some(Device { minor, connection_state, mirror: None });
    }
    // Before 8.3 roles were called states.
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("ro:").or_else(|| rest.strip_prefix("st:"))?;
    let (roles, rest) = rest.split_once(' ')?;
    let (states, rest) = match rest.trim_start().strip_prefix("ds:")?.split_once(' ') {
        Some(parts) => parts,
        None => (rest.trim_start().strip_prefix("ds:")?, ""),
    };
    let (local_role, remote_role) = roles.split_once('/')?;
    let (local_state, remote_state) = states.split_once('/')?;
    // One character between blanks; a blank itself while there is no connection.
    let mut behind = rest.chars();
    let replication_protocol = behind.next().map(String::from);
    let flags = behind.as_str().trim();
    let mirror = Mirror {
        local_role: local_role.to_owned(),
        remote_role: remote_role.to_owned(),
        local_state: local_state.to_owned(),
        remote_state: remote_state.trim_end().to_owned(),
        replication_protocol,
        io_flags: Some(flags.to_owned()),
        ..Mirror::default()
    };
    Some(Device { minor, connection_state, mirror: Some(mirror) })
}

/// A line below that of a device.
fn parse_details(line: &str, connection_state: &str, mirror: &mut Mirror) {
    if line.starts_with("ns:") {
        mirror.perf_indicators = Some(indicators(line));
    } else if !matches!(connection_state, "SyncSource" | "SyncTarget") {
        // Verifications look alike; the reference reports nothing of them.
    } else if let Some((_, progress)) = line.split_once("sync'ed:") {
        mirror.sync_status = sync(progress);
    } else if let (Some(rest), Some(sync)) = (line.strip_prefix("finish:"), &mut mirror.sync_status)
    {
        finish(rest, sync);
    }
}

/// `ns:0 nr:0 … wo:f oos:0`.
fn indicators(line: &str) -> Indicators {
    let mut figures = Indicators::default();
    for (key, value) in line.split_ascii_whitespace().filter_map(|word| word.split_once(':')) {
        if key == "wo" {
            figures.write_order = value.chars().next().map(String::from);
            continue;
        }
        let Ok(value) = value.parse() else { continue };
        match key {
            "ns" => figures.network_send = value,
            "nr" => figures.network_receive = value,
            "dw" => figures.disk_write = value,
            "dr" => figures.disk_read = value,
            "al" => figures.activity_log = value,
            "bm" => figures.bit_map = value,
            "lo" => figures.local_count = value,
            "pe" => figures.pending = value,
            "ua" => figures.unacknowledged = value,
            "ap" => figures.application_pending = value,
            "ep" => figures.epochs = Some(value),
            "oos" => figures.out_of_sync = Some(value),
            _ => {}
        }
    }
    figures
}

/// `  5.3% (900000/950000)K`.
fn sync(progress: &str) -> Option<Sync> {
    let (percentage, rest) = progress.split_once('%')?;
    let percentage: f64 = percentage.trim().parse().ok()?;
    let (left, unit) = rest.trim_start().strip_prefix('(')?.split_once(')')?;
    let number = |text: &str| text.parse::<u64>().is_ok();
    let (now, all) = left.split_once('/')?;
    Some(Sync {
        percentage: percentage.is_finite().then_some(percentage)?,
        progress: (number(now) && number(all)).then(|| left.to_owned()),
        progress_unit: match unit.trim_start().chars().next() {
            Some('K') => Some("KiloByte"),
            Some('M') => Some("MegaByte"),
            _ => None,
        },
        ..Sync::default()
    })
}

/// ` 0:01:30 speed: 10,000 (10,000) want: 10,240 K/sec`.
fn finish(rest: &str, sync: &mut Sync) {
    let mut words = rest.split_ascii_whitespace();
    let number = |word: Option<&str>| word?.replace(',', "").parse::<i64>().ok();
    sync.time_to_finish = words.next().and_then(time);
    while let Some(word) = words.next() {
        match word {
            "speed:" => sync.speed = number(words.next()),
            "want:" => sync.want = number(words.next()),
            "K/sec" => sync.speed_unit = Some("KiloByte/Second"),
            _ => {}
        }
    }
}

/// `0:01:30` with two digits each.
fn time(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, ':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(format!("{hours:02}:{minutes:02}:{seconds:02}"))
}

/// A line before the devices.
fn parse_version(line: &str, version: &mut Version) {
    let text = |text: &str| Some(text.to_owned());
    if let Some(rest) = line.strip_prefix("version:") {
        version.version = rest.split_ascii_whitespace().next().map(str::to_owned);
        let numbers = rest.split_once("(api:").and_then(|(_, rest)| rest.split_once(')'));
        if let Some((api, proto)) = numbers.and_then(|(both, _)| both.split_once("/proto:")) {
            (version.api, version.proto) = (text(api), text(proto));
        }
    } else if let Some(rest) = line.strip_prefix("srcversion:") {
        // With the blank behind it, as in the reference.
        version.srcversion = text(rest.trim_start());
    } else if let Some(rest) = line.strip_prefix("GIT-hash:") {
        let (hash, rest) = rest.split_once("build by").unwrap_or((rest, ""));
        version.git_hash = text(hash.trim());
        version.build_by = (!rest.is_empty()).then(|| rest.trim_start().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::UNIT;
    use super::*;
    use proptest::prelude::*;

    fn mirror(seen: &Seen, minor: u32) -> &Mirror {
        let device = seen.devices.iter().find(|device| device.minor == minor).unwrap();
        device.mirror.as_ref().unwrap()
    }

    #[test]
    fn all_states_of_8_4_are_understood() {
        let seen = parse(include_str!("../../../../fixtures/proc-drbd-8.4-states")).unwrap();
        let states: Vec<_> = seen.devices.iter().map(|d| d.connection_state.as_str()).collect();
        assert_eq!(
            states,
            [
                "StandAlone",
                "Disconnecting",
                "Unconnected",
                "Timeout",
                "BrokenPipe",
                "NetworkFailure",
                "ProtocolError",
                "TearDown",
                "WFConnection",
                "WFReportParams",
                "Connected",
                "StartingSyncS",
                "StartingSyncT",
                "WFBitMapS",
                "WFBitMapT",
                "WFSyncUUID",
                "SyncSource",
                "SyncTarget",
                "PausedSyncS",
                "PausedSyncT",
                "VerifyS",
                "VerifyT",
                "Ahead",
                "Behind",
                "Unconfigured"
            ]
        );
        for device in &seen.devices[..24] {
            let mirror = device.mirror.as_ref().unwrap();
            assert!(mirror.perf_indicators.is_some(), "{device:?}");
            let syncs = device.connection_state.starts_with("Sync");
            assert_eq!(mirror.sync_status.is_some(), syncs, "{device:?}");
        }
        assert!(seen.devices[24].mirror.is_none());
        // Nobody speaks a protocol without a connection.
        let alone = mirror(&seen, 0);
        assert_eq!(alone.replication_protocol.as_deref(), Some(" "));
        assert_eq!(alone.io_flags.as_deref(), Some("r-----"));
        let target = mirror(&seen, 17).sync_status.as_ref().unwrap();
        assert_eq!(
            *target,
            Sync {
                percentage: 34.9,
                progress: Some("346588/524288".into()),
                progress_unit: Some("MegaByte"),
                time_to_finish: Some("101:05:34".into()),
                speed: Some(59_400),
                want: Some(102_400),
                speed_unit: Some("KiloByte/Second"),
            }
        );
    }

    #[test]
    fn versions_of_old_are_understood() {
        let seen = parse(include_str!("../../../../fixtures/proc-drbd-8.0")).unwrap();
        assert_eq!(
            seen.version.git_hash.as_deref(),
            Some("5c9f89594553e32adb87d9638dce591782f947e3")
        );
        assert_eq!(
            seen.version.build_by.as_deref(),
            Some("root@node1.example.com, 2009-05-22 12:47:52")
        );
        assert_eq!(
            (seen.version.api.as_deref(), seen.version.srcversion.as_deref()),
            (Some("86"), None)
        );
        assert_eq!(seen.devices.len(), 4);
        let first = mirror(&seen, 0);
        assert_eq!(
            (first.local_role.as_str(), first.io_flags.as_deref()),
            ("Primary", Some("r---"))
        );
        let figures = first.perf_indicators.as_ref().unwrap();
        assert_eq!(
            (figures.network_send, figures.epochs, figures.out_of_sync),
            (4_375_577, None, None)
        );
        let sync = mirror(&seen, 3).sync_status.as_ref().unwrap();
        assert_eq!((sync.percentage, sync.speed, sync.want), (97.9, Some(4996), None));
        let seen = parse(include_str!("../../../../fixtures/proc-drbd-8.3")).unwrap();
        assert_eq!(seen.version.srcversion.as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAAA"));
        assert_eq!(seen.devices.len(), 3);
    }

    #[test]
    fn a_kernel_without_devices_and_version_9_are_told_apart() {
        let eight = parse("version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 01 \n").unwrap();
        assert!(eight.devices.is_empty() && !eight.version.is_nine());
        let nine = parse(include_str!("../../../../fixtures/proc-drbd-9.1")).unwrap();
        assert!(nine.devices.is_empty() && nine.version.is_nine());
        assert_eq!(nine.version.proto.as_deref(), Some("110-121"));
    }

    #[test]
    fn a_stalled_synchronization_has_no_end() {
        let text = " 0: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----\n\
            \tns:0 nr:0\n\t[>....] sync'ed:  0.5% (10/20)M\n\tstalled\n";
        let sync = parse(text).unwrap().devices.remove(0).mirror.unwrap().sync_status.unwrap();
        assert_eq!((sync.percentage, sync.time_to_finish, sync.speed), (0.5, None, None));
        let text = text
            .replace("stalled", "finish: 0:00:01 speed: 0 (12 -- 13) want: 1,000 K/sec (stalled)");
        let sync = parse(&text).unwrap().devices.remove(0).mirror.unwrap().sync_status.unwrap();
        assert_eq!((sync.speed, sync.want), (Some(0), Some(1000)));
    }

    #[test]
    fn a_device_that_is_not_understood_is_named() {
        for bad in
            [" 0: cs:", " 0: cs:Connected", " 0: cs:Connected ro:Primary ds:UpToDate/UpToDate C r"]
        {
            let error = parse(bad).unwrap_err().message;
            assert!(error.ends_with(&format!("'{bad}'")), "{error}");
        }
        let cut = parse(" 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate").unwrap();
        assert_eq!(mirror(&cut, 0).replication_protocol, None);
        assert_eq!(UNIT, 1024.0);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            lines in prop::collection::vec(
                "( ?[0-9]{1,3}: ?cs:[A-Z][a-z]{0,5}( (ro|st|ds):[A-Za-z/]{0,9}){0,2}[ A-Zr-]{0,9}\
                  |\t?(ns|wo|oos):[0-9a-z:, ]{0,20}|\t\\[=?>\\.*\\] sync'ed:[ 0-9.%()/KMé]{0,20}\
                  |\tfinish: [0-9: ,a-z()]{0,30}|version:[ (api:/proto0-9).]{0,20}|\\PC{0,30})",
                0..12,
            )
        ) {
            let _ = super::super::collected(&lines.join("\n"), &[]);
        }

        #[test]
        fn what_drbd_prints_is_read(
            minor in 0u32..1 << 20,
            state in "Connected|SyncSource|WFConnection|PausedSyncT",
            figures in prop::array::uniform10(0i64..i64::MAX),
            (epochs, out_of_sync) in (0i64..1 << 40, 0i64..1 << 40),
        ) {
            let keys = ["ns", "nr", "dw", "dr", "al", "bm", "lo", "pe", "ua", "ap"];
            let words: Vec<_> = keys.iter().zip(figures).map(|(key, value)| format!("{key}:{value}")).collect();
            let text = format!(
                "{minor:2}: cs:{state} ro:Primary/Secondary ds:UpToDate/Inconsistent A r-----\n    {} ep:{epochs} wo:d oos:{out_of_sync}\n",
                words.join(" "),
            );
            let device = parse(&text).unwrap().devices.remove(0);
            prop_assert_eq!((device.minor, device.connection_state), (minor, state));
            let figured = device.mirror.unwrap().perf_indicators.unwrap();
            prop_assert_eq!((figured.network_send, figured.application_pending), (figures[0], figures[9]));
            prop_assert_eq!((figured.epochs, figured.out_of_sync), (Some(epochs), Some(out_of_sync)));
            prop_assert_eq!(figured.write_order.as_deref(), Some("d"));
        }
    }
}
