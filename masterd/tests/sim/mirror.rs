//! Mirrors (DRBD) of machines that do not exist.
//!
//! ```text
//!   create ─► blank, blank ─► assemble both ─► seed one ─► the other syncs ─► equal
//!                                                  │ parted while it is written
//!                                                  ▼
//!                           one newer: it syncs ◄── generations ──► both newer: split brain
//! ```
//!
//! Making two sides equal takes until somebody waits for it, or until the end: in between the one
//! that lags has no good data.

use super::disks::key;
use super::world::{Access, Data, World, wrong};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::node::{BlockState, BlockStatus, DiskRole, MirrorReport, SyncStatus};
use roost_proto::objects::{Disk, LogicalId};

/// One side of a mirror, set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    pub minor: u32,
    port: u16,
    /// Its own storage, unless it was let go.
    data: Option<String>,
    /// Where the other side is to be; nothing if it was parted.
    peer: Option<NodeId>,
    /// Both were written: they do not talk.
    split: bool,
    /// It was used without the other side since they last met.
    alone: bool,
}

/// This side and the other one, and what they are called.
pub struct Sides {
    pub minor: u32,
    pub port: u16,
    pub peer: NodeId,
}

/// What a mirror's description says for a machine.
pub fn sides(node: NodeId, disk: &Disk) -> Result<Sides> {
    match &disk.logical_id {
        LogicalId::Drbd(a, b, port, minor, _, _) if *a == node => {
            Ok(Sides { minor: *minor, port: *port, peer: *b })
        }
        LogicalId::Drbd(a, b, port, _, minor, _) if *b == node => {
            Ok(Sides { minor: *minor, port: *port, peer: *a })
        }
        other => Err(wrong(format!("disk {} has no side on this machine: {other:?}", disk.uuid))),
    }
}

fn data_key(disk: &Disk) -> Result<String> {
    let data = disk.children.first();
    key(data.ok_or_else(|| wrong(format!("mirror {} has no storage", disk.uuid)))?)
}

/// How two sides' data are to each other.
#[derive(Debug, PartialEq)]
enum Relation {
    Equal,
    /// Nobody has any.
    Blank,
    FirstNewer,
    SecondNewer,
    Split,
}

fn relation(a: &Data, b: &Data) -> Relation {
    match (a.good, b.good) {
        (false, false) => return Relation::Blank,
        (true, false) => return Relation::FirstNewer,
        (false, true) => return Relation::SecondNewer,
        (true, true) => {}
    }
    match (a.generations.last(), b.generations.last()) {
        (x, y) if x == y => Relation::Equal,
        (Some(x), _) if b.generations.contains(x) => Relation::SecondNewer,
        (_, Some(y)) if a.generations.contains(y) => Relation::FirstNewer,
        _ => Relation::Split,
    }
}

impl World {
    fn mirror(&mut self, node: NodeId, disk: DiskId) -> Result<&mut Mirror> {
        let machine = self.machine(node)?;
        machine.mirrors.get_mut(&disk).ok_or_else(|| wrong(format!("mirror {disk} is not set up")))
    }

    fn side(&self, node: NodeId, disk: DiskId) -> Option<&Mirror> {
        self.machines.get(&node).filter(|m| !m.dead).and_then(|m| m.mirrors.get(&disk))
    }

    /// The data this side stands on.
    fn side_data(&mut self, node: NodeId, disk: DiskId) -> Option<&mut Data> {
        let data = self.side(node, disk)?.data.clone()?;
        self.machines.get_mut(&node)?.files.get_mut(&data)
    }

    /// The machine of the other side, if they talk.
    pub fn connected(&self, node: NodeId, disk: DiskId) -> Option<NodeId> {
        let here = self.side(node, disk)?;
        let peer = here.peer?;
        let there = self.side(peer, disk)?;
        let same = there.peer == Some(node) && there.port == here.port;
        (same && !here.split && !there.split).then_some(peer)
    }

