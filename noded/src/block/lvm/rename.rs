//! Moves a disk's data to another name: when disks are replaced in place, and when a volume that
//! was there before becomes a disk (adoption).
//!
//! ```text
//!   at the old name, marked as `from`, as `to` or not at all ──► marked as `to` ──► renamed
//!   at the new name already                                  ──► marked as `to`
//! ```
//!
//! A volume without mark is somebody else's until now: it may only be taken while nothing has it
//! open, and its old name is kept in a tag. Undone, it is nobody's again.

use super::super::device::Work;
use super::super::users;
use super::marks::{self, Owner};
use super::report::Logical;
use super::volume::Volume;
use crate::blocking::blocking;
use roost_proto::error::{Error, Result};

impl Volume {
    /// Its data is `to`'s from now on.
    pub(super) async fn become_other(&self, to: &Volume, work: &Work) -> Result<()> {
        if to.group != self.group {
            return Err(self.error(
                "rename",
                format!("'{}' is in another volume group; copy the disk instead", to.full_name()),
            ));
        }
        let (seen, here) = self.find().await?;
        let there = to.look(&seen)?.cloned();
        if self.name == to.name {
            let here = here.ok_or_else(|| self.missing())?;
            self.check(to, &here).await?;
            return self.hand_over(to, &here, work).await;
        }
        match (here, there) {
            // Renamed by an earlier try.
            (None, Some(there)) if self.is_of(to, &there) => self.hand_over(to, &there, work).await,
            // An adoption is taken back that never came to be.
            (None, Some(there))
                if work.undo && marks::owner(&there, self.disk) == Owner::Unmarked =>
            {
                Ok(())
            }
            (None, _) => Err(self.missing()),
            (Some(_), Some(_)) => Err(Error::exists(format!(
                "Volume '{}' cannot be renamed to '{}': that exists",
                self.full_name(),
                to.full_name()
            ))),
            (Some(here), None) => {
                self.check(to, &here).await?;
                self.wake(&here).await?;
                self.hand_over(to, &here, work).await?;
                let args = [self.group.clone(), self.name.clone(), to.name.clone()];
                self.lvm
                    .change("lvrename", args)
                    .await
                    .map(drop)
                    .map_err(|e| self.error(&format!("rename (to '{}')", to.name), e))
            }
        }
    }

    /// It has one of the two marks.
    fn is_of(&self, to: &Volume, found: &Logical) -> bool {
        [self, to].iter().any(|volume| marks::owner(found, volume.disk) == Owner::Ours)
    }

    /// It may be given to `to`.
    async fn check(&self, to: &Volume, found: &Logical) -> Result<()> {
        if self.is_of(to, found) {
            return Ok(());
        }
        match marks::owner(found, self.disk) {
            Owner::Other(other) => Err(self.error("rename", format!("it belongs to disk {other}"))),
            Owner::Ours => Ok(()),
            Owner::Unmarked if found.open => {
                let kernel = found.kernel;
                let users = blocking(move || Ok(users::told(kernel))).await?;
                Err(self.error("take", format!("something has it open{users}")))
            }
            Owner::Unmarked => Ok(()),
        }
    }

    /// Marks it as `to`'s; where this takes an adoption back, as nobody's.
    async fn hand_over(&self, to: &Volume, found: &Logical, work: &Work) -> Result<()> {
        let mut wanted = vec![];
        let back = work.undo && marks::adopted(found) == Some(&to.name);
        if !back {
            wanted = to.tags(work);
            if work.instance.is_none() {
                wanted
                    .extend(found.tags.iter().filter(|t| t.starts_with("originstname+")).cloned());
            }
            let unmarked = marks::owner(found, self.disk) == Owner::Unmarked;
            let first = match unmarked {
                true => Some(found.name.as_str()),
                false => marks::adopted(found),
            };
            wanted.extend(first.map(marks::had_name));
        }
        let mut args = marks::changes(found, &wanted);
        if args.is_empty() {
            return Ok(());
        }
        args.push(found.full_name());
        self.lvm.change("lvchange", args).await.map(drop).map_err(|e| self.error("mark", e))
    }
}
