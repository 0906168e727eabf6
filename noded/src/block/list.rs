//! Calls on the disks of an instance, one after the other, in order.

use super::device::{Device, Doing, Place, Work};
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
        call(&device, work).await.map_err(|e| e.at(called(index, disk)))?;
    }
    Ok(())
}

/// Makes all of them or, of those that were not there before, none.
pub async fn create(disks: &[Disk], work: &Work) -> Result<()> {
    let mut made = vec![];
    for (index, disk) in disks.iter().enumerate() {
        let device = Device::of(disk, work)?;
        let missing = device.status(work).await?.state == BlockState::Missing;
        let created = device.create(work).await.map_err(|e| e.at(called(index, disk)));
        if created.is_err() {
            let undo = Work { undo: true, ..work.clone() };
            for device in made.iter().rev() {
                if let Err(error) = Device::remove(device, &undo).await {
                    tracing::warn!(%error, "a disk is left of those that were not all made");
                }
            }
            return created;
        }
        if missing {
            made.push(device);
        }
    }
    Ok(())
}

/// Removes all of them, also when one cannot be; then that is the error.
pub async fn remove(disks: &[Disk], work: &Work) -> Result<()> {
    let mut result = Ok(());
    for (index, disk) in disks.iter().enumerate() {
        let removed = match Device::of(disk, work) {
            Ok(device) => device.remove(work).await,
            Err(e) => Err(e),
        };
        result = result.and(removed.map_err(|e| e.at(called(index, disk))));
    }
    result
}

/// What users call a disk.
fn called(index: usize, disk: &Disk) -> String {
    match disk.iv_name.as_str() {
        "" => format!("disk/{index}"),
        name => name.to_owned(),
    }
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

/// Where assembled disks are, in order. Errors: one is not there.
pub async fn places(disks: &[Disk], work: &Work) -> Result<Vec<Place>> {
    let mut all = Vec::with_capacity(disks.len());
    for (index, disk) in disks.iter().enumerate() {
        let device = Device::of(disk, work)?;
        all.push(device.place(work).await.map_err(|e| e.at(called(index, disk)))?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Reporter;
    use roost_proto::paths::Paths;
    use serde_json::json;
    use std::fs;

    fn disk(n: u32, path: &str) -> Disk {
        serde_json::from_value(json!({
            "uuid": format!("22222222-0000-4000-8000-{n:012}"), "dev_type": "file", "size": 1,
            "logical_id": ["loop", path], "iv_name": format!("disk/{n}"),
        }))
        .expect("a disk")
    }

    #[tokio::test]
    async fn disks_are_made_all_or_none_and_removed_as_many_as_can_be() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        fs::create_dir_all(paths.data_dir()).expect("data");
        fs::create_dir_all(paths.absolute("/srv/files")).expect("storage");
        fs::write(paths.ssconf("file_storage_dir"), "/srv/files\n").expect("ssconf");
        let node = "00000000-0000-4000-8000-000000000001".parse().expect("uuid");
        let work = Work {
            paths: paths.clone(),
            node,
            instance: None,
            undo: false,
            reporter: Reporter::silent(),
            budget: Default::default(),
        };
        let (before, new) = (disk(0, "/srv/files/a/disk0"), disk(1, "/srv/files/a/disk1"));
        let outside = disk(2, "/etc/disk2");
        let in_the_way = disk(2, "/srv/files/b");
        fs::write(paths.absolute("/srv/files/b"), "foreign").expect("file");
        create(std::slice::from_ref(&before), &work).await.expect("made");
        let all = [before.clone(), new.clone(), in_the_way];
        let error = create(&all, &work).await.expect_err("something is in the way");
        assert!(error.message.starts_with("disk/2: "), "{error}");
        let states: Vec<_> = statuses(&all, &work).await.into_iter().map(|s| s.state).collect();
        assert_eq!(states[..2], [BlockState::Active, BlockState::Missing]);
        let error = remove(&[outside, before, new], &work).await.expect_err("outside");
        assert!(error.message.starts_with("disk/2: "), "{error}");
        assert!(!paths.absolute("/srv/files/a").exists(), "the others are removed");
    }
}
