//! Daemons that run while they are measured.

use super::world::{KEY, Node, PEER_DATA, PEER_LIBRARY, Peer};
use anyhow::{Context, Result, bail};
use roost_confd::client::Client;
use roost_confd::wire::HmacKey;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Daemons begin to answer within this, or do not.
const START: Duration = Duration::from_secs(30);

/// A running daemon; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    what: &'static str,
    child: Child,
    log: PathBuf,
    pub(super) port: u16,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(
        what: &'static str,
        port: u16,
        mut program: Command,
        node: &Node,
        root: &str,
    ) -> Result<Daemon> {
        let log = node.root.join(format!("{what}.out"));
        let out = File::create(&log)?;
        let err = out.try_clone()?;
        program.env("GANETI_ROOTDIR", root).env("ROOST_LOG", "warn");
        program.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = program.spawn().with_context(|| format!("{what} cannot be run"))?;
        Ok(Daemon { what, child, log, port })
    }

    /// Debian's confd.
    pub(super) fn peer_confd(peer: &Peer, node: &Node, port: u16) -> Result<Daemon> {
        let command = chroot(peer, "ganeti-confd", port);
        Daemon::start("ganeti-confd", port, command, node, PEER_DATA)?.answering_udp()
    }

    /// Debian's mond.
    pub(super) fn peer_mond(peer: &Peer, node: &Node, port: u16) -> Result<Daemon> {
        let command = chroot(peer, "ganeti-mond", port);
        Daemon::start("ganeti-mond", port, command, node, PEER_DATA)?.answering_http()
    }

    /// Ours.
    pub(super) fn confd(programs: &Path, node: &Node, port: u16) -> Result<Daemon> {
        let data = node.data();
        let mut command = ours(programs, "gnt-confd", port);
        command.arg("--hmac-key").arg(data.join("hmac.key"));
        command.arg("--config").arg(data.join("config.data"));
        let root = node.root.display().to_string();
        Daemon::start("gnt-confd", port, command, node, &root)?.answering_udp()
    }

    /// Ours.
    pub(super) fn mond(programs: &Path, node: &Node, port: u16) -> Result<Daemon> {
        let command = ours(programs, "gnt-mond", port);
        let root = node.root.display().to_string();
        Daemon::start("gnt-mond", port, command, node, &root)?.answering_http()
    }

    /// Waits until it answers.
    fn answering_udp(mut self) -> Result<Daemon> {
        let key = HmacKey::new(KEY)?;
        let client = Client::new(vec![Ipv4Addr::LOCALHOST.into()], key)?;
        let client = client.port(self.port).timeout(Duration::from_millis(300));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        self.wait_for(|| runtime.block_on(client.cluster_master()).is_ok())?;
        Ok(self)
    }

    fn answering_http(mut self) -> Result<Daemon> {
        let port = self.port;
        let answers = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(Some(Duration::from_secs(12)))?;
            stream.write_all(
                b"GET /1/list/collectors HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        self.wait_for(|| answers().unwrap_or(false))?;
        Ok(self)
    }

    fn wait_for(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < START {
            if ready() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} has ended ({status}): {}", self.what, self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not answer: {}", self.what, self.said())
    }

    /// The end of what it wrote.
    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// A line of `/proc/<pid>/status` that is in kB, as MiB.
    pub(super) fn memory(&self, line: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let rest = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
        let kib = rest.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("{} shows no {line}", self.what))? / 1024.0)
    }

    /// What its threads had of processors so far, seconds. Unlike the time on the clock it depends little on what
    /// else the machine does.
    pub(super) fn cpu(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // One that has ended meanwhile is of no weight.
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            let run = text.split(' ').next().and_then(|run| run.parse::<f64>().ok());
            nanoseconds += run.unwrap_or_default();
        }
        Ok(nanoseconds / 1e9)
    }
}

fn chroot(peer: &Peer, daemon: &str, port: u16) -> Command {
    let root = peer.root.display().to_string();
    let program = format!("/{PEER_LIBRARY}/{daemon}");
    let port = port.to_string();
    command(&["chroot", &root, &program, "-f", "-b", "127.0.0.1", "-p", &port, "--no-user-checks"])
}

fn ours(programs: &Path, daemon: &str, port: u16) -> Command {
    let program = programs.join(daemon).display().to_string();
    command(&[&program, "--foreground", "--bind", "127.0.0.1", "--port", &port.to_string()])
}

/// A command. What is measured are programs as users run them.
#[allow(clippy::disallowed_methods, reason = "commands are what is measured")]
pub(super) fn command(argv: &[&str]) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]);
    command
}