    fn access(&self, node: NodeId, disk: DiskId) -> Option<Access> {
        self.machines.get(&node).filter(|m| !m.dead)?.assembled.get(&disk).copied()
    }

    fn is_primary(&self, node: NodeId, disk: DiskId) -> bool {
        matches!(self.access(node, disk), Some(Access::Exclusive | Access::Shared))
    }

    /// Both sides see each other: who is newer is found out.
    fn shake_hands(&mut self, node: NodeId, disk: DiskId) {
        let Some(peer) = self.connected(node, disk) else { return };
        let (Some(a), Some(b)) =
            (self.side_data(node, disk).cloned(), self.side_data(peer, disk).cloned())
        else {
            return;
        };
        match relation(&a, &b) {
            Relation::Equal | Relation::Blank => {
                for side in [node, peer] {
                    if let Some(data) = self.side_data(side, disk) {
                        data.outdated = false;
                    }
                }
            }
            Relation::FirstNewer => self.must_sync(peer, disk),
            Relation::SecondNewer => self.must_sync(node, disk),
            Relation::Split => {
                for side in [node, peer] {
                    if let Ok(mirror) = self.mirror(side, disk) {
                        mirror.split = true;
                    }
                }
            }
        }
    }

    fn must_sync(&mut self, node: NodeId, disk: DiskId) {
        if let Some(data) = self.side_data(node, disk) {
            data.good = false;
        }
    }

    /// Brings the lagging side up to date, if they talk and one is good.
    fn sync(&mut self, node: NodeId, disk: DiskId) {
        let Some(peer) = self.connected(node, disk) else { return };
        let (Some(a), Some(b)) =
            (self.side_data(node, disk).cloned(), self.side_data(peer, disk).cloned())
        else {
            return;
        };
        let (good, lagging) = match (a.good, b.good) {
            (true, false) => (a, peer),
            (false, true) => (b, node),
            _ => return,
        };
        if let Some(data) = self.side_data(lagging, disk) {
            data.content = good.content;
            data.generations = good.generations;
            data.good = true;
            data.outdated = false;
        }
    }

    /// All that is on its way arrives.
    pub fn settle(&mut self) {
        let all: Vec<_> = self
            .machines
            .iter()
            .flat_map(|(node, m)| m.mirrors.keys().map(move |disk| (*node, *disk)))
            .collect();
        for (node, disk) in all {
            self.sync(node, disk);
        }
    }

    /// All sides of all mirrors are written while nobody sees another.
    pub fn part_all(&mut self) {
        let all: Vec<_> = self
            .machines
            .iter()
            .flat_map(|(node, m)| m.mirrors.keys().map(move |disk| (*node, *disk)))
            .collect();
        for (node, disk) in all {
            self.sync(node, disk);
            self.generation += 1;
            let (new, name) = (self.generation, self.machines[&node].name.clone());
            if let Some(data) = self.side_data(node, disk) {
                data.generations.push(new);
                data.content.push_str(&format!(", written on {name}"));
            }
        }
        for mirror in self.machines.values_mut().flat_map(|m| m.mirrors.values_mut()) {
            mirror.split = true;
        }
    }

    /// After anything happened: who writes without the other side, writes what that does not know.
    pub fn note_who_is_alone(&mut self) {
        let all: Vec<_> = self
            .machines
            .iter()
            .filter(|(_, m)| !m.dead)
            .flat_map(|(node, m)| m.mirrors.keys().map(move |disk| (*node, *disk)))
            .collect();
        for (node, disk) in all {
            let peer = self.connected(node, disk);
            let own = self.side_data(node, disk).is_some();
            let other = peer.is_some_and(|peer| self.side_data(peer, disk).is_some());
            let alone = self.is_primary(node, disk) && !(own && other);
            let was = self.mirror(node, disk).is_ok_and(|m| std::mem::replace(&mut m.alone, alone));
            if alone && !was {
                self.generation += 1;
                let new = self.generation;
                let holder = if own { Some(node) } else { peer };
                if let Some(data) = holder.and_then(|holder| self.side_data(holder, disk)) {
                    data.generations.push(new);
                }
            }
        }
    }

