//! Reading: everything at one revision, so that what is read belongs together.
//!
//! ```text
//!   head ──► revision R ──► pages at R ──► what is in the log but not folded yet, on top
//! ```

use super::connection::{Etcd, Failure};
use super::head::{self, FORMAT, Head, LogEntry, Pieces, Value};
use super::keys::{Keys, after, piece};
use super::rpc::{KeyValue, RangeRequest};
use crate::store::{Contents, Key, Since, Space, StoreError};
use roost_proto::ids::Serial;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Keys in one answer.
const PAGE: i64 = 500;

/// Reads a cluster's keys.
#[derive(Clone, Debug)]
pub struct Reader {
    pub etcd: Etcd,
    pub keys: Keys,
}

/// The head as found.
#[derive(Clone, Debug)]
pub struct Found {
    pub head: Head,
    /// When it was written.
    pub written: i64,
    /// When it was read.
    pub revision: i64,
}

impl Reader {
    /// The head; `None`: there is no cluster.
    pub async fn head(&self) -> Result<Option<Found>, StoreError> {
        let request = RangeRequest { key: self.keys.head(), ..RangeRequest::default() };
        let answer = self.etcd.range(request).await.map_err(|e| self.etcd.error(e))?;
        let revision = answer.header.map_or(0, |h| h.revision);
        match answer.kvs.into_iter().next() {
            None => Ok(None),
            Some(kv) => {
                let head = self.parse_head(&kv.value)?;
                Ok(Some(Found { head, written: kv.mod_revision, revision }))
            }
        }
    }

    /// The head of a cluster that must be there.
    pub async fn existing(&self) -> Result<Found, StoreError> {
        self.head().await?.ok_or_else(|| StoreError::Missing { path: self.place("head") })
    }

    /// There is no cluster any more, and what is left says that it has moved.
    pub async fn is_retired(&self) -> Result<bool, StoreError> {
        if self.head().await?.is_some() {
            return Ok(false);
        }
        let request = RangeRequest { key: self.keys.retired_head(), ..RangeRequest::default() };
        let answer = self.etcd.range(request).await.map_err(|e| self.etcd.error(e))?;
        Ok(!answer.kvs.is_empty())
    }

    /// Understands a head.
    pub fn parse_head(&self, value: &[u8]) -> Result<Head, StoreError> {
        let damaged = |e: serde_json::Error| self.damaged("head", &e.to_string());
        let json: serde_json::Value = serde_json::from_slice(value).map_err(damaged)?;
        let found = json["format"].as_i64().unwrap_or_default();
        if found > i64::from(FORMAT) {
            let (path, known) = (self.place(""), i64::from(FORMAT));
            return Err(StoreError::Newer { path, found, known });
        }
        serde_json::from_value(json).map_err(damaged)
    }

    /// Everything but the archive.
    pub async fn contents(&self) -> Result<(Found, Contents), StoreError> {
        let found = self.existing().await?;
        let mut documents = BTreeMap::new();
        for space in Space::ALL.into_iter().filter(|space| *space != Space::Archive) {
            for (id, body) in self.stored(space, found.revision).await? {
                documents.insert(Key::new(space, id), body);
            }
        }
        for entry in self.pending(&found).await? {
            for (key, body) in head::merge(&entry.batches) {
                match body {
                    _ if key.space == Space::Archive => {}
                    Some(body) => {
                        documents.insert(key.clone(), body.to_owned());
                    }
                    None => {
                        documents.remove(key);
                    }
                }
            }
        }
        let contents =
            Contents { serial: found.head.serial, documents: documents.into_iter().collect() };
        Ok((found, contents))
    }

    /// One document.
    pub async fn get(&self, key: &Key) -> Result<Option<String>, StoreError> {
        let found = self.existing().await?;
        for entry in self.pending(&found).await?.iter().rev() {
            if let Some(body) = head::merge(&entry.batches).get(key) {
                return Ok(body.map(str::to_owned));
            }
        }
        let name = self.keys.document(key);
        match self.one(name.clone(), found.revision).await? {
            None => Ok(None),
            Some(kv) => self.document(&name, kv.value, found.revision).await.map(Some),
        }
    }

