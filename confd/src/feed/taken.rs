//! The view takes what is told.

use super::Sink;
use crate::view::{Shared, Update};
use roost_proto::error::{Error, Result};
use roost_proto::published::{Begin, Delete, Put};
use std::sync::Arc;

/// Changes the view that counts.
#[derive(Debug)]
pub struct ViewSink {
    shared: Arc<Shared>,
    update: Option<Update>,
}

impl ViewSink {
    /// Of a view that others answer from.
    pub fn new(shared: Arc<Shared>) -> ViewSink {
        ViewSink { shared, update: None }
    }

    fn update(&mut self) -> Result<&mut Update> {
        self.update.as_mut().ok_or_else(|| Error::internal("no update has begun"))
    }
}

impl Sink for ViewSink {
    fn begin(&mut self, begin: Begin) {
        self.update = Some(self.shared.begin(begin));
    }

    fn put(&mut self, put: Put) -> Result<()> {
        self.update()?.put(&put)
    }

    fn delete(&mut self, delete: Delete) -> Result<()> {
        self.update()?.delete(&delete)
    }

    fn commit(&mut self) -> Result<()> {
        let update = self.update.take();
        self.shared.commit(update.ok_or_else(|| Error::internal("no update has begun"))?)
    }

    fn abort(&mut self) {
        self.update = None;
    }

    fn clear(&mut self, why: &str) {
        self.update = None;
        self.shared.clear(why);
    }
}
