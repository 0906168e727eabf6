//! One node (or the switch): power on, power off, run something inside.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::error::{Context as _, Error, Result};
use super::etcd;
use super::exec::{self, Output};
use super::faults;
use super::init::{self, Report};
use super::layout::{self, Layout, PRIVATE, SWITCH};
use super::process::{self, Process};
use super::uml::{self, Machine};

/// How long anything inside a node may take unless told otherwise.
const LIMIT: Duration = Duration::from_secs(600);
/// How long namespaces may take to be furnished.
const FURNISH: Duration = Duration::from_secs(60);

/// A node of a lab, with or without power.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    layout: &'a Layout,
    name: String,
}

impl<'a> Node<'a> {
    /// The node of this name; whether it exists is for the caller to know.
    pub fn new(layout: &'a Layout, name: &str) -> Node<'a> {
        Node { layout, name: name.into() }
    }

    /// `node1` … or `switch`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lab it belongs to.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Its first process, when it has power and is really this node's.
    pub fn running(&self) -> Option<Process> {
        let Report { process, phase } = Report::read(self.layout, &self.name)?;
        let ours = init::is_init(&process.args(), self.layout, Some(&self.name));
        (phase == init::Phase::Ready && process.alive() && ours).then_some(process)
    }

    /// Its first process, or the error that it has no power.
    pub fn init(&self) -> Result<Process> {
        self.running().ok_or_else(|| Error::NodeDown { node: self.name.clone() })
    }

    /// Whether it was powered on to the end.
    pub fn is_up(&self) -> bool {
        self.running().is_some() && self.layout.up_marker(&self.name).exists()
    }

    /// What it is if it has a kernel of its own.
    pub fn machine(&self) -> Option<Machine> {
        Machine::of(self.layout, &self.name)
    }

    /// Whether it was made part of a cluster: its data folder is not empty.
    pub fn in_cluster(&self) -> bool {
        if self.machine().is_some() {
            let argv = ["ls", "-A", "/var/lib/ganeti"];
            return self.exec(&argv).is_ok_and(|said| !said.stdout.trim().is_empty());
        }
        let dir = self.layout.private(&self.name, "/var/lib/ganeti");
        dir.and_then(|d| fs::read_dir(d).ok()).is_some_and(|mut entries| entries.next().is_some())
    }

    /// Makes its folders and files on the host.
    pub fn make_folders(&self, nodes: usize) -> Result<()> {
        let dir = self.layout.node(&self.name);
        let private = PRIVATE.iter().map(|(_, name)| dir.join(name));
        for d in private.filter(|_| self.name != SWITCH).chain([dir.clone()]) {
            fs::create_dir_all(&d).what(|| format!("cannot make {}", d.display()))?;
        }
        let hosts = dir.join("hosts");
        fs::write(&hosts, layout::hosts(nodes)).what(|| format!("cannot write {}", hosts.display()))
    }

    /// Starts its first process in namespaces of its own; `program` is `gnt-lab`.
    pub fn power_on(&self, program: PathBuf, os_dir: &Path, ext_dir: &Path) -> Result<Process> {
        let report = self.layout.init_report(&self.name);
        if report.exists() {
            fs::remove_file(&report).what(|| format!("cannot remove {}", report.display()))?;
        }
        let log_path = self.layout.init_log(&self.name);
        let what = || format!("cannot write {}", log_path.display());
        let log = fs::File::create(&log_path).what(what)?;
        let mut argv: Vec<String> =
            ["setsid", "unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--"]
                .map(str::to_owned)
                .into();
        argv.push(program.display().to_string());
        argv.extend(init::args(self.layout, &self.name, os_dir, ext_dir));
        let mut command = exec::command(&argv.iter().map(String::as_str).collect::<Vec<_>>());
        command.current_dir("/").env_clear().env("PATH", exec::PATH);
        command.stdout(log.try_clone().what(what)?).stderr(log);
        let mut child = command.spawn().what(|| "cannot run unshare".into())?;
        let gone = || !matches!(child.try_wait(), Ok(None));
        let limit = if self.machine().is_some() { uml::host::BOOT * 2 } else { FURNISH };
        let ready = init::wait_ready(self.layout, &self.name, limit, gone);
        // `unshare` lives as long as the node: somebody must take its exit code.
        std::thread::spawn(move || child.wait());
        ready
    }

    /// Kills everything in it at once.
    pub fn power_off(&self) -> Result<()> {
        for marker in [self.layout.up_marker(&self.name), self.layout.frozen_marker(&self.name)] {
            remove_marker(&marker)?;
        }
        // By command line and not by the report alone: also one that never got to reporting.
        for init in process::find(|args| init::is_init(args, self.layout, Some(&self.name))) {
            init.kill_and_wait(Duration::from_secs(60))?;
        }
        Ok(())
    }

    /// Stops all of a node that has a kernel of its own: it answers nothing, not even a ping.
    pub fn freeze(&self) -> Result<()> {
        let init = self.init()?;
        // Before, so that nobody talks to a machine that is about to stand still.
        let marker = self.layout.frozen_marker(&self.name);
        fs::write(&marker, "").what(|| format!("cannot write {}", marker.display()))?;
        uml::host::freeze(&self.name, init)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        uml::host::thaw(self.init()?)?;
        remove_marker(&self.layout.frozen_marker(&self.name))
    }

    /// Whether all of it stands still.
    pub fn frozen(&self) -> bool {
        self.layout.frozen_marker(&self.name).exists()
    }

    /// A file's contents.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let init = self.awake()?;
        if self.machine().is_some() {
            return uml::read(self.layout, &self.name, path);
        }
        fs::read(init.path(path)).what(|| format!("cannot read {path} of {}", self.name))
    }

