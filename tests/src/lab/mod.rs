//! The lab: a whole cluster on one machine.
//!
//! Each node is a process in namespaces of its own (network, mounts, host name, IPC, pids) with
//! its own daemons and, where real guests run, its own libvirtd; or it is a machine of its own with
//! disks, see [`uml`]. Wires can be cut, daemons killed
//! or frozen, nodes lose power.
//!
//! ```text
//!  (nothing) ── up ──▶ all nodes up ── kill NODE ──▶ that node dark ── start NODE ──▶ up again
//!      ▲                    │                              │
//!      └──────── down ──────┴──────────────────────────────┘     (also when a tool was killed half-way)
//! ```

mod cluster;
mod daemon;
mod error;
mod etcd;
mod exec;
mod faults;
pub mod init;
pub mod layout;
mod libvirt;
mod network;
mod node;
mod process;
mod state;
pub mod uml;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cluster::{init_command, join};
pub use daemon::Activity;
pub use error::{Error, Result};
pub use exec::{Output, code};
pub use faults::LogPlace;
pub use node::Node;
pub use process::wait_until;
pub use state::{Cut, Hypervisor, Kernel};

use error::Context as _;
use layout::{GNT_NAMES, Layout, MAX_NODES, SWITCH, node_ip, node_name, node_number};
use state::{Lock, State};

/// Most disks of one node.
const MAX_DISKS: usize = 8;

/// What kind of lab to bring up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Tells labs apart; letters, digits, dashes.
    pub name: String,
    /// How many nodes.
    pub nodes: usize,
    /// What runs the guests.
    pub hypervisor: Hypervisor,
    /// What nodes are: namespaces, or machines with disks.
    pub kernel: Kernel,
    /// Memory of each node with a kernel of its own, MiB; `None`: what its hypervisor needs.
    pub memory_mib: Option<u64>,
    /// How many disks are in the volume group of each node with a kernel of its own.
    pub disks: usize,
    /// Size of each of these disks, MiB. They take room as they are written to.
    pub disk_mib: u64,
    /// Let the first nodes have an etcd, which keeps the cluster's state.
    pub etcd: bool,
    /// Make a cluster of the nodes.
    pub init: bool,
    /// What commands and daemons on the nodes find in their environment.
    pub environment: BTreeMap<String, String>,
    /// Room for the cluster's state on each node, MiB, in memory; unlimited and on disk if `None`.
    pub data_mib: Option<u64>,
    /// Folder that holds all labs.
    pub root: PathBuf,
    /// Folder with the built programs, `gnt-lab` among them.
    pub programs: PathBuf,
    /// Folder with the OS definitions all nodes see.
    pub os_dir: PathBuf,
    /// Folder with the providers of external storage all nodes see.
    pub ext_dir: PathBuf,
}

impl Options {
    /// Three nodes with real guests, no cluster yet. The folder of all labs is `ROOST_LAB_DIR` or
    /// `/var/lib/roost-lab`; programs are those beside the running one.
    pub fn new(name: &str) -> Options {
        let root = std::env::var_os("ROOST_LAB_DIR").unwrap_or("/var/lib/roost-lab".into());
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
        Options {
            name: name.into(),
            nodes: 3,
            hypervisor: Hypervisor::Kvm,
            kernel: Kernel::Host,
            memory_mib: None,
            disks: 2,
            disk_mib: 2048,
            etcd: false,
            init: false,
            environment: BTreeMap::new(),
            data_mib: None,
            root: root.into(),
            programs: programs_dir(),
            os_dir: repo.join("os"),
            ext_dir: repo.join("extstorage/providers"),
        }
    }

    fn layout(&self) -> Result<Layout> {
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(ok) {
            let text = format!("`{}` is no name for a lab: letters, digits, dashes", self.name);
            return Err(Error::Invalid(text));
        }
        // Nodes have their own of these, so the lab's folders would vanish from sight.
        if ["/run", "/proc", "/sys"].iter().any(|hidden| self.root.starts_with(hidden)) {
            let text = format!("labs cannot live under {}: nodes hide it", self.root.display());
            return Err(Error::Invalid(text));
        }
        let root = std::path::absolute(&self.root)
            .what(|| format!("cannot resolve {}", self.root.display()))?;
        Ok(Layout::new(&root, &self.name))
    }
}

