//! How many more instances fit.
//!
//! ```text
//!   standard  one size, again and again
//!   tiered    the largest size allowed, again and again; what it fails for most often is made smaller, and so on
//!   mixed     rounds: so many of this size, so many of that
//! ```
//!
//! Each instance is allocated like one that is really asked for, on what the ones before have left. Source:
//! Ganeti's reference on htools, hspace; mixed rounds are ours.

mod field;
mod mixed;
mod resources;
mod tiered;

pub use field::{Field, Health};
pub use mixed::{Mix, Mixed, MixedPart, mixed};
pub use resources::{Delta, Resources};
pub use tiered::tiered;

use crate::allocate::Failures;
use crate::model::{
    Disk, DiskTemplate, Instance, InstanceIdx, InstanceSpec, NodeIdx, Status, Utilisation,
};
use crate::state::Placement;

/// What an instance is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// MiB.
    pub memory: i64,
    /// MiB, in one disk.
    pub disk: i64,
    pub cpus: i64,
    /// Of the disk, where storage belongs to one instance each.
    pub spindles: i64,
}

impl From<InstanceSpec> for Size {
    fn from(spec: InstanceSpec) -> Size {
        let InstanceSpec { memory, cpus, disk, spindles, .. } = spec;
        Size { memory, disk, cpus, spindles }
    }
}

/// What instances are like besides their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub template: DiskTemplate,
    pub spindle_use: i64,
}

impl Kind {
    /// A running instance with one disk, without tags.
    fn instance(self, name: String, size: Size) -> Instance {
        let Size { memory, disk, cpus, spindles } = size;
        Instance {
            name,
            memory,
            disk,
            disks: vec![Disk { size: disk, spindles: Some(spindles) }],
            vcpus: cpus,
            status: Status::Running,
            auto_balance: true,
            primary: NodeIdx::NONE,
            secondary: None,
            template: self.template,
            tags: vec![],
            spindle_use: self.spindle_use,
            forthcoming: false,
            utilisation: Utilisation::ONE,
            networks: vec![],
        }
    }
}

/// What came of filling.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Why nothing more fits: of the last instance that was tried.
    pub failures: Failures,
    pub placement: Placement,
    /// The new instances, in order.
    pub instances: Vec<(InstanceIdx, Size)>,
}

impl Filled {
    /// Nothing yet.
    pub fn nothing(placement: Placement) -> Filled {
        Filled { failures: Failures::default(), placement, instances: vec![] }
    }

    /// Sizes that follow each other, and how many there are of each.
    pub fn runs(&self) -> Vec<(Size, usize)> {
        let mut runs: Vec<(Size, usize)> = vec![];
        for (_, size) in &self.instances {
            match runs.last_mut() {
                Some((last, count)) if last == size => *count += 1,
                _ => runs.push((*size, 1)),
            }
        }
        runs
    }
}

/// Fills with instances of one size. `limit`: at most so many. Errors: there are no nodes to try.
pub fn standard(
    field: &Field,
    placement: Placement,
    kind: Kind,
    size: Size,
    limit: Option<usize>,
) -> Result<Filled, &'static str> {
    let mut filled = Filled::nothing(placement);
    field.fill(&mut filled, kind, size, limit)?;
    Ok(filled)
}

#[cfg(test)]
mod tests;
