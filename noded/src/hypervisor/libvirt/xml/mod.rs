//! A guest as libvirt's domain XML: pure. Every parameter is expressed, or refused by name.

mod cpu;
mod disk;
mod element;
mod graphics;
mod nic;
mod params;

pub use disk::{alias as disk_alias, target as disk_target};
pub use element::{Element, el};
pub use nic::{alias as nic_alias, tap};
pub use params::{KvmParams, refused};

use crate::hypervisor::Attachment;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NicId;
use roost_proto::node::{GuestNic, GuestSpec};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What must be known of the node to write a guest's XML, looked up for that guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Guests run on the processor itself, not emulated.
    pub kvm: bool,
    /// The guest's machine is a q35, not the older PC.
    pub q35: bool,
    /// QEMU.
    pub emulator: PathBuf,
    /// Where what guests write to their serial consoles is kept.
    pub console_log: PathBuf,
    /// KiB of a page of `mem_path`.
    pub hugepage: Option<u64>,
    /// The address graphical consoles listen at.
    pub listen: Option<String>,
    /// The graphical console's password.
    pub password: Option<String>,
    /// Cards whose tap devices exist and are connected by scripts.
    pub scripted: BTreeSet<NicId>,
}

/// Machine type: `q35` unless the parameter says otherwise.
pub fn machine<'a>(params: &KvmParams<'a>) -> &'a str {
    params.set("machine_version").unwrap_or("q35")
}

/// The whole guest.
pub fn domain(guest: &GuestSpec, disks: &[Attachment], host: &Host) -> Result<String> {
    let params = KvmParams::new(&guest.hvparams)?;
    let on_reboot = if params.text("reboot_behavior") == "exit" { "destroy" } else { "restart" };
    let clock = if params.flag("use_localtime") { "localtime" } else { "utc" };
    let features = el("features")
        .children(params.flag("acpi").then(|| el("acpi")))
        .child(el("apic"))
        .child(el("pae"));
    let memory = |name: &'static str| el(name).attr("unit", "MiB").text(guest.maxmem());
    let xml = el("domain")
        .attr("type", if host.kvm { "kvm" } else { "qemu" })
        .children_attr(&params)
        .child(el("name").text(&guest.name))
        .child(el("uuid").text(guest.uuid))
        .child(memory("memory"))
        .child(memory("currentMemory"))
        .children(memory_backing(&params, host)?)
        .children(cpu::placement(&params, guest.vcpus())?)
        .child(boot(&params)?)
        .child(features)
        .child(cpu::model(&params, host, guest.vcpus())?)
        .child(el("clock").attr("offset", clock))
        .child(el("on_poweroff").text("destroy"))
        .child(el("on_reboot").text(on_reboot))
        .child(el("on_crash").text("destroy"))
        .child(devices(guest, disks, &params, host)?)
        .children(seclabel(&params))
        .children(extra(&params)?);
    Ok(xml.render())
}

impl Element {
    /// The name space of raw QEMU arguments, only where there are some.
    fn children_attr(self, params: &KvmParams<'_>) -> Element {
        let space = "http://libvirt.org/schemas/domain/qemu/1.0";
        self.attr_if("xmlns:qemu", params.set("kvm_extra").map(|_| space))
    }
}

/// A disk to be plugged into a running guest.
pub fn plugged_disk(guest: &GuestSpec, disk: &Attachment, host: &Host) -> Result<String> {
    Ok(disk::disk(&KvmParams::new(&guest.hvparams)?, host, disk)?.render())
}

/// A card to be plugged into a running guest.
pub fn plugged_nic(guest: &GuestSpec, card: &GuestNic, host: &Host) -> Result<String> {
    let params = KvmParams::new(&guest.hvparams)?;
    Ok(nic::nic(&params, card, host.scripted.contains(&card.uuid))?.render())
}

fn memory_backing(params: &KvmParams<'_>, host: &Host) -> Result<Option<Element>> {
    let Some(path) = params.set("mem_path") else { return Ok(None) };
    let size = host.hugepage.ok_or_else(|| {
        refused("mem_path", path, "no hugetlbfs is mounted there on this node; mount one")
    })?;
    let page = el("page").attr("size", size).attr("unit", "KiB");
    let allocation = el("allocation").attr("mode", "immediate");
    let backing = el("memoryBacking").child(el("hugepages").child(page)).child(allocation);
    Ok(Some(backing))
}

