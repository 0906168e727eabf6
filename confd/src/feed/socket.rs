//! The feed of masterd.

use super::{Have, LineReader, NOT_LOADED, Sink, Stamp, Work};
use roost_proto::published::{Begin, Hello, LINE_LIMIT, Line};
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How often it is looked whether this daemon is to end.
const LOOK: Duration = Duration::from_millis(500);

/// Why it is not followed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody is there; `told`: somebody was.
    Gone { told: bool },
    /// What was told makes no sense.
    Bad(String),
}

impl Work {
    /// Takes what masterd tells, as long as it does and this daemon goes on.
    pub(super) fn follow(&mut self, socket: &Path) -> Ended {
        let Ok(mut stream) = UnixStream::connect(socket) else {
            return Ended::Gone { told: false };
        };
        let Have { serial, epoch } = self.have.unwrap_or_default();
        let hello = serde_json::to_string(&Hello { from: serial, epoch }).unwrap_or_default();
        let ready = stream.set_read_timeout(Some(LOOK));
        if ready.and_then(|()| stream.write_all(format!("{hello}\n").as_bytes())).is_err() {
            return Ended::Gone { told: false };
        }
        let mut lines = LineReader::new(stream, LINE_LIMIT);
        let mut update = None;
        let mut told = false;
        let ended = loop {
            match lines.next_line() {
                Ok(Some(line)) => match take(self.sink.as_mut(), &mut update, line) {
                    Ok(None) => {}
                    Ok(Some(begin)) => {
                        if !told {
                            tracing::info!(serial = begin.serial, "masterd tells what changes");
                        }
                        told = true;
                        let Begin { serial, epoch, .. } = begin;
                        self.have = Some(Have { serial, epoch });
                        // The file is behind, but it is there: should it vanish, that means something.
                        self.stamp = Stamp::of(self.source.file()).or(self.stamp);
                    }
                    Err(why) => {
                        // What was missed since then can only be had by asking for everything.
                        if let Some(have) = &mut self.have {
                            have.serial = 0;
                        }
                        break Ended::Bad(why);
                    }
                },
                Ok(None) => break Ended::Gone { told },
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.stop.is_now() {
                        break Ended::Gone { told: false };
                    }
                }
                Err(e) if e.kind() == ErrorKind::InvalidData => break Ended::Bad(e.to_string()),
                Err(_) => break Ended::Gone { told },
            }
        };
        self.sink.abort();
        if self.have.is_none() && matches!(ended, Ended::Bad(_)) {
            self.sink.clear(NOT_LOADED);
        }
        ended
    }
}

/// Takes a line. Returns the update that it ends.
fn take(
    sink: &mut dyn Sink,
    update: &mut Option<Begin>,
    line: &[u8],
) -> Result<Option<Begin>, String> {
    let line: Line = serde_json::from_slice(line).map_err(|e| format!("a line is wrong: {e}"))?;
    match (line, *update) {
        (Line::Begin(begin), _) => {
            // One without its end is forgotten.
            sink.abort();
            sink.begin(begin);
            *update = Some(begin);
        }
        (_, None) => return Err("something is told outside of an update".into()),
        (Line::Put(put), Some(_)) => {
            sink.put(put).map_err(|e| e.to_string())?;
        }
        (Line::Delete(gone), Some(_)) => {
            sink.delete(gone).map_err(|e| e.to_string())?;
        }
        (Line::End(serial), Some(begin)) => {
            *update = None;
            if serial != begin.serial {
                return Err(format!("update {} ends as {serial}", begin.serial));
            }
            sink.commit().map_err(|e| e.to_string())?;
            return Ok(Some(begin));
        }
    }
    Ok(None)
}
