//! What this kernel's mirrors do, built from events.

use super::events::{Event, Fields, Happened, Object};
use super::state::{Connection, DiskState, Live, Role};
use std::collections::BTreeMap;

/// Everything `drbdsetup events2` has told. Resources of others are in it, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    resources: BTreeMap<String, Resource>,
    /// All that there is was told.
    complete: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resource {
    role: String,
    devices: BTreeMap<u32, Device>,
    /// By the peer's number; 8.4 numbers none, there is one.
    connections: BTreeMap<u32, Link>,
    peers: BTreeMap<(u32, u32), Peer>,
    split_brain: bool,
    splits: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Device {
    minor: u32,
    disk: String,
    size: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Link {
    connection: String,
    role: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Peer {
    replication: String,
    disk: String,
    out_of_sync: u64,
}

/// Sets what a line has; a change has only what is new.
fn set(to: &mut String, fields: &Fields<'_>, name: &str) {
    if let Some(value) = fields.get(name) {
        value.clone_into(to);
    }
}

impl Table {
    /// The table that a whole dump describes (`events2 --now`).
    pub fn of_dump(text: &str) -> Table {
        let mut table = Table::default();
        for line in text.lines() {
            table.hear(line);
        }
        table
    }

    /// All that there is was told; from now on changes.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes a line. Returns whether it changed anything.
    pub fn hear(&mut self, line: &str) -> bool {
        match Event::parse(line) {
            None => false,
            Some(Event::Dumped) => !std::mem::replace(&mut self.complete, true),
            Some(Event::Happened { what, object, fields }) => self.apply(what, object, &fields),
        }
    }

    fn apply(&mut self, what: Happened, object: Object, fields: &Fields<'_>) -> bool {
        let name = fields.get("name").unwrap_or_default();
        if what == Happened::Gone && object == Object::Resource {
            return self.resources.remove(name).is_some();
        }
        let resource = self.resources.entry(name.to_owned()).or_default();
        let before = resource.clone();
        resource.apply(what, object, fields);
        *resource != before
    }

    /// The mirrors, by minor.
    pub fn mirrors(&self) -> BTreeMap<u32, Live> {
        let all = self.resources.iter();
        all.flat_map(|(name, resource)| {
            resource
                .devices
                .iter()
                .map(|(volume, device)| (device.minor, resource.live(name, *volume, device)))
        })
        .collect()
    }
}

impl Resource {
    fn apply(&mut self, what: Happened, object: Object, fields: &Fields<'_>) {
        let gone = what == Happened::Gone;
        let peer: u32 = fields.number("peer-node-id").unwrap_or(0);
        let volume: u32 = fields.number("volume").unwrap_or(0);
        match object {
            Object::Resource => set(&mut self.role, fields, "role"),
            Object::Device if gone => drop(self.devices.remove(&volume)),
            Object::Device => {
                let device = self.devices.entry(volume).or_default();
                device.minor = fields.number("minor").unwrap_or(device.minor);
                device.size = fields.number("size").unwrap_or(device.size);
                set(&mut device.disk, fields, "disk");
            }
            Object::Connection if gone => drop(self.connections.remove(&peer)),
            Object::Connection => {
                let link = self.connections.entry(peer).or_default();
                set(&mut link.connection, fields, "connection");
                set(&mut link.role, fields, "role");
            }
            Object::PeerDevice if gone => drop(self.peers.remove(&(peer, volume))),
            Object::PeerDevice => {
                let side = self.peers.entry((peer, volume)).or_default();
                set(&mut side.replication, fields, "replication");
                set(&mut side.disk, fields, "peer-disk");
                side.out_of_sync = fields.number("out-of-sync").unwrap_or(side.out_of_sync);
                if !matches!(side.replication.as_str(), "" | "Off") {
                    // They talk: whatever parted them is settled.
                    self.split_brain = false;
                }
            }
            Object::Helper if what == Happened::Called => {
                // Not `initial-split-brain`, which may yet be settled without loss.
                if fields.get("helper") == Some("split-brain") {
                    self.split_brain = true;
                    self.splits += 1;
                }
            }
            Object::Helper => {}
        }
    }

    fn live(&self, name: &str, volume: u32, device: &Device) -> Live {
        // Ours have one other side.
        let first = self.connections.first_key_value();
        let (peer, link) = first.map_or((0, None), |(peer, link)| (*peer, Some(link)));
        let side = self.peers.get(&(peer, volume));
        let connection = link.map_or(Connection::StandAlone, |link| {
            Connection::of_two(&link.connection, side.map_or("Off", |side| &side.replication))
        });
        Live {
            resource: name.to_owned(),
            minor: device.minor,
            role: Role::of(&self.role),
            peer_role: link.map_or(Role::Unknown, |link| Role::of(&link.role)),
            disk: DiskState::of(&device.disk),
            peer_disk: side.map_or(DiskState::Unknown, |side| DiskState::of(&side.disk)),
            connection,
            size: device.size,
            out_of_sync: side.map_or(0, |side| side.out_of_sync),
            split_brain: self.split_brain,
            splits: self.splits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What DRBD 8.4.11 with the tools of 9.22 told while two sides were made, synced and parted.
    const STORY: &str = include_str!("fixtures/events2-8.4");

    /// The story up to and with the n-th line that has `text`.
    fn after(text: &str, n: usize) -> Live {
        let mut table = Table::default();
        let mut seen = 0;
        for line in STORY.lines() {
            table.hear(line);
            seen += usize::from(line.contains(text));
            if seen == n {
                return table.mirrors().remove(&0).expect("the mirror");
            }
        }
        panic!("the story has no {n}-th {text}");
    }

    #[test]
    fn the_table_follows_the_story() {
        let new = after("exists -", 1);
        assert_eq!((new.connection, new.disk), (Connection::StandAlone, DiskState::Inconsistent));
        assert_eq!(after("connection:Connecting", 1).connection, Connection::Waiting);
        let met = after("replication:Established", 1);
        assert_eq!((met.connection, met.peer_role), (Connection::Connected, Role::Secondary));
        assert!(!met.is_equal() && !met.has_good_data());
        let syncing = after("replication:SyncSource", 1);
        assert_eq!(syncing.connection, Connection::SyncSource);
        assert_eq!((syncing.role, syncing.disk), (Role::Primary, DiskState::UpToDate));
        assert_eq!((syncing.size, syncing.out_of_sync), (92160, 92160));
        let equal = after("replication:Established", 2);
        assert!(equal.is_equal(), "{equal:?}");
        let parted = after("connection:Connecting", 2);
        assert!(!parted.is_equal() && parted.has_good_data() && !parted.split_brain);
    }

    #[test]
    fn a_split_brain_stays_known_until_they_talk() {
        let found = after(
            "call helper name:resource0 peer-node-id:0 conn-name:peer volume:0 \
                           minor:0 helper:split-brain",
            1,
        );
        assert!(found.split_brain && found.splits == 1);
        let alone = after("destroy connection", 1);
        assert_eq!(alone.connection, Connection::StandAlone);
        assert!(alone.split_brain);
        let mut table = Table::of_dump(STORY);
        table.hear("create peer-device name:resource0 peer-node-id:0 volume:0 replication:Off");
        assert!(table.mirrors()[&0].split_brain);
        table.hear(
            "change peer-device name:resource0 peer-node-id:0 volume:0 replication:WFBitMapT",
        );
        assert!(!table.mirrors()[&0].split_brain);
    }

    #[test]
    fn what_is_gone_is_gone() {
        let mut table = Table::of_dump(STORY);
        assert!(table.is_complete());
        assert!(table.hear("destroy device name:resource0 volume:0 minor:0"));
        assert!(table.mirrors().is_empty());
        assert!(table.hear("destroy resource name:resource0"));
        assert!(!table.hear("destroy resource name:resource0"), "nothing changes");
        assert!(!table.hear("exists -"), "known to be complete");
    }

    #[test]
    fn of_several_sides_the_first_counts() {
        let table = Table::of_dump(
            "exists resource name:r9 role:Primary suspended:no\n\
             exists connection name:r9 peer-node-id:1 conn-name:b connection:Connected role:Secondary\n\
             exists connection name:r9 peer-node-id:2 conn-name:c connection:Connecting role:Unknown\n\
             exists device name:r9 volume:0 minor:1000 backing_dev:/dev/x disk:UpToDate client:no\n\
             exists peer-device name:r9 peer-node-id:1 volume:0 replication:SyncTarget peer-disk:UpToDate\n\
             exists -\n",
        );
        let live = &table.mirrors()[&1000];
        assert_eq!(
            (live.connection, live.peer_disk),
            (Connection::SyncTarget, DiskState::UpToDate)
        );
    }
}
