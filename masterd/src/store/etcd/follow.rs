//! Waiting for commits of others.

use super::connection::Etcd;
use super::keys::Keys;
use super::read::Reader;
use roost_proto::ids::{ClusterId, Serial};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A watch may die without a word: then it is begun anew.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

/// The newest serial, changing with every commit of the leader, until `stop`. 0: nothing is known
/// yet. Must be called within a runtime.
pub fn follow(etcd: Etcd, cluster: ClusterId, stop: CancellationToken) -> watch::Receiver<Serial> {
    let (announce, serial) = watch::channel(Serial(0));
    let reader = Reader { etcd, keys: Keys::new(cluster) };
    tokio::spawn(async move {
        stop.run_until_cancelled(async {
            loop {
                if round(&reader, &announce).await.is_none() {
                    // It does not answer, or there is no cluster.
                    sleep(PAUSE).await;
                }
            }
        })
        .await;
    });
    serial
}

/// Reads the head, then waits for changes of it until the watch ends.
async fn round(reader: &Reader, announce: &watch::Sender<Serial>) -> Option<()> {
    let tell = |new: Serial| announce.send_if_modified(|old| std::mem::replace(old, new) != new);
    let found = reader.head().await.ok()??;
    tell(found.head.serial);
    let mut stream = reader.etcd.watch(reader.keys.head(), found.revision + 1).await.ok()?;
    while let Ok(Ok(Some(answer))) = timeout(LONGEST_SILENCE, stream.message()).await {
        let newest = answer.events.into_iter().filter_map(|event| event.kv).next_back();
        if let Some(kv) = newest {
            tell(reader.parse_head(&kv.value).ok()?.serial);
        }
        if answer.canceled {
            break;
        }
    }
    Some(())
}
