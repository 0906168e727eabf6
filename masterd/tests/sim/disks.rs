//! Disks of machines that do not exist: what every template's data is and where, and what every
//! action does to it. Mirrors: see `mirror`.

use super::world::{Access, Data, Guest, World, wrong};
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::node::{Action, BlockState, BlockStatus, Outcome, VolumeReport};
use roost_proto::objects::{Disk, LogicalId};
use std::collections::BTreeMap;

/// What a disk's data is called where it is. Errors: it has none of its own.
pub fn key(disk: &Disk) -> Result<String> {
    match (&disk.logical_id, disk.dev_type) {
        (LogicalId::Pair(_, path), DiskTemplate::File | DiskTemplate::SharedFile) => {
            Ok(path.clone())
        }
        (LogicalId::Pair(vg, name), DiskTemplate::Plain) => Ok(format!("/dev/{vg}/{name}")),
        (LogicalId::Pair(place, name), template) if template != DiskTemplate::Drbd => {
            Ok(format!("{template}:{place}/{name}"))
        }
        (other, template) => {
            Err(wrong(format!("disk {} of template {template} is nowhere: {other:?}", disk.uuid)))
        }
    }
}

/// Its data is on one machine only.
fn is_local(template: DiskTemplate) -> bool {
    matches!(template, DiskTemplate::File | DiskTemplate::Plain)
}

/// The devices with data that a disk stands on, itself or its children.
pub fn leaves(disk: &Disk) -> Vec<&Disk> {
    match disk.children.is_empty() {
        true => vec![disk],
        false => disk.children.iter().flat_map(leaves).collect(),
    }
}

impl World {
    /// The data a disk is among, seen from a machine, and what it is called there. Of a mirror: its
    /// side's.
    pub fn files(
        &mut self,
        node: NodeId,
        disk: &Disk,
    ) -> Result<(&mut BTreeMap<String, Data>, String)> {
        let leaf = leaves(disk)[0];
        let name = key(leaf)?;
        match is_local(leaf.dev_type) {
            true => Ok((&mut self.machine(node)?.files, name)),
            false => {
                self.machine(node)?;
                Ok((&mut self.shared, name))
            }
        }
    }

    /// Where a disk is in use by a guest: on `node` if what is there is its own.
    fn in_use(&self, node: NodeId, disk: &Disk) -> Option<String> {
        let local = is_local(disk.dev_type) || disk.dev_type == DiskTemplate::Drbd;
        self.machines
            .iter()
            .filter(|(id, _)| !local || **id == node)
            .flat_map(|(_, m)| m.guests.iter().map(move |(name, g)| (m, name, g)))
            .find(|(_, _, g)| g.state.is_running() && g.disks.contains(&disk.uuid))
            .map(|(m, name, _)| format!("{name} on {}", m.name))
    }

    pub fn forbid(&mut self, node: NodeId, disk: &Disk, what: &str) {
        if let Some(user) = self.in_use(node, disk) {
            self.violations.push(format!("{what} disk {} in use by {user}", disk.iv_name));
        }
    }

    /// All of its data is there and its own.
    pub fn must_exist(&mut self, node: NodeId, disk: &Disk) -> Result<()> {
        for leaf in leaves(disk) {
            let (files, name) = self.files(node, leaf)?;
            match files.get(&name) {
                Some(data) if data.disk == leaf.uuid => {}
                Some(_) => return Err(wrong(format!("{name} belongs to another disk"))),
                None => return Err(wrong(format!("{name} is missing"))),
            }
        }
        Ok(())
    }

    /// A guest here uses it.
    fn used_here(&mut self, node: NodeId, disk: DiskId) -> Result<()> {
        let used = |g: &Guest| g.state.is_running() && g.disks.contains(&disk);
        match self.machine(node)?.guests.values().any(used) {
            true => Err(wrong(format!("disk {disk} is in use"))),
            false => Ok(()),
        }
    }

