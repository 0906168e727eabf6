//! Lines of `drbdsetup events2`: first all there is, then what changes.
//!
//! ```text
//!   exists device name:resource0 volume:0 minor:0 disk:UpToDate size:92160 …
//!   exists -                                              that was all
//!   change peer-device name:resource0 … replication:SyncSource out-of-sync:92160 …
//!   call helper name:resource0 … helper:split-brain        what the kernel found out
//! ```

use std::collections::BTreeMap;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is there, or new.
    Is,
    Changed,
    Gone,
    /// The kernel calls a helper.
    Called,
}

/// What it happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    Resource,
    Connection,
    Device,
    PeerDevice,
    Helper,
}

/// A line that means something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// All that exists has been said.
    Dumped,
    Happened {
        what: Happened,
        object: Object,
        fields: Fields<'a>,
    },
}

/// The fields of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// A field that is a number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

impl<'a> Event<'a> {
    /// Reads a line; `None` for one that says nothing of interest (paths of DRBD 9, what a helper
    /// answered, words of later versions).
    pub fn parse(line: &'a str) -> Option<Event<'a>> {
        let mut words = line.split_whitespace().peekable();
        // With --timestamps a line begins with one.
        if words.peek()?.starts_with(|c: char| c.is_ascii_digit()) {
            words.next();
        }
        let what = match words.next()? {
            "exists" | "create" => Happened::Is,
            "change" => Happened::Changed,
            "destroy" => Happened::Gone,
            "call" => Happened::Called,
            _ => return None,
        };
        let object = match words.next()? {
            "-" => return Some(Event::Dumped),
            "resource" => Object::Resource,
            "connection" => Object::Connection,
            "device" => Object::Device,
            "peer-device" => Object::PeerDevice,
            "helper" => Object::Helper,
            _ => return None,
        };
        let fields = Fields(words.filter_map(|word| word.split_once(':')).collect());
        fields.get("name")?;
        Some(Event::Happened { what, object, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        assert_eq!(Event::parse("2026-11-21T16:25:38.599865+00:00 exists -"), Some(Event::Dumped));
        let line = "2026-11-21T16:26:16.709113+00:00 change peer-device name:resource0 \
                    peer-node-id:0 conn-name:peer volume:0 replication:Established \
                    peer-disk:UpToDate received:0 sent:92160 out-of-sync:0 pending:0 unacked:0";
        let Some(Event::Happened { what, object, fields }) = Event::parse(line) else {
            panic!("an event")
        };
        assert_eq!((what, object), (Happened::Changed, Object::PeerDevice));
        assert_eq!(fields.get("replication"), Some("Established"));
        assert_eq!(fields.number("sent"), Some(92160u64));
        assert_eq!(fields.get("minor"), None);
    }

    #[test]
    fn what_means_nothing_is_passed_over() {
        for line in [
            "",
            "response helper name:r0 volume:0 minor:0 helper:split-brain status:0",
            "exists path name:r0 peer-node-id:1 local:ipv4:10.0.0.1:7000 established:yes",
            "frobnicate device name:r0",
            "change device minor:1",
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
