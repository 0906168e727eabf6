//! Makes a cluster of a lab's nodes, the way an administrator would.

use super::daemon;
use super::error::{Error, Result};
use super::layout::{CLUSTER, node_name};
use super::node::Node;
use super::state::{Hypervisor, Kernel};
use super::{Lab, uml};
use std::time::{Duration, Instant};

/// How long the first copies of the state may take.
const COPIES: Duration = Duration::from_secs(30);

/// `gnt-cluster init` on the first node, then every other node joins. Nodes that are members
/// already are left alone.
pub fn init(lab: &Lab) -> Result<()> {
    let first = node_name(1);
    let master = lab.node(&first)?;
    if !master.in_cluster() {
        let mut argv = init_command(lab.hypervisor(), lab.kernel());
        // Before the cluster's name.
        let options = argv.len() - 1;
        argv.splice(options..options, lab.store_options());
        check(&master, &argv)?;
    }
    for name in lab.node_names().into_iter().skip(1) {
        let node = lab.node(&name)?;
        if !node.in_cluster() {
            join(&master, &node)?;
        }
    }
    wait_for_copies(&master)
}

/// Until every master candidate has its copy of the state: from then on any node may fail.
fn wait_for_copies(master: &Node<'_>) -> Result<()> {
    let list = ["gnt-node", "list", "--no-headers", "-o", "config_copy"].map(str::to_owned);
    let end = Instant::now() + COPIES;
    loop {
        // Where another node is the master by now, this is none of our business.
        let Ok(said) = check(master, &list) else { return Ok(()) };
        if !said.lines().any(|line| line.contains("away") || line.contains("behind")) {
            return Ok(());
        }
        if Instant::now() > end {
            let text = format!("copies of the state are not level after {COPIES:?}:\n{said}");
            return Err(Error::Invalid(text));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The command that makes the cluster.
pub fn init_command(hypervisor: Hypervisor, kernel: Kernel) -> Vec<String> {
    let mut argv = ["gnt-cluster", "init"].map(str::to_owned).to_vec();
    match kernel {
        Kernel::Host => argv.push("--enabled-disk-templates=sharedfile,file,diskless".into()),
        Kernel::Uml => {
            argv.push("--enabled-disk-templates=plain,drbd,file,sharedfile,ext,diskless".into());
            argv.push(format!("--vg-name={}", uml::VOLUME_GROUP));
        }
    }
    argv.push(format!("--enabled-hypervisors={}", hypervisor.name()));
    argv.extend(["-N", "mode=bridged,link=br0", "--master-netdev=br0"].map(str::to_owned));
    argv.extend(["--master-netmask=32", CLUSTER].map(str::to_owned));
    argv
}

/// Lets one node join: a one-time token from the master, then the master adds it.
pub fn join(master: &Node<'_>, node: &Node<'_>) -> Result<()> {
    let name = node.name();
    let said = check(master, &["gnt-node", "token", name].map(str::to_owned))?;
    let token = said
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .ok_or_else(|| Error::Invalid(format!("`gnt-node token {name}` printed no token")))?;
    check(node, &["roost-noded", "join", token].map(str::to_owned))?;
    daemon::start_all(node)?;
    check(master, &["gnt-node", "add", name].map(str::to_owned))?;
    Ok(())
}

fn check(node: &Node<'_>, argv: &[String]) -> Result<String> {
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    node.exec(&argv)?.success(&format!("{}: {}", node.name(), argv.join(" ")))
}
