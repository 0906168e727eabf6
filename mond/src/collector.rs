//! What a collector is.

use crate::metrics::Metrics;
use crate::report::{Category, Data, Kind};
use crate::world::World;
use roost_proto::error::Result;
use std::borrow::Cow;
use std::pin::Pin;
use std::time::Duration;

/// When it collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// When somebody asks: at most once a second, however many ask.
    OnRequest,
    /// At each interval: it needs samples over time, or is too slow to wait for.
    Background,
}

/// What is known of a collector without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub name: Cow<'static, str>,
    /// `B`: built in.
    pub version: Cow<'static, str>,
    pub format_version: u32,
    pub category: Category,
    pub kind: Kind,
    pub sampling: Sampling,
    /// The interval, unless the cluster says otherwise.
    pub interval: Duration,
    /// Whether it works, unless the cluster says otherwise.
    pub active: bool,
    /// It may take so long; then its report is an error. The last good one stays in `/metrics` for
    /// a while.
    pub deadline: Duration,
}

impl About {
    /// Built in, works when asked, five seconds of interval and of deadline.
    pub const fn built_in(name: &'static str, category: Category, kind: Kind) -> About {
        About {
            name: Cow::Borrowed(name),
            version: Cow::Borrowed("B"),
            format_version: 1,
            category,
            kind,
            sampling: Sampling::OnRequest,
            interval: Duration::from_secs(5),
            active: true,
            deadline: Duration::from_secs(5),
        }
    }
}

/// What was collected.
#[derive(Clone, Debug)]
pub struct Collected {
    pub data: Data,
    pub metrics: Metrics,
}

/// A collection under way. Dropping it ends it.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Result<Collected>> + Send + 'a>>;

/// Looks at one thing of this machine.
pub trait Collector: Send + Sync {
    /// What it is.
    fn about(&self) -> About;

    /// Whether this machine and its cluster have what it looks at. The cluster's switch is asked elsewhere.
    fn applies(&self, _world: &World) -> bool {
        true
    }

    /// Whether the last good report is served while newer ones fail, with its age.
    fn keeps_last(&self) -> bool {
        false
    }

    /// Collects. Errors: what could not be seen and why; other collectors go on.
    ///
    /// Commands only through [`crate::exec`], what only root may see only through
    /// [`World::privileged`]; nothing here blocks the thread but reads below `/proc` and `/sys`.
    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a>;
}
