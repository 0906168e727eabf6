//! The feed: what changes in the configuration, on a unix socket, for readers on this machine.
//!
//! ```text
//!   State ─ serial ─► announcer ─ update ─► (broadcast) ─► reader: what it lacks, then each update
//! ```
//!
//! Objects come from the newest snapshot that counts; the log only says which ones changed. So an update may be
//! about several commits, and nobody ever sees what does not count. A reader that does not keep up is
//! disconnected: it comes back with the serial it has.

use super::{GROUP, objects};
use crate::config::Config;
use crate::files;
use crate::state::State;
use crate::store::{Batch, Key, Since};
use roost_proto::error::{Error, Result};
use roost_proto::ids::Serial;
use roost_proto::paths::Paths;
use roost_proto::published::{Begin, Delete, Hello, Line, Put, Space};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Readers at the same time: confd, and whoever looks.
const READERS: usize = 8;
/// Updates that wait for the slowest reader.
const BACKLOG: usize = 256;
/// Bytes of a snapshot that are made before they are sent.
const PIECE: usize = 64 << 10;
/// How long a reader may take to say what it wants, and to take a piece.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest time between two updates: in a burst, one is about many commits.
const PACE: Duration = Duration::from_millis(20);
/// Of the time of the state's writer, one part in so many goes into looking what changed.
const SHARE: u32 = 10;
/// The pause before the socket is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest word of a reader, bytes.
const HELLO: u64 = 4096;

/// An update, ready to send.
#[derive(Debug)]
pub(super) struct Update {
    pub serial: Serial,
    pub lines: Vec<u8>,
}

/// Serves readers until `stop`. `state` is of this machine's part in the cluster and stays the same.
pub async fn run(paths: Paths, state: State, stop: CancellationToken) {
    let path = paths.config_feed();
    let began = state.config().changed;
    while !stop.is_cancelled() {
        let again = match listen(&paths) {
            Ok(listener) => {
                let round = stop.child_token();
                let work = serve(&listener, &state, began, &round);
                let ended = tokio::select! {
                    () = stop.cancelled() => Ok(()),
                    ended = work => ended,
                };
                // Readers are let go with the announcer.
                round.cancel();
                ended
            }
            Err(error) => Err(error),
        };
        if let Err(error) = again {
            tracing::warn!(%error, "the configuration is not published at the moment");
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
    if let Err(error) = files::remove(&path) {
        tracing::warn!(%error, "the socket of the configuration's feed stays");
    }
}

/// The socket, for root and the group of confd.
fn listen(paths: &Paths) -> Result<UnixListener> {
    let path = paths.config_feed();
    let failed =
        |e: std::io::Error| Error::environment(format!("Cannot listen on {}: {e}", path.display()));
    if let Some(parent) = path.parent() {
        files::make_dir(parent)?;
    }
    // Only one masterd works here, so a socket that is there is a leftover.
    files::remove(&path)?;
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let mode = match files::group_id(GROUP) {
        Some(group) => {
            chown(&path, None, Some(group)).map_err(failed)?;
            0o660
        }
        None => 0o600,
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

/// Errors: what changes cannot be known any more; readers must begin anew.
async fn serve(
    listener: &UnixListener,
    state: &State,
    began: Serial,
    round: &CancellationToken,
) -> Result<()> {
    let (updates, _) = broadcast::channel(BACKLOG);
    let places = Arc::new(Semaphore::new(READERS));
    let accept = async {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(e) => return Err(Error::environment(format!("No reader can be taken: {e}"))),
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(most = READERS, "one more reader of the configuration: refused");
                continue;
            };
            // First it listens, then it looks: nothing falls between.
            let reader = Reader { state: state.clone(), began, updates: updates.subscribe() };
            let round = round.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = round.cancelled() => {}
                    why = reader.serve(stream) => match why {
                        Ok(()) => {}
                        Err(why) => tracing::debug!(why, "a reader of the configuration is let go"),
                    },
                }
                drop(place);
            });
        }
    };
    tokio::select! {
        ended = announce(state, &updates) => ended,
        ended = accept => ended,
    }
}

/// Tells all readers what changes.
async fn announce(state: &State, updates: &broadcast::Sender<Arc<Update>>) -> Result<()> {
    let mut newest = state.serial();
    newest.mark_unchanged();
    let mut known = state.config().changed;
    loop {
        if newest.changed().await.is_err() {
            return Err(Error::environment("the state was closed"));
        }
        // In this order: whoever comes after the snapshot was taken has what is in it.
        let config = state.config();
        if config.changed <= known {
            continue;
        }
        if updates.receiver_count() > 0 {
            let asked = Instant::now();
            let Since::Tail(tail) = state.since(known).await? else {
                return Err(Error::environment("the log does not reach back to the last update"));
            };
            let begin = begin(state, &config, false).await?;
            let took = asked.elapsed();
            let lines = update(&config, begin, &keys(tail))?;
            let update = Update { serial: objects::serial(&config), lines };
            // Without readers nobody needs it.
            updates.send(Arc::new(update)).ok();
            tokio::time::sleep(PACE.max(took * SHARE)).await;
        }
        known = config.changed;
    }
}

async fn begin(state: &State, config: &Config, snapshot: bool) -> Result<Begin> {
    let serial = objects::serial(config);
    let epoch = state.epoch_of(serial).await?.map(|epoch| epoch.0);
    Ok(Begin { serial: serial.0, snapshot, epoch })
}

/// Which objects were touched.
fn keys(tail: Vec<(Serial, Batch)>) -> BTreeSet<(Space, String)> {
    let touched = tail.into_iter().flat_map(|(_, batch)| {
        let puts = batch.puts.into_iter().map(|(key, _)| key);
        puts.chain(batch.deletes).collect::<Vec<Key>>()
    });
    touched.filter_map(|key| Some((objects::space_of(&key)?, key.id))).collect()
}

