//! What `/proc` says of processes and of this machine. Everybody may read these files.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// A process at a moment: of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stat {
    pub name: String,
    /// `R`, `S`, `D`, `T`, `t`, `Z`, …
    pub state: char,
    /// Processor time of all its threads, in the kernel's ticks.
    pub ticks: u64,
    pub threads: u64,
    /// When it was started, in ticks since the machine was.
    pub started: u64,
}

impl Stat {
    /// Of the file's content. None: it is not such a file.
    pub fn parse(text: &str) -> Option<Stat> {
        // A name may contain anything, also brackets.
        let (name, rest) = (text.split_once('(')?.1).rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
        Some(Stat {
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            ticks: number(11)?.checked_add(number(12)?)?,
            threads: number(17)?,
            started: number(19)?,
        })
    }

    /// Of a process; None: there is none of that number.
    pub fn of(pid: u32) -> Option<Stat> {
        Stat::parse(&text_of(pid, "stat")?)
    }

    /// It has not ended.
    pub fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// A signal or a debugger has stopped it.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Processor time in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.ticks as f64 / ticks_per_second()
    }

    /// For how long it has run. `uptime`: the machine's, seconds.
    pub fn age(&self, uptime: f64) -> f64 {
        (uptime - self.started as f64 / ticks_per_second()).max(0.0)
    }
}

/// The kernel's ticks in a second.
fn ticks_per_second() -> f64 {
    match nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK) {
        Ok(Some(ticks)) if ticks > 0 => ticks as f64,
        _ => 100.0,
    }
}

/// A file of a process, as text.
pub fn text_of(pid: u32, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The arguments of a process, the program first.
pub fn arguments(pid: u32) -> Vec<String> {
    let text = text_of(pid, "cmdline").unwrap_or_default();
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// How many files a process has open; None: this kernel (before 6.2) tells only root.
pub fn open_files(pid: u32) -> Option<u64> {
    // The size of that directory is the number of its entries on newer kernels, and 0 on older ones.
    let size = fs::metadata(format!("/proc/{pid}/fd")).ok()?.size();
    (size > 0).then_some(size)
}

/// The values of a file of lines `Name:  123 kB`, in bytes: `/proc/meminfo`, `/proc/PID/status`. Lines without a
/// number are passed over; numbers without a unit stay as they are.
pub fn values(text: &str) -> HashMap<&str, u64> {
    let value = |line: &'_ str| {
        let (_, rest) = line.split_once(':')?;
        let mut words = rest.split_ascii_whitespace();
        let number: u64 = words.next()?.parse().ok()?;
        let factor = if words.next() == Some("kB") { 1024 } else { 1 };
        number.checked_mul(factor)
    };
    text.lines().filter_map(|line| Some((line.split_once(':')?.0.trim(), value(line)?))).collect()
}

/// What a process holds of the machine's memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub resident: u64,
    pub swapped: u64,
    /// In huge pages, which are not part of `resident`.
    pub huge: u64,
}

impl Memory {
    /// Of the content of `/proc/PID/status`.
    pub fn parse(text: &str) -> Memory {
        let values = values(text);
        let value = |name: &str| values.get(name).copied().unwrap_or(0);
        Memory { resident: value("VmRSS"), swapped: value("VmSwap"), huge: value("HugetlbPages") }
    }

    /// Of a process; None: there is none of that number.
    pub fn of(pid: u32) -> Option<Memory> {
        Some(Memory::parse(&text_of(pid, "status")?))
    }
}

/// For how long the machine has run, seconds: the first number of `/proc/uptime`.
pub fn parse_uptime(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0)
}

/// For how long this machine has run, seconds; 0 where nobody says.
pub fn uptime() -> f64 {
    fs::read_to_string("/proc/uptime").ok().and_then(|text| parse_uptime(&text)).unwrap_or(0.0)
}

/// A time as `xl uptime` writes it: `3:25:45`, `1 day, 0:00:07`, `98 days, 2:27:44`.
pub fn clock_like(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

/// A time for sentences: `45 s`, `12 min`, `5 h`, `3 days`.
pub fn about(seconds: f64) -> String {
    // Casts of floats saturate.
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A QEMU that was stopped by a signal.
    const STOPPED: &str = include_str!("../../../fixtures/proc/qemu-stopped.stat");

    #[test]
    fn a_process_is_read() {
        let stat = Stat::parse(STOPPED).unwrap();
        assert_eq!((stat.name.as_str(), stat.ticks, stat.threads), ("qemu-system-x86", 565, 6));
        assert!(stat.is_stopped() && stat.lives());
        assert_eq!(stat.started, 2_376_003);
        let age = stat.age(23_760.03 + 90.0);
        assert!((age - 90.0).abs() < 0.001 || ticks_per_second() != 100.0, "{age}");
        let odd = STOPPED.replace("(qemu-system-x86) T", "(a) Z (b) Z");
        let stat = Stat::parse(&odd).unwrap();
        assert_eq!(stat.name, "a) Z (b");
        assert!(!stat.lives());
        assert_eq!(Stat::parse("1 (x) S 1 2"), None);
    }

    #[test]
    fn this_process_is_found() {
        let pid = std::process::id();
        assert!(Stat::of(pid).unwrap().lives());
        assert!(Memory::of(pid).unwrap().resident > 0);
        assert!(!arguments(pid).is_empty() && open_files(pid) != Some(0));
        assert!(uptime() > 0.0);
    }

    #[test]
    fn memory_is_in_bytes() {
        let text = "Name:\tqemu\nVmRSS:\t  237104 kB\nVmSwap:\t 12 kB\nHugetlbPages:\t 2048 kB\nThreads:\t6\n";
        let memory = Memory::parse(text);
        assert_eq!(memory, Memory { resident: 237_104 << 10, swapped: 12 << 10, huge: 2 << 20 });
        assert_eq!(values(text)["Threads"], 6);
    }

    #[test]
    fn times_are_written_as_people_know_them() {
        let clock = |seconds| clock_like(Duration::from_secs(seconds));
        assert_eq!(clock(7), "0:00:07");
        assert_eq!(clock(3 * 3600 + 25 * 60 + 45), "3:25:45");
        assert_eq!(clock(86_400), "1 day, 0:00:00");
        assert_eq!(clock(98 * 86_400 + 2 * 3600), "98 days, 2:00:00");
        let words: Vec<String> = [-1.0, 45.9, 720.0, 18_000.0, 300_000.0].map(about).to_vec();
        assert_eq!(words, ["0 s", "45 s", "12 min", "5 h", "3 days"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in ".{0,200}", numbers in proptest::collection::vec(any::<u64>(), 0..60)) {
            Stat::parse(&text);
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            Stat::parse(&format!("1 ({text}) S {}", numbers.join(" ")));
            values(&text);
            values(&format!("a: {} kB", numbers.join(" kB\nb: ")));
            Memory::parse(&text);
            parse_uptime(&text);
        }
    }
}
