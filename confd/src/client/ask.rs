//! Sends a question and waits.

use super::round::Round;
use super::{AskError, Client, Outcome};
use crate::wire::{MAX_DATAGRAM, Query, QueryType};
use crate::{clock, ids};
use roost_proto::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// Room for one datagram, and a byte by which a longer one is known.
const BUFFER: usize = 64 << 10;
/// A time-out of more than this is for ever.
const FOREVER: Duration = Duration::from_secs(86_400);

impl Client {
    /// Asks, and collects answers until there are enough or time is up. An answer may be a refusal. Errors: nobody
    /// answered; there is no socket to be had; the question is too long.
    pub async fn ask(&self, kind: QueryType, query: Query<'_>) -> Result<Outcome, AskError> {
        // Which of many are asked is left to chance: random salts are at hand.
        let mut peers: Vec<(String, IpAddr)> =
            self.peers.iter().map(|peer| (ids::rsalt(), *peer)).collect();
        peers.sort();
        let peers = peers
            .into_iter()
            .take(self.coverage)
            .map(|(rsalt, peer)| (SocketAddr::new(peer, self.port), rsalt));
        let mut round = Round::new(&self.key, self.tag, clock::seconds(), peers, (kind, query));
        if self.all {
            round.need_all();
        }
        if round.unheard().any(|(_, datagram)| datagram.len() > MAX_DATAGRAM) {
            let error = Error::wrong_input(format!(
                "The argument is too long: a question to confd has at most {MAX_DATAGRAM} bytes"
            ));
            return Err(error.into());
        }
        let mut buffer = self.buffer.lock().ok().and_then(|mut kept| kept.take());
        let space = buffer.get_or_insert_with(|| vec![0; BUFFER].into_boxed_slice());
        let started = Instant::now();
        let exchanged = self.exchange(&mut round, started, space).await;
        if let Ok(mut kept) = self.buffer.lock() {
            *kept = buffer;
        }
        exchanged.map_err(AskError::Local)?;
        let (mut asked, ignored) = round.asked();
        asked.sort();
        let waited = started.elapsed();
        round.end().ok_or(AskError::Silent { asked, port: self.port, waited, ignored })
    }

    /// Until there are enough answers, or time is up.
    async fn exchange(
        &self,
        round: &mut Round,
        started: Instant,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let failed = |what: &str, e: std::io::Error| {
            Error::environment(format!("Cannot ask confd: cannot {what}: {e}"))
        };
        let any: IpAddr = match self.peers[0] {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await.map_err(|e| failed("open a UDP socket", e))?;
        let timeout = self.timeout.min(FOREVER);
        let mut end = started + timeout;
        let mut again = Some(started + timeout / 3);
        send(&socket, round).await;
        while !round.is_enough() {
            let until = again.map_or(end, |again| again.min(end));
            match tokio::time::timeout_at(until, socket.recv_from(buffer)).await {
                Ok(Ok((length, from))) => {
                    let counts = round.take(&self.key, from, &buffer[..length]);
                    if counts && self.settle < FOREVER {
                        let now = Instant::now();
                        end = end.min(now + self.settle);
                        again = again.map(|again| again.min(now + self.settle / 3));
                    }
                }
                Ok(Err(e)) => return Err(failed("receive answers", e)),
                Err(_) if again.take_if(|again| *again < end).is_some() => {
                    send(&socket, round).await;
                }
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// To all that have not answered. One that cannot be reached is like one that does not answer.
async fn send(socket: &UdpSocket, round: &Round) {
    for (to, datagram) in round.unheard() {
        if let Err(e) = socket.send_to(datagram, to).await {
            tracing::debug!("cannot send a question to confd at {to}: {e}");
        }
    }
}
