//! A cluster with an eye on its confd and mond.

use roost_tests::lab::{Hypervisor, Kernel, Lab, Options, wait_until};
use serde_json::Value;
use std::time::Duration;

/// Anything the cluster does by itself, on a busy machine.
pub const SOON: Duration = Duration::from_secs(120);
pub const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// Three nodes, all master candidates, with simulated guests. Gone when dropped.
pub struct Site {
    pub lab: Lab,
    _root: tempfile::TempDir,
}

impl Site {
    pub fn up(name: &str) -> Site {
        Site::of(name, Hypervisor::Fake, Kernel::Host, &NODES)
    }

    /// Two of the nodes, with real guests.
    pub fn with_guests(name: &str) -> Site {
        Site::of(name, Hypervisor::Kvm, Kernel::Host, &NODES[..2])
    }

    /// Two of the nodes, with kernels and volumes of their own.
    pub fn with_volumes(name: &str) -> Site {
        Site::of(name, Hypervisor::Fake, Kernel::Uml, &NODES[..2])
    }

    fn of(name: &str, hypervisor: Hypervisor, kernel: Kernel, nodes: &[&str]) -> Site {
        let root = tempfile::tempdir().unwrap();
        let lab = Lab::up(Options {
            root: root.path().into(),
            nodes: nodes.len(),
            hypervisor,
            kernel,
            disk_mib: 512,
            init: true,
            ..Options::new(name)
        });
        let site = Site { lab: lab.unwrap(), _root: root };
        for node in nodes {
            site.until(node, "gnt-confd-client ping --timeout 2 --address 127.0.0.1");
        }
        site
    }

    /// Standard output of a shell command that must succeed.
    #[track_caller]
    pub fn ok(&self, node: &str, command: &str) -> String {
        self.lab.check(node, &["sh", "-c", command]).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Whether a shell command succeeds.
    pub fn succeeds(&self, node: &str, command: &str) -> bool {
        self.lab.exec(node, &["sh", "-c", command]).unwrap().ok()
    }

    /// Waits until a shell command succeeds.
    #[track_caller]
    pub fn until(&self, node: &str, command: &str) {
        let what = || format!("{node}: {command}");
        wait_until(SOON, what, || self.succeeds(node, command)).unwrap_or_else(|e| panic!("{e}"));
    }

    pub fn add_instance(&self, name: &str, node: &str) {
        let command = format!(
            "gnt-instance add -t diskless -o tiny+default -n {node} --no-install --no-start {name}"
        );
        self.ok("node1", &command);
    }

    /// The whole outcome of a question to the confd of some nodes, asked on one of them; none: nobody answered.
    pub fn ask(&self, on: &str, whom: &[&str], question: &str) -> Option<Value> {
        let addresses: String =
            whom.iter().map(|node| format!(" --address {}", ip(node))).collect();
        let command = format!("gnt-confd-client {question} --json --timeout 3 --all{addresses}");
        let said = self.lab.exec(on, &["sh", "-c", &command]).unwrap();
        serde_json::from_str(&said.stdout).ok()
    }

    /// What a node's own confd says of the instances in the configuration, and with which serial.
    pub fn knows(&self, node: &str, instance: &str) -> Option<(bool, u64)> {
        let all = NODES.map(|of| self.ask(node, &[node], &format!("instances {of}")));
        let is_there = all.into_iter().flatten().any(|said| said.to_string().contains(instance));
        // Asked last: what is known is in it, or in one before.
        let said = self.ask(node, &[node], "config /cluster/serial_no")?;
        Some((is_there, said["answer"].as_u64()?))
    }

    /// Waits until a node's confd knows of an instance; returns its serial.
    #[track_caller]
    pub fn until_known(&self, node: &str, instance: &str) -> u64 {
        let mut serial = 0;
        let known = || match self.knows(node, instance) {
            Some((true, now)) => {
                serial = now;
                true
            }
            _ => false,
        };
        wait_until(SOON, || format!("{instance} known to the confd of {node}"), known).unwrap();
        serial
    }

    /// A page of a node's mond; none: it has none such.
    pub fn page(&self, node: &str, path: &str) -> Option<Value> {
        let command = format!("busybox wget -q -O - http://127.0.0.1:1815{path}");
        let said = self.lab.exec(node, &["sh", "-c", &command]).unwrap();
        said.ok().then(|| serde_json::from_str(&said.stdout).unwrap())
    }

    /// Names of the collectors of a node's mond.
    pub fn collectors(&self, node: &str) -> Vec<String> {
        let list = self.page(node, "/1/list/collectors").unwrap();
        let names = list.as_array().unwrap().iter().map(|one| one[0].as_str().unwrap().to_owned());
        names.collect()
    }
}

/// The address of a node.
pub fn ip(node: &str) -> String {
    format!("10.78.0.{}", node.strip_prefix("node").unwrap())
}
