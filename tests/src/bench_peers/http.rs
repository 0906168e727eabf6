//! Asks for reports over HTTP as fast as they come: one thread, connections that stay open, one request in each.

use super::percentile;
use anyhow::{Context, Result, ensure};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// A report that is not there by then does not come.
const LIMIT: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) answered: usize,
    pub(super) seconds: f64,
    /// Sorted, nanoseconds.
    pub(super) latencies: Vec<u32>,
    /// Of the first answer.
    pub(super) status: u16,
    /// Of the first answer's body.
    pub(super) bytes: usize,
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

/// A whole answer at the beginning of `bytes`: its status, the length of its body, and where it ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) status: u16,
    pub(super) body: usize,
    pub(super) end: usize,
}

/// None: more is to come.
pub(super) fn whole(bytes: &[u8]) -> Result<Option<Whole>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.context("no status line")?;
    let mut length = None;
    let mut chunked = false;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>()?);
        }
        chunked |= name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked";
    }
    let mut at = head + 4;
    if chunked {
        let mut body = 0;
        loop {
            let rest = &bytes[at..];
            let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
                return Ok(None);
            };
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line])?.trim(), 16)?;
            at += line + 2 + size + 2;
            if bytes.len() < at {
                return Ok(None);
            }
            body += size;
            if size == 0 {
                return Ok(Some(Whole { status, body, end: at }));
            }
        }
    }
    let body = length.context("an answer without a length")?;
    at += body;
    Ok((bytes.len() >= at).then_some(Whole { status, body, end: at }))
}

/// Connections to a server.
pub(super) struct Load {
    runtime: Runtime,
    connections: Vec<TcpStream>,
    requests: Arc<Vec<Vec<u8>>>,
}

impl Load {
    /// Asks for these paths in turn over each of the connections.
    pub(super) fn new(port: u16, connections: usize, paths: &[&str]) -> Result<Load> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connect = |_| -> Result<TcpStream> {
            let stream = runtime.block_on(TcpStream::connect((Ipv4Addr::LOCALHOST, port)))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let connections = (0..connections).map(connect).collect::<Result<_>>()?;
        let request = |path: &&str| format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into();
        let requests = Arc::new(paths.iter().map(request).collect());
        Ok(Load { runtime, connections, requests })
    }

    /// Asks for so long, or until there are so many answers, or one a connection more.
    pub(super) fn run(&mut self, span: Duration, most: usize) -> Result<Figures> {
        let begin = Instant::now();
        let each = most.div_ceil(self.connections.len());
        let mut all = Figures::default();
        self.runtime.block_on(async {
            let mut asking = JoinSet::new();
            for (nth, stream) in self.connections.drain(..).enumerate() {
                asking.spawn(ask(stream, self.requests.clone(), nth, (begin, span, each)));
            }
            while let Some(ended) = asking.join_next().await {
                let (stream, figures) = ended??;
                self.connections.push(stream);
                all.answered += figures.answered;
                all.seconds = all.seconds.max(figures.seconds);
                all.latencies.extend(figures.latencies);
                (all.status, all.bytes) = (figures.status, figures.bytes);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        all.latencies.sort_unstable();
        Ok(all)
    }
}

/// One connection.
async fn ask(
    mut stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    mut next: usize,
    (begin, span, most): (Instant, Duration, usize),
) -> Result<(TcpStream, Figures)> {
    let mut figures = Figures::default();
    let mut buffer = vec![0; 64 << 10];
    while begin.elapsed() < span && figures.answered < most {
        let asked = Instant::now();
        stream.write_all(&requests[next % requests.len()]).await.context("cannot ask")?;
        next += 1;
        let mut got = 0;
        let Whole { status, body, end } = loop {
            if got == buffer.len() {
                buffer.resize(2 * got, 0);
            }
            let length = tokio::time::timeout(LIMIT, stream.read(&mut buffer[got..])).await;
            let length = length.context("no answer")?.context("the server is gone")?;
            ensure!(length > 0, "the connection was closed");
            got += length;
            if let Some(whole) = whole(&buffer[..got])? {
                break whole;
            }
        };
        ensure!(got == end, "more than one answer to one request");
        if figures.status != 0 && requests.len() == 1 {
            ensure!(status == figures.status, "status {status} after {}", figures.status);
        }
        (figures.status, figures.bytes) = (status, body);
        figures.answered += 1;
        let latency = asked.elapsed().as_nanos();
        figures.latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
    }
    figures.seconds = begin.elapsed().as_secs_f64();
    Ok((stream, figures))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_it_is() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]";
        assert_eq!(
            whole(plain).expect("good"),
            Some(Whole { status: 200, body: 3, end: plain.len() })
        );
        let chunked =
            b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(
            whole(chunked).expect("good"),
            Some(Whole { status: 404, body: 3, end: chunked.len() })
        );
        for answer in [&plain[..], &chunked[..]] {
            for length in 0..answer.len() {
                assert_eq!(whole(&answer[..length]).expect("good so far"), None, "{length}");
            }
        }
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