    /// As described, whatever it was before.
    pub fn assemble_mirror(
        &mut self,
        node: NodeId,
        disk: &Disk,
        role: DiskRole,
        force: bool,
        alone: bool,
    ) -> Result<()> {
        let Sides { minor, port, peer } = sides(node, disk)?;
        let id = disk.uuid;
        let data = data_key(disk)?;
        for child in &disk.children {
            self.must_exist(node, child)?;
        }
        let machine = self.machine(node)?;
        if let Some((other, _)) =
            machine.mirrors.iter().find(|(d, m)| m.minor == minor && **d != id)
        {
            return Err(wrong(format!("minor {minor} is in use by {other}")));
        }
        let new =
            Mirror { minor, port, data: Some(data), peer: Some(peer), split: false, alone: false };
        let mirror = machine.mirrors.entry(id).or_insert_with(|| new.clone());
        if mirror.minor != minor {
            return Err(wrong(format!("mirror {id} is set up as minor {}", mirror.minor)));
        }
        (mirror.data, mirror.peer, mirror.port) = (new.data, new.peer, new.port);
        mirror.split = false;
        machine.assembled.entry(id).or_insert(Access::Closed);
        self.shake_hands(node, id);
        self.note_who_is_alone();
        if role == DiskRole::Secondary || self.is_primary(node, id) {
            return Ok(());
        }
        if self.side(node, id).is_some_and(|m| m.split) {
            return Err(wrong(format!("mirror {id}: split brain")));
        }
        let connected = self.connected(node, id);
        if connected.is_none() && !alone {
            return Err(Error::environment(format!("mirror {id}: the other side does not answer")));
        }
        if connected.is_some_and(|peer| self.is_primary(peer, id)) {
            return Err(wrong(format!("mirror {id}: the other side is primary")));
        }
        self.check_good(node, id, force)?;
        self.machine(node)?.assembled.insert(id, Access::Exclusive);
        self.note_who_is_alone();
        Ok(())
    }

    /// There is good data to work with: here, or on the other side.
    fn check_good(&mut self, node: NodeId, disk: DiskId, force: bool) -> Result<()> {
        let peer = self.connected(node, disk);
        let there = peer.and_then(|peer| self.side_data(peer, disk)).is_some_and(|d| d.good);
        let here = self.side_data(node, disk);
        if there || here.as_ref().is_some_and(|d| d.good && !d.outdated) {
            return Ok(());
        }
        match here {
            Some(data) if force => {
                (data.good, data.outdated) = (true, false);
                Ok(())
            }
            _ => Err(wrong(format!("mirror {disk} has no good data here"))),
        }
    }

    /// May be used here, too or alone.
    pub fn open_mirror(&mut self, node: NodeId, disk: DiskId, exclusive: bool) -> Result<()> {
        self.mirror(node, disk)?;
        let there = self.connected(node, disk).and_then(|peer| self.access(peer, disk));
        match (exclusive, there) {
            (true, Some(Access::Exclusive | Access::Shared)) => {
                return Err(wrong(format!("mirror {disk}: the other side is primary too")));
            }
            (false, Some(Access::Exclusive)) => {
                return Err(wrong(format!("mirror {disk}: the other side does not share")));
            }
            _ => {}
        }
        self.check_good(node, disk, false)?;
        let access = if exclusive { Access::Exclusive } else { Access::Shared };
        self.machine(node)?.assembled.insert(disk, access);
        Ok(())
    }

