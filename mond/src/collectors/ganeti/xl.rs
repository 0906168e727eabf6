//! Reads what Xen's commands print.

use crate::collectors::inst_status::ActualState;
use roost_proto::error::{Error, Result};
use std::collections::BTreeMap;

/// A domain as `xl list` shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Domain {
    pub id: u32,
    pub state: ActualState,
    /// Time it had on processors, seconds.
    pub cpu_time: f64,
}

/// Reads `xl list`: domains by name. Errors: it is no such table.
///
/// ```text
/// Name                ID   Mem VCPUs      State   Time(s)
/// Domain-0             0  1024     4     r-----    4417.2
/// ```
pub fn domains(text: &str) -> Result<BTreeMap<String, Domain>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().unwrap_or_default();
    if !(header.starts_with("Name") && header.trim_end().ends_with("Time(s)")) {
        return Err(strange("xl list", header));
    }
    lines.map(|line| domain(line).ok_or_else(|| strange("xl list", line))).collect()
}

fn domain(line: &str) -> Option<(String, Domain)> {
    // From the end: a name may have blanks.
    let mut words = line.split_ascii_whitespace().rev();
    let cpu_time: f64 = words.next()?.parse().ok()?;
    let state = state(words.next()?)?;
    let (_processors, _memory) = (words.next()?, words.next()?);
    let id = words.next()?.parse().ok()?;
    let mut name: Vec<_> = words.collect();
    name.reverse();
    let named = !name.is_empty() && cpu_time.is_finite();
    named.then(|| (name.join(" "), Domain { id, state, cpu_time }))
}

/// Of flags, each in its place: running, blocked, paused, shut down, why, dying.
fn state(flags: &str) -> Option<ActualState> {
    let &[_running, blocked, paused, shutdown, why, dying] = flags.as_bytes() else { return None };
    Some(match () {
        () if dying == b'd' => ActualState::Dying,
        // Crashed, or the watchdog thinks so.
        () if matches!(why, b'c' | b'w') => ActualState::Crashed,
        () if shutdown == b's' => ActualState::Shutdown,
        () if paused == b'p' => ActualState::Paused,
        () if blocked == b'b' => ActualState::Blocked,
        // No flag: it would run if a processor were free.
        () => ActualState::Running,
    })
}

/// Reads `xl uptime`: uptimes by the number of the domain, as `15 days, 20:57:07`. Errors: it is no such table.
pub fn uptimes(text: &str) -> Result<BTreeMap<u32, String>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header: Vec<_> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    if header != ["Name", "ID", "Uptime"] {
        return Err(strange("xl uptime", &header.join(" ")));
    }
    let uptime = |line: &str| {
        let (_name, rest) = line.trim().split_once([' ', '\t'])?;
        let (id, uptime) = rest.trim_start().split_once([' ', '\t'])?;
        Some((id.parse().ok()?, uptime.trim().to_owned()))
    };
    lines.map(|line| uptime(line).ok_or_else(|| strange("xl uptime", line))).collect()
}

/// Reads `xentop -f -b -i 1`: names of domains and the time they had on processors, seconds; the first, which
/// is the host, is not among them. Errors: it is no such table.
pub fn cpu_times(text: &str) -> Result<Vec<(String, f64)>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().unwrap_or_default();
    let mut columns = header.split_ascii_whitespace();
    if (columns.next(), columns.nth(1)) != (Some("NAME"), Some("CPU(sec)")) {
        return Err(strange("xentop", header));
    }
    let time = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (name, seconds) = (words.next()?, words.nth(1)?);
        Some((name.to_owned(), seconds.parse().ok().filter(|time: &f64| time.is_finite())?))
    };
    let mut times = vec![];
    for line in lines {
        let (name, seconds) = time(line).ok_or_else(|| strange("xentop", line))?;
        if name != "Domain-0" {
            times.push((name, seconds));
        }
    }
    Ok(times)
}

fn strange(command: &str, line: &str) -> Error {
    Error::environment(format!("'{command}' printed a line that is not understood: '{line}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ActualState::*;
    use proptest::prelude::*;

    #[test]
    fn domains_have_states_and_times() {
        let domains = domains(include_str!("../../../fixtures/xl-list")).unwrap();
        let states: Vec<_> =
            domains.iter().map(|(name, d)| (name.as_str(), d.id, d.state)).collect();
        assert_eq!(
            states,
            [
                ("Domain-0", 0, Running),
                ("inst1.example.org", 119, Blocked),
                ("inst2.example.org", 121, Running),
                ("inst3.example.org", 122, Paused),
                ("inst4.example.org", 123, Crashed),
                ("inst5.example.org", 124, Shutdown),
                ("inst6.example.org", 125, Dying),
                ("inst7.example.org", 126, Running),
            ]
        );
        assert_eq!(domains["inst1.example.org"].cpu_time, 103_420.7);
    }

    #[test]
    fn uptimes_are_as_printed() {
        let uptimes = uptimes(include_str!("../../../fixtures/xl-uptime")).unwrap();
        assert_eq!(uptimes[&119], "15 days, 20:57:07");
        assert_eq!(uptimes[&121], "0:01:00");
    }

    #[test]
    fn times_of_guests_are_read() {
        let times = cpu_times(include_str!("../../../fixtures/xentop")).unwrap();
        assert_eq!(
            times,
            [("inst1.example.org".to_owned(), 103_420.0), ("inst2.example.org".to_owned(), 17.0)]
        );
    }

    #[test]
    fn other_output_is_an_error() {
        let error = "libxl: error: no permission";
        assert!(domains(error).unwrap_err().message.contains(error));
        assert!(uptimes(error).is_err() && cpu_times(error).is_err());
        let list = include_str!("../../../fixtures/xl-list");
        assert!(domains(&list.replace("-b----", "blocked")).is_err());
        assert!(domains("").is_err() && uptimes("").is_err() && cpu_times("").is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(rows in "([a-z0-9. -]{0,40}\n|\\PC{0,20}\n){0,6}") {
            let _ = domains(&format!("Name ID Mem VCPUs State Time(s)\n{rows}"));
            let _ = uptimes(&format!("Name ID Uptime\n{rows}"));
            let _ = cpu_times(&format!("NAME STATE CPU(sec)\n{rows}"));
        }
    }
}
