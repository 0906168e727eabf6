//! `gnt-debug iallocator`: what an allocator is asked, or what it answers. Nothing comes of it.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::size;
use crate::say;
use crate::submit::{self, DryRunPriority};
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::{DiskTemplate, EvacMode, IAllocatorMode, IAllocatorTestDir};
use roost_proto::error::Result;
use roost_proto::opcodes::{DiskSpec, NicSpec, TestAllocator};
use roost_proto::units::parse_size;

/// `iallocator`.
#[derive(Args, Debug)]
pub struct Iallocator {
    #[command(flatten)]
    job: DryRunPriority,
    /// Show the request (in) or the allocator's answer (out)
    #[arg(long = "dir", value_name = "in|out", default_value = "in")]
    direction: IAllocatorTestDir,
    /// The allocator; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// What is asked for
    #[arg(short, long, value_name = "MODE", default_value = "relocate")]
    mode: IAllocatorMode,
    /// Memory of a new instance
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = size)]
    memory: u64,
    /// Sizes of the disks of a new instance, with commas
    #[arg(long, value_name = "SIZES", default_value = "4096,4096")]
    disks: String,
    /// Disk template of a new instance
    #[arg(short = 't', long, value_name = "TEMPLATE")]
    disk_template: Option<DiskTemplate>,
    /// Network cards of a new instance: MAC[/IP[/BRIDGE]], with commas
    #[arg(long, value_name = "CARDS", default_value = "00:11:22:33:44:55/None/None")]
    nics: String,
    /// OS of a new instance
    #[arg(short, long, value_name = "OS")]
    os_type: Option<String>,
    /// Virtual CPUs of a new instance
    #[arg(short = 'p', long, value_name = "N", default_value_t = 1)]
    vcpus: u64,
    /// Tags of a new instance, with commas
    #[arg(long, value_name = "TAGS", default_value = "")]
    tags: String,
    /// What leaves, where nodes are evacuated
    #[arg(long, value_name = "MODE", default_value = "all")]
    evac_mode: EvacMode,
    /// A group to go to, where groups are changed; repeat for more
    #[arg(long, value_name = "GROUP")]
    target_groups: Vec<String>,
    /// How much a new instance loads its disks
    #[arg(long, value_name = "N", default_value_t = 1)]
    spindle_use: u64,
    /// How many instances, where several are asked for
    #[arg(long, value_name = "N", default_value_t = 2)]
    count: u64,
    /// The new instance, or instances
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// `A,B`: what is between the commas.
fn list(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// `MAC[/IP[/BRIDGE]]`; `None` and nothing stand for none.
fn nic(text: &str) -> NicSpec {
    let mut parts = text.split('/').map(|part| match part {
        "" | "None" | "none" => None,
        given => Some(given.to_owned()),
    });
    let mut next = || parts.next().flatten();
    NicSpec { mac: next(), ip: next(), bridge: next(), ..NicSpec::default() }
}

impl Iallocator {
    fn opcode(self) -> Result<TestAllocator> {
        let disk =
            |text: &str| parse_size(text).map(DiskSpec::sized).map_err(|error| error.at("--disks"));
        let disks = list(&self.disks).into_iter().map(disk).collect::<Result<_>>()?;
        Ok(TestAllocator {
            nics: Some(list(&self.nics).into_iter().map(nic).collect()),
            disks: Some(disks),
            iallocator: self.iallocator,
            tags: list(&self.tags).into_iter().map(str::to_owned).collect(),
            memory: Some(self.memory),
            vcpus: Some(self.vcpus),
            os: self.os_type,
            disk_template: self.disk_template,
            evac_mode: Some(self.evac_mode),
            target_groups: (!self.target_groups.is_empty()).then_some(self.target_groups),
            spindle_use: self.spindle_use,
            count: self.count,
            instances: Some(self.names.clone()),
            // At least one is required.
            ..TestAllocator::new(
                self.direction,
                self.mode,
                self.names.into_iter().next().unwrap_or_default(),
            )
        })
    }
}

impl Verb for Iallocator {
    const NAME: &'static str = "iallocator";
    const ALIASES: &'static [&'static str] = &["allocator"];
    const ABOUT: &'static str = "Shows what an allocator is asked, or what it answers";

    async fn run(self, cx: &Cx) -> Outcome {
        let how = self.job.how();
        let result = submit::run(cx, self.opcode()?, &how).await?;
        say!(cx, "{}", result.as_str().unwrap_or_default().trim_end());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards() {
        let full = nic("00:11:22:33:44:55/192.0.2.1/br0");
        assert_eq!(full.ip.as_deref(), Some("192.0.2.1"));
        assert_eq!(full.bridge.as_deref(), Some("br0"));
        let bare = nic("auto/None/None");
        assert_eq!((bare.mac.as_deref(), bare.ip, bare.bridge), (Some("auto"), None, None));
    }
}
