//! The helper proper: does what comes in over its standard input and says over its standard output what came out.
//!
//! A few pieces of work at once, each with its deadline; the others wait. It ends with whoever asks.

use super::frames::{Frame, Order, Outcome};
use super::work;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};

/// So many pieces of work at once.
const AT_ONCE: usize = 3;
/// What takes longer is given up, whatever it does.
const DEADLINE: Duration = Duration::from_secs(30);

/// Works until the other side has ended.
pub async fn work(asked: UnixStream, paths: Paths) -> Result<()> {
    let broken = |e: std::io::Error| Error::environment(format!("mond is not understood: {e}"));
    let (mut orders, mut outcomes) = asked.into_split();
    let (done, mut finished) = mpsc::channel::<Frame<Outcome>>(AT_ONCE);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let telling = tokio::spawn(async move {
        while let Some(frame) = finished.recv().await {
            frame.write(&mut outcomes).await?;
        }
        Ok::<_, std::io::Error>(())
    });
    let mut under_way = tokio::task::JoinSet::new();
    while let Some(order) = Frame::<Order>::read(&mut orders).await.map_err(broken)? {
        while under_way.try_join_next().is_some() {}
        if telling.is_finished() {
            break;
        }
        let (paths, places, done) = (paths.clone(), Arc::clone(&places), done.clone());
        under_way.spawn(async move {
            let _place = places.acquire().await;
            // A task of its own, so that one that panics tells so.
            let task = order.head.task;
            let mut one = tokio::task::JoinSet::new();
            one.spawn(async move { work::run(&paths, task).await });
            let result = match tokio::time::timeout(DEADLINE, one.join_next()).await {
                Ok(Some(Ok(result))) => result,
                Ok(_) => Err(Error::internal(format!("The helper's task {task:?} failed"))),
                Err(_) => Err(Error::environment(format!("The helper's task {task:?} hangs"))),
            };
            let (error, body) = match result {
                Ok(body) => (None, body),
                Err(error) => (Some(error), vec![]),
            };
            // Nobody takes it: the end is near.
            let _ = done.send(Frame { head: Outcome { id: order.head.id, error }, body }).await;
        });
    }
    // What runs is dropped, and with it the commands are killed.
    Ok(())
}