fn boot(params: &KvmParams<'_>) -> Result<Element> {
    let kind = el("type").attr("arch", "x86_64").attr("machine", machine(params)).text("hvm");
    let os = el("os").child(kind);
    if let Some(kernel) = params.set("kernel_path") {
        return Ok(os
            .child(el("kernel").text(kernel))
            .children(params.set("initrd_path").map(|initrd| el("initrd").text(initrd)))
            .child(el("cmdline").text(command_line(params))));
    }
    let device = |name: &str| match name {
        "disk" => Ok("hd"),
        "floppy" => Ok("fd"),
        "cdrom" | "network" => Ok(if name == "cdrom" { "cdrom" } else { "network" }),
        _ => Err(refused("boot_order", name, "use disk, cdrom, network or floppy")),
    };
    let order = params.list("boot_order", ',').into_iter().map(device);
    let order = order.collect::<Result<Vec<_>>>()?;
    Ok(os.children(order.into_iter().map(|dev| el("boot").attr("dev", dev))))
}

fn command_line(params: &KvmParams<'_>) -> String {
    let mut parts = vec![];
    if let Some(root) = params.set("root_path") {
        parts.push(format!("root={root}"));
    }
    if let Some(args) = params.set("kernel_args") {
        parts.push(args.to_owned());
    }
    if params.flag("serial_console") {
        let speed = params.number("serial_speed").unwrap_or(38400);
        parts.push(format!("console=ttyS0,{speed}"));
    }
    parts.join(" ")
}

/// Free slots for plugging: a q35 has none by itself. The fewer of 32 are reserved, the more.
fn free_slots(params: &KvmParams<'_>) -> u64 {
    20u64.saturating_sub(params.number("kvm_pci_reservations").unwrap_or(0))
}

fn devices(
    guest: &GuestSpec,
    disks: &[Attachment],
    params: &KvmParams<'_>,
    host: &Host,
) -> Result<Element> {
    let mut all = vec![el("emulator").text(host.emulator.display())];
    for attachment in disks {
        all.push(disk::disk(params, host, attachment)?);
    }
    all.extend(disk::removable(params, host)?);
    if host.q35 {
        all.push(el("controller").attr("type", "pci").attr("model", "pcie-root"));
        let port = || el("controller").attr("type", "pci").attr("model", "pcie-root-port");
        // One for each device that is there from the start: libvirt takes the rest.
        let taken = disks.len() as u64 + guest.nics.len() as u64 + 2;
        all.extend((0..taken + free_slots(params)).map(|_| port()));
    }
    if !graphics::wants_usb(params) {
        all.push(el("controller").attr("type", "usb").attr("model", "none"));
    }
    all.extend(disk::scsi_controller(params));
    for card in &guest.nics {
        all.push(nic::nic(params, card, host.scripted.contains(&card.uuid))?);
    }
    if params.flag("serial_console") {
        let log = el("log").attr("file", host.console_log.display()).attr("append", "on");
        let port = el("target").attr("port", 0);
        all.push(el("serial").attr("type", "pty").child(log).child(port));
        let target = el("target").attr("type", "serial").attr("port", 0);
        all.push(el("console").attr("type", "pty").child(target));
    }
    if params.flag("use_guest_agent") {
        let target = el("target").attr("type", "virtio").attr("name", "org.qemu.guest_agent.0");
        all.push(el("channel").attr("type", "unix").child(target));
    }
    all.extend(graphics::devices(guest, params, host)?);
    all.push(el("memballoon").attr("model", "virtio"));
    Ok(el("devices").children(all))
}

/// `security_model=user`: QEMU runs as that user.
fn seclabel(params: &KvmParams<'_>) -> Option<Element> {
    let user = params.set("security_domain").filter(|_| params.text("security_model") == "user")?;
    let label = el("label").text(format!("{user}:{user}"));
    let relabel = el("seclabel").attr("type", "static").attr("model", "dac").attr("relabel", "yes");
    Some(relabel.child(label))
}

fn extra(params: &KvmParams<'_>) -> Result<Option<Element>> {
    let Some(text) = params.set("kvm_extra") else { return Ok(None) };
    let arg = |value: String| el("qemu:arg").attr("value", value);
    Ok(Some(el("qemu:commandline").children(words(text)?.into_iter().map(arg))))
}

/// Splits at blanks, but not within double quotes, which go away.
fn words(text: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quoted) = (vec![], None::<String>, false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err(Error::wrong_input(format!(
            "The kvm hypervisor parameter kvm_extra has an opening quote without its end: {text}"
        )));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests;
