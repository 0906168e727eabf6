//! Changes that count together or not at all.
//!
//! ```text
//!   changes               read and kept packed; the view is untouched ─► commit: each is made, none can fail
//!   snapshot, at first    a new view ──────────────────────────────────► commit: it counts
//!   snapshot, later on    compared with what counts; only what is other
//!                         is kept, and the ids of everything ──────────► commit: changes; what was not named goes
//! ```
//!
//! The last way is there so that there are never two whole configurations in memory.

use super::change::{check, read_id, word};
use super::id::Id;
use super::pool::Pool;
use super::shared::Shared;
use super::token::Packed;
use super::{View, pack};
use roost_proto::error::{Error, Result};
use roost_proto::published::{Begin, Delete, Put, Space};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What has come since an update began.
#[derive(Debug)]
pub struct Update {
    kind: Kind,
    /// The first thing that could not be read: then nothing of it counts.
    refused: Option<Error>,
}

#[derive(Debug)]
enum Kind {
    Whole(Box<View>),
    Changes(Changes),
    Difference(Difference),
}

/// Objects that have been read, packed with a pool of their own.
#[derive(Debug, Default)]
struct Changes {
    pool: Pool,
    list: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    space: Space,
    id: Id,
    /// None: it is gone.
    stored: Option<Box<[u8]>>,
}

/// From the view that counts.
#[derive(Debug)]
struct Difference {
    from: Arc<Shared>,
    generation: u64,
    changes: Changes,
    /// All that was named.
    named: BTreeMap<Space, Vec<Id>>,
    /// Room to compare in.
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

type Done<T = ()> = std::result::Result<T, String>;

impl Update {
    /// Nothing has come yet.
    pub(super) fn begin(begin: Begin, from: &Arc<Shared>) -> Update {
        let kind = if !begin.snapshot {
            Kind::Changes(Changes::default())
        } else if from.is_loaded() {
            Kind::Difference(Difference {
                from: Arc::clone(from),
                generation: from.now(),
                changes: Changes::default(),
                named: BTreeMap::new(),
                ours: vec![],
                theirs: vec![],
            })
        } else {
            Kind::Whole(Box::default())
        };
        Update { kind, refused: None }
    }

    /// An object is now like this. Errors: it cannot be read, and the update is refused.
    pub fn put(&mut self, put: &Put) -> Result<()> {
        let (space, json) = (put.space, put.body.get());
        let done = read_id(space, &put.id).and_then(|id| match &mut self.kind {
            Kind::Whole(view) => view.put(space, id, json),
            Kind::Changes(changes) => {
                let stored = changes.read(space, id, json)?;
                changes.put(space, id, &stored);
                Ok(())
            }
            Kind::Difference(difference) => difference.put(space, id, json),
        });
        self.refuse(done)
    }

    /// An object is gone. Errors: it is one that must be there, and the update is refused.
    pub fn delete(&mut self, delete: &Delete) -> Result<()> {
        let done = match delete.space {
            Space::Top | Space::Cluster => Err(format!("The {} cannot go", word(delete.space))),
            space => read_id(space, &delete.id).map(|id| match &mut self.kind {
                Kind::Whole(view) => view.delete(space, id),
                Kind::Changes(changes) => changes.delete(space, id),
                Kind::Difference(difference) => {
                    difference.named.entry(space).or_default().retain(|named| *named != id);
                    difference.changes.delete(space, id);
                }
            }),
        };
        self.refuse(done)
    }

    fn refuse(&mut self, done: Done) -> Result<()> {
        done.map_err(|why| {
            let error = Error::environment(why);
            self.refused.get_or_insert(error).clone()
        })
    }

    /// Makes it count. `view`: what counted so far, if anything. Returns a view that is to take its
    /// place, if one is. Errors: nothing has changed.
    pub(super) fn apply(
        self,
        view: Option<&mut View>,
        generation: u64,
    ) -> Result<Option<Box<View>>> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        match (self.kind, view) {
            (Kind::Whole(mut new), _) => {
                new.complete().map_err(Error::environment)?;
                Ok(Some(new))
            }
            (_, None) => {
                Err(Error::environment("There is no configuration yet that could be changed"))
            }
            (Kind::Changes(changes), Some(view)) => changes.apply(view).map(|()| None),
            (Kind::Difference(difference), Some(view)) => {
                if difference.generation != generation {
                    return Err(Error::internal("another update came in between"));
                }
                difference.apply(view).map(|()| None)
            }
        }
    }
}