    /// New, and what is here counts.
    pub fn seed(&mut self, node: NodeId, disk: &Disk) -> Result<()> {
        let id = disk.uuid;
        let Some(peer) = self.connected(node, id) else {
            return Err(wrong(format!("mirror {id} is not connected")));
        };
        let there = self.side_data(peer, id).is_some_and(|d| d.good);
        self.generation += 1;
        let new = self.generation;
        let here = self.side_data(node, id).ok_or_else(|| wrong(format!("{id}: no storage")))?;
        if !here.good {
            if there {
                return Err(wrong(format!("mirror {id}: the other side has good data")));
            }
            here.good = true;
            here.generations = vec![new];
        }
        self.machine(node)?.assembled.insert(id, Access::Exclusive);
        self.shake_hands(node, id);
        Ok(())
    }

    /// Waits until both are equal.
    pub fn wait_for_sync(&mut self, node: NodeId, disk: DiskId) -> Result<()> {
        self.sync(node, disk);
        let peer = self.connected(node, disk);
        let both = peer.is_some_and(|peer| {
            self.side_data(peer, disk).is_some_and(|d| d.good)
                && self.side_data(node, disk).is_some_and(|d| d.good)
        });
        if both { Ok(()) } else { Err(Error::exec(format!("mirror {disk} stays degraded"))) }
    }

    /// Goes on with the other side's storage.
    pub fn detach(&mut self, node: NodeId, disk: DiskId) -> Result<()> {
        if self.side(node, disk).is_none() {
            return Ok(());
        }
        if self.is_primary(node, disk) {
            let peer = self.connected(node, disk);
            if !peer.and_then(|peer| self.side_data(peer, disk)).is_some_and(|d| d.good) {
                return Err(wrong(format!("mirror {disk}: the other side has no good data")));
            }
        }
        self.mirror(node, disk)?.data = None;
        Ok(())
    }

    /// Stops talking.
    pub fn disconnect(&mut self, node: NodeId, disk: DiskId, outdate: bool) -> Result<()> {
        if self.side(node, disk).is_none() {
            return Ok(());
        }
        if outdate && self.is_primary(node, disk) {
            return Err(wrong(format!("mirror {disk} is in use here")));
        }
        self.mirror(node, disk)?.peer = None;
        if outdate && let Some(data) = self.side_data(node, disk) {
            data.outdated = true;
        }
        Ok(())
    }

    /// Takes the other side's data.
    pub fn discard(&mut self, node: NodeId, disk: &Disk) -> Result<()> {
        let id = disk.uuid;
        if self.is_primary(node, id) {
            return Err(wrong(format!("mirror {id} is in use here")));
        }
        let peer = sides(node, disk)?.peer;
        let mirror = self.mirror(node, id)?;
        mirror.split = false;
        mirror.peer = Some(peer);
        if let Some(data) = self.side_data(node, id) {
            data.good = false;
        }
        self.shake_hands(node, id);
        Ok(())
    }

    /// Takes a mirror down, if it stands on the storage of this description.
    pub fn take_down(&mut self, node: NodeId, disk: &Disk) -> Result<()> {
        let data = data_key(disk)?;
        let machine = self.machine(node)?;
        let ours = machine.mirrors.get(&disk.uuid);
        if ours.is_some_and(|m| m.data.as_ref().is_none_or(|d| *d == data)) {
            machine.mirrors.remove(&disk.uuid);
            machine.assembled.remove(&disk.uuid);
        }
        Ok(())
    }

    /// The last good copy of what a guest elsewhere uses must not go.
    pub fn must_not_be_the_last(&mut self, node: NodeId, disk: &Disk) -> Result<()> {
        let (id, data) = (disk.uuid, data_key(disk)?);
        let stands = self.side(node, id).is_some_and(|m| m.data.as_ref() == Some(&data));
        let good = self.machine(node)?.files.get(&data).is_some_and(|d| d.good && !d.outdated);
        if !good || !stands {
            return Ok(());
        }
        let others: Vec<_> = self.machines.keys().copied().filter(|n| *n != node).collect();
        for other in others {
            let guest = self.machines[&other]
                .guests
                .values()
                .any(|g| g.state.is_running() && g.disks.contains(&id));
            if guest && !self.side_data(other, id).is_some_and(|d| d.good) {
                let text =
                    format!("removing the only good data of {}, which is used", disk.iv_name);
                self.violations.push(text);
            }
        }
        Ok(())
    }

