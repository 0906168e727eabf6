//! Committing: one transaction, however much is in it.
//!
//! ```text
//!   small   TXN[ leader is ours, head as known │ documents, log entry, head(serial, folded=serial) ]
//!
//!   large   TXN[ …│ chunks ] …   pieces of the log entry; nobody looks at them yet
//!           TXN[ leader is ours, head as known │ log entry, head(serial, folded=old) ]   ◄─ committed
//!           TXN[ …│ documents ] …  TXN[ …│ documents, head(folded=serial) ]              folding
//! ```
//!
//! Folding may be interrupted at any point: readers put what is not folded on top of what they
//! read, and whoever commits next folds first. All transactions are guarded by the leader's key
//! and the head's revision, so a copy of one that arrives late changes nothing.
//!
//! When etcd does not say what became of a transaction, it is sent again until it does: it
//! succeeds, or the head shows that the first copy did, or leadership is lost. Only then it stays
//! [`StoreError::Undecided`], and this store commits nothing any more.

use super::EtcdStore;
use super::connection::{Failure, PATIENCE};
use super::head::{self, FORMAT, Head, LogEntry, Merged, PIECE, Pieces};
use super::keys::{after, piece};
use super::lease::Guard;
use super::rpc::compare::{CompareResult, CompareTarget, TargetUnion};
use super::rpc::request_op::Request;
use super::rpc::response_op::Response;
use super::rpc::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};
use crate::store::{Batch, Key, StoreError};
use roost_proto::ids::{Epoch, Serial};

/// Operations in one transaction; etcd takes 128 unless told otherwise, and some are ours.
const OPS: usize = 120;
/// Bytes in one request; etcd takes 1.5 MiB unless told otherwise.
const BYTES: usize = 1_000_000;
/// Each operation's own bytes, about.
const OVERHEAD: usize = 64;
/// How often the tail is cut, in serials.
const CUT_EVERY: u64 = 1_000;

impl EtcdStore {
    /// See [`crate::store::Store::commit`].
    pub(super) async fn commit_batches(
        &mut self,
        epoch: Epoch,
        batches: &[Batch],
    ) -> Result<Serial, StoreError> {
        self.guard()?;
        let head = self.known_head().await?;
        if batches.is_empty() {
            return Ok(head.serial);
        }
        let head = if head.folded < head.serial { self.fold_pending().await? } else { head };
        let serial = Serial(head.serial.0 + batches.len() as u64);
        let first = Serial(head.serial.0 + 1);
        let entry = LogEntry { first, epoch, batches: batches.to_vec() };
        let entry = head::write_entry(&entry).map_err(|e| self.reader.damaged("log", &e))?;
        let merged = head::merge(batches);
        let documents = self.document_ops(&merged, serial).await?;
        let mut ops = self.cut_ops(head.serial, serial);
        let next =
            Head { format: FORMAT, serial, epoch, folded: serial, by: self.guard()?.revision };
        let whole = ops.len() + documents.len() + 2 <= OPS
            && entry.len() + documents.iter().map(size).sum::<usize>() <= BYTES;
        if whole {
            ops.push(put(self.reader.keys.log(serial.0), entry));
            ops.extend(documents);
            self.guarded(ops, Some(next)).await?;
            self.note_pieces(&merged);
        } else {
            let entry = self.stage(serial, entry).await?;
            ops.push(put(self.reader.keys.log(serial.0), entry));
            self.guarded(ops, Some(Head { folded: head.serial, ..next })).await?;
            // It is committed: a failure from here on is nobody's but the next commit's.
            if let Err(error) = self.fold(documents, &merged).await {
                tracing::warn!(%error, %serial, "a large commit stays in the log for now");
            }
        }
        self.compact_sometimes();
        Ok(serial)
    }

    /// Makes an empty store. Errors: there is one.
    pub(super) async fn create_head(&mut self) -> Result<(), StoreError> {
        let by = self.guard()?.revision;
        let zero = Serial(0);
        let head = Head { format: FORMAT, serial: zero, epoch: Epoch(0), folded: zero, by };
        self.be_first().await?;
        self.guarded(Vec::new(), Some(head)).await
    }