/// The folder of the running program; a test's own lies one deeper.
fn programs_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let dir = exe.parent().unwrap_or(Path::new("/"));
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).into() } else { dir.into() }
}

/// A lab. Dropping one that [`Lab::up`] made takes it down, unless [`Lab::keep`] was called.
#[derive(Debug)]
pub struct Lab {
    options: Options,
    layout: Layout,
    state: State,
    owned: bool,
}

/// One line of a status report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// `node1` …
    pub name: String,
    /// Its address.
    pub ip: String,
    /// Whether it has power.
    pub power: bool,
    /// Whether all of it stands still.
    pub frozen: bool,
    /// Daemons that run.
    pub daemons: Vec<(String, Activity)>,
    /// Guests that run, by libvirt's account.
    pub guests: Vec<String>,
}

impl Lab {
    /// Brings the lab up: all of it, or whatever of it is missing. A lab left behind by a killed
    /// tool is taken over; its disks stay.
    pub fn up(options: Options) -> Result<Lab> {
        let layout = options.layout()?;
        check_host(&options)?;
        if options.kernel == Kernel::Uml {
            // Outside the lock: it may take minutes.
            uml::prepare()?;
        }
        let lock = Lock::take(&layout)?;
        let wanted = State {
            nodes: options.nodes,
            hypervisor: options.hypervisor,
            kernel: options.kernel,
            etcd: options.etcd,
            cuts: Vec::new(),
        };
        let state = match State::load(&layout)? {
            Some(have) if !have.is_like(&wanted) => {
                let tell = |s: &State| {
                    let etcd = if s.etcd { " with etcd" } else { "" };
                    let kernel = if s.kernel == Kernel::Uml { " user-mode Linux" } else { "" };
                    format!("{} {}{kernel} nodes{etcd}", s.nodes, s.hypervisor.name())
                };
                let (have, want) = (tell(&have), tell(&wanted));
                return Err(Error::Different { name: options.name, have, want });
            }
            Some(have) => have,
            None => wanted,
        };
        let init = options.init;
        let lab = Lab { options, layout, state, owned: true };
        let made = lab.make().and_then(|()| if init { cluster::init(&lab) } else { Ok(()) });
        // A lab that could not be made is taken down when it is dropped, which takes the lock too.
        drop(lock);
        made.map(|()| lab)
    }

    /// An existing lab. Dropping it leaves it as it is.
    pub fn open(options: Options) -> Result<Lab> {
        let layout = options.layout()?;
        check_root()?;
        match State::load(&layout)? {
            Some(state) => Ok(Lab { options, layout, state, owned: false }),
            None => Err(Error::NoLab { name: options.name, root: options.root }),
        }
    }

    /// The lab outlives this value.
    pub fn keep(mut self) {
        self.owned = false;
    }

    /// Where the lab keeps its things.
    pub fn dir(&self) -> &Path {
        self.layout.dir()
    }

    /// What runs the guests.
    pub fn hypervisor(&self) -> Hypervisor {
        self.state.hypervisor
    }

    /// What its nodes are.
    pub fn kernel(&self) -> Kernel {
        self.state.kernel
    }

    /// Options of `gnt-cluster init` for where the state is to be.
    pub fn store_options(&self) -> Vec<String> {
        if self.state.etcd { etcd::init_options(self.state.nodes) } else { Vec::new() }
    }

    /// `node1` … in order.
    pub fn node_names(&self) -> Vec<String> {
        (1..=self.state.nodes).map(node_name).collect()
    }

