//! Starting, finding and stopping a daemon's process.

use crate::client::Client;
use crate::context::Cx;
use crate::exec;
use crate::failure::{Failure, Outcome};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roost_proto::paths::{CONFD_PORT, Identity, MOND_PORT, NODED_PORT, Paths};
use roost_proto::secrets::SecretFile;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long a daemon may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// A daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// On every node.
    Noded,
    /// On every node: leads, follows or waits.
    Masterd,
    /// On every node: answers questions about the configuration.
    Confd,
    /// On every node: reports on it.
    Mond,
}

impl Daemon {
    /// All of them, in the order in which they start.
    pub const ALL: [Daemon; 4] = [Daemon::Noded, Daemon::Masterd, Daemon::Confd, Daemon::Mond];

    /// Its word, also of its pid and log files.
    pub fn name(self) -> &'static str {
        match self {
            Daemon::Noded => "noded",
            Daemon::Masterd => "masterd",
            Daemon::Confd => "confd",
            Daemon::Mond => "mond",
        }
    }

    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Daemon::Noded => "roost-noded",
            Daemon::Masterd => "roost-masterd",
            Daemon::Confd => "gnt-confd",
            Daemon::Mond => "gnt-mond",
        }
    }

    /// Its unit of systemd.
    fn unit(self) -> String {
        format!("roost-{self}.service")
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Daemon {
    type Err = String;
    fn from_str(word: &str) -> Result<Daemon, String> {
        let name = word.strip_prefix("ganeti-").unwrap_or(word);
        Daemon::ALL.into_iter().find(|daemon| daemon.name() == name).ok_or_else(|| {
            let all = Daemon::ALL.map(Daemon::name).join(", ");
            format!("'{word}' is no daemon; there are {all}")
        })
    }
}

/// Whether systemd runs this machine and has a unit for the daemon. With a root directory of our
/// own there may be several nodes here, which are no units.
fn has_unit(cx: &Cx, daemon: Daemon) -> bool {
    cx.environment.root.is_none()
        && Path::new("/run/systemd/system").is_dir()
        && ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
            .iter()
            .any(|dir| Path::new(dir).join(daemon.unit()).exists())
}

fn systemctl(verb: &str, daemon: Daemon) -> Outcome {
    let unit = daemon.unit();
    let status = exec::command("systemctl").args([verb, &unit]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::say(format!(
            "systemctl {verb} {unit} failed ({status}); see 'journalctl -u {unit}'"
        ))),
        Err(why) => Err(Failure::say(format!("cannot run systemctl: {why}"))),
    }
}

/// The daemon's process, if it runs.
pub fn find(paths: &Paths, daemon: Daemon) -> Option<Pid> {
    let text = fs::read_to_string(paths.pid_file(daemon.name())).ok()?;
    let pid: i32 = text.trim().parse().ok()?;
    // The number may belong to something else by now.
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let pid = Pid::from_raw(pid);
    // One that was killed keeps its name until somebody reaps it.
    (daemon.program().starts_with(command.trim()) && !is_zombie(pid)).then_some(pid)
}

/// Starts a daemon and waits until it answers. Nothing happens if it runs already.
pub async fn start_daemon(cx: &Cx, daemon: Daemon) -> Outcome {
    if has_unit(cx, daemon) {
        systemctl("start", daemon)?;
        return wait_for_answer(cx, daemon, || true).await;
    }
    if find(&cx.paths, daemon).is_some() {
        return wait_for_answer(cx, daemon, || find(&cx.paths, daemon).is_some()).await;
    }
    let program = exec::find(daemon.program()).ok_or_else(|| {
        Failure::say(format!(
            "cannot find the program {}: it is neither beside this one nor in PATH",
            daemon.program()
        ))
    })?;
    let log = cx.paths.log_file(daemon.name());
    let pid_file = cx.paths.pid_file(daemon.name());
    for dir in [log.parent(), pid_file.parent()].into_iter().flatten() {
        fs::create_dir_all(dir)
            .map_err(|why| Failure::say(format!("cannot make {}: {why}", dir.display())))?;
    }
    let mut child = exec::spawn_daemon(&program, &log)
        .map_err(|why| Failure::say(format!("cannot start {}: {why}", program.display())))?;
    fs::write(&pid_file, format!("{}\n", child.id()))
        .map_err(|why| Failure::say(format!("cannot write {}: {why}", pid_file.display())))?;
    wait_for_answer(cx, daemon, || matches!(child.try_wait(), Ok(None))).await
}

/// Starts what answers questions and reports. The cluster works without them: what is wrong is said only.
pub async fn start_watchers(cx: &Cx) {
    for daemon in [Daemon::Confd, Daemon::Mond] {
        if let Err(why) = start_daemon(cx, daemon).await {
            let why = why.text().unwrap_or_default();
            cx.note(format_args!("Warning: {why}"));
        }
    }
}