    /// Writes a file, whole or not at all; `mode` is its permissions.
    pub fn write(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let init = self.awake()?;
        if self.machine().is_some() {
            return uml::write(self.layout, &self.name, path, mode, bytes);
        }
        let (path, new) = (init.path(path), init.path(&format!("{path}.gnt-lab-new")));
        let what = || format!("cannot write {}", path.display());
        fs::write(&new, bytes).what(what)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).what(what)?;
        fs::rename(&new, &path).what(what)
    }

    fn awake(&self) -> Result<Process> {
        let init = self.init()?;
        if self.frozen() { Err(Error::Frozen { node: self.name.clone() }) } else { Ok(init) }
    }

    /// A command inside the node, standard input empty, environment clean.
    pub fn command(&self, argv: &[&str]) -> Result<Command> {
        let pid = self.awake()?.pid.to_string();
        let mut command = match self.machine() {
            Some(machine) => machine.command(self.layout, argv),
            None => {
                let enter = ["nsenter", "-t", &pid, "-m", "-u", "-i", "-n", "-p", "--"];
                exec::command(&[&enter, argv].concat())
            }
        };
        command.env_clear();
        command.env("PATH", format!("{}:{}", self.layout.bin().display(), exec::PATH));
        command.envs([("HOME", "/root"), ("LANG", "C.UTF-8"), ("ROOST_LAB_NODE", &self.name)]);
        command.envs(etcd::environment(self.layout, &self.name));
        command.envs(faults::environment(self.layout));
        for passed in ["TERM", "COLUMNS", "ROOST_LOG", "RUST_BACKTRACE", "EDITOR"] {
            command.envs(std::env::var(passed).map(|value| (passed, value)));
        }
        Ok(command)
    }

    /// Runs a command inside the node and returns all it said.
    pub fn exec(&self, argv: &[&str]) -> Result<Output> {
        self.exec_within(LIMIT, argv)
    }

    /// Like [`Node::exec`], killed (code 124) when it takes longer than `limit`.
    pub fn exec_within(&self, limit: Duration, argv: &[&str]) -> Result<Output> {
        let seconds = format!("{}", limit.as_secs_f32());
        let limited = [&["timeout", "-k", "5", &seconds], argv].concat();
        exec::collect(self.command(&limited)?, argv)
    }

    /// A command inside the node on the caller's terminal.
    pub fn interactive(&self, argv: &[&str]) -> Result<Command> {
        let mut command = self.command(argv)?;
        command.stdin(Stdio::inherit());
        Ok(command)
    }
}

fn remove_marker(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).what(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
