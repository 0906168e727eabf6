//! The new part of a disk that was grown: overwritten with zeros before any guest knows of it.
//!
//! ```text
//!   0 ───────────── disk.size ──────────── size
//!     kept as it is           zeros
//! ```
//!
//! What grows in a file is a hole and reads as zeros already. What only QEMU can open (an image in
//! Ceph or Gluster) is made of new, empty pieces, too, and so is what a thin pool promises: zeros
//! written there would only take its room.

use super::device::{Device, Work};
use super::wipe;
use crate::hypervisor::Source;
use roost_proto::error::{Error, Result};
use roost_proto::objects::Disk;

const MIB: u64 = 1 << 20;

/// Overwrites an assembled disk from its recorded size up to `size` MiB. Sizes in MiB. Errors: it
/// is not assembled, or smaller than `size`.
pub async fn zero(disk: &Disk, size: u64, work: &Work) -> Result<()> {
    if size <= disk.size {
        return Ok(());
    }
    let device = Device::of(disk, work)?;
    if let Device::Plain(volume) = &device
        && volume.is_zero_until_written().await?
    {
        return Ok(());
    }
    let path = match device.place(work).await?.source {
        Source::Block(path) => path,
        Source::File(_) | Source::Uri(_) => return Ok(()),
    };
    wipe::zeros_in_use(&path, disk.size * MIB, size * MIB, work).await.map_err(|e| {
        Error::exec(format!(
            "Cannot overwrite the new part of '{}' with zeros: {e}",
            path.display()
        ))
    })
}
