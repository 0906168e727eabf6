//! What is in the values: the head, log entries, documents.
//!
//! ```text
//!   head       JSON
//!   log entry  JSON                      or  0x01 deflated JSON,  or  0x02 JSON of [`Pieces`]
//!   document   its text as it is         or  0x00 text,           or  0x02 JSON of [`Pieces`]
//! ```
//!
//! Documents are stored as they are, so that a person with `etcdctl` can read them.

use crate::store::{Batch, Key};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use roost_proto::ids::{Epoch, Serial};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// The format this program writes and the newest it reads.
pub const FORMAT: u32 = 1;
/// Largest value of one key. etcd takes requests of 1.5 MiB unless told otherwise.
pub const PIECE: usize = 900_000;
/// Log entries shorter than this are not worth deflating.
const SHORT: usize = 1_024;

const AS_IS: u8 = 0;
const DEFLATED: u8 = 1;
const IN_PIECES: u8 = 2;

/// What every commit replaces; the commit happened if and only if this did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub format: u32,
    pub serial: Serial,
    /// Of the leadership that wrote it.
    pub epoch: Epoch,
    /// Commits after this one are in the log, but perhaps not in the documents yet.
    pub folded: Serial,
    /// The leadership that wrote it, by the revision at which its key appeared.
    pub by: i64,
}

/// What one transaction commits: some batches, with consecutive serials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    pub first: Serial,
    pub epoch: Epoch,
    pub batches: Vec<Batch>,
}

impl LogEntry {
    /// Each batch with its serial.
    pub fn numbered(self) -> impl Iterator<Item = (Serial, Batch)> {
        let first = self.first.0;
        (first..).map(Serial).zip(self.batches)
    }
}

/// Where a value is that is too large for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// What the pieces' keys begin with, after the cluster's root.
    pub below: String,
    pub count: usize,
}

/// A value as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<T> {
    Whole(T),
    Elsewhere(Pieces),
}

/// What documents are after some batches; `None`: deleted.
pub type Merged<'a> = BTreeMap<&'a Key, Option<&'a str>>;

/// The last word on each document: a transaction may write a key only once.
pub fn merge(batches: &[Batch]) -> Merged<'_> {
    let mut merged = Merged::new();
    for batch in batches {
        for (key, body) in &batch.puts {
            merged.insert(key, Some(body));
        }
        for key in &batch.deletes {
            merged.insert(key, None);
        }
    }
    merged
}

/// A log entry as bytes, to be stored whole or in pieces.
pub fn write_entry(entry: &LogEntry) -> Result<Vec<u8>, String> {
    let text = serde_json::to_vec(entry).map_err(|e| e.to_string())?;
    if text.len() < SHORT {
        return Ok(text);
    }
    let mut deflated = DeflateEncoder::new(vec![DEFLATED], Compression::fast());
    deflated.write_all(&text).map_err(|e| e.to_string())?;
    deflated.finish().map_err(|e| e.to_string())
}

/// The other way round, when it is whole.
pub fn read_entry(bytes: &[u8]) -> Result<Value<LogEntry>, String> {
    match bytes.split_first() {
        Some((&IN_PIECES, rest)) => read_pieces(rest).map(Value::Elsewhere),
        Some((&DEFLATED, rest)) => {
            let mut text = Vec::new();
            DeflateDecoder::new(rest).read_to_end(&mut text).map_err(|e| e.to_string())?;
            serde_json::from_slice(&text).map(Value::Whole).map_err(|e| e.to_string())
        }
        _ => serde_json::from_slice(bytes).map(Value::Whole).map_err(|e| e.to_string()),
    }
}

/// A document as the value of its own key.
pub fn write_document(body: &str) -> Vec<u8> {
    match body.as_bytes().first() {
        Some(&(AS_IS..=IN_PIECES)) => [&[AS_IS], body.as_bytes()].concat(),
        _ => body.as_bytes().to_vec(),
    }
}

/// The other way round.
pub fn read_document(bytes: Vec<u8>) -> Result<Value<String>, String> {
    match bytes.split_first() {
        Some((&IN_PIECES, rest)) => read_pieces(rest).map(Value::Elsewhere),
        Some((&AS_IS, rest)) => text(rest.to_vec()).map(Value::Whole),
        _ => text(bytes).map(Value::Whole),
    }
}

/// What is stored in place of a value that is in pieces.
pub fn write_pieces(pieces: &Pieces) -> Result<Vec<u8>, String> {
    let text = serde_json::to_vec(pieces).map_err(|e| e.to_string())?;
    Ok([vec![IN_PIECES], text].concat())
}

fn read_pieces(bytes: &[u8]) -> Result<Pieces, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

/// Bytes that must be text.
pub fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Space;

    fn entry(body: &str) -> LogEntry {
        let puts = vec![(Key::new(Space::Job, 1), body.to_owned())];
        LogEntry {
            first: Serial(7),
            epoch: Epoch(2),
            batches: vec![Batch { puts, deletes: vec![] }],
        }
    }

    #[test]
    fn entries_come_back_and_long_ones_are_deflated() {
        for body in ["short", &"long ".repeat(1_000)] {
            let bytes = write_entry(&entry(body)).unwrap();
            assert!(bytes.len() < SHORT, "{}", bytes.len());
            assert_eq!(read_entry(&bytes).unwrap(), Value::Whole(entry(body)));
        }
        assert!(read_entry(b"\x01garbage").is_err());
        assert!(read_entry(b"{").is_err());
    }

    #[test]
    fn documents_come_back_whatever_they_begin_with() {
        for body in ["", "{}", "\u{0}x", "\u{1}x", "\u{2}{}", "\u{3}"] {
            let bytes = write_document(body);
            assert_eq!(read_document(bytes).unwrap(), Value::Whole(body.to_owned()));
        }
        let pieces = Pieces { below: "part/job/1/7/".into(), count: 3 };
        let bytes = write_pieces(&pieces).unwrap();
        assert_eq!(read_document(bytes.clone()).unwrap(), Value::Elsewhere(pieces.clone()));
        assert_eq!(read_entry(&bytes).unwrap(), Value::Elsewhere(pieces));
        assert!(read_document(vec![0xff]).is_err());
    }

    #[test]
    fn the_last_word_on_a_document_counts() {
        let (a, b) = (Key::new(Space::Job, "a"), Key::new(Space::Job, "b"));
        let batches = [
            Batch { puts: vec![(a.clone(), "1".into()), (b.clone(), "1".into())], deletes: vec![] },
            Batch { puts: vec![(a.clone(), "2".into())], deletes: vec![b.clone()] },
        ];
        let merged = merge(&batches);
        assert_eq!(merged.into_iter().collect::<Vec<_>>(), vec![(&a, Some("2")), (&b, None)]);
    }
}