    /// A node by name (`node2`, `node2.lab`, `2`), or the switch.
    pub fn node(&self, name: &str) -> Result<Node<'_>> {
        Ok(Node::new(&self.layout, &self.canonical(name)?))
    }

    /// The one form of a node's name; the switch too.
    pub fn canonical(&self, name: &str) -> Result<String> {
        match node_number(name) {
            Some(n) if n <= self.state.nodes => Ok(node_name(n)),
            None if name == SWITCH => Ok(name.into()),
            _ => {
                let known = format!("{}, {SWITCH}", self.node_names().join(", "));
                Err(Error::UnknownNode { node: name.into(), known })
            }
        }
    }

    /// Runs a command on a node and returns all it said; an error only if it could not be run.
    pub fn exec(&self, node: &str, argv: &[&str]) -> Result<Output> {
        self.with(node, |node| node.exec(argv))
    }

    /// Like [`Lab::exec`] with an own time limit; code 124 when it took longer.
    pub fn exec_within(&self, limit: Duration, node: &str, argv: &[&str]) -> Result<Output> {
        self.with(node, |node| node.exec_within(limit, argv))
    }

    /// Runs a command on a node that must succeed; returns its standard output.
    pub fn check(&self, node: &str, argv: &[&str]) -> Result<String> {
        self.exec(node, argv)?.success(&format!("{node}: {}", argv.join(" ")))
    }

    /// Power cut: everything in the node dies at once and says no goodbye; `/run` is lost, disks
    /// stay.
    pub fn kill(&self, node: &str) -> Result<()> {
        let _lock = Lock::take(&self.layout)?;
        let name = self.canonical(node)?;
        if name == SWITCH {
            let text = "the switch is not a node: cut its cables with `gnt-lab cut`".into();
            return Err(Error::Invalid(text));
        }
        // The cable first: dying sockets would still tell their peers.
        if let (Some(switch), Some(n)) = (self.switch().running(), node_number(&name)) {
            network::unplug(switch, n)?;
        }
        Node::new(&self.layout, &name).power_off()
    }

    /// Power on. A member of a cluster starts its daemons, as a booting machine would.
    pub fn start(&self, node: &str) -> Result<()> {
        let _lock = Lock::take(&self.layout)?;
        let n = node_number(&self.canonical(node)?)
            .ok_or_else(|| Error::Invalid("`gnt-lab up` starts the switch".into()))?;
        self.boot(n)
    }

    /// Kills one daemon of a node.
    pub fn kill_daemon(&self, node: &str, daemon: &str) -> Result<()> {
        self.with(node, |node| daemon::kill(&node, daemon))
    }

    /// Starts one daemon of a node.
    pub fn start_daemon(&self, node: &str, daemon: &str) -> Result<()> {
        if daemon == "etcd" {
            return self.with(node, |node| etcd::start(&node, self.state.nodes));
        }
        self.with(node, |node| daemon::start(&node, daemon))
    }

    /// Stops a daemon where it is (SIGSTOP).
    pub fn freeze(&self, node: &str, daemon: &str) -> Result<()> {
        self.with(node, |node| daemon::freeze(&node, daemon))
    }

    /// Lets a frozen daemon go on.
    pub fn thaw(&self, node: &str, daemon: &str) -> Result<()> {
        self.with(node, |node| daemon::thaw(&node, daemon))
    }

    /// Cuts the wire between two places; from everybody else when `b` is `None`. Guests are cut
    /// off with their node.
    pub fn cut(&mut self, a: &str, b: Option<&str>) -> Result<()> {
        let _lock = Lock::take(&self.layout)?;
        let a = self.canonical(a)?;
        let b = b.map(|b| self.canonical(b)).transpose()?;
        if b.as_ref() == Some(&a) || (a == SWITCH && b.is_none()) {
            return Err(Error::Invalid("a cut needs two different places, or one node".into()));
        }
        self.reload()?;
        let cut = Cut { a, b };
        if !self.state.cuts.contains(&cut) {
            self.state.cuts.push(cut);
        }
        self.apply_cuts()
    }

    /// Mends every wire.
    pub fn heal(&mut self) -> Result<()> {
        let _lock = Lock::take(&self.layout)?;
        self.reload()?;
        self.state.cuts.clear();
        self.apply_cuts()
    }

    /// Wires that are cut.
    pub fn cuts(&self) -> &[Cut] {
        &self.state.cuts
    }

    /// What every node is doing.
    pub fn status(&self) -> Vec<NodeStatus> {
        let one = |n| {
            let name = node_name(n);
            let node = Node::new(&self.layout, &name);
            let frozen = node.frozen();
            let daemon = |d: &&str| Some(((*d).to_owned(), daemon::activity(&node, d)?));
            let daemons: Vec<_> = daemon::KNOWN.iter().filter_map(daemon).collect();
            let asks = daemons.iter().any(|d| d.0 == "libvirtd" && d.1 == Activity::Running);
            let guests = if asks { libvirt::guests(&node) } else { Vec::new() };
            let power = node.running().is_some();
            NodeStatus { ip: node_ip(n), power, frozen, daemons, guests, name: name.clone() }
        };
        (1..=self.state.nodes).map(one).collect()
    }

    /// How much memory a daemon of a node occupies, KiB; `None` when it does not run.
    pub fn memory(&self, node: &str, daemon: &str) -> Option<u64> {
        daemon::memory(&self.node(node).ok()?, daemon)
    }

    /// Ends everything and removes the lab's folder.
    pub fn down(mut self) -> Result<()> {
        self.owned = false;
        let _lock = Lock::take(&self.layout)?;
        remove(&self.layout)
    }

    /// Takes down whatever there is of a lab, even if its state is lost; false when nothing was.
    pub fn down_by_name(options: &Options) -> Result<bool> {
        let layout = options.layout()?;
        check_root()?;
        let _lock = Lock::take(&layout)?;
        let some =
            layout.dir().exists() || !process::find(|a| init::is_init(a, &layout, None)).is_empty();
        remove(&layout)?;
        Ok(some)
    }

    fn with<T>(&self, node: &str, f: impl FnOnce(Node<'_>) -> Result<T>) -> Result<T> {
        f(self.node(node)?)
    }

    fn switch(&self) -> Node<'_> {
        Node::new(&self.layout, SWITCH)
    }

    fn reload(&mut self) -> Result<()> {
        if let Some(state) = State::load(&self.layout)? {
            self.state = state;
        }
        Ok(())
    }

    fn apply_cuts(&self) -> Result<()> {
        self.state.save(&self.layout)?;
        network::apply_cuts(self.switch().init()?, &self.state.cuts)
    }

    /// Everything between "nothing" and "all nodes up"; each part is skipped when it is there.
    fn make(&self) -> Result<()> {
        for dir in [self.layout.bin(), self.layout.shared()] {
            fs::create_dir_all(&dir).what(|| format!("cannot make {}", dir.display()))?;
        }
        self.state.save(&self.layout)?;
        link_programs(&self.options.programs, &self.layout.bin())?;
        self.settle()?;
        let switch = self.switch();
        if !switch.is_up() {
            switch.power_off()?;
            switch.make_folders(self.state.nodes)?;
            let process =
                switch.power_on(self.gnt_lab(), &self.options.os_dir, &self.options.ext_dir)?;
            network::prepare_switch(process)?;
            network::apply_cuts(process, &self.state.cuts)?;
            self.mark_up(SWITCH)?;
        }
        if self.state.etcd {
            etcd::prepare(&self.layout, self.state.nodes)?;
        }
        std::thread::scope(|scope| {
            let boots: Vec<_> =
                (1..=self.state.nodes).map(|n| scope.spawn(move || self.boot(n))).collect();
            let ends = boots.into_iter().map(|b| b.join().expect("boot does not panic"));
            // All are waited for, then the first failure counts.
            ends.collect::<Vec<_>>().into_iter().collect::<Result<()>>()
        })?;
        if self.state.etcd { etcd::secure(&self.layout) } else { Ok(()) }
    }

    fn boot(&self, n: usize) -> Result<()> {
        let name = node_name(n);
        let node = Node::new(&self.layout, &name);
        let switch = self.switch().init()?;
        if node.is_up() {
            // The switch may be a new one.
            return if network::plugged(switch, n) {
                Ok(())
            } else {
                network::wire(switch, node.init()?, n)
            };
        }
        node.power_off()?;
        node.make_folders(self.state.nodes)?;
        if self.state.kernel == Kernel::Uml && node.machine().is_none() {
            uml::Machine::new(&self.options, &self.layout, &name, self.state.nodes)?
                .save(&self.layout)?;
        }
        let process = node.power_on(self.gnt_lab(), &self.options.os_dir, &self.options.ext_dir)?;
        network::wire(switch, process, n)?;
        if self.state.hypervisor == Hypervisor::Kvm {
            libvirt::configure(&node, &node_ip(n))?;
            libvirt::start(&node)?;
        }
        if self.state.etcd {
            etcd::start(&node, self.state.nodes)?;
        }
        if node.in_cluster() {
            daemon::start_all(&node)?;
        }
        self.mark_up(&name)
    }

    fn mark_up(&self, node: &str) -> Result<()> {
        let marker = self.layout.up_marker(node);
        fs::write(&marker, "").what(|| format!("cannot write {}", marker.display()))
    }

    fn gnt_lab(&self) -> PathBuf {
        self.options.programs.join("gnt-lab")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned
            && let Err(e) = Lock::take(&self.layout).and_then(|_lock| remove(&self.layout))
        {
            eprintln!("lab {}: {e}", self.options.name);
        }
    }
}