    /// What was written here arrives there, too.
    pub fn mirror_content(&mut self, node: NodeId, disk: &Disk) {
        let Some(content) = self.side_data(node, disk.uuid).map(|d| d.content.clone()) else {
            return;
        };
        let peer = self.connected(node, disk.uuid);
        if let Some(data) = peer.and_then(|peer| self.side_data(peer, disk.uuid)) {
            data.content = content;
        }
    }

    fn sync_status(&mut self, node: NodeId, disk: DiskId) -> SyncStatus {
        let peer = self.connected(node, disk);
        let word = |data: Option<&mut Data>| match data {
            None => "Diskless",
            Some(data) if !data.good => "Inconsistent",
            Some(data) if data.outdated => "Outdated",
            Some(_) => "UpToDate",
        };
        let there = match peer {
            Some(peer) => word(self.side_data(peer, disk)),
            None => "DUnknown",
        };
        let generations = self
            .side_data(node, disk)
            .map(|d| d.generations.iter().rev().take(4).map(ToString::to_string).collect())
            .unwrap_or_default();
        let split = self.side(node, disk).is_some_and(|m| m.split);
        let role = if self.is_primary(node, disk) { "Primary" } else { "Secondary" };
        let here = word(self.side_data(node, disk));
        let equal = here == "UpToDate" && there == "UpToDate";
        let connection = match (peer, here, there) {
            (None, ..) if split => "StandAlone",
            (None, ..) => "WFConnection",
            (_, "UpToDate", "Inconsistent") => "SyncSource",
            (_, "Inconsistent", "UpToDate") => "SyncTarget",
            _ => "Connected",
        };
        SyncStatus {
            percent: if equal { 100.0 } else { 0.0 },
            degraded: !equal,
            local_good: here == "UpToDate",
            connection: connection.into(),
            role: role.into(),
            disk: here.into(),
            peer_disk: there.into(),
            generations,
            split_brain: split,
            ..SyncStatus::default()
        }
    }

    /// How it is.
    pub fn mirror_status(&mut self, node: NodeId, disk: &Disk) -> Result<BlockStatus> {
        let mut children = Vec::new();
        for child in &disk.children {
            children.push(self.block(node, child)?);
        }
        let missing = children.iter().any(|c| c.state == BlockState::Missing);
        let up = self.side(node, disk.uuid).is_some();
        let sync = up.then(|| self.sync_status(node, disk.uuid));
        Ok(BlockStatus {
            state: match (missing, up) {
                (true, _) => BlockState::Missing,
                (false, true) => BlockState::Active,
                (false, false) => BlockState::Inactive,
            },
            path: up.then(|| format!("/dev/drbd{}", sides(node, disk).map_or(0, |s| s.minor))),
            major_minor: None,
            size: children.first().and_then(|c| c.size),
            sync,
            detail: String::new(),
            children,
        })
    }

    /// All mirrors of a machine.
    pub fn mirror_reports(&mut self, node: NodeId) -> Vec<MirrorReport> {
        let all: Vec<_> =
            self.machines[&node].mirrors.iter().map(|(disk, m)| (*disk, m.minor)).collect();
        let report = |(disk, minor)| MirrorReport { minor, sync: self.sync_status(node, disk) };
        all.into_iter().map(report).collect()
    }

    /// What is not as it should be with a mirror that is to be in use.
    pub fn mirror_problem(&mut self, primary: NodeId, disk: &Disk) -> Option<String> {
        let peer = sides(primary, disk).ok()?.peer;
        if self.machines.get(&peer).is_none_or(|m| m.dead) {
            return None;
        }
        match self.wait_for_sync(primary, disk.uuid) {
            Ok(()) => None,
            Err(error) => Some(error.message),
        }
    }
}