    /// All documents of a space.
    pub async fn scan(&self, space: Space) -> Result<Vec<(String, String)>, StoreError> {
        let found = self.existing().await?;
        let mut documents: BTreeMap<String, String> =
            self.stored(space, found.revision).await?.into_iter().collect();
        for entry in self.pending(&found).await? {
            for (key, body) in head::merge(&entry.batches) {
                match body {
                    _ if key.space != space => {}
                    Some(body) => {
                        documents.insert(key.id.clone(), body.to_owned());
                    }
                    None => {
                        documents.remove(&key.id);
                    }
                }
            }
        }
        Ok(documents.into_iter().collect())
    }

    /// The largest id of a space.
    pub async fn last_id(&self, space: Space) -> Result<Option<String>, StoreError> {
        let found = self.existing().await?;
        if found.head.folded < found.head.serial {
            // Rare and short: the log has the last word on what is there.
            return Ok(self.scan(space).await?.pop().map(|(id, _)| id));
        }
        let prefix = self.keys.space(space);
        let Some(mut best) = self.first_from(prefix.clone(), &prefix, found.revision).await? else {
            return Ok(None);
        };
        // etcd would read all values to sort them the other way round. Jumping from branch to
        // branch, byte by byte, reads some dozens of keys, however many there are.
        let mut at = prefix.len();
        loop {
            let probe = match best.get(at) {
                Some(byte) => [&best[..at], &[byte + 1]].concat(),
                None => [best.as_slice(), &[0]].concat(),
            };
            match self.first_from(probe, &prefix, found.revision).await? {
                Some(larger) => best = larger,
                None if at >= best.len() => break,
                None => at += 1,
            }
        }
        let id = self.keys.id(space, &best).map(str::to_owned);
        id.map(Some).ok_or_else(|| self.damaged("doc/", "it has a key that is not text"))
    }

    /// What was committed after a serial.
    pub async fn since(&self, serial: Serial) -> Result<Since, StoreError> {
        let found = self.existing().await?;
        if serial == found.head.serial && serial.0 > 0 {
            return Ok(Since::Tail(Vec::new()));
        }
        let mut tail = Vec::new();
        if serial.0 > 0 && serial < found.head.serial {
            let entries = self.log(serial, found.head.serial, found.revision).await?;
            let complete = entries.first().is_some_and(|first| first.first.0 <= serial.0 + 1);
            if complete {
                for entry in entries {
                    tail.extend(entry.numbered().filter(|(at, _)| *at > serial));
                }
                return Ok(Since::Tail(tail));
            }
        }
        Ok(Since::Snapshot(self.contents().await?.1))
    }

    /// What is in the log but perhaps not in the documents.
    pub async fn pending(&self, found: &Found) -> Result<Vec<LogEntry>, StoreError> {
        let head = &found.head;
        if head.folded >= head.serial {
            return Ok(Vec::new());
        }
        self.log(head.folded, head.serial, found.revision).await
    }

    /// Documents with pieces, as [`Keys::parts`] names them.
    pub async fn in_pieces(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let range = self.keys.kind("part");
        let kvs = self.all(range.clone(), after(&range), 0, true).await?;
        let mut owners: Vec<Vec<u8>> =
            kvs.iter().filter_map(|kv| self.keys.part_owner(&kv.key)).map(<[u8]>::to_vec).collect();
        owners.dedup();
        Ok(owners)
    }

    /// How many keys there are below one of the cluster's.
    #[cfg(test)]
    pub async fn count(&self, below: Vec<u8>) -> Result<i64, StoreError> {
        let range_end = after(&below);
        let request =
            RangeRequest { key: below, range_end, count_only: true, ..RangeRequest::default() };
        let answer = self.etcd.range(request).await.map_err(|e| self.etcd.error(e))?;
        Ok(answer.count)
    }

