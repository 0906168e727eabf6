//! Does a policy make sense, and does an instance keep to it?

use super::{IPolicy, ISpec, MinMax};
use crate::choices::DiskTemplate;
use crate::error::{Error, Result};

/// The figures of an instance that policies look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    /// MiB: its maxmem.
    pub memory: u64,
    /// Virtual CPUs.
    pub vcpus: u64,
    /// Each disk's template and size in MiB.
    pub disks: Vec<(DiskTemplate, u64)>,
    /// How many network cards.
    pub nics: u64,
    /// Load on disks, in spindles.
    pub spindle_use: u64,
}

impl IPolicy {
    /// Errors if the policy contradicts itself: `wrong_input`.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |why: String| Err(Error::wrong_input(format!("Invalid instance policy: {why}")));
        if self.minmax.is_empty() {
            return wrong("it has no bounds; give at least one pair of min and max".into());
        }
        for pair in &self.minmax {
            let pairs = pair.min.values().into_iter().zip(pair.max.values());
            for (key, (min, max)) in ISpec::KEYS.iter().zip(pairs) {
                if min > max {
                    return wrong(format!(
                        "the min of {key} ({min}) is larger than its max ({max})"
                    ));
                }
            }
        }
        if self.disk_templates.is_empty() {
            return wrong("it allows no disk template; name at least one".into());
        }
        for (key, ratio) in [("vcpu-ratio", self.vcpu_ratio), ("spindle-ratio", self.spindle_ratio)]
        {
            if !ratio.is_finite() || ratio <= 0.0 {
                return wrong(format!("{key} must be larger than 0, not {ratio}"));
            }
        }
        Ok(())
    }

    /// The same, and the usual instance must fit: for the cluster's policy.
    pub fn check_with_std(&self) -> Result<()> {
        self.check()?;
        let outside = |pair: &MinMax| {
            let bounds = pair.min.values().into_iter().zip(pair.max.values());
            let figures = ISpec::KEYS.iter().zip(self.std.values()).zip(bounds);
            figures
                .filter(|((_, value), (min, max))| value < min || value > max)
                .map(|((key, value), (min, max))| range_text(key, value, min, max))
                .collect::<Vec<_>>()
        };
        match self.minmax.iter().map(outside).min_by_key(Vec::len) {
            Some(violations) if !violations.is_empty() => Err(Error::wrong_input(format!(
                "Invalid instance policy: the usual instance (std) does not fit its bounds: {}",
                violations.join("; ")
            ))),
            _ => Ok(()),
        }
    }

    /// How an instance breaks the policy; nothing if it keeps to it. With several pairs of bounds
    /// the ones it comes nearest to are told.
    pub fn violations(&self, instance: &InstanceSpec) -> Vec<String> {
        let mut violations = Vec::new();
        let templates = match instance.disks.is_empty() {
            true => vec![DiskTemplate::Diskless],
            false => instance.disks.iter().map(|(template, _)| *template).collect(),
        };
        for (i, template) in templates.iter().enumerate() {
            if !self.disk_templates.contains(template) && !templates[..i].contains(template) {
                let allowed: Vec<_> = self.disk_templates.iter().map(|t| t.as_str()).collect();
                violations.push(format!(
                    "Disk template {template} is not allowed (allowed templates: {})",
                    allowed.join(", ")
                ));
            }
        }
        let nearest = self.minmax.iter().map(|pair| outside(pair, instance)).min_by_key(Vec::len);
        violations.extend(nearest.unwrap_or_default());
        violations
    }
}

/// Which figures of an instance are outside of one pair of bounds.
fn outside(pair: &MinMax, instance: &InstanceSpec) -> Vec<String> {
    let MinMax { min, max } = pair;
    let mut figures = vec![
        ("memory-size".to_owned(), instance.memory, min.memory_size, max.memory_size),
        ("cpu-count".to_owned(), instance.vcpus, min.cpu_count, max.cpu_count),
        ("nic-count".to_owned(), instance.nics, min.nic_count, max.nic_count),
        ("spindle-use".to_owned(), instance.spindle_use, min.spindle_use, max.spindle_use),
    ];
    // An instance without disks has none on purpose: whether that is allowed, the templates say.
    if !instance.disks.is_empty() {
        let count = instance.disks.len() as u64;
        figures.push(("disk-count".to_owned(), count, min.disk_count, max.disk_count));
        for (i, (_, size)) in instance.disks.iter().enumerate() {
            figures.push((format!("disk-size/{i}"), *size, min.disk_size, max.disk_size));
        }
    }
    figures
        .into_iter()
        .filter(|(_, value, min, max)| value < min || value > max)
        .map(|(name, value, min, max)| range_text(&name, value, min, max))
        .collect()
}

fn range_text(name: &str, value: u64, min: u64, max: u64) -> String {
    format!("{name} value {value} is not in range [{min}, {max}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> InstanceSpec {
        InstanceSpec {
            memory: 512,
            vcpus: 1,
            disks: vec![(DiskTemplate::Plain, 2048), (DiskTemplate::Drbd, 4096)],
            nics: 1,
            spindle_use: 1,
        }
    }

    #[test]
    fn violations_are_told() {
        let policy = IPolicy::default();
        assert_eq!(policy.violations(&small()), Vec::<String>::new());
        let large = InstanceSpec {
            memory: 65536,
            disks: vec![(DiskTemplate::Plain, 2048), (DiskTemplate::Plain, 512)],
            ..small()
        };
        assert_eq!(
            policy.violations(&large),
            [
                "memory-size value 65536 is not in range [128, 32768]",
                "disk-size/1 value 512 is not in range [1024, 1048576]",
            ]
        );
        let strict = IPolicy { disk_templates: vec![DiskTemplate::Drbd], ..policy };
        assert_eq!(
            strict.violations(&small()),
            ["Disk template plain is not allowed (allowed templates: drbd)"]
        );
    }

    #[test]
    fn diskless_instances_have_no_disks_to_count() {
        let bare = InstanceSpec { disks: vec![], ..small() };
        assert!(IPolicy::default().violations(&bare).is_empty());
        let policy = IPolicy { disk_templates: vec![DiskTemplate::Drbd], ..IPolicy::default() };
        assert!(policy.violations(&bare)[0].contains("diskless"));
    }

    #[test]
    fn one_pair_of_bounds_is_enough() {
        let mut policy = IPolicy::default();
        let mut second = policy.minmax[0];
        second.min.memory_size = 65536;
        second.max.memory_size = 131_072;
        policy.minmax.push(second);
        assert!(policy.violations(&InstanceSpec { memory: 65536, ..small() }).is_empty());
        let between = policy.violations(&InstanceSpec { memory: 40000, ..small() });
        assert_eq!(between.len(), 1, "{between:?}");
    }

    #[test]
    fn policies_that_contradict_themselves() {
        IPolicy::default().check_with_std().expect("the built-in one is good");
        let broken = |change: fn(&mut IPolicy)| {
            let mut policy = IPolicy::default();
            change(&mut policy);
            policy.check_with_std().expect_err("must be refused").message
        };
        assert!(broken(|p| p.minmax.clear()).contains("no bounds"));
        assert!(broken(|p| p.minmax[0].min.cpu_count = 9).contains("min of cpu-count (9)"));
        assert!(broken(|p| p.disk_templates.clear()).contains("no disk template"));
        assert!(broken(|p| p.vcpu_ratio = 0.0).contains("vcpu-ratio"));
        let outside = broken(|p| p.std.disk_size = 1);
        assert!(outside.contains("disk-size value 1 is not in range"), "{outside}");
    }
}
