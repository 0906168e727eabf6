//! Changes that count together or not at all.
//!
//! ```text
//!   snapshot   puts build a new View beside the old one ─────────────► commit: it takes the place of the old one
//!   changes    puts are read and kept packed; the view is untouched ─► commit: each is made, none can fail
//! ```

use super::change::{check, read_id, word};
use super::id::Id;
use super::pool::Pool;
use super::token::Packed;
use super::{View, pack};
use roost_proto::error::{Error, Result};
use roost_proto::published::{Begin, Delete, Put, Space};

/// What has come since an update began.
#[derive(Debug)]
pub struct Update {
    kind: Kind,
    /// The first thing that could not be read: then nothing of it counts.
    refused: Option<Error>,
}

#[derive(Debug)]
enum Kind {
    Snapshot(Box<View>),
    Changes { pool: Pool, changes: Vec<Change> },
}

#[derive(Debug)]
struct Change {
    space: Space,
    id: Id,
    /// None: it is gone.
    stored: Option<Box<[u8]>>,
}

impl Update {
    /// Nothing has come yet.
    pub fn begin(begin: Begin) -> Update {
        let kind = match begin.snapshot {
            true => Kind::Snapshot(Box::default()),
            false => Kind::Changes { pool: Pool::default(), changes: vec![] },
        };
        Update { kind, refused: None }
    }

    /// An object is now like this. Errors: it cannot be read, and the update is refused.
    pub fn put(&mut self, put: &Put) -> Result<()> {
        let id = read_id(put.space, &put.id);
        let done = id.and_then(|id| self.take(put.space, id, put.body.get()));
        self.refuse(done)
    }

    fn take(&mut self, space: Space, id: Id, json: &str) -> std::result::Result<(), String> {
        match &mut self.kind {
            Kind::Snapshot(view) => view.put(space, id, json),
            Kind::Changes { pool, changes } => {
                let stored = pack::pack(pool, space, id, json)
                    .map_err(|why| format!("The {} {id} cannot be read: {why}", word(space)))?;
                check(space, Packed::new(pool, id, &stored))?;
                changes.push(Change { space, id, stored: Some(stored.into()) });
                Ok(())
            }
        }
    }

    /// An object is gone. Errors: it is one that must be there, and the update is refused.
    pub fn delete(&mut self, delete: &Delete) -> Result<()> {
        let done = match delete.space {
            Space::Top | Space::Cluster => Err(format!("The {} cannot go", word(delete.space))),
            space => read_id(space, &delete.id).map(|id| match &mut self.kind {
                Kind::Snapshot(view) => view.delete(space, id),
                Kind::Changes { changes, .. } => changes.push(Change { space, id, stored: None }),
            }),
        };
        self.refuse(done)
    }

    fn refuse(&mut self, done: std::result::Result<(), String>) -> Result<()> {
        done.map_err(|why| {
            let error = Error::environment(why);
            self.refused.get_or_insert(error).clone()
        })
    }
}

impl View {
    /// All objects of a whole configuration are there. Errors: there are not.
    fn complete(&mut self) -> std::result::Result<(), String> {
        for (is, what) in [(&self.top, "top level"), (&self.cluster, "cluster")] {
            if is.is_empty() {
                return Err(format!("The configuration has no {what}"));
            }
        }
        self.shrink();
        self.summarize();
        Ok(())
    }

    /// Makes changes that were all read before.
    fn change(&mut self, pool: &Pool, changes: &[Change]) -> std::result::Result<(), String> {
        let mut json = vec![];
        for change in changes {
            let Some(stored) = &change.stored else {
                self.delete(change.space, change.id);
                continue;
            };
            json.clear();
            Packed::new(pool, change.id, stored).write(&mut json);
            let text = std::str::from_utf8(&json).map_err(|e| e.to_string())?;
            self.put(change.space, change.id, text)?;
        }
        self.tidy();
        self.summarize();
        Ok(())
    }
}

impl Update {
    /// What counts from now on, if it is a whole configuration; otherwise the changes, for
    /// [`Update::apply`].
    pub(super) fn into_view(self) -> std::result::Result<Result<Box<View>>, Update> {
        match (self.kind, self.refused) {
            (Kind::Snapshot(_), Some(error)) => Ok(Err(error)),
            (Kind::Snapshot(mut view), None) => {
                Ok(view.complete().map_err(Error::environment).map(|()| view))
            }
            (kind, refused) => Err(Update { kind, refused }),
        }
    }

    /// Makes all its changes, or none. Errors: something in it could not be read.
    pub(super) fn apply(self, view: &mut View) -> Result<()> {
        match (self.kind, self.refused) {
            (_, Some(error)) => Err(error),
            (Kind::Snapshot(new), None) => {
                *view = *new;
                Ok(())
            }
            // What cannot be read now but could before is our own defect.
            (Kind::Changes { pool, changes }, None) => {
                view.change(&pool, &changes).map_err(Error::internal)
            }
        }
    }
}
