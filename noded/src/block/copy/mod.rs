//! Copies data of disks: to another node over the TLS between the two nodeds, or on this node, from
//! and to disks of any template.
//!
//! ```text
//!   medium: file, device, QEMU's ─┐                              ┌─► medium
//!                                 ├─► feed ─► send ═══► take ────┼─► file (a dump)
//!   script `export` ──────────────┘                              └─► script `import`
//! ```
//!
//! Zeros are not sent; what was there before them is made zero. What has arrived is checked against
//! its digest, made durable and remembered every 64 MiB: a connection that breaks, and either noded
//! killed, cost no more than that. Nothing stays in the page cache, and no more moves than the
//! node's budget allows ([`crate::budget`]).

mod feed;
mod medium;
mod meter;
mod nbd;
mod pack;
mod receivers;
mod script;
mod send;
mod take;

pub use feed::{Feed, Held};
pub use medium::{Access, Medium};
pub use meter::Meter;
pub use pack::Packing;
pub use receivers::{Awaited, Receivers};
pub use send::{Part, Patience, Sending, To};
pub use take::receive;

use super::device::{Device, Work};
use crate::blocking::blocking;
use crate::credentials::hex;
use crate::host::Host;
use crate::hypervisor::Source;
use crate::steps::Reporter;
use feed::DiskFeed;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::InstanceRef;
use roost_proto::objects::Disk;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Messages on the way between two threads.
const AHEAD: usize = 4;
const MIB: u64 = 1 << 20;

/// What was said of a part since the last check.
#[derive(Debug, Default)]
struct Digester(Sha256);

impl Digester {
    fn add(&mut self, offset: u64, data: &[u8]) {
        self.0.update(offset.to_be_bytes());
        self.0.update((data.len() as u64).to_be_bytes());
        self.0.update(data);
    }

    fn finish(&mut self) -> String {
        hex(std::mem::take(&mut self.0).finalize())
    }
}

/// Disks to copy.
#[derive(Clone, Debug)]
pub struct Copy {
    pub instance: InstanceRef,
    pub from: Vec<Disk>,
    pub to: Vec<Disk>,
    pub target: NodeId,
    pub address: String,
    pub token: String,
    /// A name of a compression tool.
    pub compress: String,
}

/// Copies assembled disks of this node into others, here or on another node.
pub async fn copy(host: &Arc<Host>, copy: Copy, reporter: Reporter) -> Result<()> {
    let packing = Packing::of(&copy.compress)?;
    let local = copy.target == host.identity.node;
    let to = match local {
        true => To::Here,
        false => To::Node { node: copy.target, address: copy.address },
    };
    let work = work(host, Some(copy.instance.clone()), reporter.clone());
    let mut parts = Vec::new();
    let mut total = 0;
    for (from, to) in copy.from.iter().zip(&copy.to) {
        let (part, data) = part(from, to, &work).await?;
        total += data;
        parts.push(Some(part));
    }
    say_limit(host, &reporter);
    let about = copy.instance.uuid;
    if local {
        let awaited = Awaited::Disks { instance: copy.instance, disks: copy.to };
        host.receivers.allow(&copy.token, &about.to_string(), awaited)?;
    }
    let packing = if local { Packing::None } else { packing };
    let patience = Patience::default();
    let sending = Sending { host: host.clone(), token: copy.token, to, packing, patience };
    let meter = Mutex::new(Meter::new(reporter, Some(total)));
    sending.run(0, &mut parts, false, &meter).await?;
    if local {
        host.receivers.end(about);
    }
    Ok(())
}

/// An assembled disk to be read, and how many bytes of data it may have.
async fn part(from: &Disk, to: &Disk, work: &Work) -> Result<(Part, u64)> {
    let place = Device::of(from, work)?.place(work).await?;
    let is_file = |template| matches!(template, DiskTemplate::File | DiskTemplate::SharedFile);
    // An image becomes an image as it is: with all that is in it but the disk.
    let image = from.format() != "raw"
        && from.format() == to.format()
        && is_file(to.dev_type)
        && matches!(place.source, Source::File(_));
    let medium = Medium::open(&place, Access::Read, image, &work.paths).await?;
    let feed = blocking(move || DiskFeed::new(medium)).await?;
    let (length, data) = feed.size();
    Ok((Part { feed: Feed::Disk(Box::new(feed)), length, image }, data))
}

/// A file to be read, and how many bytes of data it may have.
pub async fn file_part(path: &Path) -> Result<(Part, u64)> {
    let medium = Medium::file(path, Access::Read).await?;
    let feed = blocking(move || DiskFeed::new(medium)).await?;
    let (length, data) = feed.size();
    Ok((Part { feed: Feed::Disk(Box::new(feed)), length, image: false }, data))
}

/// Says in the job's log that copies are slower than they could be, and why.
pub fn say_limit(host: &Host, reporter: &Reporter) {
    let rate = host.budgets.copies.rate();
    if rate > 0 {
        reporter.message(format!(
            "Copies on node {} move {} MiB/s together at most (node parameter disk_copy_rate)",
            host.identity.name,
            rate / MIB
        ));
    }
}

fn work(host: &Host, instance: Option<InstanceRef>, reporter: Reporter) -> Work {
    let (paths, node) = (host.paths.clone(), host.identity.node);
    Work { paths, node, instance, undo: false, reporter, budget: Default::default() }
}

/// Refuses a pair of lists that do not belong together.
pub fn same_number(from: &[Disk], to: &[Disk]) -> Result<()> {
    if from.len() == to.len() {
        return Ok(());
    }
    Err(Error::internal(format!("{} disks cannot become {}", from.len(), to.len())))
}
