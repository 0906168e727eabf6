//! What `hspace` prints: sentences, or lines of KEY=value.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use roost_htools::allocate::Failures;
use roost_htools::capacity::{Delta, Filled, Kind, Mix, Mixed, Resources, Size};
use roost_htools::fail::FailMode;
use roost_htools::model::Cluster;
use roost_htools::tables::{Table, decimals};

/// What is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Tiered,
    Standard,
}

impl Phase {
    /// At the beginning of a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Tiered => "Tiered",
            Phase::Standard => "Standard",
        }
    }

    /// In it, and at the end of a file's name.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Tiered => "tiered",
            Phase::Standard => "standard",
        }
    }
}

/// Prints.
pub struct Printer<'a> {
    cx: &'a Cx,
    machine: bool,
    /// Whether storage belongs to one instance each anywhere.
    exclusive: bool,
}

/// Checks that failed, the most frequent first; of equal ones in Ganeti's order.
fn reasons(failures: &Failures) -> Vec<(FailMode, u64)> {
    // What the reference does not know is shown only where it counts.
    let known = |(mode, count): &(FailMode, u64)| *mode != FailMode::Rule || *count > 0;
    let mut all: Vec<(FailMode, u64)> = failures.iter().filter(known).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}

fn main_reason(failures: &Failures) -> FailMode {
    reasons(failures).first().map_or(FailMode::Internal, |(mode, _)| *mode)
}

/// A number as Haskell shows it: never without decimals, with an exponent where it is small or large.
fn shown(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || size == 0.0 || (0.1..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0e{exponent}"),
        _ => text,
    }
}

