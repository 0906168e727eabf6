//! `gnt-mond check`: one question to a mond, answered as Nagios and Icinga expect: a line and an exit code.

use crate::http::tls::trusting;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use roost_proto::error::{Error, Result};
use roost_proto::paths::MOND_PORT;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// No answer is longer, bytes.
const LONGEST: usize = 64 << 20;

/// What to check, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The machine
    #[arg(short = 'H', long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// Its port
    #[arg(short, long, value_name = "PORT", default_value_t = MOND_PORT)]
    port: u16,
    /// The collector whose report counts; without: all that judge
    #[arg(short, long, value_name = "NAME")]
    collector: Option<String>,
    /// Its category, if it is to be that one
    #[arg(short = 'C', long, value_name = "CATEGORY")]
    category: Option<String>,
    /// How long the answer may take, seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0)]
    timeout: f64,
    /// Ask over TLS; who signed the certificate is in this file (PEM)
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

/// What Nagios makes of it: its exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl State {
    fn of_code(code: u64) -> State {
        match code {
            0 => State::Ok,
            1 => State::Warning,
            4 => State::Critical,
            _ => State::Unknown,
        }
    }

    fn word(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
            State::Unknown => "UNKNOWN",
        }
    }

    /// Which of two is told.
    fn rank(self) -> u8 {
        match self {
            State::Ok => 0,
            State::Unknown => 1,
            State::Warning => 2,
            State::Critical => 3,
        }
    }
}

impl Check {
    /// Asks. Returns what to print and the exit code.
    pub async fn run(&self) -> (String, State) {
        let limit = Duration::try_from_secs_f64(self.timeout).unwrap_or(Duration::from_secs(10));
        let (state, text) = match tokio::time::timeout(limit, self.ask()).await {
            Ok(Ok(judged)) => judged,
            Ok(Err(error)) => (State::Critical, error.message),
            Err(_) => (State::Critical, format!("mond on {} did not answer in time", self.host)),
        };
        (format!("MOND {} - {text}", state.word()), state)
    }

    async fn ask(&self) -> Result<(State, String)> {
        let Some(name) = &self.collector else {
            let (status, body) = self.get("/1/report/all").await?;
            return Ok(match serde_json::from_slice(&body) {
                Ok(Value::Array(all)) if status == StatusCode::OK => judge_all(&all),
                _ => (State::Unknown, format!("mond answered {status}: {}", first_line(&body))),
            });
        };
        let category = match &self.category {
            Some(category) => category.clone(),
            None => match self.category_of(name).await? {
                Some(category) => category,
                None => {
                    let why = format!("collector {name} does not work on {}", self.host);
                    return Ok((State::Unknown, why));
                }
            },
        };
        let (status, body) = self.get(&format!("/1/report/{category}/{name}")).await?;
        Ok(match serde_json::from_slice(&body) {
            Ok(report) if status == StatusCode::OK => judge(&report),
            _ => (State::Unknown, first_line(&body)),
        })
    }

    async fn category_of(&self, name: &str) -> Result<Option<String>> {
        let (_, body) = self.get("/1/list/collectors").await?;
        let list: Vec<(String, String, u8)> = serde_json::from_slice(&body)
            .map_err(|e| Error::environment(format!("{} lists no collectors: {e}", self.host)))?;
        Ok(list.into_iter().find(|(one, ..)| one == name).map(|(_, category, _)| category))
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes)> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let failed = |e: &dyn std::fmt::Display| {
            Error::environment(format!("Cannot ask mond on {host} port {}: {e}", self.port))
        };
        let stream = TcpStream::connect((host, self.port)).await.map_err(|e| failed(&e))?;
        match &self.tls_ca {
            None => get(stream, host, path).await,
            Some(ca) => {
                let name = rustls::pki_types::ServerName::try_from(host.to_owned())
                    .map_err(|e| failed(&e))?;
                let stream = trusting(ca)?.connect(name, stream).await.map_err(|e| failed(&e))?;
                get(stream, host, path).await
            }
        }
        .map_err(|e| failed(&e))
    }
}

/// One request over a connection of its own.
async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(hyper::header::HOST, host)
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    Ok((status, Limited::new(answer.into_body(), LONGEST).collect().await?.to_bytes()))
}

/// What a report says of itself; one without a judgement is good because it is there.
fn judge(report: &Value) -> (State, String) {
    let name = report["name"].as_str().unwrap_or("?");
    if let Some(why) = report["data"]["error"].as_str() {
        return (State::Unknown, format!("{name}: {why}"));
    }
    let status = &report["data"]["status"];
    let Some(code) = status["code"].as_u64() else {
        return (State::Ok, format!("{name} reports"));
    };
    let lines = status["message"].as_str().unwrap_or_default().lines();
    let message = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let text = if message.is_empty() { "all is well".to_owned() } else { message.join("; ") };
    (State::of_code(code), format!("{name}: {text}"))
}

/// The worst of all that judge, and of those that could not report.
fn judge_all(all: &[Value]) -> (State, String) {
    let judged = all.iter().map(judge);
    let mut bad: Vec<(State, String)> = judged.filter(|(state, _)| *state != State::Ok).collect();
    bad.sort_by_key(|(state, _)| std::cmp::Reverse(state.rank()));
    match bad.first() {
        None => (State::Ok, format!("{} collectors report, all is well", all.len())),
        Some((worst, _)) => {
            (*worst, bad.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; "))
        }
    }
}

fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1000)]);
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(name: &str, code: u8, message: &str) -> Value {
        json!({"name": name, "kind": 1, "data": {"status": {"code": code, "message": message}}})
    }

    #[test]
    fn judgements_become_states() {
        for (code, state) in
            [(0, State::Ok), (1, State::Warning), (2, State::Unknown), (4, State::Critical)]
        {
            assert_eq!(judge(&report("drbd", code, "\na\nb")), (state, "drbd: a; b".into()));
        }
        assert_eq!(judge(&report("drbd", 0, "")), (State::Ok, "drbd: all is well".into()));
        let figures = json!({"name": "diskstats", "kind": 0, "data": []});
        assert_eq!(judge(&figures), (State::Ok, "diskstats reports".into()));
        let failed = json!({"name": "lv", "kind": 0, "data": {"error": "no lvs"}});
        assert_eq!(judge(&failed), (State::Unknown, "lv: no lvs".into()));
        let all = [figures, failed, report("jobs", 1, "slow"), report("drbd", 4, "\nbad")];
        let (state, text) = judge_all(&all);
        assert_eq!((state, text.as_str()), (State::Critical, "drbd: bad; jobs: slow; lv: no lvs"));
        let (state, text) = judge_all(&all[..1]);
        assert_eq!((state, text.as_str()), (State::Ok, "1 collectors report, all is well"));
    }
}