/// The lines of an update about these objects, and about the cluster, which has the serial number.
fn update(config: &Config, begin: Begin, keys: &BTreeSet<(Space, String)>) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    line(&mut lines, &Line::Begin(begin))?;
    put(&mut lines, Space::Top, String::new(), &objects::top(config))?;
    put(&mut lines, Space::Cluster, String::new(), &objects::cluster(config))?;
    for (space, id) in keys.iter().filter(|(space, _)| *space != Space::Cluster) {
        match objects::one(config, *space, id) {
            Some(body) => put(&mut lines, *space, id.clone(), &body)?,
            None => {
                let gone = Delete { space: *space, id: id.clone() };
                line(&mut lines, &Line::Delete(gone))?;
            }
        }
    }
    line(&mut lines, &Line::End(begin.serial))?;
    Ok(lines)
}

fn put(lines: &mut Vec<u8>, space: Space, id: String, body: &Value) -> Result<()> {
    let body = serde_json::value::to_raw_value(body)
        .map_err(|e| Error::internal(format!("an object cannot be published: {e}")))?;
    line(lines, &Line::Put(Put { space, id, body }))
}

fn line(lines: &mut Vec<u8>, line: &Line) -> Result<()> {
    serde_json::to_writer(&mut *lines, line)
        .map_err(|e| Error::internal(format!("a change cannot be published: {e}")))?;
    lines.push(b'\n');
    Ok(())
}

/// One who listens.
pub(super) struct Reader {
    pub state: State,
    /// What was known first: what came later was published by this process and is not taken back.
    pub began: Serial,
    pub updates: broadcast::Receiver<Arc<Update>>,
}

impl Reader {
    /// Ends when the reader goes. Errors: why it is let go.
    pub async fn serve(mut self, stream: UnixStream) -> std::result::Result<(), String> {
        let (from, mut to) = stream.into_split();
        let mut from = BufReader::with_capacity(512, from);
        let hello = hello(&mut from).await?;
        let config = self.state.config();
        let mut sent = objects::serial(&config);
        match self.lacks(&config, hello).await.map_err(|e| e.to_string())? {
            Some(lines) => send(&mut to, &lines).await?,
            None => self.snapshot(&config, &mut to).await?,
        }
        drop(config);
        loop {
            let mut nothing = [0];
            let update = tokio::select! {
                update = self.updates.recv() => update.map_err(|e| e.to_string())?,
                more = from.read(&mut nothing) => match more {
                    Ok(0) => return Ok(()),
                    Ok(_) => return Err("it says more than it should".into()),
                    Err(e) => return Err(e.to_string()),
                },
            };
            if update.serial > sent {
                send(&mut to, &update.lines).await?;
                sent = update.serial;
            }
        }
    }

    /// The first update, if changes will do.
    async fn lacks(&self, config: &Config, hello: Hello) -> Result<Option<Vec<u8>>> {
        let (from, now) = (Serial(hello.from), objects::serial(config));
        if hello.from == 0 || from > now {
            return Ok(None);
        }
        let is_ours = match (hello.epoch, self.state.epoch_of(from).await?) {
            (Some(theirs), Some(ours)) => theirs == ours.0,
            // From a file: this one's, or one that was there before.
            _ => from >= self.began,
        };
        if !is_ours {
            return Ok(None);
        }
        let begin = begin(&self.state, config, false).await?;
        if from == now {
            let mut lines = Vec::new();
            line(&mut lines, &Line::Begin(begin))?;
            line(&mut lines, &Line::End(begin.serial))?;
            return Ok(Some(lines));
        }
        match self.state.since(from).await? {
            Since::Tail(tail) => update(config, begin, &keys(tail)).map(Some),
            Since::Snapshot(_) => Ok(None),
        }
    }

    /// All of it, piece by piece.
    async fn snapshot(
        &self,
        config: &Config,
        to: &mut OwnedWriteHalf,
    ) -> std::result::Result<(), String> {
        let failed = |e: Error| e.to_string();
        let begin = begin(&self.state, config, true).await.map_err(failed)?;
        let mut lines = Vec::with_capacity(PIECE * 2);
        line(&mut lines, &Line::Begin(begin)).map_err(failed)?;
        let maps = objects::MAPS.iter().map(|(space, _)| *space);
        for space in [Space::Top, Space::Cluster].into_iter().chain(maps) {
            for (id, body) in objects::all(config, space) {
                put(&mut lines, space, id, &body).map_err(failed)?;
                if lines.len() >= PIECE {
                    send(to, &lines).await?;
                    lines.clear();
                    tokio::task::yield_now().await;
                }
            }
        }
        line(&mut lines, &Line::End(begin.serial)).map_err(failed)?;
        send(to, &lines).await
    }
}

async fn hello(from: &mut BufReader<OwnedReadHalf>) -> std::result::Result<Hello, String> {
    let mut text = String::new();
    let mut limited = from.take(HELLO);
    let read = tokio::time::timeout(PATIENCE, limited.read_line(&mut text));
    read.await.map_err(|_| "it does not say what it wants")?.map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| format!("it cannot be understood: {e}"))
}

async fn send(to: &mut OwnedWriteHalf, lines: &[u8]) -> std::result::Result<(), String> {
    for piece in lines.chunks(PIECE) {
        let sent = tokio::time::timeout(PATIENCE, to.write_all(piece)).await;
        sent.map_err(|_| "it is too slow")?.map_err(|e| e.to_string())?;
    }
    Ok(())
}
