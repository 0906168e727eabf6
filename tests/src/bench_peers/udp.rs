//! Asks confd as fast as it answers: one thread, questions signed beforehand, a fixed number outstanding.
//!
//! ```text
//!   slot ─ send ─► outstanding ─ an answer with its rsalt ─► send the next
//!                       └─ none for a while: counted as lost ─► send the next
//! ```

use super::percentile;
use super::world::KEY;
use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use roost_confd::clock;
use roost_confd::wire::{Envelope, HmacKey, Query, QueryType, Reply, Request, Status, Tag};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// So many questions are signed; then they are asked again. Never are two of one rsalt outstanding.
const POOL: usize = 16_384;
/// An answer that is not there by then is lost.
const LOST: Duration = Duration::from_secs(10);
/// A daemon that has not even answered what is outstanding at once is asked for this long.
const LONGEST: Duration = Duration::from_secs(20);
/// Each so-manieth answer is verified and read; of the others only the rsalt is.
const SAMPLE: usize = 64;
/// Room for answers of all outstanding questions.
const BUFFER: usize = 16 << 20;

/// Whom to ask what.
pub(super) struct Load {
    socket: UdpSocket,
    key: HmacKey,
    /// Questions, each with its rsalt at the same place of `salts`.
    pool: Vec<Vec<u8>>,
    outstanding: usize,
    /// Where the answers' rsalts count from.
    next: usize,
    /// How long to wait between an answer and the next question; none: not at all.
    pub(super) pace: Option<Duration>,
    lost: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) answered: usize,
    pub(super) lost: usize,
    pub(super) seconds: f64,
    /// Sorted, nanoseconds.
    pub(super) latencies: Vec<u32>,
}

impl Figures {
    pub(super) fn per_second(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// Microseconds.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.latencies, percent) / 1e3
    }
}

fn rsalt(number: usize) -> String {
    format!("bench-{number:010}")
}

/// The number in the rsalt that an answer is salted with.
fn number(answer: &[u8]) -> Option<usize> {
    // Both daemons write it last.
    let tail = &answer[answer.len().saturating_sub(64)..];
    let at = tail.windows(6).rposition(|six| six == b"bench-")?;
    std::str::from_utf8(tail.get(at + 6..at + 16)?).ok()?.parse().ok()
}

impl Load {
    /// Signs questions, in turn those given.
    pub(super) fn new(
        port: u16,
        outstanding: usize,
        questions: &[(QueryType, Query<'static>)],
    ) -> Result<Load> {
        let key = HmacKey::new(KEY)?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(Duration::from_millis(250)))?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER)?;
        let salt = clock::seconds().to_string();
        let sign = |i: usize| {
            let (kind, query) = questions[i % questions.len()].clone();
            let request = Request { kind, query, rsalt: rsalt(i).into() };
            let mut datagram = Vec::new();
            Envelope::write(&key, Tag::Sha1, &salt, &request.message(), &mut datagram);
            datagram
        };
        let pool = (0..POOL).map(sign).collect();
        Ok(Load { socket, key, pool, outstanding, next: 0, pace: None, lost: LOST })
    }

