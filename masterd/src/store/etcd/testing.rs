//! Real etcds to test with, on ports of their own.

use super::EtcdStore;
use super::connection::Etcd;
use super::lease::{Campaign, Candidate, Leadership};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use roost_proto::ids::{ClusterId, NodeId};
use roost_proto::store::EtcdSettings;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// What a member is to be.
struct Plan {
    name: &'static str,
    client: String,
    peer: String,
}

impl Plan {
    fn new(scheme: &str, name: &'static str) -> Plan {
        let client = format!("{scheme}://127.0.0.1:{}", free_port());
        Plan { name, client, peer: format!("http://127.0.0.1:{}", free_port()) }
    }

    fn peer_of(&self) -> String {
        format!("{}={}", self.name, self.peer)
    }
}

/// One member; killed when dropped.
pub struct Server {
    child: std::sync::Mutex<Child>,
    pub url: String,
    _dir: tempfile::TempDir,
}

#[allow(clippy::disallowed_methods, reason = "tests start the etcd that they talk to")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// Where a program is; `None`, after saying so, where it is not installed.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed (scripts/install-deps.sh installs it)");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// A fresh etcd; `None` where it is not installed.
    pub fn start() -> Option<Server> {
        Server::start_with("http", &[])
    }

    /// With more options; `scheme` is that of clients.
    pub fn start_with(scheme: &str, options: &[&str]) -> Option<Server> {
        // Somebody may take a port before etcd does.
        for _ in 0..5 {
            let plan = Plan::new(scheme, "m1");
            let server = Server::spawn(&plan, &plan.peer_of(), options)?;
            if server.answers() {
                return Some(server);
            }
        }
        panic!("etcd ends as soon as it is started");
    }

    /// Three members of one cluster.
    pub fn start_three() -> Option<[Server; 3]> {
        for _ in 0..5 {
            let plans = ["m1", "m2", "m3"].map(|name| Plan::new("http", name));
            let everybody = plans.each_ref().map(Plan::peer_of).join(",");
            let [one, two, three] =
                plans.each_ref().map(|plan| Server::spawn(plan, &everybody, &[]));
            let servers = [one?, two?, three?];
            if servers.iter().all(Server::answers) {
                return Some(servers);
            }
        }
        panic!("etcd ends as soon as it is started");
    }

    fn spawn(plan: &Plan, everybody: &str, options: &[&str]) -> Option<Server> {
        let program = program("etcd")?;
        // In memory where there is a place for it: these tests are not about the disk.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            tempfile::tempdir_in(memory).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let Plan { name, client, peer } = plan;
        let mut etcd = command(&program);
        etcd.arg("--data-dir").arg(dir.path().join("data"));
        etcd.args(["--listen-client-urls", client, "--advertise-client-urls", client]);
        etcd.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
        etcd.args(["--name", name, "--initial-cluster", everybody, "--log-level", "warn"]);
        etcd.args(options).env_clear();
        etcd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = std::sync::Mutex::new(etcd.spawn().unwrap());
        Some(Server { child, url: client.clone(), _dir: dir })
    }

    /// Waits until it takes connections; false: it has ended.
    fn answers(&self) -> bool {
        let port = self.url.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        let start = Instant::now();
        while self.child.lock().unwrap().try_wait().unwrap().is_none() {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return true;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "etcd does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// How to reach it without secrets.
    pub fn settings(&self) -> EtcdSettings {
        EtcdSettings {
            endpoints: vec![self.url.clone()],
            ttl: 3,
            compact: true,
            ..EtcdSettings::default()
        }
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.lock().unwrap().id();
        kill(Pid::from_raw(id as i32), signal).unwrap();
    }

    /// Runs `etcdctl` against it. `None` where it is not installed.
    pub fn control(&self, options: &[&str]) -> Option<String> {
        let mut etcdctl = command(&program("etcdctl")?);
        etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &self.url]).args(options);
        let said = etcdctl.output().unwrap();
        assert!(said.status.success(), "etcdctl {options:?}: {said:?}");
        Some(String::from_utf8(said.stdout).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        child.kill().ok();
        child.wait().ok();
    }
}

/// A runtime whose tasks go on while the test's thread blocks.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn cluster() -> ClusterId {
    "11111111-2222-3333-4444-555555555555".parse().unwrap()
}

pub fn campaign(etcd: &Etcd, name: &str) -> Campaign {
    let node = NodeId(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, name.as_bytes()));
    let candidate = Candidate { node, name: name.to_owned() };
    Campaign::new(etcd.clone(), cluster(), candidate, 3)
}

/// A store with a leadership of its own. The runtime must not be dropped before it.
pub fn leading(runtime: &Runtime, etcd: &Etcd) -> (EtcdStore, Leadership) {
    let leadership = runtime.block_on(campaign(etcd, "node1").win()).unwrap();
    let mut store = EtcdStore::new(runtime.handle().clone(), etcd.clone(), cluster());
    store.lead(leadership.guard());
    (store, leadership)
}
