//! The program as a process: its key, its rights, its end.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod daemon;

use daemon::{Asker, Daemon, KEY, NOW, PING, content, fixture, salt_of, signed, signed_with};
use nix::sys::signal::{Signal, kill};
use roost_confd::wire::Tag;
use serde_json::Value;
use std::fs;
use std::process::Command;

/// The time is the machine's only where nothing else is said.
const FROZEN: [&str; 2] = ["--clock", "1700000000"];

fn status(daemon: &Daemon, key: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a line of that key");
    line.trim_start_matches(':').split_whitespace().map(str::to_owned).collect()
}

#[test]
fn it_ends_when_told_and_says_what_it_did() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = Daemon::start(&FROZEN);
        let asker = Asker::of(&daemon);
        asker.send(b"plj0 garbage");
        assert_eq!(salt_of(&asker.ask(&signed(&NOW.to_string(), PING))), "ping");
        kill(daemon.pid(), signal).unwrap();
        let line = daemon.line("stopped; ");
        assert!(line.contains("received 2, answered 1, without an answer: envelope 1"), "{line}");
        assert!(daemon.process.wait().unwrap().success());
    }
}

#[test]
fn a_renewed_key_is_taken_up() {
    let daemon = Daemon::start(&FROZEN);
    let asker = Asker::of(&daemon);
    assert_eq!(salt_of(&asker.ask(&signed(&NOW.to_string(), PING))), "ping");
    let key = daemon.files.path().join("hmac.key");
    let next = daemon.files.path().join("next");
    fs::write(&next, "the next key\n").unwrap();
    fs::rename(&next, &key).unwrap();
    daemon.line("it was replaced");
    asker.send(&signed(&NOW.to_string(), PING));
    let msg = r#"{"protocol":1,"type":0,"rsalt":"with the next key"}"#;
    let answer = asker.ask(&signed_with("the next key\n", Tag::Sha1, &NOW.to_string(), msg));
    assert_eq!(salt_of(&answer), "with the next key");
}

#[test]
fn a_changed_configuration_is_served_and_a_bad_one_is_not() {
    let daemon = Daemon::start(&FROZEN);
    let asker = Asker::of(&daemon);
    let name = || {
        let msg = r#"{"protocol":1,"type":10,"query":"/cluster/cluster_name","rsalt":"x"}"#;
        content(&asker.ask(&signed(&NOW.to_string(), msg))).3["answer"].clone()
    };
    assert_eq!(name(), "clst.example.org");
    let text = fs::read_to_string(fixture("confd-config.data.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["cluster"]["cluster_name"] = "renamed.example.org".into();
    let replace = |text: &str| {
        let next = daemon.files.path().join("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, daemon.files.path().join("config.data")).unwrap();
    };
    replace(&config.to_string());
    daemon.line("configuration loaded");
    daemon.line("configuration loaded");
    assert_eq!(name(), "renamed.example.org");
    replace("{\"cluster\":");
    daemon.line("is kept");
    assert_eq!(name(), "renamed.example.org");
}

#[test]
fn roots_daemon_has_none_of_roots_rights() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    // Somebody who is on every machine.
    for (arguments, uid) in
        [(["--user", "nobody"].as_slice(), "65534"), (&["--no-user-checks"], "0")]
    {
        let daemon = Daemon::start(&[&FROZEN, arguments].concat());
        let asker = Asker::of(&daemon);
        assert_eq!(salt_of(&asker.ask(&signed(&NOW.to_string(), PING))), "ping");
        assert_eq!(status(&daemon, "Uid"), [uid; 4]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
            assert_eq!(status(&daemon, set), ["0000000000000000"], "{set} of {arguments:?}");
        }
        assert_eq!(status(&daemon, "NoNewPrivs"), ["1"]);
        if uid != "0" {
            assert!(status(&daemon, "Groups").is_empty());
            // Every thread of it.
            for task in fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap() {
                let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
                assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
                assert!(text.contains("Uid:\t65534\t65534\t65534\t65534"), "{text}");
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the program itself is under test")]
fn fails(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gnt-confd"))
        .args(["--no-user-checks", "--bind", "127.0.0.1"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("hmac.key");
    let (key_name, config) = (key.to_str().unwrap(), fixture("confd-config.data.json"));
    let config = config.to_str().unwrap();
    let files = ["--hmac-key", key_name, "--config", config, "--port"];
    let said = fails(&[&files[..], &["0"]].concat());
    assert!(said.contains("hmac.key': No such file"), "{said}");
    fs::write(&key, "").unwrap();
    let said = fails(&[&files[..], &["0"]].concat());
    assert!(said.contains("is empty"), "{said}");
    fs::write(&key, KEY).unwrap();
    let other = Daemon::start(&FROZEN);
    let said = fails(&[&files[..], &[&other.address.port().to_string()]].concat());
    assert!(said.contains("another daemon"), "{said}");
}
