//! A small cluster on simulated machines, and masterds that work on it one after another.

use super::hands::{Crash, Faults, SimHands};
use super::store::{CrashingStore, Ledger};
use super::world::{Machine, World};
use roost_masterd::config::{Change, Config, Object};
use roost_masterd::init;
use roost_masterd::jobs::{Engine, JobEntry, Planner};
use roost_masterd::nodes::Joined;
use roost_masterd::ops::Operations;
use roost_masterd::state::{Commit, State};
use roost_masterd::store::sqlite::SqliteStore;
use roost_masterd::store::{Contents, Store};
use roost_proto::choices::DiskTemplate;
use roost_proto::ids::{GroupId, JobId, NodeId};
use roost_proto::job::JobStatus;
use roost_proto::names::{GroupName, NodeName};
use roost_proto::opcodes::OpInput;
use roost_proto::paths::Paths;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

/// A test that waits longer for something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// The machine that has joined but is no node yet.
pub const NEWCOMER: &str = "node5.example.com";

/// A cluster: its database and its machines.
pub struct Site {
    dir: TempDir,
    pub world: Arc<Mutex<World>>,
}

/// A masterd at work.
pub struct Master {
    pub state: State,
    pub engine: Engine,
    pub hands: SimHands,
    pub ledger: Ledger,
}

fn directory() -> TempDir {
    // Not a disk: tests must not wait for one.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

pub fn node_id(name: &str) -> NodeId {
    let name = if name.contains('.') { name.to_owned() } else { format!("{name}.example.com") };
    NodeId(Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()))
}

/// node1 (the master), node2 and node3 in `default`, node4 in `rack2`; node5 has joined.
fn found() -> Site {
    let dir = directory();
    let paths = Paths::new(Some(dir.path().join("root")));
    let spec = json!({
        "cluster_name": "cluster.example.com", "master_ip": "192.0.2.250",
        "node_name": "node1.example.com", "node_ip": "192.0.2.1",
        "enabled_hypervisors": ["kvm", "fake"],
        "enabled_disk_templates": ["sharedfile", "file", "diskless"],
        "file_storage_dir": "/srv/file", "shared_file_storage_dir": "/srv/shared",
        "prealloc_wipe_disks": true,
    });
    init::init(&paths, &serde_json::from_value(spec).expect("a good spec")).expect("a cluster");
    std::fs::rename(paths.database(), dir.path().join("config.db")).expect("a database");
    let site = Site { dir, world: Arc::default() };
    site.edit(|config| {
        let first = config.nodes.values().next().expect("a node");
        let group = config.groups.values().next().expect("a group");
        let mut rack2 = (**group).clone();
        rack2.uuid = GroupId(Uuid::from_u128(0x72));
        rack2.name = GroupName::new("rack2").expect("a good name");
        let mut changes = vec![Change::Add(Object::Group(rack2.clone()))];
        for i in 2..=4 {
            let mut node = (**first).clone();
            node.name = NodeName::new(format!("node{i}.example.com")).expect("a good name");
            node.uuid = node_id(&node.name);
            node.primary_ip = format!("192.0.2.{i}");
            node.secondary_ip = node.primary_ip.clone();
            node.group = if i == 4 { rack2.uuid } else { group.uuid };
            changes.push(Change::Add(Object::Node(Box::new(node))));
        }
        let mut cluster = (*config.cluster).clone();
        for i in 2..=4 {
            let id = node_id(&format!("node{i}"));
            cluster.candidate_certs.insert(id, format!("fingerprint {i}"));
        }
        use DiskTemplate::{BlockDev, Drbd, Ext, Gluster, Plain, Rbd};
        cluster.enabled_disk_templates.extend([Plain, Drbd, Ext, Rbd, Gluster, BlockDev]);
        cluster.volume_group_name = Some("xenvg".into());
        cluster.drbd_usermode_helper = Some("/bin/true".into());
        cluster.gluster_storage_dir = "/srv/gluster".into();
        changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
        changes
    });
    let mut world = World::default();
    let config = site.config();
    for node in config.nodes.values() {
        let name = node.name.to_string();
        world.machines.insert(node.uuid, Machine { name, ..Machine::default() });
    }
    let place = format!("{}/{}", config.cluster.master_netdev, config.cluster.master_netmask);
    let master = world.machines.get_mut(&config.master()).expect("the master");
    let ip = config.cluster.master_ip.parse().expect("an address");
    master.addresses.insert(ip, place);
    let newcomer = Joined {
        name: NEWCOMER.into(),
        uuid: node_id(NEWCOMER),
        address: "192.0.2.5".into(),
        fingerprint: "fingerprint 5".into(),
    };
    world.machines.insert(newcomer.uuid, Machine { name: NEWCOMER.into(), ..Machine::default() });
    world.joined.push(newcomer);
    *site.world.lock().expect("nobody panics with it") = world;
    site
}

impl Site {
    /// A new cluster.
    pub fn new() -> Site {
        // Bytes, because what a static holds is never removed.
        static FIRST: OnceLock<(Vec<u8>, World)> = OnceLock::new();
        let (database, world) = FIRST.get_or_init(|| {
            let site = found();
            (std::fs::read(site.database()).expect("a database"), site.world())
        });
        let dir = directory();
        std::fs::write(dir.path().join("config.db"), database).expect("a copy");
        Site { dir, world: Arc::new(Mutex::new(world.clone())) }
    }

    /// Another one just like it.
    pub fn fork(&self) -> Site {
        let dir = directory();
        std::fs::copy(self.database(), dir.path().join("config.db")).expect("a copy");
        Site { dir, world: Arc::new(Mutex::new(self.world())) }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.path().join("config.db")
    }

