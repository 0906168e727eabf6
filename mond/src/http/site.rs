//! Answers requests. Paths and texts are the reference's, the methods are not: it answers HEAD with 404 and asks
//! others for a length; here HEAD works, and others are told what is allowed.

use super::path::Wanted;
use crate::exposition::{self, Format};
use crate::metrics::Metrics;
use crate::schedule::Schedule;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// After its start mond waits so long at most for what its cluster wants, before it answers without.
const PATIENCE: Duration = Duration::from_secs(2);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The codes that are counted, the last for all others.
const COUNTED: [u16; 6] = [200, 404, 405, 500, 503, 0];

/// See the module.
#[derive(Debug)]
pub struct Site {
    schedule: Schedule,
    settings: watch::Receiver<bool>,
    until: Instant,
    answered: [AtomicU64; COUNTED.len()],
}

impl Site {
    /// `settings` becomes true when the first settings have come.
    pub fn new(schedule: Schedule, settings: watch::Receiver<bool>) -> Site {
        let until = Instant::now() + PATIENCE;
        Site { schedule, settings, until, answered: Default::default() }
    }

    /// Answers. The body of a request is never looked at.
    pub async fn answer<B>(&self, request: &Request<B>) -> Response<Chunks> {
        let mut answer = match *request.method() {
            Method::GET | Method::HEAD => self.find(request).await,
            _ => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD");
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                // There may be a body, which nobody will read.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                answer
            }
        };
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let code = answer.status().as_u16();
        let place = COUNTED.iter().position(|&one| one == code).unwrap_or(COUNTED.len() - 1);
        self.answered[place].fetch_add(1, Ordering::Relaxed);
        answer
    }

    async fn find<B>(&self, request: &Request<B>) -> Response<Chunks> {
        let wanted = Wanted::of(request.uri().path(), request.uri().query());
        if !matches!(wanted, Wanted::Alive | Wanted::Ready) {
            self.wait_for_settings().await;
        }
        match wanted {
            Wanted::Versions => json(Bytes::from_static(b"[1]")),
            Wanted::Version1 => json(Bytes::from_static(b"null")),
            Wanted::Collectors => json(self.schedule.list()),
            Wanted::All => json(self.schedule.all().await),
            Wanted::Report { category, name } => {
                match self.schedule.report(&category, &name).await.map(|one| one.alone.clone()) {
                    Some(Ok(report)) => json(report),
                    Some(Err(sentence)) => {
                        answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, sentence)
                    }
                    None => no_report(),
                }
            }
            Wanted::NoReport => no_report(),
            Wanted::Metrics => {
                let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
                self.metrics(accept.map_or(Format::Text, Format::accepted)).await
            }
            Wanted::Alive => text(StatusCode::OK, "ok"),
            Wanted::Ready if *self.settings.borrow() => text(StatusCode::OK, "ready"),
            Wanted::Ready => {
                let mut answer = text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "No confd has answered yet: all collectors work as if nothing were configured",
                );
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("15"));
                answer
            }
            Wanted::Nothing => not_found("Resource not found"),
        }
    }

    async fn wait_for_settings(&self) {
        if !*self.settings.borrow() && Instant::now() < self.until {
            let mut settings = self.settings.clone();
            // In vain: then without.
            let _ = tokio::time::timeout_at(self.until, settings.wait_for(|came| *came)).await;
        }
    }

    async fn metrics(&self, format: Format) -> Response<Chunks> {
        let figures = self.schedule.metrics(format).await;
        let mut own = Metrics::default();
        self.schedule.describe(&mut own);
        for (code, count) in COUNTED.iter().zip(&self.answered) {
            let code = if *code == 0 { "other".into() } else { code.to_string() };
            let count = count.load(Ordering::Relaxed) as f64;
            own.counter(
                "roost_mond_requests",
                "Requests answered, by status code.",
                &[("code", &code)],
                count,
            );
        }
        own.gauge(
            "roost_mond_settings_known",
            "Whether the wishes of the cluster are known; else nothing is configured.",
            &[],
            f64::from(u8::from(*self.settings.borrow())),
        );
        own.gauge(
            "roost_mond_build_info",
            "Always 1; its label has the version.",
            &[("version", env!("CARGO_PKG_VERSION"))],
            1.0,
        );
        let mut text = String::new();
        exposition::write([&own], format, &mut text);
        text.push_str(format.end());
        let mut response = Response::new(Chunks::two(figures, text.into()));
        let kind = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

fn json(body: Bytes) -> Response<Chunks> {
    answer(StatusCode::OK, JSON, body)
}

fn text(status: StatusCode, text: &'static str) -> Response<Chunks> {
    answer(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn no_report() -> Response<Chunks> {
    not_found("Unable to produce a report for the requested resource")
}

/// With the reference's reason.
fn not_found(why: &'static str) -> Response<Chunks> {
    let mut answer = text(StatusCode::NOT_FOUND, why);
    answer.extensions_mut().insert(ReasonPhrase::from_static(b"Not found"));
    answer
}

fn answer(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Chunks> {
    let mut answer = Response::new(Chunks::two(body, Bytes::new()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// A body of up to two pieces, neither of which is copied.
#[derive(Clone, Debug)]
pub struct Chunks([Bytes; 2]);

impl Chunks {
    fn two(first: Bytes, second: Bytes) -> Chunks {
        Chunks([first, second])
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.get_mut().0.iter_mut().find(|one| !one.is_empty());
        Poll::Ready(next.map(|one| Ok(Frame::data(std::mem::take(one)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|one| one.len() as u64).sum())
    }
}