    /// A key, for people.
    pub fn place(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("etcd:{}{key}", self.keys.root()))
    }

    /// What was read makes no sense.
    pub fn damaged(&self, key: &str, detail: &str) -> StoreError {
        StoreError::Damaged { path: self.place(key), detail: detail.to_owned() }
    }

    /// Log entries after `serial`, up to `last`.
    async fn log(
        &self,
        serial: Serial,
        last: Serial,
        revision: i64,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let (start, end) = (self.keys.log(serial.0 + 1), self.keys.log(last.0 + 1));
        let mut entries = Vec::new();
        for kv in self.all(start, end, revision, false).await? {
            let bad = |e: String| self.damaged(&String::from_utf8_lossy(&kv.key), &e);
            let entry = match head::read_entry(&kv.value).map_err(bad)? {
                Value::Whole(entry) => entry,
                Value::Elsewhere(pieces) => {
                    let bytes = self.collect(&pieces, revision).await?;
                    match head::read_entry(&bytes).map_err(bad)? {
                        Value::Whole(entry) => entry,
                        Value::Elsewhere(_) => return Err(bad("pieces of pieces".into())),
                    }
                }
            };
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Documents as stored, whatever the log says.
    async fn stored(
        &self,
        space: Space,
        revision: i64,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let range = self.keys.space(space);
        let kvs = self.all(range.clone(), after(&range), revision, false).await?;
        let mut documents = Vec::with_capacity(kvs.len());
        for kv in kvs {
            let id = self.keys.id(space, &kv.key).map(str::to_owned);
            let id = id.ok_or_else(|| self.damaged("doc/", "it has a key that is not text"))?;
            let body = self.document(&kv.key, kv.value, revision).await?;
            documents.push((id, body));
        }
        Ok(documents)
    }

    async fn document(
        &self,
        name: &[u8],
        value: Vec<u8>,
        revision: i64,
    ) -> Result<String, StoreError> {
        let bad = |e: String| self.damaged(&String::from_utf8_lossy(name), &e);
        match head::read_document(value).map_err(bad)? {
            Value::Whole(body) => Ok(body),
            Value::Elsewhere(pieces) => {
                head::text(self.collect(&pieces, revision).await?).map_err(bad)
            }
        }
    }

    async fn collect(&self, pieces: &Pieces, revision: i64) -> Result<Vec<u8>, StoreError> {
        let below = format!("{}{}", self.keys.root(), pieces.below).into_bytes();
        let mut bytes = Vec::new();
        // One by one: together they may be more than an answer can hold.
        for n in 0..pieces.count {
            let kv = self.one(piece(&below, n), revision).await?;
            let kv = kv.ok_or_else(|| {
                let detail = format!("piece {n} of {} is missing", pieces.count);
                self.damaged(&pieces.below, &detail)
            })?;
            bytes.extend(kv.value);
        }
        Ok(bytes)
    }

    async fn one(&self, key: Vec<u8>, revision: i64) -> Result<Option<KeyValue>, StoreError> {
        let request = RangeRequest { key, revision, ..RangeRequest::default() };
        let answer = self.etcd.range(request).await.map_err(|e| self.etcd.error(e))?;
        Ok(answer.kvs.into_iter().next())
    }

    /// The first key from `start` on that begins with `prefix`.
    async fn first_from(
        &self,
        start: Vec<u8>,
        prefix: &[u8],
        revision: i64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let request = RangeRequest {
            key: start,
            range_end: after(prefix),
            limit: 1,
            revision,
            keys_only: true,
            ..RangeRequest::default()
        };
        let answer = self.etcd.range(request).await.map_err(|e| self.etcd.error(e))?;
        Ok(answer.kvs.into_iter().next().map(|kv| kv.key))
    }

    async fn all(
        &self,
        mut key: Vec<u8>,
        range_end: Vec<u8>,
        mut revision: i64,
        keys_only: bool,
    ) -> Result<Vec<KeyValue>, StoreError> {
        let mut kvs: Vec<KeyValue> = Vec::new();
        loop {
            let request = RangeRequest {
                key,
                range_end: range_end.clone(),
                limit: PAGE,
                revision,
                keys_only,
                ..RangeRequest::default()
            };
            let answer = self.etcd.range(request).await.map_err(|e| self.read_failure(e))?;
            if revision == 0 {
                revision = answer.header.map_or(0, |h| h.revision);
            }
            kvs.extend(answer.kvs);
            match kvs.last() {
                Some(last) if answer.more => key = [last.key.as_slice(), &[0]].concat(),
                _ => return Ok(kvs),
            }
        }
    }

    fn read_failure(&self, failure: Failure) -> StoreError {
        match failure {
            Failure::Refused { status, .. } if status.message().contains("compacted") => {
                StoreError::Unavailable {
                    endpoints: self.etcd.endpoints(),
                    detail: "what was being read was compacted away meanwhile: try again".into(),
                }
            }
            failure => self.etcd.error(failure),
        }
    }
}