    fn create_leaf(&mut self, node: NodeId, disk: &Disk, good: bool) -> Result<()> {
        let (files, name) = self.files(node, disk)?;
        match files.get(&name) {
            Some(data) if data.disk == disk.uuid && data.size == disk.size => Ok(()),
            Some(_) => Err(Error::exists(format!("{name} exists"))),
            None => {
                let new = Data { good, ..Data::new(disk.uuid, disk.size) };
                files.insert(name, new);
                Ok(())
            }
        }
    }

    fn create(&mut self, node: NodeId, disk: &Disk) -> Result<()> {
        if disk.dev_type != DiskTemplate::Drbd {
            return self.create_leaf(node, disk, true);
        }
        // What was there already, meta data and all, is what an earlier try made.
        let there = |world: &mut World, leaf: &Disk| world.must_exist(node, leaf).is_ok();
        let (data, meta) = match disk.children.as_slice() {
            [data, meta] => (data, meta),
            other => return Err(wrong(format!("a mirror of {} volumes", other.len()))),
        };
        let made = there(self, meta);
        self.create_leaf(node, data, false)?;
        self.create_leaf(node, meta, true)?;
        if !made {
            let (files, name) = self.files(node, data)?;
            if let Some(data) = files.get_mut(&name) {
                (data.good, data.outdated) = (false, false);
                data.generations.clear();
            }
        }
        Ok(())
    }

    fn remove(&mut self, node: NodeId, disk: &Disk) -> Result<()> {
        // Nodes do not take a disk from under a guest of theirs.
        self.used_here(node, disk.uuid)?;
        self.forbid(node, disk, "removing");
        if disk.dev_type == DiskTemplate::Drbd {
            self.must_not_be_the_last(node, disk)?;
            self.take_down(node, disk)?;
        } else {
            self.machine(node)?.assembled.remove(&disk.uuid);
        }
        for leaf in leaves(disk) {
            let (files, name) = self.files(node, leaf)?;
            if files.get(&name).is_some_and(|data| data.disk == leaf.uuid) {
                files.remove(&name);
                // A volume without meta data is no mirror's side any more.
                let data = name.strip_suffix("_meta").map(|name| format!("{name}_data"));
                if let Some(data) = data.and_then(|name| files.get_mut(&name)) {
                    (data.good, data.outdated) = (true, false);
                    data.generations.clear();
                }
            }
        }
        Ok(())
    }

    /// One action on one disk.
    fn apply_to_disk(&mut self, node: NodeId, action: &Action, disk: &Disk) -> Result<()> {
        let id = disk.uuid;
        let mirror = disk.dev_type == DiskTemplate::Drbd;
        match action {
            Action::DisksCreate { .. } => self.create(node, disk),
            Action::DisksRemove { .. } => self.remove(node, disk),
            Action::DisksWipe { .. } => {
                self.forbid(node, disk, "wiping");
                self.must_exist(node, disk)?;
                let (files, name) = self.files(node, disk)?;
                files.entry(name).and_modify(|data| data.content.clear());
                self.mirror_content(node, disk);
                Ok(())
            }
            Action::DisksAssemble { role, force, alone, .. } if mirror => {
                self.assemble_mirror(node, disk, *role, *force, *alone)
            }
            Action::DisksAssemble { .. } => {
                self.must_exist(node, disk)?;
                self.machine(node)?.assembled.entry(id).or_insert(Access::Exclusive);
                Ok(())
            }
            Action::DisksShutdown { .. } => {
                self.used_here(node, id)?;
                if mirror {
                    return self.take_down(node, disk);
                }
                self.machine(node)?.assembled.remove(&id);
                Ok(())
            }
            Action::DisksOpen { exclusive, .. } if mirror => self.open_mirror(node, id, *exclusive),
            Action::DisksOpen { exclusive, .. } => {
                let machine = self.machine(node)?;
                let access = machine
                    .assembled
                    .get_mut(&id)
                    .ok_or_else(|| wrong(format!("disk {id} is not assembled")))?;
                *access = if *exclusive { Access::Exclusive } else { Access::Shared };
                Ok(())
            }
            Action::DisksClose { .. } => {
                self.used_here(node, id)?;
                let machine = self.machine(node)?;
                machine.assembled.entry(id).and_modify(|access| *access = Access::Closed);
                Ok(())
            }
            Action::MirrorsSeed { .. } => self.seed(node, disk),
            Action::MirrorsSync { .. } => self.wait_for_sync(node, id),
            Action::MirrorsDetach { .. } => self.detach(node, id),
            Action::MirrorsDisconnect { outdate, .. } => self.disconnect(node, id, *outdate),
            Action::MirrorsDiscard { .. } => self.discard(node, disk),
            other => Err(wrong(format!("not about disks: {other:?}"))),
        }
    }

