//! Starts `gnt-confd` as users do and asks it over a real socket.

#![allow(dead_code, reason = "each test program uses its part")]

use roost_confd::wire::{Envelope, HmacKey, Tag};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The key of the recorded exchanges, and their time.
pub const KEY: &str = "0123456789abcdef0123456789abcdef01234567\n";
pub const NOW: i64 = 1_700_000_000;
/// A test that fails should end.
const LIMIT: Duration = Duration::from_secs(30);

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The recorded exchanges.
pub fn vectors() -> Vec<Value> {
    let text = fs::read_to_string(fixture("confd-vectors.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&recorded["hmac_key_file"], &recorded["request_time"]), (&KEY.into(), &NOW.into()));
    recorded["vectors"].as_array().unwrap().clone()
}

/// A daemon that serves the recorded configuration at the recorded time.
pub struct Daemon {
    pub process: Child,
    pub address: SocketAddr,
    pub files: tempfile::TempDir,
    lines: Receiver<String>,
}

impl Daemon {
    pub fn start(more: &[&str]) -> Daemon {
        Daemon::start_at("127.0.0.1", more)
    }

    #[allow(clippy::disallowed_methods, reason = "the program itself is under test")]
    pub fn start_at(address: &str, more: &[&str]) -> Daemon {
        let files = tempfile::tempdir().unwrap();
        // The daemon of root may become somebody else.
        let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(files.path(), anybody).unwrap();
        let (key, config) = (files.path().join("hmac.key"), files.path().join("config.data"));
        fs::write(&key, KEY).unwrap();
        fs::copy(fixture("confd-config.data.json"), &config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gnt-confd"));
        command.args(["--foreground", "--port", "0", "--bind", address]);
        command.arg("--hmac-key").arg(key).arg("--config").arg(config);
        command.args(more).stderr(Stdio::piped()).env("ROOST_LOG", "info");
        let mut process = command.spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("gnt-confd: {line}");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Daemon { process, address: ([0, 0, 0, 0], 0).into(), files, lines };
        let line = daemon.line("listens at UDP ");
        let (_, address) = line.split_once("listens at UDP ").unwrap();
        daemon.address = address.split_once(", ").unwrap().0.parse().unwrap();
        daemon
    }

    /// The next line of the log that has this text.
    pub fn line(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect("a line of the log");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Its address at one of the machine's own.
    pub fn at(&self, ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse::<IpAddr>().unwrap(), self.address.port())
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody who asks.
pub struct Asker {
    pub socket: UdpSocket,
    pub to: SocketAddr,
}

impl Asker {
    pub fn of(daemon: &Daemon) -> Asker {
        Asker::to(daemon.address)
    }

    pub fn to(to: SocketAddr) -> Asker {
        let own = if to.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
        let socket = UdpSocket::bind(own).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Asker { socket, to }
    }

    pub fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.to).unwrap();
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut room = vec![0; 1 << 16];
        let (length, from) = self.socket.recv_from(&mut room).expect("an answer");
        assert_eq!(from, self.to, "who answers");
        room.truncate(length);
        room
    }

    pub fn ask(&self, datagram: &[u8]) -> Vec<u8> {
        self.send(datagram);
        self.receive()
    }

    /// Nothing that was sent before this was answered, and the daemon goes on: a good question is
    /// answered, alone. Works only with a daemon of one socket, which answers in order.
    pub fn hears_nothing_but_a_good_answer(&self, what: &str) {
        let rsalt = format!("the good one after {what}");
        let msg = format!(r#"{{"protocol":1,"type":0,"rsalt":{}}}"#, Value::from(rsalt.as_str()));
        let answer = self.ask(&signed(&NOW.to_string(), &msg));
        assert_eq!(salt_of(&answer), rsalt, "{what} was answered");
    }
}

pub fn salt_of(datagram: &[u8]) -> String {
    Envelope::parse(datagram).expect("an envelope").salt.into_owned()
}

/// A datagram of a holder of the key.
pub fn signed(salt: &str, msg: &str) -> Vec<u8> {
    signed_with(KEY, Tag::Sha1, salt, msg)
}

pub fn signed_with(key: &str, tag: Tag, salt: &str, msg: &str) -> Vec<u8> {
    let mut out = vec![];
    Envelope::write(&HmacKey::new(key.as_bytes()).unwrap(), tag, salt, msg, &mut out);
    out
}

pub const PING: &str = r#"{"protocol":1,"type":0,"rsalt":"ping"}"#;

/// What was asked or answered: magic, keys of the envelope, salt and the message as JSON.
pub fn content(datagram: &[u8]) -> (String, Vec<String>, String, Value) {
    let text = std::str::from_utf8(datagram).unwrap();
    let envelope: Value = serde_json::from_str(&text[4..]).unwrap();
    let parsed = Envelope::parse(datagram).expect("an envelope");
    assert!(parsed.verify(&HmacKey::new(KEY.as_bytes()).unwrap()), "the signature of {text}");
    let keys = envelope.as_object().unwrap().keys().cloned().collect();
    let msg = serde_json::from_str(envelope["msg"].as_str().unwrap()).unwrap();
    (text[..4].to_owned(), keys, parsed.salt.into_owned(), msg)
}