impl Changes {
    fn read(&mut self, space: Space, id: Id, json: &str) -> Done<Vec<u8>> {
        let stored = pack::pack(&mut self.pool, space, id, json)
            .map_err(|why| format!("The {} {id} cannot be read: {why}", word(space)))?;
        check(space, Packed::new(&self.pool, id, &stored))?;
        Ok(stored)
    }

    fn put(&mut self, space: Space, id: Id, stored: &[u8]) {
        self.list.push(Change { space, id, stored: Some(stored.into()) });
    }

    fn delete(&mut self, space: Space, id: Id) {
        self.list.push(Change { space, id, stored: None });
    }

    fn apply(self, view: &mut View) -> Result<()> {
        self.make(view).map_err(Error::internal)?;
        view.settle();
        Ok(())
    }

    /// Makes the changes. Errors: what was read before cannot be read now.
    fn make(&self, view: &mut View) -> Done {
        let mut json = vec![];
        for change in &self.list {
            let Some(stored) = &change.stored else {
                view.delete(change.space, change.id);
                continue;
            };
            json.clear();
            Packed::new(&self.pool, change.id, stored).write(&mut json);
            let text = std::str::from_utf8(&json).map_err(|e| e.to_string())?;
            view.put(change.space, change.id, text)?;
        }
        Ok(())
    }
}

impl Difference {
    fn put(&mut self, space: Space, id: Id, json: &str) -> Done {
        let stored = self.changes.read(space, id, json)?;
        self.named.entry(space).or_default().push(id);
        self.ours.clear();
        self.theirs.clear();
        Packed::new(&self.changes.pool, id, &stored).write(&mut self.theirs);
        self.from.write(space, id, &mut self.ours);
        if self.ours != self.theirs {
            self.changes.put(space, id, &stored);
        }
        Ok(())
    }

    fn apply(mut self, view: &mut View) -> Result<()> {
        for space in [Space::Top, Space::Cluster] {
            if !self.named.contains_key(&space) {
                let missing = format!("The configuration has no {}", word(space));
                return Err(Error::environment(missing));
            }
        }
        self.changes.make(view).map_err(Error::internal)?;
        for space in SPACES {
            let mut named = self.named.remove(&space).unwrap_or_default();
            named.sort_unstable();
            for id in view.ids(space).into_iter().filter(|id| named.binary_search(id).is_err()) {
                view.delete(space, id);
            }
        }
        view.settle();
        Ok(())
    }
}

/// The kinds of objects that there may be any number of.
const SPACES: [Space; 6] =
    [Space::Node, Space::NodeGroup, Space::Instance, Space::Disk, Space::Network, Space::Filter];

impl View {
    /// All objects of a whole configuration are there. Errors: there are not.
    fn complete(&mut self) -> Done {
        for (is, space) in [(&self.top, Space::Top), (&self.cluster, Space::Cluster)] {
            if is.is_empty() {
                return Err(format!("The configuration has no {}", word(space)));
            }
        }
        self.shrink();
        self.summarize();
        Ok(())
    }

    /// All of an update has been done.
    fn settle(&mut self) {
        self.tidy();
        self.summarize();
    }

    fn ids(&self, space: Space) -> Vec<Id> {
        let ids = |table: &super::Table| {
            table.present().into_iter().map(|slot| table.row(slot).id).collect()
        };
        self.table(space).map(ids).unwrap_or_default()
    }

    /// Appends an object as JSON, if it is there.
    pub(super) fn write_object(&self, space: Space, id: Id, out: &mut Vec<u8>) {
        match (space, self.table(space)) {
            (Space::Cluster, _) => self.cluster().write(out),
            (_, None) => self.top().write(out),
            (_, Some(table)) => {
                if let Some(slot) = table.find(id) {
                    self.packed(table, slot).write(out);
                }
            }
        }
    }
}
