//! A cluster to try things on: three nodes, simulated or real guests, OS definitions made for tests.

use roost_tests::lab::{Hypervisor, Lab, Options, Output, wait_until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Anything the cluster does by itself, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The OS definitions of the tests, by name: what `create` does.
const DEFINITIONS: &[(&str, &str)] = &[
    ("noop", "exit 0"),
    // Long enough to be killed in the middle.
    ("slow", "for i in 1 2 3 4 5 6 7 8; do echo part $i; sleep 0.1; done"),
    ("fails", "echo no luck today >&2; exit 3"),
    // Uses up the file system on which its disk lies.
    ("fills", "dd if=/dev/urandom of=$DISK_0_PATH bs=1M count=64 conv=notrunc"),
];

/// A cluster in a lab of its own, gone when dropped.
pub struct Cluster {
    pub lab: Lab,
    /// Where commands run that name no node.
    pub master: String,
    root: tempfile::TempDir,
}

impl Cluster {
    /// Three nodes with simulated guests.
    pub fn fake(name: &str) -> Cluster {
        Cluster::up(name, Hypervisor::Fake)
    }

    pub fn up(name: &str, hypervisor: Hypervisor) -> Cluster {
        Cluster::with(Options { hypervisor, ..Options::new(name) })
    }

    /// Any other.
    pub fn with(options: Options) -> Cluster {
        let root = tempfile::tempdir().unwrap();
        let os_dir = root.path().join("os");
        for (name, script) in DEFINITIONS {
            definition(&os_dir.join(name), script, "20");
        }
        let options = Options { root: root.path().into(), init: true, ..options };
        let tiny = options.os_dir.join("tiny");
        copy(&tiny, &os_dir.join("tiny"));
        let lab = Lab::up(Options { os_dir, ..options }).unwrap();
        let cluster = Cluster { lab, master: "node1".into(), root };
        cluster.all_report();
        cluster
    }

    /// Where OS definitions of all nodes are, outside of the lab.
    pub fn os_dir(&self) -> PathBuf {
        self.root.path().join("os")
    }

    /// Puts an OS definition of an unknown version on all nodes; returns where it is.
    pub fn future_os(&self) -> PathBuf {
        let dir = self.root.path().join("os/future");
        definition(&dir, "exit 0", "99");
        dir
    }

    /// Runs a shell command on the master.
    pub fn run(&self, command: &str) -> Output {
        self.on(&self.master, command)
    }

    /// Runs a shell command on a node.
    pub fn on(&self, node: &str, command: &str) -> Output {
        self.lab.exec_within(Duration::from_secs(300), node, &["sh", "-c", command]).unwrap()
    }

    /// Standard output of a command that must succeed.
    #[track_caller]
    pub fn ok(&self, command: &str) -> String {
        let out = self.run(command);
        assert_eq!(out.code, 0, "{command}\n{}\n{}", out.stdout, out.stderr);
        out.stdout
    }

    /// What a command prints as JSON.
    #[track_caller]
    pub fn json(&self, command: &str) -> Value {
        let text = self.ok(command);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{command}: {e}\n{text}"))
    }

    /// A command that must be refused with this exit code and these words on standard error.
    #[track_caller]
    pub fn refused(&self, command: &str, code: i32, words: &[&str]) {
        let out = self.run(command);
        let said = format!("{command}\nended with {}\n{}\n{}", out.code, out.stdout, out.stderr);
        assert_eq!(out.code, code, "{said}");
        for word in words {
            assert!(out.stderr.contains(word), "`{word}` is missing: {said}");
        }
    }

    /// One field of an instance, as `gnt-instance list` shows it; empty when there is none.
    pub fn instance(&self, field: &str, name: &str) -> String {
        let out = self.run(&format!("gnt-instance list --no-headers -o {field} {name}"));
        if out.ok() { out.stdout.trim().to_owned() } else { String::new() }
    }

    /// Waits until a field of an instance has this value.
    #[track_caller]
    pub fn wait_for(&self, name: &str, field: &str, value: &str) {
        let is = || self.instance(field, name) == value;
        if let Err(e) = wait_until(SOON, || format!("{field} {value} of {name}"), is) {
            panic!("{e}; it is `{}`\n{}", self.instance(field, name), self.ok("gnt-job list"));
        }
    }

    /// Names of all instances.
    pub fn instances(&self) -> Vec<String> {
        let text = self.ok("gnt-instance list --no-headers -o name");
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Everything on the nodes' storage and every simulated guest: what failures must not leave.
    pub fn files(&self) -> Vec<String> {
        let find = "find /srv/ganeti/file-storage /srv/ganeti/shared-file-storage \
                    /run/ganeti/fake-hypervisor -mindepth 1 2>/dev/null || true";
        let mut all = Vec::new();
        for node in self.lab.status().into_iter().filter(|n| n.power) {
            let text = self.on(&node.name, find).stdout;
            all.extend(text.lines().map(|line| format!("{}:{line}", node.name)));
        }
        all.sort();
        all
    }

    /// `gnt-cluster verify` is content. The ssconf files follow a change a moment later, so those
    /// alone are given that moment.
    #[track_caller]
    pub fn verify(&self) {
        let mut out = self.run("gnt-cluster verify");
        let lags = |out: &Output| {
            let mut errors = out.stdout.lines().filter(|l| l.contains("ERROR")).peekable();
            errors.peek().is_some() && errors.all(|l| l.contains("file ssconf_"))
        };
        if lags(&out) {
            let settled = || {
                out = self.run("gnt-cluster verify");
                !lags(&out)
            };
            wait_until(SOON, || "up-to-date ssconf files".into(), settled).unwrap();
        }
        assert_eq!(out.code, 0, "{}\n{}", out.stdout, out.stderr);
        assert!(!out.stdout.contains("ERROR"), "{}", out.stdout);
    }

    /// Waits until every node with power reports its memory.
    pub fn all_report(&self) {
        let free = "gnt-node list --no-headers -o mfree";
        let all = || {
            let out = self.run(free);
            out.ok()
                && out
                    .stdout
                    .split_whitespace()
                    .all(|m| m.starts_with(|c: char| c.is_ascii_digit()))
        };
        wait_until(SOON, || "reports of all nodes".into(), all).unwrap();
    }

    /// Waits until the master answers.
    pub fn master_answers(&self) {
        let answers = || self.run("gnt-cluster master-ping && gnt-job list").ok();
        wait_until(SOON, || "an answer of the master".into(), answers).unwrap();
    }

    /// Waits until no job is unfinished.
    #[track_caller]
    pub fn jobs_end(&self) {
        let ended = || {
            let out = self.run("gnt-job list --no-headers -o status");
            let over = |s: &str| matches!(s, "success" | "error" | "canceled");
            out.ok() && out.stdout.split_whitespace().all(over)
        };
        if let Err(e) = wait_until(SOON * 2, || "end of all jobs".into(), ended) {
            panic!("{e}\n{}", self.run("gnt-job list; gnt-debug locks").stdout);
        }
    }

    /// Submits a job; returns its number.
    #[track_caller]
    pub fn submit(&self, command: &str) -> u64 {
        let text = self.ok(&format!("{command} --submit --print-jobid"));
        text.lines().next().unwrap().trim().parse().unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// Status of a job.
    pub fn job(&self, id: u64) -> String {
        self.ok(&format!("gnt-job list --no-headers -o status {id}")).trim().to_owned()
    }

    /// Waits until a job has this status.
    #[track_caller]
    pub fn wait_job(&self, id: u64, status: &str) {
        let is = || self.job(id) == status;
        if let Err(e) = wait_until(SOON, || format!("job {id} {status}"), is) {
            panic!("{e}\n{}", self.ok(&format!("gnt-job info {id}")));
        }
    }
}

fn definition(dir: &Path, create: &str, version: &str) {
    fs::create_dir_all(dir).unwrap();
    for (name, body) in [
        ("create", create),
        ("import", "cat >/dev/null"),
        ("export", "true"),
        ("rename", "true"),
        ("verify", "true"),
    ] {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(dir.join("parameters.list"), "").unwrap();
    fs::write(dir.join("ganeti_api_version"), format!("{version}\n")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten().filter(|e| e.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