impl<'a> Printer<'a> {
    /// For a cluster; `machine`: lines of KEY=value.
    pub fn new(cx: &'a Cx, machine: bool, cluster: &Cluster) -> Printer<'a> {
        let exclusive = cluster.nodes.iter().any(|node| node.exclusive_storage);
        Printer { cx, machine, exclusive }
    }

    /// Lines of KEY=value.
    fn keys(&self, keys: impl IntoIterator<Item = (String, String)>) -> Outcome {
        let plain = |value: &str| value.chars().all(|c| c.is_alphanumeric() || c == '.');
        for (key, value) in keys {
            let key = key.to_uppercase();
            match plain(&value) {
                true => say!(self.cx, "HTS_{key}={value}"),
                false => say!(self.cx, "HTS_{key}='{value}'"),
            }
        }
        Ok(())
    }

    fn size(&self, size: Size, spindles: bool) -> Vec<(&'static str, String)> {
        let Size { memory, disk, cpus, spindles: count } = size;
        let mut all = vec![("MEM", memory), ("DSK", disk), ("CPU", cpus)];
        if spindles {
            all.push(("SPN", count));
        }
        all.into_iter().map(|(name, value)| (name, value.to_string())).collect()
    }

    /// The cluster as it was found.
    pub fn cluster(&self, sums: &Resources, nodes: usize) -> Outcome {
        let mut all = vec![
            ("MEM", decimals(sums.total_memory, 0)),
            ("DSK", decimals(sums.total_disk, 0)),
            ("CPU", decimals(sums.total_cpus, 0)),
            ("VCPU", sums.total_vcpus.to_string()),
        ];
        if self.exclusive || self.machine {
            all.push(("SPN", decimals(sums.total_spindles, 0)));
        }
        if self.machine {
            self.keys(all.into_iter().map(|(name, value)| (format!("CLUSTER_{name}"), value)))?;
            self.keys([("CLUSTER_NODES".to_owned(), nodes.to_string())])?;
            return self.resources("INI", sums);
        }
        say!(self.cx, "The cluster has {nodes} nodes and the following resources:");
        say!(self.cx, "  {}.", joined(&all));
        let count = match sums.instances {
            0 => "no".to_owned(),
            count => count.to_string(),
        };
        say!(self.cx, "There are {count} initial instances on the cluster.");
        Ok(())
    }

    fn resources(&self, kind: &str, sums: &Resources) -> Outcome {
        let ratio = |number: f64| decimals(number, 8);
        let all = [
            ("SCORE", ratio(sums.score)),
            ("INST_CNT", sums.instances.to_string()),
            ("MEM_FREE", sums.free_memory.to_string()),
            ("MEM_AVAIL", sums.available_memory.to_string()),
            ("MEM_RESVD", (sums.free_memory - sums.available_memory).to_string()),
            ("MEM_INST", sums.used_memory.to_string()),
            ("MEM_OVERHEAD", sums.overhead_memory.to_string()),
            ("MEM_EFF", ratio(sums.memory_efficiency())),
            ("DSK_FREE", sums.free_disk.to_string()),
            ("DSK_AVAIL", sums.available_disk.to_string()),
            ("DSK_RESVD", (sums.free_disk - sums.available_disk).to_string()),
            ("DSK_INST", sums.used_disk.to_string()),
            ("DSK_EFF", ratio(sums.disk_efficiency())),
            ("SPN_FREE", sums.free_spindles.to_string()),
            ("SPN_INST", sums.used_spindles.to_string()),
            ("SPN_EFF", ratio(sums.spindle_efficiency())),
            ("CPU_INST", sums.used_vcpus.to_string()),
            ("CPU_EFF", ratio(sums.vcpu_efficiency())),
            ("MNODE_MEM_AVAIL", sums.largest_memory.to_string()),
            ("MNODE_DSK_AVAIL", sums.largest_disk.to_string()),
        ];
        self.keys(all.map(|(name, value)| (format!("{kind}_{name}"), value)))
    }

    /// What is asked for.
    pub fn spec(&self, phase: Phase, size: Size, kind: Kind) -> Outcome {
        let template = kind.template.as_str();
        if !self.machine {
            let what = match phase {
                Phase::Tiered => "Tiered (initial size)",
                Phase::Standard => "Standard (fixed-size)",
            };
            let parts = joined(&self.size(size, self.exclusive));
            say!(self.cx, "{what} instance spec is:");
            say!(self.cx, "  {parts}, using disk template '{template}'.");
            return Ok(());
        }
        let prefix = match phase {
            Phase::Tiered => "TSPEC_INI",
            Phase::Standard => "SPEC",
        };
        let mut all = self.size(size, true);
        all.push(("RQN", kind.template.required_nodes().to_string()));
        all.push(("DISK_TEMPLATE", template.to_owned()));
        self.keys(all.into_iter().map(|(name, value)| (format!("{prefix}_{name}"), value)))
    }

    /// What came of tiers.
    pub fn tiered(&self, filled: &Filled, before: &Resources, after: &Resources) -> Outcome {
        let runs = filled.runs();
        if !self.machine {
            say!(self.cx, "Tiered allocation results:");
            if runs.is_empty() {
                say!(self.cx, "  - no instances allocated");
            }
            for (size, count) in &runs {
                let parts = joined(&self.size(*size, self.exclusive));
                say!(self.cx, "  - {count:3} instances of spec {parts}");
            }
            return self.outlook(&filled.failures, before, after);
        }
        self.resources("TRL", after)?;
        let run = |(size, count): &(Size, usize)| {
            let Size { memory, disk, cpus, spindles } = size;
            format!("{memory},{disk},{cpus},{spindles}={count}")
        };
        let runs: Vec<String> = runs.iter().map(run).collect();
        self.keys([("TSPEC".to_owned(), runs.join(" "))])?;
        for (name, delta) in ["USED", "POOL", "UNAV"].into_iter().zip(before.delta(after)) {
            let Delta { vcpus, cpus, memory, disk, spindles } = delta;
            let all = [
                ("CPU", vcpus.to_string()),
                ("NPU", shown(cpus)),
                ("MEM", memory.to_string()),
                ("DSK", disk.to_string()),
                ("SPN", spindles.to_string()),
            ];
            self.keys(all.map(|(key, value)| (format!("KM_{name}_{key}"), value)))?;
        }
        Ok(())
    }

    /// What came of standard instances; there were `instances` before. `closed`: nothing was tried.
    pub fn standard(
        &self,
        filled: &Filled,
        before: &Resources,
        instances: usize,
        closed: bool,
    ) -> Outcome {
        let (allocated, after) = (filled.instances.len(), Resources::of(&filled.placement));
        if !self.machine {
            say!(self.cx, "Normal (fixed-size) allocation results:");
            say!(self.cx, "  - {allocated:3} instances allocated");
            return self.outlook(&filled.failures, before, &after);
        }
        let all = instances + allocated;
        if all != after.instances {
            return Err(Failure::say(format!(
                "Error: internal inconsistency, allocated ({all}) != counted ({})\n",
                after.instances
            )));
        }
        self.resources("FIN", &after)?;
        let usage = instances as f64 / all as f64;
        let reason = main_reason(&filled.failures).as_str().to_uppercase();
        self.keys([
            ("ALLOC_USAGE".to_owned(), decimals(usage, 8)),
            ("ALLOC_INSTANCES".to_owned(), allocated.to_string()),
            ("ALLOC_FAIL_REASON".to_owned(), reason),
        ])?;
        let counted = reasons(&filled.failures).into_iter();
        // What was not tried has not failed.
        let counted = counted.filter(|(_, count)| *count > 0 || !closed);
        let key = |(mode, count): (FailMode, u64)| (format!("ALLOC_{mode}_CNT"), count.to_string());
        self.keys(counted.map(key))
    }

    /// Why nothing more fits, and how full the cluster is then.
    fn outlook(&self, failures: &Failures, before: &Resources, after: &Resources) -> Outcome {
        say!(self.cx, "  - most likely failure reason: {}", main_reason(failures));
        say!(self.cx, "  - initial cluster score: {}", decimals(before.score, 8));
        say!(self.cx, "  -   final cluster score: {}", decimals(after.score, 8));
        let mut all = vec![
            ("memory", after.memory_efficiency()),
            ("disk", after.disk_efficiency()),
            ("vcpu", after.vcpu_efficiency()),
        ];
        if self.exclusive {
            all.push(("spindles", after.spindle_efficiency()));
        }
        let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, share) in all {
            let share = decimals(share * 100.0, 2);
            say!(self.cx, "  - {name:>width$} usage efficiency: {share:>5}%");
        }
        Ok(())
    }

