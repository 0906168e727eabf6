//! Disks that a guest may have gone on with, written down before its hypervisor is told to.
//!
//! A conversion that is undone removes the disks it made. If the guest had gone on with them
//! already and is not there any more to be asked (the node lost power), they have what it wrote
//! last: then they are not removed. The note of a disk goes when its guest is seen on other ones, or
//! when the disk is removed because that is wanted.

use crate::blocking::blocking;
use crate::durable;
use roost_proto::error::{Error, Result};
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use std::path::PathBuf;

fn note(paths: &Paths, disk: &Disk) -> PathBuf {
    paths.noded_dir().join("gone-on").join(disk.uuid.to_string())
}

/// From now on a guest may be on these disks.
pub async fn may_be_on(paths: &Paths, disks: &[Disk]) -> Result<()> {
    let (paths, disks) = (paths.clone(), disks.to_vec());
    blocking(move || {
        durable::make_dir(&paths.noded_dir().join("gone-on"))?;
        disks.iter().try_for_each(|disk| durable::write(&note(&paths, disk), b"", 0o600))
    })
    .await
}

/// No guest is on these disks.
pub async fn is_off(paths: &Paths, disks: &[Disk]) -> Result<()> {
    let (paths, disks) = (paths.clone(), disks.to_vec());
    blocking(move || disks.iter().try_for_each(|disk| durable::remove(&note(&paths, disk)))).await
}

/// Refuses to remove disks, as the undoing of what made them, that may have what a guest wrote last.
pub async fn check(paths: &Paths, disks: &[Disk]) -> Result<()> {
    let (paths, disks) = (paths.clone(), disks.to_vec());
    blocking(move || {
        let Some(disk) = disks.iter().find(|disk| note(&paths, disk).exists()) else {
            return Ok(());
        };
        Err(Error::wrong_state(format!(
            "Disk {} ({}) is not removed: its guest may have gone on with it and written to it, and \
             is not there to be asked. Compare it with the disk of the instance; if it is not \
             needed, remove '{}' and run 'gnt-cluster repair-debris'",
            disk.uuid,
            serde_json::to_string(&disk.logical_id).unwrap_or_default(),
            note(&paths, disk).display()
        )))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn disks_that_a_guest_may_be_on_are_kept() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let disk: Disk = serde_json::from_value(json!({
            "uuid": "22222222-0000-4000-8000-000000000001", "dev_type": "file", "size": 1,
            "logical_id": ["loop", "/srv/files/a"],
        }))
        .expect("a disk");
        let disks = [disk];
        check(&paths, &disks).await.expect("nobody is on it");
        may_be_on(&paths, &disks).await.expect("noted");
        may_be_on(&paths, &disks).await.expect("noted before");
        let error = check(&paths, &disks).await.expect_err("somebody may be on it");
        assert!(error.message.contains("/srv/files/a") && error.message.contains("repair-debris"));
        is_off(&paths, &disks).await.expect("off");
        is_off(&paths, &disks).await.expect("off before");
        check(&paths, &disks).await.expect("nobody is on it");
    }
}
