//! Guests as libvirt has them: one command for all, read-only, at most once a second.
//!
//! ```text
//!   look ─► virsh domstats --nowait, with what only QEMU knows ─ in time ──► domains
//!              │ a QEMU does not answer: the command hangs at the first such
//!              ▼
//!           virsh domstats, with what libvirt knows by itself ──► domains; what QEMU says is unknown
//!              └─ and QEMUs are not asked again at once: 0, 60, 300, 900 s …
//! ```
//!
//! A QEMU that does not answer holds libvirt's call and one of its threads for as long. `--nowait` passes over
//! guests that somebody waits for already, so the second look finds out which one it is: it lacks what QEMU would
//! have said. The pause keeps many such guests (their storage is gone) from using up libvirt's threads.
//! LXC has no such statistics: there `virsh list` is all.

use crate::exec::{self, Command};
use roost_proto::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A look is good for everybody who asks within this time.
const FRESH: Duration = Duration::from_millis(900);
/// For how long QEMUs are not asked after so many commands in a row that hung.
const PAUSES: [u64; 5] = [0, 0, 60, 300, 900];
/// Sockets for read-only use: of libvirtd, of the daemons that replace it, of LXC's.
const SOCKETS: [(Driver, &str); 3] = [
    (Driver::Qemu, "virtqemud-sock-ro"),
    (Driver::Lxc, "virtlxcd-sock-ro"),
    (Driver::Qemu, "libvirt-sock-ro"),
];

/// Which of libvirt's drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Qemu,
    Lxc,
}

impl Driver {
    /// Where it is.
    pub fn uri(self) -> &'static str {
        match self {
            Driver::Qemu => "qemu:///system",
            Driver::Lxc => "lxc:///system",
        }
    }

    /// The hypervisor, by Ganeti's name.
    pub fn hypervisor(self) -> &'static str {
        match self {
            Driver::Qemu => "kvm",
            Driver::Lxc => "lxc",
        }
    }

    /// Whether this machine seems to have it: the command, and a socket.
    pub fn is_here(self) -> bool {
        // libvirtd's socket may be there without its LXC driver.
        let sockets = SOCKETS.iter().filter(|(driver, _)| *driver == self);
        let mut paths = sockets.map(|(_, name)| Path::new("/run/libvirt").join(name));
        paths.any(|path| path.exists()) && exec::find("virsh").is_some()
    }
}

/// What a domain does: libvirt's states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// libvirt does not know.
    #[default]
    Unknown,
    Running,
    Blocked,
    Paused,
    /// It is about to end.
    Ending,
    Off,
    Crashed,
    /// Put to sleep by itself.
    Asleep,
}

impl State {
    fn of_number(number: u32) -> State {
        match number {
            1 => State::Running,
            2 => State::Blocked,
            3 => State::Paused,
            4 => State::Ending,
            5 => State::Off,
            6 => State::Crashed,
            7 => State::Asleep,
            _ => State::Unknown,
        }
    }

    /// Of the words of `virsh list`.
    fn of_words(words: &str) -> Option<State> {
        Some(match words {
            "no state" => State::Unknown,
            "running" => State::Running,
            "idle" => State::Blocked,
            "paused" => State::Paused,
            "in shutdown" => State::Ending,
            "shut off" => State::Off,
            "crashed" => State::Crashed,
            "pmsuspended" => State::Asleep,
            _ => return None,
        })
    }

    /// There are processes of it.
    pub fn is_active(self) -> bool {
        self != State::Off
    }
}

/// Why a paused one is paused: those of libvirt's reasons that matter.
pub mod reason {
    pub const PAUSED_MIGRATION: u32 = 2;
    pub const PAUSED_SAVE: u32 = 3;
    pub const PAUSED_DUMP: u32 = 4;
    pub const PAUSED_IOERROR: u32 = 5;
    pub const PAUSED_SNAPSHOT: u32 = 9;
    pub const PAUSED_CRASHED: u32 = 10;
    pub const PAUSED_STARTING_UP: u32 = 11;
    pub const PAUSED_POSTCOPY: u32 = 12;
    pub const PAUSED_POSTCOPY_FAILED: u32 = 13;
}

