//! The real program.

use crate::client::get;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A gnt-mond on a port of its own; it is killed when this is dropped.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "tests start programs themselves")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

impl Daemon {
    pub fn start(root: &Path, options: &[&str]) -> Daemon {
        let mut child = command(env!("CARGO_BIN_EXE_gnt-mond"))
            .args(["--foreground", "--bind", "127.0.0.1", "--port", "0", "--rootdir"])
            .arg(root)
            .args(options)
            .env_remove("ROOST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let mut said = vec![];
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {said:?}")).unwrap();
            if let Some((_, rest)) = line.split_once("mond listens at ") {
                break rest.split(' ').next().unwrap().parse().expect("an address");
            }
            said.push(line);
        };
        // Else it would wait for somebody to read what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Daemon { child, address }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn check(to: SocketAddr, more: &[&str]) -> Output {
    command(env!("CARGO_BIN_EXE_gnt-mond"))
        .args(["check", "--host", "127.0.0.1", "--port", &to.port().to_string()])
        .args(more)
        .output()
        .expect("ran")
}

/// Who has this process as its parent, with their arguments.
fn children(of: u32) -> Vec<(u32, String)> {
    let ppid = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| ppid(*pid) == Some(of))
        .map(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, line.replace('\0', " "))
        })
        .collect()
}

fn field(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().to_owned()
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

#[tokio::test]
async fn it_runs_without_a_cluster_and_checks_say_how_it_is() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("run/ganeti")).unwrap();
    let mut daemon = Daemon::start(root.path(), &[]);
    let list = get(daemon.address, "/1/list/collectors").await.json();
    let names: Vec<&str> =
        list.as_array().unwrap().iter().filter_map(|one| one[0].as_str()).collect();
    assert!(names.contains(&"cpu-avg-load") && names.contains(&"diskstats"), "{names:?}");
    let all = get(daemon.address, "/1/report/all").await.json();
    let reported: Vec<&str> =
        all.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, reported);
    assert_eq!(get(daemon.address, "/healthz/ready").await.status(), 200);

    let good = check(daemon.address, &["--collector", "diskstats"]);
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!((good.status.code(), text.as_str()), (Some(0), "MOND OK - diskstats reports\n"));
    let none = check(daemon.address, &["--collector", "none-of-this-name"]);
    assert_eq!(none.status.code(), Some(3));
    assert!(check(daemon.address, &[]).status.code().is_some());

    let pid = daemon.pid();
    let pid_file = root.path().join("run/ganeti/mond.pid");
    assert_eq!(std::fs::read_to_string(pid_file).unwrap().trim(), pid.to_string());
    kill(pid, nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.child.wait().unwrap().success());
    let gone = check(daemon.address, &[]);
    assert_eq!(gone.status.code(), Some(2), "{gone:?}");
}

#[tokio::test]
async fn root_is_left_to_a_helper_that_is_replaced_when_it_dies() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(root.path(), &[]);
    let pid = daemon.pid();
    assert_eq!(field(pid, "CapEff:"), "0000000000000000");
    assert_eq!(field(pid, "CapBnd:"), "0000000000000000");
    assert_eq!(field(pid, "NoNewPrivs:"), "1");
    let keeper = children(pid).into_iter().find(|(_, line)| line.contains(" helper ")).unwrap().0;
    let worker = || children(keeper).first().map(|(pid, _)| *pid);
    until("a worker", || worker().is_some_and(|pid| field(pid, "NoNewPrivs:") == "1")).await;
    let first = worker().unwrap();
    assert_ne!(field(first, "CapBnd:"), field(1, "CapBnd:"));
    kill(first, nix::sys::signal::Signal::SIGKILL);
    until("another worker", || worker().is_some_and(|pid| pid != first)).await;
    // mond serves all the time; and whoever helps ends with it.
    assert_eq!(get(daemon.address, "/").await.status(), 200);
    let second = worker().unwrap();
    kill(pid, nix::sys::signal::Signal::SIGKILL);
    let gone = |pid: u32| !Path::new(&format!("/proc/{pid}/exe")).exists();
    until("all gone", || {
        [keeper, second].iter().all(|pid| gone(*pid) || field(*pid, "State:").starts_with('Z'))
    })
    .await;
}

#[test]
fn what_cannot_be_is_said() {
    let run = |options: &[&str]| {
        let output = command(env!("CARGO_BIN_EXE_gnt-mond")).args(options).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (ok, text) = run(&["-f", "--tls-cert", "/nonexistent.pem"]);
    assert!(!ok && text.contains("--tls-key"), "{text}");
    let (ok, text) =
        run(&["-f", "--tls-cert", "/nonexistent.pem", "--tls-key", "/nonexistent.key"]);
    assert!(!ok && text.contains("/nonexistent.pem"), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (ok, text) = run(&["-f", "-b", "127.0.0.1", "-p", &port]);
    assert!(!ok && text.contains(&format!("port {port}")), "{text}");
    let (ok, _) = run(&["--version"]);
    assert!(ok);
}
