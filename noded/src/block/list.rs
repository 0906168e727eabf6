//! Calls on the disks of an instance, one after the other, in order.

use super::device::{Device, Doing, Work};
use crate::hypervisor::Attachment;
use roost_proto::error::Result;
use roost_proto::node::{BlockState, BlockStatus, GuestDisk};
use roost_proto::objects::{Disk, DiskMode};

/// Calls `call` for each disk; the first failure ends it and names the disk.
pub async fn each<F>(disks: &[Disk], work: &Work, call: F) -> Result<()>
where
    F: for<'a> Fn(&'a Device, &'a Work) -> Doing<'a, ()> + Send + Sync,
{
    for (index, disk) in disks.iter().enumerate() {
        let device = Device::of(disk, work)?;
        call(&device, work).await.map_err(|e| match disk.iv_name.as_str() {
            "" => e.at(format!("disk {index}")),
            name => e.at(name),
        })?;
    }
    Ok(())
}

/// The assembled disks of a guest, for its hypervisor.
pub async fn attachments(disks: &[GuestDisk], work: &Work) -> Result<Vec<Attachment>> {
    let mut all = Vec::with_capacity(disks.len());
    for GuestDisk { index, disk } in disks {
        let place =
            Device::of(disk, work)?.place(work).await.map_err(|e| e.at(format!("disk/{index}")))?;
        all.push(Attachment {
            index: *index,
            uuid: disk.uuid,
            source: place.source,
            format: place.format,
            readonly: disk.mode == DiskMode::Ro,
            shared: place.shared,
        });
    }
    Ok(all)
}

/// Local paths of assembled disks, in order; empty for one without.
pub async fn paths(disks: &[Disk], work: &Work) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(disks.len());
    for disk in disks {
        let status = Device::of(disk, work)?.status(work).await?;
        all.push(status.path.unwrap_or_default());
    }
    Ok(all)
}

/// How each disk is. What cannot be told of one is a fault of that one.
pub async fn statuses(disks: &[Disk], work: &Work) -> Vec<BlockStatus> {
    let mut all = Vec::with_capacity(disks.len());
    for disk in disks {
        let status = match Device::of(disk, work) {
            Ok(device) => device.status(work).await,
            Err(e) => Err(e),
        };
        all.push(status.unwrap_or_else(|error| BlockStatus {
            state: BlockState::Faulty,
            path: None,
            major_minor: None,
            size: None,
            sync: None,
            detail: error.message,
            children: vec![],
        }));
    }
    all
}
