//! Whether a policy allows an instance.

use crate::fail::FailMode;
use crate::model::{DiskTemplate, Instance, InstanceSpec, MinMax, Policy};

/// On which side of a specification an instance must not be.
#[derive(Clone, Copy)]
enum Side {
    Below,
    Above,
}

impl Policy {
    /// Whether an instance may be on a node with this policy. Errors: what of it is too little or too much for
    /// the first range, if it is within none, or [`FailMode::Disk`] for a template that is not allowed.
    ///
    /// `exclusive`: the node has exclusive storage, so that spindles are those of disks.
    pub fn admits(&self, instance: &Instance, exclusive: bool) -> Result<(), FailMode> {
        let mut result = Ok(());
        for range in self.ranges.iter().rev() {
            result = within(instance, range, exclusive);
            if result.is_ok() {
                break;
            }
        }
        result?;
        match self.templates.contains(&instance.template) {
            true => Ok(()),
            false => Err(FailMode::Disk),
        }
    }
}

fn within(instance: &Instance, range: &MinMax, exclusive: bool) -> Result<(), FailMode> {
    compare(instance, &range.min, Side::Below, exclusive)?;
    compare(instance, &range.max, Side::Above, exclusive)
}

fn compare(
    instance: &Instance,
    spec: &InstanceSpec,
    side: Side,
    exclusive: bool,
) -> Result<(), FailMode> {
    let beyond = |value: i64, limit: i64| match side {
        Side::Below => value < limit,
        Side::Above => value > limit,
    };
    let spindles = match exclusive {
        true => instance.disk_spindles(),
        false => Some(instance.spindle_use),
    };
    let disks = i64::try_from(instance.disks.len()).unwrap_or(i64::MAX);
    let checks = [
        (beyond(instance.memory, spec.memory), FailMode::Mem),
        (instance.disks.iter().any(|disk| beyond(disk.size, spec.disk)), FailMode::Disk),
        (beyond(instance.vcpus, spec.cpus), FailMode::Cpu),
        (spindles.is_none_or(|spindles| beyond(spindles, spec.spindles)), FailMode::Spindles),
        (
            instance.template != DiskTemplate::Diskless && beyond(disks, spec.disks),
            FailMode::DiskCount,
        ),
    ];
    match checks.into_iter().find(|(fails, _)| *fails) {
        Some((_, mode)) => Err(mode),
        None => Ok(()),
    }
}