async fn wait_for_answer(cx: &Cx, daemon: Daemon, mut alive: impl FnMut() -> bool) -> Outcome {
    let end = Instant::now() + START_LIMIT;
    let log = cx.paths.log_file(daemon.name());
    // One that has ended answers nothing, even if another program is at its port.
    while !(answers(&cx.paths, daemon).await && alive()) {
        if !alive() {
            let _ = fs::remove_file(cx.paths.pid_file(daemon.name()));
            return Err(Failure::say(format!(
                "{daemon} ended as soon as it was started; its log {} says:\n{}",
                log.display(),
                tail(&log)
            )));
        }
        if Instant::now() > end {
            return Err(Failure::say(format!(
                "{daemon} was started but does not answer after {} seconds; see its log {}",
                START_LIMIT.as_secs(),
                log.display()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn answers(paths: &Paths, daemon: Daemon) -> bool {
    match daemon {
        Daemon::Masterd => Client::answers(paths).await,
        Daemon::Noded => {
            let Some(identity) = identity(paths) else { return false };
            let Ok(address) = identity.address.parse() else { return false };
            let address = SocketAddr::new(address, NODED_PORT);
            tokio::net::TcpStream::connect(address).await.is_ok()
        }
        // Before the node has a key it cannot answer anybody.
        Daemon::Confd => {
            !paths.secret(SecretFile::ConfdHmacKey).exists() || bound("udp", CONFD_PORT)
        }
        Daemon::Mond => bound("tcp", MOND_PORT),
    }
}

/// Whether somebody on this machine listens at a port, at whatever address.
fn bound(protocol: &str, port: u16) -> bool {
    // Of TCP's sockets only those that listen.
    let state = if protocol == "tcp" { "0A" } else { "07" };
    let wanted = format!(":{port:04X}");
    ["", "6"].iter().any(|family| {
        let table = fs::read_to_string(format!("/proc/net/{protocol}{family}")).unwrap_or_default();
        table.lines().skip(1).any(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let is_at = fields.next().is_some_and(|local| local.ends_with(&wanted));
            is_at && fields.nth(1) == Some(state)
        })
    })
}

/// Who this machine is in its cluster, if it is in one.
pub fn identity(paths: &Paths) -> Option<Identity> {
    serde_json::from_slice(&fs::read(paths.identity()).ok()?).ok()
}

/// The last lines of a file.
fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// Stops a daemon and waits until it has ended. Nothing happens if it does not run.
pub async fn stop_daemon(cx: &Cx, daemon: Daemon) -> Outcome {
    if has_unit(cx, daemon) {
        return systemctl("stop", daemon);
    }
    let pid_file = cx.paths.pid_file(daemon.name());
    if let Some(pid) = find(&cx.paths, daemon) {
        let mut signal = Signal::SIGTERM;
        let mut end = Instant::now() + STOP_LIMIT;
        send(daemon, pid, signal)?;
        while find(&cx.paths, daemon).is_some() && !is_zombie(pid) {
            if Instant::now() > end {
                if signal == Signal::SIGKILL {
                    return Err(Failure::say(format!(
                        "{daemon} (process {pid}) cannot be stopped"
                    )));
                }
                cx.note(format_args!("{daemon} does not end by itself, it is killed"));
                signal = Signal::SIGKILL;
                end = Instant::now() + STOP_LIMIT;
                send(daemon, pid, signal)?;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    match fs::remove_file(&pid_file) {
        Err(why) if why.kind() != ErrorKind::NotFound => {
            Err(Failure::say(format!("cannot remove {}: {why}", pid_file.display())))
        }
        _ => Ok(()),
    }
}

fn send(daemon: Daemon, pid: Pid, signal: Signal) -> Outcome {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(why) => Err(Failure::say(format!("cannot stop {daemon} (process {pid}): {why}"))),
    }
}

/// It has ended, but whoever started it did not ask yet how.
fn is_zombie(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_have_ganetis_names() {
        for daemon in Daemon::ALL {
            assert_eq!(daemon.name().parse(), Ok(daemon));
            assert_eq!(format!("ganeti-{daemon}").parse(), Ok(daemon));
        }
        let error = "luxid".parse::<Daemon>().unwrap_err();
        assert_eq!(error, "'luxid' is no daemon; there are noded, masterd, confd, mond");
    }

    #[test]
    fn who_listens_is_seen() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        assert!(bound("udp", port));
        drop(udp);
        assert!(!bound("udp", port));
        let tcp = std::net::TcpListener::bind("[::1]:0");
        // Where there is no IPv6, the other family shows it as well.
        let tcp = tcp.or_else(|_| std::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        assert!(bound("tcp", tcp.local_addr().unwrap().port()));
    }
}