/// Memory of a guest as its balloon and its system tell it, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balloon {
    /// What it has at the moment, and what it can have at most.
    pub current: Option<u64>,
    pub maximum: Option<u64>,
    /// What its system says: all it has, free, usable without swapping, swapped in and out.
    pub available: Option<u64>,
    pub unused: Option<u64>,
    pub usable: Option<u64>,
    pub swap_in: Option<u64>,
    pub swap_out: Option<u64>,
}

/// A domain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Domain {
    pub name: String,
    pub uuid: Option<String>,
    /// Of its process; LXC's only.
    pub id: Option<u32>,
    pub state: State,
    pub reason: u32,
    /// Nanoseconds of processor time.
    pub cpu_time: Option<u64>,
    pub balloon: Balloon,
    /// Whether its QEMU answered; None: it was not asked.
    pub answered: Option<bool>,
}

/// All domains at a moment.
#[derive(Clone, Debug)]
pub struct Look {
    pub at: Instant,
    pub domains: Vec<Domain>,
}

/// Looks at one driver's domains. Shared by all who ask.
#[derive(Debug)]
pub struct Source {
    driver: Driver,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    last: Option<(Instant, Result<Arc<Look>>)>,
    /// Commands in a row that hung while QEMUs were asked, and when the last began.
    hung: usize,
    hung_at: Option<Instant>,
}

impl Seen {
    /// Whether QEMUs may be asked.
    fn may_ask(&self, now: Instant) -> bool {
        let pause = PAUSES[self.hung.min(PAUSES.len() - 1)];
        self.hung_at.is_none_or(|at| now.duration_since(at) >= Duration::from_secs(pause))
    }
}

impl Source {
    pub fn new(driver: Driver) -> Arc<Source> {
        Arc::new(Source { driver, seen: Mutex::default() })
    }

    /// Which driver it looks at.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// All domains. Errors: virsh is missing, libvirt does not answer.
    pub async fn look(&self) -> Result<Arc<Look>> {
        let mut seen = self.seen.lock().await;
        let now = Instant::now();
        if let Some((at, last)) = &seen.last
            && now.duration_since(*at) < FRESH
        {
            return last.clone();
        }
        let found = match self.driver {
            Driver::Qemu => self.look_at_qemu(&mut seen, now).await,
            Driver::Lxc => {
                let command = "list --all ; list --all --uuid --name";
                self.ask(command).await.map(|text| parse_list(&text))
            }
        };
        let found = found.map(|domains| Arc::new(Look { at: now, domains }));
        seen.last = Some((Instant::now(), found.clone()));
        found
    }

    async fn look_at_qemu(&self, seen: &mut Seen, now: Instant) -> Result<Vec<Domain>> {
        let ids = "list --all --uuid --name";
        if seen.may_ask(now) {
            let command = format!("domstats --raw --nowait --state --cpu-total --balloon ; {ids}");
            match self.ask(&command).await {
                Ok(text) => {
                    (seen.hung, seen.hung_at) = (0, None);
                    return Ok(parse_stats(&text, true));
                }
                Err(error) if !is_late(&error) => return Err(error),
                Err(_) => {
                    seen.hung += 1;
                    seen.hung_at = Some(now);
                }
            }
        }
        let command = format!("domstats --raw --nowait --state --cpu-total ; {ids}");
        self.ask(&command).await.map(|text| parse_stats(&text, false))
    }

