//! How a volume is.

use super::inventory::Inventory;
use super::make::promised;
use super::marks::{self, Owner};
use super::report::{Logical, Sort};
use super::volume::{MIB, Volume};
use roost_proto::error::Result;
use roost_proto::node::{BlockState, BlockStatus};

/// A pool or snapshot this full is worth a word.
const NEARLY_FULL: f64 = 80.0;

impl Volume {
    /// How it is. A volume that is not there is an answer, too.
    pub(super) async fn tell(&self) -> Result<BlockStatus> {
        let seen = self.lvm.lately().await?;
        let mut status = BlockStatus {
            state: BlockState::Missing,
            path: None,
            major_minor: None,
            size: None,
            sync: None,
            detail: String::new(),
            children: vec![],
        };
        let Some(found) = self.look(&seen)? else {
            if !seen.groups.contains_key(&self.group) {
                status.detail = format!("there is no volume group '{}'", self.group);
            }
            return Ok(status);
        };
        status.size = Some(found.size / MIB);
        status.major_minor = found.kernel;
        status.state = if found.active { BlockState::Active } else { BlockState::Inactive };
        if found.active {
            let node = self.node(found.kernel);
            status.path = node.map(|path| path.to_string_lossy().into_owned());
        }
        match self.fault(&seen, found) {
            Some(fault) => {
                status.state = BlockState::Faulty;
                status.detail = fault;
            }
            None if found.active && status.path.is_none() => {
                status.state = BlockState::Inactive;
                status.detail = "it is active, but its device is not there".into();
            }
            None => status.detail = remarks(&seen, found),
        }
        Ok(status)
    }

    /// Why it cannot be used.
    fn fault(&self, seen: &Inventory, found: &Logical) -> Option<String> {
        if let Owner::Other(other) = marks::owner(found, self.disk) {
            return Some(format!("the volume belongs to disk {other}"));
        }
        if found.is_partial() {
            return Some("a part of it is on a physical volume that is missing".into());
        }
        if found.invalid {
            return Some("the snapshot had not enough room: its data is lost".into());
        }
        if found.suspended {
            return Some(
                "it is suspended: reads and writes wait; 'gnt-instance activate-disks' resumes it"
                    .into(),
            );
        }
        if found.sort != Sort::Thin {
            return None;
        }
        let pool = seen.volume(&found.group, &found.pool)?;
        let name = pool.full_name();
        match pool.health {
            'F' => {
                Some(format!("its thin pool {name} has failed; see 'lvconvert --repair {name}'"))
            }
            'D' => Some(format!("its thin pool {name} is full; extend it: 'lvextend {name}'")),
            'M' => Some(format!(
                "its thin pool {name} is read-only, its metadata is full or damaged; see \
                 'lvconvert --repair {name}'"
            )),
            _ => None,
        }
    }
}

/// What is worth saying of a volume that works.
fn remarks(seen: &Inventory, found: &Logical) -> String {
    let percent = |used: Option<f64>| used.filter(|used| *used >= NEARLY_FULL);
    let mut all = vec![];
    if found.sort == Sort::Snapshot
        && let Some(used) = percent(found.data_percent)
    {
        all.push(format!("the snapshot's room is {used:.0} % used"));
    }
    if found.health == 'p' {
        all.push("a copy of it is on a physical volume that is missing".into());
    }
    if let Some(pool) = seen.volume(&found.group, &found.pool).filter(|_| !found.pool.is_empty()) {
        let (name, promised) = (pool.full_name(), promised(seen, pool));
        let used = pool.data_percent.unwrap_or_default();
        if promised > pool.size {
            all.push(format!(
                "thin pool {name}: {used:.1} % of {} MiB used, {} MiB promised",
                pool.size / MIB,
                promised / MIB
            ));
        }
        if percent(pool.data_percent).is_some() || percent(pool.metadata_percent).is_some() {
            all.push(format!("thin pool {name} is nearly full"));
        }
    }
    all.join("; ")
}