    /// Fills a store that does not exist yet: it does when all is there. `documents` yields all of
    /// them, the archive too.
    pub(super) async fn fill(
        &mut self,
        serial: Serial,
        epoch: Epoch,
        documents: &mut dyn Iterator<Item = Result<(Key, String), StoreError>>,
    ) -> Result<(), StoreError> {
        let by = self.guard()?.revision;
        self.be_first().await?;
        // Leftovers of an attempt that was interrupted: without a head they are nobody's.
        let leftovers = ["doc", "part", "log", "chunk"].map(|kind| {
            let range = self.reader.keys.kind(kind);
            delete_range(range.clone(), after(&range))
        });
        self.guarded(leftovers.into(), None).await?;
        let mut group = Vec::new();
        for document in documents {
            let (key, body) = document?;
            let merged = Merged::from([(&key, Some(body.as_str()))]);
            for op in self.document_ops(&merged, serial).await? {
                if !group.is_empty() && too_much(&group, &op) {
                    self.guarded(std::mem::take(&mut group), None).await?;
                }
                group.push(op);
            }
        }
        self.in_pieces = None;
        let head = Head { format: FORMAT, serial, epoch, folded: serial, by };
        self.guarded(group, Some(head)).await
    }

    /// Removes everything but the leader's key.
    pub(super) async fn remove_all(&mut self) -> Result<(), StoreError> {
        self.known_head().await?;
        let mut ops: Vec<RequestOp> = ["doc", "part", "log", "chunk"]
            .map(|kind| self.reader.keys.kind(kind))
            .map(|range| delete_range(range.clone(), after(&range)))
            .into();
        ops.push(delete_range(self.reader.keys.head(), Vec::new()));
        self.guarded(ops, None).await?;
        (self.head, self.written) = (None, 0);
        Ok(())
    }

    /// Puts the head aside: the documents stay, but there is no cluster in them any more.
    pub(super) async fn retire_head(&mut self) -> Result<(), StoreError> {
        let head = self.known_head().await?;
        let text =
            serde_json::to_vec(&head).map_err(|e| self.reader.damaged("head", &e.to_string()))?;
        let (old, aside) = (self.reader.keys.head(), self.reader.keys.retired_head());
        self.guarded(vec![delete_range(old, Vec::new()), put(aside, text)], None).await?;
        (self.head, self.written) = (None, 0);
        Ok(())
    }

    /// There must be no head.
    async fn be_first(&mut self) -> Result<(), StoreError> {
        if self.reader.head().await?.is_some() {
            return Err(StoreError::Exists { path: self.reader.place("") });
        }
        (self.head, self.written) = (None, 0);
        Ok(())
    }

    async fn known_head(&mut self) -> Result<Head, StoreError> {
        if let Some(head) = &self.head {
            return Ok(head.clone());
        }
        let found = self.reader.existing().await?;
        self.written = found.written;
        self.revision = found.revision;
        self.head = Some(found.head.clone());
        Ok(found.head)
    }

    /// Brings what is only in the log into the documents.
    pub(super) async fn fold_pending(&mut self) -> Result<Head, StoreError> {
        let found = self.reader.existing().await?;
        (self.head, self.written) = (Some(found.head.clone()), found.written);
        let entries = self.reader.pending(&found).await?;
        let batches: Vec<Batch> = entries.into_iter().flat_map(|entry| entry.batches).collect();
        let merged = head::merge(&batches);
        let documents = self.document_ops(&merged, found.head.serial).await?;
        self.fold(documents, &merged).await?;
        self.known_head().await
    }

    async fn fold(&mut self, ops: Vec<RequestOp>, merged: &Merged<'_>) -> Result<(), StoreError> {
        let head = self.known_head().await?;
        let by = self.guard()?.revision;
        let mut group = Vec::new();
        for op in ops {
            if !group.is_empty() && too_much(&group, &op) {
                self.guarded(std::mem::take(&mut group), None).await?;
                #[cfg(test)]
                if self.interrupt_folding {
                    return Err(StoreError::NotLeader { detail: "a test".into() });
                }
            }
            group.push(op);
        }
        self.guarded(group, Some(Head { folded: head.serial, by, ..head })).await?;
        self.note_pieces(merged);
        Ok(())
    }