    /// What came of a mix.
    pub fn mixed(&self, mix: &[Mix], mixed: &Mixed, before: &Resources) -> Outcome {
        let after = Resources::of(&mixed.filled.placement);
        let parts = || mix.iter().zip(&mixed.parts).enumerate();
        if !self.machine {
            say!(self.cx, "Mixed allocation results:");
            say!(self.cx, "  - {:3} rounds allocated", mixed.rounds);
            for (at, (part, found)) in parts() {
                let size = joined(&self.size(part.size, self.exclusive));
                let template = part.kind.template.as_str();
                let why = main_reason(&found.failures);
                let short = match mixed.short_of == Some(at) {
                    true => "; the next round lacks room for it",
                    false => "",
                };
                say!(
                    self.cx,
                    "  - {:3} instances of spec {size}, {template} ({} a round); {} more of it \
                     alone, then {why}{short}",
                    found.placed,
                    part.count,
                    found.more
                );
            }
            return self.outlook(&mixed.filled.failures, before, &after);
        }
        self.keys([("MIX_ROUNDS".to_owned(), mixed.rounds.to_string())])?;
        for (at, (part, found)) in parts() {
            let prefix = format!("MIX_{at}");
            let mut all = self.size(part.size, true);
            all.extend([
                ("DISK_TEMPLATE", part.kind.template.as_str().to_owned()),
                ("COUNT", part.count.to_string()),
                ("INSTANCES", found.placed.to_string()),
                ("MORE", found.more.to_string()),
                ("FAIL_REASON", main_reason(&found.failures).as_str().to_uppercase()),
            ]);
            self.keys(all.into_iter().map(|(key, value)| (format!("{prefix}_{key}"), value)))?;
        }
        let short = mixed.short_of.map_or_else(|| "NONE".to_owned(), |at| at.to_string());
        self.keys([("MIX_SHORT_OF".to_owned(), short)])?;
        self.resources("MIX", &after)
    }

    /// A table of new instances.
    pub fn map(&self, filled: &Filled) -> String {
        let placement = &filled.placement;
        let cluster = placement.cluster();
        let heads = [false, false, false, true, true, true, true].map(|right| ("", right));
        let mut table = Table::new(heads);
        for (index, size) in &filled.instances {
            let name = |node: roost_htools::model::NodeIdx| cluster.nodes[node.at()].name.clone();
            table.rows.push(vec![
                cluster.instances[index.at()].name.clone(),
                name(placement.primary(*index)),
                placement.secondary(*index).map(name).unwrap_or_default(),
                size.memory.to_string(),
                size.disk.to_string(),
                size.cpus.to_string(),
                if self.exclusive { size.spindles.to_string() } else { String::new() },
            ]);
        }
        // Without the line of heads, which are empty.
        let text = table.render("");
        text.split_once('\n').map_or_else(String::new, |(_, rows)| rows.to_owned())
    }

    /// That all went well.
    pub fn ends(&self) -> Outcome {
        match self.machine {
            true => self.keys([("OK".to_owned(), "1".to_owned())]),
            false => Ok(()),
        }
    }
}

fn joined(parts: &[(&str, String)]) -> String {
    let parts: Vec<String> = parts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn numbers_are_haskells() {
        assert_eq!(
            [49.75, 32.0, 0.0, 0.05, 1.25e7].map(shown),
            ["49.75", "32.0", "0.0", "5.0e-2", "1.25e7"]
        );
    }
}
