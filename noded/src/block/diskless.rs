//! No disk. Instances without disks have none of these; the template exists all the same.

use super::device::{BlockDevice, Place, Work};
use roost_proto::error::{Error, Result};
use roost_proto::node::{BlockState, BlockStatus, DiskRole};
use roost_proto::objects::Disk;

/// Nothing, and always ready.
#[derive(Clone, Copy, Debug)]
pub struct Diskless;

impl BlockDevice for Diskless {
    async fn create(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn wipe(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn assemble(&self, _role: DiskRole, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn open(&self, _exclusive: bool, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn grow(&self, _size: u64, _work: &Work) -> Result<()> {
        Err(Error::wrong_input("A diskless disk has no size to grow"))
    }

    async fn rename(&self, _to: &Disk, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn snapshot(&self, _to: &Disk, _work: &Work) -> Result<()> {
        Err(Error::wrong_input("A diskless disk has no data to snapshot"))
    }

    async fn status(&self, _work: &Work) -> Result<BlockStatus> {
        Ok(BlockStatus {
            state: BlockState::Active,
            path: None,
            major_minor: None,
            size: Some(0),
            sync: None,
            detail: String::new(),
            children: vec![],
        })
    }

    async fn place(&self, _work: &Work) -> Result<Place> {
        Err(Error::wrong_input("A diskless disk has no place"))
    }
}