    /// An action on disks, one after the other.
    pub fn apply_to_disks(
        &mut self,
        node: NodeId,
        action: &Action,
        disks: &[Disk],
    ) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        if let Action::DisksRemove { instance, .. }
        | Action::DisksAssemble { instance, .. }
        | Action::DisksShutdown { instance, .. } = action
        {
            self.machine(node)?.receiving.retain(|_, known| *known != instance.uuid);
        }
        for disk in disks {
            self.apply_to_disk(node, action, disk)?;
            if let Action::DisksAssemble { .. } = action {
                outcome.devices.push(self.block(node, disk)?.path.unwrap_or_default());
            }
        }
        Ok(outcome)
    }

    /// Makes it larger; of a mirror this side.
    pub fn grow(&mut self, node: NodeId, disk: &Disk, size: u64) -> Result<()> {
        self.must_exist(node, disk)?;
        let (files, name) = self.files(node, disk)?;
        if let Some(data) = files.get_mut(&name) {
            data.size = data.size.max(size);
        }
        Ok(())
    }

    /// Moves data, or takes over what was nobody's.
    pub fn rename(&mut self, node: NodeId, from: &Disk, to: &Disk) -> Result<()> {
        self.forbid(node, from, "renaming");
        let (new, uuid) = (key(to)?, to.uuid);
        let (files, old) = self.files(node, from)?;
        let ours = |data: Option<&Data>| {
            data.is_some_and(|d| d.disk == from.uuid || d.disk == uuid || d.is_nobodys())
        };
        match (ours(files.get(&old)), files.contains_key(&new)) {
            // Done; or what is taken back never happened.
            (false, true) if files[&new].disk == uuid || files[&new].is_nobodys() => Ok(()),
            (true, other) if !other || old == new => {
                let mut data = files.remove(&old).expect("it was just seen");
                data.disk = uuid;
                files.insert(new, data);
                Ok(())
            }
            (true, _) => Err(wrong(format!("{new} exists"))),
            (false, _) => Err(wrong(format!("{old} is missing"))),
        }
    }

    /// Makes a disk that is like another one now.
    pub fn snapshot(&mut self, node: NodeId, from: &Disk, to: &Disk) -> Result<()> {
        self.must_exist(node, from)?;
        let (files, name) = self.files(node, from)?;
        let data = Data {
            disk: to.uuid,
            size: to.size,
            content: files[&name].content.clone(),
            ..Data::new(to.uuid, to.size)
        };
        let (files, name) = self.files(node, to)?;
        match files.get(&name) {
            Some(there) if there.disk != to.uuid => Err(Error::exists(format!("{name} exists"))),
            _ => {
                files.insert(name, data);
                Ok(())
            }
        }
    }

    /// Copies data to another machine, or on this one.
    pub fn copy(
        &mut self,
        node: NodeId,
        from: &[Disk],
        target: NodeId,
        to: &[Disk],
        token: &str,
    ) -> Result<()> {
        if node != target && !self.machine(target)?.receiving.contains_key(token) {
            return Err(wrong("no copy is awaited under this token".into()));
        }
        for (from, to) in from.iter().zip(to) {
            self.must_exist(node, from)?;
            self.must_exist(target, to)?;
            self.forbid(node, from, "copying");
            self.forbid(target, to, "writing over");
            let (files, name) = self.files(node, from)?;
            let content = files[&name].content.clone();
            let (files, name) = self.files(target, to)?;
            files.entry(name).and_modify(|data| data.content = content);
            self.mirror_content(target, to);
        }
        Ok(())
    }

    /// A running guest goes on with other disks, on which is then what was on its own.
    pub fn mirror_disks(
        &mut self,
        node: NodeId,
        guest: &str,
        from: &[Disk],
        to: &[Disk],
    ) -> Result<()> {
        for (from, to) in from.iter().zip(to) {
            let machine = self.machine(node)?;
            let held = machine.running(guest)?.disks.clone();
            machine.usable(to.uuid)?;
            if held.contains(&to.uuid) {
                continue;
            }
            let place = held.iter().position(|disk| *disk == from.uuid);
            let place = place.ok_or_else(|| wrong(format!("{guest} has no disk {}", from.uuid)))?;
            self.must_exist(node, from)?;
            self.must_exist(node, to)?;
            let (files, name) = self.files(node, from)?;
            let content = files[&name].content.clone();
            let (files, name) = self.files(node, to)?;
            files.entry(name).and_modify(|data| data.content = content);
            self.mirror_content(node, to);
            self.machine(node)?.running(guest)?.disks[place] = to.uuid;
        }
        Ok(())
    }

    /// A guest moves: its disks that are on one machine only are there with what was on them here,
    /// if they were to be copied.
    pub fn take_along(
        &mut self,
        node: NodeId,
        target: NodeId,
        disks: &[Disk],
        copied: bool,
    ) -> Result<()> {
        for disk in disks.iter().filter(|disk| is_local(disk.dev_type)) {
            if !copied {
                return Err(wrong(format!("disk {} is only here", disk.uuid)));
            }
            self.must_exist(target, disk)?;
            let (files, name) = self.files(node, disk)?;
            let content = files[&name].content.clone();
            let (files, name) = self.files(target, disk)?;
            files.entry(name).and_modify(|data| data.content = content);
        }
        Ok(())
    }

    /// An OS is installed on it.
    pub fn install(&mut self, node: NodeId, disk: &Disk, os: &str) -> Result<()> {
        self.forbid(node, disk, "installing an OS on");
        let (files, name) = self.files(node, disk)?;
        if let Some(data) = files.get_mut(&name) {
            data.content = format!("os {os}");
        }
        self.mirror_content(node, disk);
        Ok(())
    }

    /// How a disk is on a machine.
    pub fn block(&mut self, node: NodeId, disk: &Disk) -> Result<BlockStatus> {
        if disk.dev_type == DiskTemplate::Drbd {
            return self.mirror_status(node, disk);
        }
        let assembled = self.machine(node)?.assembled.contains_key(&disk.uuid);
        let (files, name) = self.files(node, disk)?;
        let found = files.get(&name).filter(|data| data.disk == disk.uuid || data.is_nobodys());
        Ok(BlockStatus {
            state: match (found, assembled) {
                (None, _) => BlockState::Missing,
                (Some(_), true) => BlockState::Active,
                (Some(_), false) => BlockState::Inactive,
            },
            size: found.map(|data| data.size),
            path: assembled.then_some(name),
            major_minor: None,
            sync: None,
            detail: String::new(),
            children: vec![],
        })
    }

    /// The logical volumes of a machine.
    pub fn volumes(&self, node: NodeId) -> Vec<VolumeReport> {
        let report = |(device, data): (&String, &Data)| {
            let (vg, name) = device.strip_prefix("/dev/")?.split_once('/')?;
            Some(VolumeReport {
                device: device.clone(),
                vg: vg.into(),
                name: name.into(),
                size: data.size,
                ..VolumeReport::default()
            })
        };
        self.machines[&node].files.iter().filter_map(report).collect()
    }
}