    /// The machines as they are.
    pub fn world(&self) -> World {
        self.world.lock().expect("nobody panics with it").clone()
    }

    /// What is stored.
    pub fn contents(&self) -> Contents {
        let mut store = SqliteStore::open(&self.database()).expect("a sound database");
        store.load().expect("readable")
    }

    pub fn config(&self) -> Config {
        Config::load(&self.contents()).expect("a sound configuration")
    }

    /// Changes the configuration behind the jobs' back.
    pub fn edit(&self, change: impl FnOnce(&Config) -> Vec<Change>) {
        self.run(Faults::default(), async |master| {
            let changes = change(&master.state.config());
            let commit = Commit { changes, ..Commit::default() };
            master.state.commit(commit).await.expect("changes that fit");
        });
    }

    /// Starts a masterd, has `body` work with it, and stops it; nothing if it crashed before.
    pub fn run<T>(&self, faults: Faults, body: impl AsyncFnOnce(&Master) -> T) -> Option<T> {
        self.run_with(faults, Ledger::default(), Arc::new(Operations), body)
    }

    /// See [`Site::run`].
    pub fn run_with<T>(
        &self,
        faults: Faults,
        ledger: Ledger,
        planner: Arc<dyn Planner>,
        body: impl AsyncFnOnce(&Master) -> T,
    ) -> Option<T> {
        self.try_run(faults, ledger, planner, body).expect("an engine that starts")
    }

    /// See [`Site::run`]. Errors: the engine does not start.
    pub fn try_run<T>(
        &self,
        faults: Faults,
        ledger: Ledger,
        planner: Arc<dyn Planner>,
        body: impl AsyncFnOnce(&Master) -> T,
    ) -> roost_proto::error::Result<Option<T>> {
        let _alive = watchdog();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let crash = Crash::default();
        ledger.entries().crash = faults.crash_commit;
        let (closing, closed) = mpsc::channel();
        let store = CrashingStore::open(self.database(), ledger.clone(), crash.clone(), closing);
        let hands = SimHands::new(self.world.clone(), faults, crash.clone());
        let result = runtime.block_on(async {
            let (state, documents) = State::start(Box::new(store)).expect("a sound store");
            let engine =
                Engine::start(state.clone(), documents, planner, Arc::new(hands.clone())).await?;
            let master = Master { state, engine, hands, ledger };
            Ok(tokio::select! {
                biased;
                () = crash.wait() => None,
                result = body(&master) => Some(result),
            })
        });
        // As a process that dies: tasks stop where they are. The next one waits for the database.
        drop(runtime);
        closed.recv_timeout(PATIENCE).expect("the store's thread ends");
        result
    }
}

impl Master {
    /// Submits a job.
    pub async fn submit(&self, ops: &[Value]) -> JobId {
        let submitted = self.try_submit(ops).await;
        if self.hands.crash.has_happened() {
            // Who would get the answer is dead too.
            std::future::pending::<()>().await;
        }
        submitted.expect("a job that is accepted")
    }

    pub async fn try_submit(&self, ops: &[Value]) -> roost_proto::error::Result<JobId> {
        let ops = ops.iter().map(|op| OpInput::from_json(op).expect("a good opcode")).collect();
        self.engine.submit(vec![ops], false).await.remove(0)
    }

    pub fn job(&self, job: JobId) -> Arc<JobEntry> {
        self.engine.job(job).expect("a job that is not archived")
    }

    /// Waits until a job satisfies a condition.
    pub async fn until(&self, job: JobId, condition: impl Fn(&JobEntry) -> bool) {
        let entry = self.job(job);
        let mut changes = entry.watch();
        while !condition(&entry) {
            changes.changed().await.expect("the entry lives");
        }
    }

    /// Waits for the end of a job.
    pub async fn end(&self, job: JobId) -> JobStatus {
        self.until(job, |entry| entry.status().is_final()).await;
        self.job(job).status()
    }

    /// Waits for the end of all jobs, also of those they submit, and of all work for them.
    pub async fn settle(&self) {
        loop {
            let jobs = self.engine.jobs();
            let Some(job) = jobs.iter().find(|job| !job.status().is_final()) else { break };
            self.end(job.id).await;
        }
        // A job has ended for those who watch it some moments before the last hand leaves it.
        let start = Instant::now();
        while !self.engine.active_plans().await.is_empty() || !self.engine.locks().list().is_empty()
        {
            assert!(start.elapsed() < PATIENCE, "locks: {:?}", self.engine.locks().list());
            tokio::task::yield_now().await;
        }
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }
}

/// Something that must end soon: since when, how its end is noticed, its name.
type Watched = (Instant, mpsc::Receiver<()>, String);

/// Ends the whole test program if what it guards takes too long: time stands still inside.
fn watchdog() -> mpsc::Sender<()> {
    static DOG: OnceLock<Mutex<mpsc::Sender<Watched>>> = OnceLock::new();
    let dog = DOG.get_or_init(|| {
        let (sender, inbox) = mpsc::channel::<Watched>();
        std::thread::spawn(move || {
            for (start, alive, name) in inbox {
                let left = PATIENCE.saturating_sub(start.elapsed()).max(Duration::from_secs(1));
                if alive.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
                    eprintln!("{name}: hangs");
                    std::process::abort();
                }
            }
        });
        Mutex::new(sender)
    });
    let (alive, watched) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let dog = dog.lock().expect("nobody panics with it");
    dog.send((Instant::now(), watched, name)).expect("the watcher lives");
    alive
}
