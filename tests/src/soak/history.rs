//! What happened, in order, one JSON object a line: `{"ms", "what", …}`.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A history being written. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    to: Mutex<(File, BTreeMap<String, u32>)>,
}

impl History {
    /// Begins one.
    pub fn create(path: &Path) -> Result<History> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let to = Mutex::new((file, BTreeMap::new()));
        Ok(History(Arc::new(Inner { began: Instant::now(), to })))
    }

    /// Since it began.
    pub fn now(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Adds a line; `what` comes first, `details` is an object.
    pub fn add(&self, what: &str, details: &Value) {
        let mut line = json!({ "ms": self.now().as_millis() as u64, "what": what });
        if let (Some(line), Some(details)) = (line.as_object_mut(), details.as_object()) {
            line.extend(details.clone());
        }
        let mut to = self.0.to.lock().unwrap_or_else(PoisonError::into_inner);
        *to.1.entry(what.to_owned()).or_default() += 1;
        // A history that cannot be written must not stop what it tells of.
        writeln!(to.0, "{line}").ok();
    }

    /// How often what happened.
    pub fn summary(&self) -> String {
        let to = self.0.to.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = to.1.iter().map(|(what, count)| format!("{what} {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}