    /// Has virsh do something, without the right to change anything.
    async fn ask(&self, what: &str) -> Result<String> {
        let arguments = ["-q", "-r", "-c", self.driver.uri(), what];
        let output = Command::new("virsh").args(arguments).deadline(PATIENCE).run_ok().await;
        output.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| {
            let hint = match () {
                () if exec::is_missing(&error) => "install libvirt-clients",
                () if is_late(&error) => "libvirt hangs: see its log, or restart it",
                () => "is libvirtd running (systemctl status libvirtd)?",
            };
            Error { message: format!("{}; {hint}", error.message), ..error }
        })
    }

    /// What virsh says to a command that does not change from day to day, such as `version`.
    pub async fn say(&self, what: &str) -> Result<String> {
        self.ask(what).await
    }
}

/// Whether the command did not end in time. Its error has no type of its own.
fn is_late(error: &Error) -> bool {
    error.message.contains("did not end within")
}

/// Reads what `domstats --raw … ; list --all --uuid --name` prints. `asked`: QEMUs were asked.
pub fn parse_stats(text: &str, asked: bool) -> Vec<Domain> {
    let mut domains: Vec<Domain> = vec![];
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Domain: '").and_then(|rest| rest.strip_suffix('\''))
        {
            let answered = asked.then_some(false);
            domains.push(Domain { name: name.into(), answered, ..Domain::default() });
            continue;
        }
        match (line.trim().split_once('='), domains.last_mut()) {
            (Some((key, value)), Some(domain)) if line.starts_with(' ') => {
                if let Ok(value) = value.parse::<u64>() {
                    domain.set(key, value);
                }
            }
            _ => note_uuid(line, &mut domains),
        }
    }
    for domain in &mut domains {
        // An inactive one has no QEMU that could.
        if !domain.state.is_active() {
            domain.answered = None;
        }
    }
    domains
}

/// A line of `list --uuid --name`: the identity of a domain that is known by its name.
fn note_uuid(line: &str, domains: &mut [Domain]) {
    if let Some((uuid, name)) = line.trim().split_once(' ')
        && uuid.len() == 36
        && let Some(domain) = domains.iter_mut().find(|domain| domain.name == name.trim())
    {
        domain.uuid = Some(uuid.to_owned());
    }
}

impl Domain {
    fn set(&mut self, key: &str, value: u64) {
        let bytes = value.checked_mul(1024);
        match key {
            "state.state" => self.state = State::of_number(u32::try_from(value).unwrap_or(0)),
            "state.reason" => self.reason = u32::try_from(value).unwrap_or(0),
            "cpu.time" => self.cpu_time = Some(value),
            "balloon.current" => self.balloon.current = bytes,
            "balloon.maximum" => self.balloon.maximum = bytes,
            "balloon.available" => self.balloon.available = bytes,
            "balloon.unused" => self.balloon.unused = bytes,
            "balloon.usable" => self.balloon.usable = bytes,
            "balloon.swap_in" => self.balloon.swap_in = bytes,
            "balloon.swap_out" => self.balloon.swap_out = bytes,
            // libvirt adds it to what QEMU says.
            "balloon.rss" => self.answered = self.answered.map(|_| true),
            _ => {}
        }
    }
}

