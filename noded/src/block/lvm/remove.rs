//! Removes logical volumes: those that are ours, and that nothing needs.

use super::super::device::Work;
use super::super::users;
use super::make::dependents;
use super::marks::{self, Owner};
use super::report::Logical;
use super::volume::Volume;
use crate::blocking::blocking;
use roost_proto::error::Result;

impl Volume {
    /// Removes it with its data. What is not ours is left alone, and that is said.
    pub(super) async fn delete(&self, work: &Work) -> Result<()> {
        let (seen, found) = self.find().await?;
        let Some(found) = found else {
            if !seen.groups.contains_key(&self.group) {
                work.reporter.message(format!(
                    "There is no volume group '{}' any more, so there is no volume '{}' to remove",
                    self.group, self.name
                ));
            }
            return Ok(());
        };
        if let Some(why) = self.reason_to_keep(&found, work) {
            let name = self.full_name();
            work.reporter.message(format!("The volume '{name}' was left alone: {why}"));
            return Ok(());
        }
        let snapshots = dependents(&seen, &found);
        if !snapshots.is_empty() {
            return Err(self.error(
                "remove",
                format!(
                    "its snapshots would lose their data: {}; remove them first with 'lvremove'",
                    snapshots.join(", ")
                ),
            ));
        }
        self.wake(&found).await?;
        // By its identity, not its name: that may be another volume's in the next moment.
        let this = format!("lv_uuid={}", found.uuid);
        let args = ["--yes", "--select", &this, &self.group].map(str::to_owned);
        let removed = self.lvm.change("lvremove", args).await;
        match self.find().await? {
            (_, Some(still)) if still.uuid == found.uuid => {
                let why = removed.err().map_or("it is still there".into(), |e| e.message);
                let users = blocking(move || Ok(users::told(still.kernel))).await?;
                Err(self.error("remove", format!("{why}{users}")))
            }
            _ => Ok(()),
        }
    }

    /// Why a volume of its name is not removed.
    fn reason_to_keep(&self, found: &Logical, work: &Work) -> Option<String> {
        match marks::owner(found, self.disk) {
            Owner::Ours => None,
            Owner::Other(other) => Some(format!("it belongs to disk {other}")),
            // Made by Ganeti: still ours, says the configuration. But an undo speaks of a disk
            // that may never have been made.
            Owner::Unmarked if work.undo => Some("it was there before".into()),
            Owner::Unmarked => None,
        }
    }
}