    /// Puts a log entry beside its place if it is too large for it. Returns what is to be stored
    /// in its place.
    async fn stage(&mut self, serial: Serial, entry: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if entry.len() <= PIECE {
            return Ok(entry);
        }
        self.attempts += 1;
        // What an earlier attempt left must not be mixed in.
        let attempt = format!("{}-{}", self.guard()?.revision, self.attempts);
        let below = self.reader.keys.chunks(serial.0, &attempt);
        let chunks: Vec<&[u8]> = entry.chunks(PIECE).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            self.guarded(vec![put(piece(&below, n), chunk.to_vec())], None).await?;
        }
        self.pieces(&below, chunks.len())
    }

    fn pieces(&self, below: &[u8], count: usize) -> Result<Vec<u8>, StoreError> {
        let below = below.strip_prefix(self.reader.keys.root().as_bytes()).unwrap_or(below);
        let pieces = Pieces { below: String::from_utf8_lossy(below).into_owned(), count };
        head::write_pieces(&pieces).map_err(|e| self.reader.damaged("head", &e))
    }

    /// What makes documents what they are to be. In this order; not all need to fit into one
    /// transaction.
    async fn document_ops(
        &mut self,
        merged: &Merged<'_>,
        serial: Serial,
    ) -> Result<Vec<RequestOp>, StoreError> {
        if self.in_pieces.is_none() {
            self.in_pieces = Some(self.reader.in_pieces().await?.into_iter().collect());
        }
        let keys = self.reader.keys.clone();
        let mut ops = Vec::with_capacity(merged.len());
        for (key, body) in merged {
            let (name, parts) = (keys.document(key), keys.parts(key));
            let had_pieces = self.in_pieces.as_ref().is_some_and(|owners| owners.contains(&parts));
            let mut obsolete = after(&parts);
            match body {
                None => ops.push(delete_range(name, Vec::new())),
                Some(body) if body.len() <= PIECE => {
                    ops.push(put(name, head::write_document(body)));
                }
                Some(body) => {
                    let below = keys.parts_of(key, serial.0);
                    let chunks: Vec<&[u8]> = body.as_bytes().chunks(PIECE).collect();
                    for (n, chunk) in chunks.iter().enumerate() {
                        ops.push(put(piece(&below, n), chunk.to_vec()));
                    }
                    ops.push(put(name, self.pieces(&below, chunks.len())?));
                    obsolete = below;
                }
            }
            if had_pieces {
                ops.push(delete_range(parts, obsolete));
            }
        }
        Ok(ops)
    }

    fn note_pieces(&mut self, merged: &Merged<'_>) {
        let keys = &self.reader.keys;
        let Some(owners) = &mut self.in_pieces else { return };
        for (key, body) in merged {
            if body.is_some_and(|body| body.len() > PIECE) {
                owners.insert(keys.parts(key));
            } else {
                owners.remove(&keys.parts(key));
            }
        }
    }

    /// Cuts the tail, sometimes: each time would cost as much as the commit.
    fn cut_ops(&self, before: Serial, serial: Serial) -> Vec<RequestOp> {
        if before.0 / CUT_EVERY == serial.0 / CUT_EVERY || serial.0 <= self.tail {
            return Vec::new();
        }
        let (keys, oldest) = (&self.reader.keys, serial.0 - self.tail);
        vec![
            delete_range(keys.kind("log"), keys.log(oldest)),
            delete_range(keys.kind("chunk"), keys.chunks_before(oldest)),
        ]
    }

    /// Does these things if we lead and nobody else wrote. With `next` it also becomes the head.
    async fn guarded(
        &mut self,
        mut ops: Vec<RequestOp>,
        next: Option<Head>,
    ) -> Result<(), StoreError> {
        let guard = self.guard()?;
        let keys = &self.reader.keys;
        if let Some(next) = &next {
            let text = serde_json::to_vec(next)
                .map_err(|e| self.reader.damaged("head", &e.to_string()))?;
            ops.push(put(keys.head(), text));
        }
        let ours = TargetUnion::CreateRevision(guard.revision);
        let known = TargetUnion::ModRevision(self.written);
        let request = TxnRequest {
            compare: vec![
                equal(keys.leader(), CompareTarget::Create, ours),
                equal(keys.head(), CompareTarget::Mod, known),
            ],
            success: ops,
            failure: vec![get(keys.head()), get(keys.leader())],
        };
        let mut sent = false;
        loop {
            if !guard.holds() {
                return Err(self.too_late(next.as_ref(), sent));
            }
            sent = true;
            let etcd = self.reader.etcd.clone();
            let answer = tokio::select! {
                answer = etcd.txn(PATIENCE, request.clone()) => answer,
                // Whatever became of it: it is too late to find out.
                () = guard.lost.cancelled() => return Err(self.too_late(next.as_ref(), sent)),
            };
            match answer {
                Ok(answer) => {
                    let revision = answer.value.header.map_or(0, |h| h.revision);
                    if !answer.value.succeeded {
                        return self.not_done(&guard, &answer.value, next);
                    }
                    self.revision = revision;
                    if let Some(next) = next {
                        (self.head, self.written) = (Some(next), revision);
                    }
                    return Ok(());
                }
                Err(Failure::Unavailable(detail)) => {
                    tracing::warn!(%detail, "etcd does not answer; the commit waits");
                }
                Err(Failure::Refused { repeated: true, status }) if next.is_some() => {
                    // An earlier copy may still arrive, and this one cannot rule it out.
                    tracing::error!(%status, "etcd refuses what it may have done before");
                    guard.lost.cancel();
                }
                Err(failure) => return Err(self.reader.etcd.error(failure)),
            }
        }
    }

    /// A condition did not hold: because an earlier copy was done, or because others lead.
    fn not_done(
        &mut self,
        guard: &Guard,
        answer: &TxnResponse,
        next: Option<Head>,
    ) -> Result<(), StoreError> {
        let found = |n: usize| match answer.responses.get(n).and_then(|r| r.response.as_ref()) {
            Some(Response::ResponseRange(range)) => range.kvs.first(),
            _ => None,
        };
        let (head, leader) = (found(0), found(1));
        if let (Some(next), Some(kv)) = (&next, head)
            && self.reader.parse_head(&kv.value)? == *next
        {
            self.written = kv.mod_revision;
            self.revision = kv.mod_revision;
            self.head = Some(next.clone());
            return Ok(());
        }
        if leader.is_none_or(|kv| kv.create_revision != guard.revision) {
            guard.lost.cancel();
            let now = leader.map_or_else(
                || "nobody leads".to_owned(),
                |kv| format!("the leader is {}", String::from_utf8_lossy(&kv.value)),
            );
            return Err(StoreError::NotLeader { detail: now });
        }
        // Nobody but a leader writes here. What is in memory may be wrong: all is to be read anew.
        self.head = None;
        guard.lost.cancel();
        Err(StoreError::Failed {
            path: self.reader.place("head"),
            detail: "it was changed by something that is not the leading masterd. Nothing was \
                     stored. See what else writes to this etcd"
                .into(),
        })
    }

    fn too_late(&mut self, next: Option<&Head>, sent: bool) -> StoreError {
        if sent && next.is_some() {
            self.undecided = true;
            return StoreError::Undecided { endpoints: self.reader.etcd.endpoints() };
        }
        StoreError::NotLeader { detail: "its lease could not be renewed in time".into() }
    }

    /// Our leadership. Errors: there is none, or not any more.
    pub(super) fn guard(&self) -> Result<Guard, StoreError> {
        let lost = |detail: &str| StoreError::NotLeader { detail: detail.into() };
        if self.undecided {
            return Err(StoreError::Undecided { endpoints: self.reader.etcd.endpoints() });
        }
        match &self.guard {
            None => Err(lost("this store was opened for reading")),
            Some(guard) if guard.holds() => Ok(guard.clone()),
            Some(_) => Err(lost("its lease could not be renewed in time")),
        }
    }
}

fn too_much(group: &[RequestOp], op: &RequestOp) -> bool {
    group.len() >= OPS || group.iter().map(size).sum::<usize>() + size(op) > BYTES
}

fn size(op: &RequestOp) -> usize {
    OVERHEAD
        + match &op.request {
            Some(Request::RequestPut(put)) => put.key.len() + put.value.len(),
            Some(Request::RequestDeleteRange(range)) => range.key.len() + range.range_end.len(),
            _ => 0,
        }
}

/// Writes a key.
pub fn put(key: Vec<u8>, value: Vec<u8>) -> RequestOp {
    let put = PutRequest { key, value, lease: 0 };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// Removes keys up to `range_end`; one key if that is empty.
pub fn delete_range(key: Vec<u8>, range_end: Vec<u8>) -> RequestOp {
    let range = DeleteRangeRequest { key, range_end };
    RequestOp { request: Some(Request::RequestDeleteRange(range)) }
}

/// Reads a key.
pub fn get(key: Vec<u8>) -> RequestOp {
    let range = RangeRequest { key, ..RangeRequest::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

/// A condition. A key that is not there has revision 0.
pub fn equal(key: Vec<u8>, target: CompareTarget, union: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key,
        target_union: Some(union),
    }
}
