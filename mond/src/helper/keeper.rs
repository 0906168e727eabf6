//! Keeps a worker alive between mond and the work: mond itself cannot start one any more, being nobody.
//!
//! ```text
//!   mond ══ orders ══► keeper ══ orders ══► worker ─► commands, files
//!    ▲                  │  ▲                  │
//!    └── outcomes ──────┘  └── outcomes ──────┘   dies: what it had fails, another is started a little later
//! ```

use super::frames::{Frame, Order, Outcome};
use crate::exec::Ourselves;
use roost_proto::error::{Error, Result};
use std::collections::HashMap;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// After a worker has died the next one is started so much later; twice as much each time,
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// but not more,
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// and from the beginning after one that lived so long.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Starts a worker: it, and how one talks with it.
pub trait Start {
    /// See the trait.
    fn start(&mut self) -> Result<(Option<Ourselves>, UnixStream)>;
}

impl<F: FnMut() -> Result<(Option<Ourselves>, UnixStream)>> Start for F {
    fn start(&mut self) -> Result<(Option<Ourselves>, UnixStream)> {
        self()
    }
}

/// Passes on orders and outcomes until mond has ended.
pub async fn keep(mond: UnixStream, mut start: impl Start) -> Result<()> {
    let (from_mond, mut to_mond) = mond.into_split();
    let mut orders = reader::<Order>(from_mond);
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let why = match start.start() {
            Ok((worker, stream)) => {
                match accompany(&mut orders, &mut to_mond, worker, stream).await? {
                    None => return Ok(()),
                    Some(why) => why,
                }
            }
            Err(error) => error.message,
        };
        if begun.elapsed() > LONG_LIFE {
            pause = FIRST_PAUSE;
        }
        tracing::warn!("the helper {why}; another one is started in {} ms", pause.as_millis());
        let until = begun.max(Instant::now()) + pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
        loop {
            let order = match tokio::time::timeout_at(until, orders.recv()).await {
                Err(_) => break,
                Ok(None) => return Ok(()),
                Ok(Some(order)) => order,
            };
            fail(&mut to_mond, order.head.id, &why).await?;
        }
    }
}

/// One worker's life. `None`: mond has ended; else how the worker ended.
async fn accompany(
    orders: &mut mpsc::Receiver<Frame<Order>>,
    to_mond: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut worker: Option<Ourselves>,
    stream: UnixStream,
) -> Result<Option<String>> {
    let (from_worker, mut to_worker) = stream.into_split();
    let mut outcomes = reader::<Outcome>(from_worker);
    let mut waiting: HashMap<u64, ()> = HashMap::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return Ok(None) };
                waiting.insert(order.head.id, ());
                // A worker that does not take it has ended: seen below.
                let _ = order.write(&mut to_worker).await;
            }
            outcome = outcomes.recv() => {
                let Some(outcome) = outcome else { break };
                if waiting.remove(&outcome.head.id).is_some() {
                    outcome.write(to_mond).await.map_err(unheard)?;
                }
            }
        }
    }
    drop(to_worker);
    let why = match &mut worker {
        // It does not talk any more: if it is not dead, dropping it kills it.
        Some(worker) => tokio::time::timeout(Duration::from_secs(1), worker.end())
            .await
            .unwrap_or_else(|_| "said nothing any more".into()),
        None => "ended".into(),
    };
    for id in waiting.into_keys() {
        fail(to_mond, id, &why).await?;
    }
    Ok(Some(why))
}

/// Frames as they come in; the end of the channel is the end of the other side.
fn reader<H: serde::Serialize + serde::de::DeserializeOwned + Send + 'static>(
    mut from: tokio::net::unix::OwnedReadHalf,
) -> mpsc::Receiver<Frame<H>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok(Some(frame)) = Frame::read(&mut from).await {
            if sender.send(frame).await.is_err() {
                break;
            }
        }
    });
    receiver
}

/// Tells mond that nothing comes of an order.
async fn fail(
    to_mond: &mut (impl tokio::io::AsyncWrite + Unpin),
    id: u64,
    why: &str,
) -> Result<()> {
    let error = Error::environment(format!(
        "The part of mond that works as root {why}; it is started again by itself"
    ));
    Frame::of(Outcome { id, error: Some(error) }).write(to_mond).await.map_err(unheard)
}

fn unheard(error: std::io::Error) -> Error {
    Error::environment(format!("mond does not listen any more: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::Task;
    use super::*;

    async fn ask(mond: &mut UnixStream, id: u64) -> Outcome {
        Frame::of(Order { id, task: Task::XenTop }).write(mond).await.unwrap();
        Frame::<Outcome>::read(mond).await.unwrap().unwrap().head
    }

    /// A worker that takes this many orders, answers all but the last, and dies of that.
    fn worker(mut stream: UnixStream, orders: usize) {
        tokio::spawn(async move {
            for _ in 1..orders {
                let order = Frame::<Order>::read(&mut stream).await.unwrap().unwrap();
                let outcome = Frame::of(Outcome { id: order.head.id, error: None });
                outcome.write(&mut stream).await.unwrap();
            }
            Frame::<Order>::read(&mut stream).await.unwrap();
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_worker_fails_what_it_had_and_is_replaced() {
        let (mut mond, ours) = UnixStream::pair().unwrap();
        let mut lives = 0;
        let start = move || {
            lives += 1;
            let (stream, theirs) = UnixStream::pair().unwrap();
            worker(theirs, if lives == 1 { 2 } else { 10 });
            Ok((None, stream))
        };
        let keeper = tokio::spawn(keep(ours, start));
        assert_eq!(ask(&mut mond, 1).await.error, None);
        let error = ask(&mut mond, 2).await.error.unwrap();
        assert!(error.message.contains("is started again by itself"), "{error}");
        // While it waits, it says so.
        assert!(ask(&mut mond, 3).await.error.is_some());
        tokio::time::sleep(FIRST_PAUSE).await;
        assert_eq!(ask(&mut mond, 4).await, Outcome { id: 4, error: None });
        drop(mond);
        keeper.await.unwrap().unwrap();
    }
}