fn check_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

fn check_host(options: &Options) -> Result<()> {
    check_root()?;
    if !(1..=MAX_NODES).contains(&options.nodes) {
        return Err(Error::Invalid(format!("a lab has 1 to {MAX_NODES} nodes")));
    }
    let util_linux = ["unshare", "nsenter", "setsid"].map(|p| (p, "util-linux"));
    exec::require(&util_linux)?;
    exec::require(&[("ip", "iproute2"), ("nft", "nftables"), ("timeout", "coreutils")])?;
    if options.kernel == Kernel::Uml {
        exec::require(uml::PROGRAMS)?;
        if options.disks > MAX_DISKS || options.disk_mib == 0 {
            let text = format!("a node has at most {MAX_DISKS} disks, and none of 0 MiB");
            return Err(Error::Invalid(text));
        }
        if options.data_mib.is_some() {
            let text = "nodes with a kernel of their own keep the cluster's state on their disk, \
                        where --data-size cannot limit it";
            return Err(Error::Invalid(text.into()));
        }
    } else if options.hypervisor == Hypervisor::Kvm {
        exec::require(libvirt::PROGRAMS)?;
    }
    if options.etcd {
        exec::require(etcd::PROGRAMS)?;
    }
    let needed: &[&str] = if options.init {
        &["gnt-lab", "gnt", "roost-masterd", "roost-noded", "gnt-confd", "gnt-mond"]
    } else {
        &["gnt-lab"]
    };
    let missing = needed.iter().map(|p| options.programs.join(p)).find(|p| !p.is_file());
    missing.map_or(Ok(()), |path| Err(Error::NotBuilt { path }))
}

