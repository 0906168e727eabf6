//! Guests of `os/tiny` as their users see them: over HTTP, from the lab's outside.
//!
//! The guest answers with its boot id and a counter that grows every second, so an answer tells
//! whether it lived on (same boot id, higher count) or started anew (another boot id).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use crate::lab::layout::SWITCH;
use crate::lab::{Lab, Result, wait_until};

/// How long one request may take before it counts as unanswered.
const PATIENCE: Duration = Duration::from_millis(250);
/// Between two requests of a watch.
const PAUSE: Duration = Duration::from_millis(20);

/// What a guest said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The name it was installed with.
    pub name: String,
    /// New at every boot.
    pub boot: String,
    /// Seconds it has counted since it booted.
    pub count: u64,
    /// How often this disk was booted.
    pub boots: u64,
    /// The count its disk held when it booted.
    pub before: u64,
}

impl Answer {
    fn parse(page: &str) -> Option<Answer> {
        let (_, body) = page.split_once("\r\n\r\n")?;
        let field = |key: &str| {
            body.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
        };
        let answer = Answer {
            name: field("name").into(),
            boot: field("boot").into(),
            count: field("count").parse().ok()?,
            boots: field("boots").parse().ok()?,
            before: field("before").parse().ok()?,
        };
        (!answer.boot.is_empty()).then_some(answer)
    }
}

/// Asks a guest once; nothing when it does not answer.
pub fn ask(lab: &Lab, ip: Ipv4Addr) -> Option<Answer> {
    let network = outside(lab).ok()?;
    thread::spawn(move || enter(&network).then(|| request(ip, Duration::from_secs(2))).flatten())
        .join()
        .ok()
        .flatten()
}

/// Waits until a guest answers as wanted.
pub fn wait_for(
    lab: &Lab,
    ip: Ipv4Addr,
    limit: Duration,
    wanted: impl Fn(&Answer) -> bool,
) -> Result<Answer> {
    let mut last = None;
    let answered = || {
        last = ask(lab, ip);
        last.as_ref().is_some_and(&wanted)
    };
    wait_until(limit, || format!("the wanted answer of the guest at {ip}"), answered)?;
    Ok(last.unwrap_or_default())
}

/// Asks a guest again and again until told to stop.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Watched>,
}

/// What a watch saw.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Number of answers.
    pub answers: usize,
    /// Longest time between two answers, or from the last one to the end of the watch.
    pub longest_gap: Duration,
    /// The first and the last answer.
    pub ends: Option<(Answer, Answer)>,
    /// Every answer had the first one's boot id and no count went back.
    pub steady: bool,
}

impl Watch {
    /// Starts asking.
    pub fn start(lab: &Lab, ip: Ipv4Addr) -> Result<Watch> {
        let network = outside(lab)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || watch(&network, ip, &told));
        Ok(Watch { stop, thread })
    }

    /// Stops asking.
    pub fn stop(self) -> Watched {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn watch(network: &File, ip: Ipv4Addr, stop: &AtomicBool) -> Watched {
    let mut seen = Watched { steady: true, ..Watched::default() };
    if !enter(network) {
        return seen;
    }
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Some(now) = request(ip, PATIENCE) {
            seen.longest_gap = seen.longest_gap.max(last.elapsed());
            last = Instant::now();
            seen.answers += 1;
            let (first, before) = seen.ends.take().unwrap_or_else(|| (now.clone(), now.clone()));
            seen.steady &= now.boot == before.boot && now.count >= before.count;
            seen.ends = Some((first, now));
        }
        thread::sleep(PAUSE);
    }
    seen.longest_gap = seen.longest_gap.max(last.elapsed());
    seen
}

/// The outside's network namespace.
fn outside(lab: &Lab) -> Result<File> {
    let init = lab.node(SWITCH)?.init()?;
    let path = format!("/proc/{}/ns/net", init.pid);
    File::open(&path)
        .map_err(|source| crate::lab::Error::Io { what: format!("open {path}"), source })
}

/// Moves the calling thread, and only it, into a network namespace.
fn enter(network: &File) -> bool {
    setns(network, CloneFlags::CLONE_NEWNET).is_ok()
}

fn request(ip: Ipv4Addr, patience: Duration) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, 80)), patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Answer::parse(&page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_from_the_guests_page() {
        let page = "HTTP/1.0 200 OK\r\nA: b\r\n\r\nname=web\nboot=b-1\ncount=7\nuptime=7.1\n\
                    boots=2\nbefore=30\ngreeting=\n";
        let answer = Answer::parse(page).unwrap();
        assert_eq!((answer.name.as_str(), answer.boot.as_str()), ("web", "b-1"));
        assert_eq!((answer.count, answer.boots, answer.before), (7, 2, 30));
        assert_eq!(Answer::parse("HTTP/1.0 404 Not Found\r\n\r\n<html>"), None);
    }
}
