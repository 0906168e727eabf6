//! The file `config.data`: the newest snapshot, for whoever comes while masterd is away.
//!
//! ```text
//!   a change ─► write beside it, sync, rename ─► pause: a second, or ten times as long as it took ─┐
//!       ▲────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Written object by object, on a thread that may wait.

use super::{GROUP, objects};
use crate::config::Config;
use crate::files;
use crate::state::State;
use roost_proto::error::{Error, Result};
use roost_proto::ids::Serial;
use roost_proto::paths::Paths;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The shortest time between two writes.
const PAUSE: Duration = Duration::from_secs(1);
/// Of the time, one part in so many goes into writing.
const SHARE: u32 = 10;

/// Keeps the file up to date until `stop`; then it is, unless it cannot be written.
pub async fn run(paths: Paths, state: State, stop: CancellationToken) {
    let mut newest = state.serial();
    let mut written = None;
    let mut said = String::new();
    loop {
        newest.mark_unchanged();
        let stopping = stop.is_cancelled();
        let config = state.config();
        if written != Some(config.changed) {
            let began = Instant::now();
            match write(&paths, config).await {
                Ok(serial) => {
                    written = Some(serial);
                    said.clear();
                }
                Err(error) if error.message != said => {
                    tracing::error!(%error, "the configuration is not published as a file");
                    said = error.message;
                }
                Err(_) => {}
            }
            let pause = PAUSE.max(began.elapsed() * SHARE);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            if !stopping {
                continue;
            }
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            changed = newest.changed() => if changed.is_err() { return },
        }
    }
}

async fn write(paths: &Paths, config: Arc<Config>) -> Result<Serial> {
    let path = paths.published_config();
    tokio::task::spawn_blocking(move || {
        files::write_for_group(&path, GROUP, |out| write_config(&config, out))?;
        Ok(config.changed)
    })
    .await
    .map_err(|e| Error::internal(e.to_string()))?
}

/// The snapshot as `config.data`.
pub fn write_config(config: &Config, mut out: &mut dyn Write) -> io::Result<()> {
    let Value::Object(top) = objects::top(config) else { return Ok(()) };
    out.write_all(b"{")?;
    for (key, value) in top {
        write!(out, "\"{key}\":")?;
        serde_json::to_writer(&mut out, &value)?;
        out.write_all(b",\n")?;
    }
    out.write_all(b"\"cluster\":")?;
    serde_json::to_writer(&mut out, &objects::cluster(config))?;
    for (space, name) in objects::MAPS {
        write!(out, ",\n\"{name}\":{{")?;
        for (n, (id, object)) in objects::all(config, space).enumerate() {
            if n > 0 {
                out.write_all(b",\n")?;
            }
            write!(out, "\"{id}\":")?;
            serde_json::to_writer(&mut out, &object)?;
        }
        out.write_all(b"}")?;
    }
    out.write_all(b"}\n")
}