/// Links every program under every name it answers to.
fn link_programs(programs: &Path, bin: &Path) -> Result<()> {
    let mut links: Vec<(String, &str)> =
        GNT_NAMES.iter().map(|name| ((*name).to_owned(), "gnt")).collect();
    let own = [
        "gnt",
        "roost-masterd",
        "roost-noded",
        "gnt-confd",
        "gnt-mond",
        "mon-collector",
        "roost-rapi",
    ];
    links.extend(own.map(|name| (name.to_owned(), name)));
    for (name, program) in links {
        let (target, link) = (programs.join(program), bin.join(name));
        if fs::read_link(&link).is_ok_and(|old| old == target) {
            continue;
        }
        let what = || format!("cannot link {}", link.display());
        match fs::remove_file(&link) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).what(what),
            _ => std::os::unix::fs::symlink(&target, &link).what(what)?,
        }
    }
    Ok(())
}

fn remove(layout: &Layout) -> Result<()> {
    for init in process::find(|args| init::is_init(args, layout, None)) {
        init.kill_and_wait(Duration::from_secs(60))?;
    }
    faults::unmount(layout)?;
    match fs::remove_dir_all(layout.dir()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).what(|| format!("cannot remove {}", layout.dir().display()))
        }
        _ => {
            let _ = fs::remove_file(layout.lock());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_lead_astray_are_refused() {
        for bad in ["", "a/b", "..", "a b"] {
            assert!(Options::new(bad).layout().is_err(), "{bad}");
        }
        let hidden = Options { root: "/run/x".into(), ..Options::new("a") };
        assert!(hidden.layout().unwrap_err().to_string().contains("nodes hide it"));
    }

    #[test]
    fn programs_are_linked_under_all_their_names_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        for target in ["/a", "/b", "/b"] {
            link_programs(Path::new(target), dir.path()).unwrap();
            let link = fs::read_link(dir.path().join("gnt-instance")).unwrap();
            assert_eq!(link, Path::new(target).join("gnt"));
        }
    }
}