    /// Asks for so long (and until as many have been answered as are outstanding), then waits for the rest.
    pub(super) fn run(&mut self, span: Duration) -> Result<Figures> {
        let mut figures = Figures::default();
        let mut buffer = vec![0; 64 << 10];
        // When each question of the pool was sent, if it is outstanding.
        let mut sent: Vec<Option<Instant>> = vec![None; self.pool.len()];
        let begin = Instant::now();
        let end = begin + span;
        let (mut outstanding, mut looked, mut last) = (0, begin, begin);
        while outstanding < self.outstanding {
            self.send(&mut sent)?;
            outstanding += 1;
        }
        while outstanding > 0 {
            let mut free = 0;
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let number = number(&buffer[..length]).context("an answer without rsalt")?;
                    // Unknown: it was counted as lost before.
                    let Some(at) = sent.get_mut(number).and_then(Option::take) else { continue };
                    let now = Instant::now();
                    free += 1;
                    if now < end || figures.answered < self.outstanding {
                        last = now;
                        figures.answered += 1;
                        let latency = now.duration_since(at).as_nanos();
                        figures.latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
                        if figures.answered % SAMPLE == 1 {
                            self.verify(&buffer[..length])?;
                        }
                        if let Some(pace) = self.pace {
                            std::thread::sleep(pace);
                        }
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e).context("the daemon is gone"),
            }
            let now = Instant::now();
            if now.duration_since(looked) > self.lost / 4 {
                looked = now;
                for slot in &mut sent {
                    if slot.take_if(|at| now.duration_since(*at) > self.lost).is_some() {
                        figures.lost += 1;
                        free += 1;
                    }
                }
            }
            outstanding -= free;
            let few = figures.answered < self.outstanding && now < begin + LONGEST;
            while free > 0 && (now < end || few) {
                self.send(&mut sent)?;
                outstanding += 1;
                free -= 1;
            }
        }
        // What was lost held its place until then.
        let until = if figures.lost == 0 { last } else { last.max(end) };
        figures.seconds = until.duration_since(begin).as_secs_f64().max(1e-9);
        figures.latencies.sort_unstable();
        Ok(figures)
    }

    fn send(&mut self, sent: &mut [Option<Instant>]) -> Result<()> {
        // One that waits to be lost is passed over.
        while sent[self.next % sent.len()].is_some() {
            self.next += 1;
        }
        let number = self.next % sent.len();
        self.next += 1;
        sent[number] = Some(Instant::now());
        self.socket.send(&self.pool[number]).context("cannot ask")?;
        Ok(())
    }

    fn verify(&self, datagram: &[u8]) -> Result<()> {
        let envelope = Envelope::parse(datagram).context("an answer that is none")?;
        ensure!(envelope.verify(&self.key), "an answer that is not signed: {}", envelope.msg);
        let reply = Reply::parse(&envelope.msg).context("an answer that cannot be read")?;
        ensure!(reply.status == Status::Ok, "a refusal: {}", reply.answer);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Answers all but the `deaf`-th question.
    fn daemon(socket: &UdpSocket, deaf: usize, stop: &AtomicBool) {
        let key = HmacKey::new(KEY).expect("key");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        let mut buffer = [0; 4096];
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            count += 1;
            let envelope = Envelope::parse(&buffer[..length]).expect("a datagram");
            assert!(envelope.verify(&key));
            let request = Request::parse(&envelope.msg).expect("a question");
            if count == deaf {
                continue;
            }
            let msg = r#"{"protocol":1,"status":0,"answer":1,"serial":1}"#;
            let mut out = Vec::new();
            Envelope::write(&key, Tag::Sha1, &request.rsalt, msg, &mut out);
            socket.send_to(&out, from).expect("send");
        }
    }

    #[test]
    fn lost_answers_are_counted_and_replaced() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
        let port = socket.local_addr().expect("address").port();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| daemon(&socket, 7, &stop));
            let question = [(QueryType::Ping, Query::Empty)];
            let mut load = Load::new(port, 3, &question).expect("load");
            load.lost = Duration::from_secs(1);
            let figures = load.run(Duration::from_millis(100)).expect("figures");
            stop.store(true, Ordering::Relaxed);
            assert_eq!(figures.lost, 1);
            assert!(figures.answered > 6, "{}", figures.answered);
            assert_eq!(figures.latencies.len(), figures.answered);
            assert!(figures.percentile(50) <= figures.percentile(99));
        });
    }

    #[test]
    fn an_answers_number_is_found() {
        let key = HmacKey::new(KEY).expect("key");
        let mut out = Vec::new();
        Envelope::write(&key, Tag::Sha1, &rsalt(123), "{}", &mut out);
        assert_eq!(number(&out), Some(123));
        assert_eq!(number(b"plj0"), None);
    }
}