/// Reads what `list --all ; list --all --uuid --name` prints.
pub fn parse_list(text: &str) -> Vec<Domain> {
    let mut domains: Vec<Domain> = vec![];
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(id), Some(name)) = (words.next(), words.next()) else { continue };
        let state = State::of_words(&words.collect::<Vec<_>>().join(" "));
        match state {
            Some(state) => domains.push(Domain {
                name: name.into(),
                id: id.parse().ok(),
                state,
                ..Domain::default()
            }),
            None => note_uuid(line, &mut domains),
        }
    }
    domains
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUNNING: &str = include_str!("../../../fixtures/libvirt/running.txt");
    const SUSPENDED: &str = include_str!("../../../fixtures/libvirt/suspended.txt");
    const LIST: &str = include_str!("../../../fixtures/libvirt/list.txt");
    const FROZEN: &str = include_str!("../../../fixtures/libvirt/frozen.txt");

    #[test]
    fn domains_are_read() {
        let [domain] = &parse_stats(RUNNING, true)[..] else { panic!("one") };
        assert_eq!(domain.name, "guest1.lab");
        assert_eq!(domain.uuid.as_deref(), Some("6be964d1-b3fb-410b-8df0-95ff7b54d408"));
        assert_eq!((domain.state, domain.answered), (State::Running, Some(true)));
        assert_eq!(domain.balloon.current, Some(128 << 20));
        assert!(domain.cpu_time.unwrap() > 0);
        let [domain] = &parse_stats(SUSPENDED, true)[..] else { panic!("one") };
        assert_eq!((domain.state, domain.reason, domain.answered), (State::Paused, 1, Some(true)));
        assert_eq!(domain.balloon.available, Some(94_788 << 10));
    }

    #[test]
    fn a_qemu_that_does_not_answer_is_told_from_one_that_was_not_asked() {
        let [domain] = &parse_stats(FROZEN, true)[..] else { panic!("one") };
        assert_eq!((domain.state, domain.answered), (State::Running, Some(false)));
        let [domain] = &parse_stats(FROZEN, false)[..] else { panic!("one") };
        assert_eq!(domain.answered, None);
        let off = "Domain: 'x'\n  state.state=5\n  state.reason=0\n";
        assert_eq!(parse_stats(off, true)[0].answered, None);
    }

    #[test]
    fn a_list_is_read() {
        let [test] = &parse_list(LIST)[..] else { panic!("one") };
        assert_eq!((test.name.as_str(), test.id, test.state), ("test", Some(1), State::Running));
        assert_eq!(test.uuid.as_deref(), Some("6695eb01-f6a4-8304-79aa-97f2502e193f"));
        let text = " 4711    web.example.org   running\n -    old.example.org     shut off\n\
                    6be964d1-b3fb-410b-8df0-95ff7b54d408 web.example.org\n";
        let [web, old] = &parse_list(text)[..] else { panic!("two") };
        assert_eq!(
            (web.name.as_str(), web.id, web.state),
            ("web.example.org", Some(4711), State::Running)
        );
        assert!(web.uuid.is_some() && old.uuid.is_none());
        assert_eq!((old.id, old.state), (None, State::Off));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_told_from_one_that_fails() {
        let hangs = Command::new("sleep").arg("1000").deadline(Duration::from_millis(50));
        assert!(is_late(&hangs.run_ok().await.unwrap_err()));
        assert!(!is_late(&Command::new("false").run_ok().await.unwrap_err()));
        assert!(!is_late(&Command::new("nothing-of-this-name").run_ok().await.unwrap_err()));
    }

    #[test]
    fn qemus_that_hang_are_asked_ever_less_often() {
        let start = Instant::now();
        let mut seen = Seen::default();
        assert!(seen.may_ask(start));
        (seen.hung, seen.hung_at) = (1, Some(start));
        assert!(seen.may_ask(start), "once more at once: now the others answer");
        seen.hung = 2;
        assert!(!seen.may_ask(start + Duration::from_secs(59)));
        assert!(seen.may_ask(start + Duration::from_secs(60)));
        seen.hung = 100;
        assert!(!seen.may_ask(start + Duration::from_secs(899)));
        assert!(seen.may_ask(start + Duration::from_secs(900)));
    }

    proptest! {
        #[test]
        fn no_output_makes_the_parsers_panic(lines in proptest::collection::vec("(Domain: ')?[ a-z0-9.='-]{0,60}", 0..20)) {
            let text = lines.join("\n");
            parse_stats(&text, true);
            parse_list(&text);
        }

        #[test]
        fn nor_do_changes_of_real_output(at in 0..RUNNING.len(), with in ".{0,8}") {
            let mut text: Vec<char> = RUNNING.chars().collect();
            text.splice(at.min(text.len())..(at + 3).min(text.len()), with.chars());
            let text: String = text.into_iter().collect();
            parse_stats(&text, true);
            parse_list(&text);
        }
    }
}
