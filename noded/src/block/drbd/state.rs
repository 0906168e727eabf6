//! What a mirror is doing, in DRBD's words.

use std::fmt;

/// An enum whose variants are words of DRBD; one of a later version is `$unknown`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $unknown:ident: $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Reads the word.
            pub fn of(word: &str) -> $name {
                match word {
                    $($word => $name::$variant,)+
                    _ => $name::$unknown,
                }
            }

            /// The word.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// Whether a side may write.
    Role, Unknown:
    Unknown = "Unknown",
    Secondary = "Secondary",
    Primary = "Primary",
}

words! {
    /// What a side's data are worth. Later ones are better.
    DiskState, Unknown:
    Diskless = "Diskless",
    Attaching = "Attaching",
    Detaching = "Detaching",
    Failed = "Failed",
    Negotiating = "Negotiating",
    Inconsistent = "Inconsistent",
    Outdated = "Outdated",
    Unknown = "DUnknown",
    Consistent = "Consistent",
    UpToDate = "UpToDate",
}

words! {
    /// How the two sides stand to each other: the words of 8.4, which has one for all of it.
    Connection, Unconnected:
    /// It does not look for the other side.
    StandAlone = "StandAlone",
    Disconnecting = "Disconnecting",
    Unconnected = "Unconnected",
    Timeout = "Timeout",
    BrokenPipe = "BrokenPipe",
    NetworkFailure = "NetworkFailure",
    ProtocolError = "ProtocolError",
    TearDown = "TearDown",
    /// It waits for the other side.
    Waiting = "WFConnection",
    /// They have met and compare their data.
    Comparing = "WFReportParams",
    /// From here on they are connected.
    Connected = "Connected",
    StartingSyncS = "StartingSyncS",
    StartingSyncT = "StartingSyncT",
    WFBitMapS = "WFBitMapS",
    WFBitMapT = "WFBitMapT",
    WFSyncUuid = "WFSyncUUID",
    SyncSource = "SyncSource",
    SyncTarget = "SyncTarget",
    VerifyS = "VerifyS",
    VerifyT = "VerifyT",
    PausedSyncS = "PausedSyncS",
    PausedSyncT = "PausedSyncT",
    Ahead = "Ahead",
    Behind = "Behind",
}

impl Connection {
    /// From the two words of DRBD 9's events, which 8.4's tools write as well.
    pub fn of_two(connection: &str, replication: &str) -> Connection {
        match (connection, replication) {
            (_, "Established") => Connection::Connected,
            ("Connecting", _) => Connection::Waiting,
            ("Connected", "Off" | "") => Connection::Comparing,
            (connection, "Off" | "") => Connection::of(connection),
            (_, replication) => Connection::of(replication),
        }
    }

    /// Both sides get what is written.
    pub fn is_connected(self) -> bool {
        self >= Connection::Connected
    }

    /// One side is being made equal to the other, or soon will be.
    pub fn is_syncing(self) -> bool {
        self > Connection::Connected && !matches!(self, Connection::VerifyS | Connection::VerifyT)
    }

    /// Data move now, between sides that are not equal.
    pub fn is_moving(self) -> bool {
        matches!(self, Connection::SyncSource | Connection::SyncTarget)
    }
}

/// A mirror set up on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub resource: String,
    pub minor: u32,
    pub role: Role,
    pub peer_role: Role,
    pub disk: DiskState,
    pub peer_disk: DiskState,
    pub connection: Connection,
    /// KiB.
    pub size: u64,
    /// KiB that the other side lacks, or this one.
    pub out_of_sync: u64,
    /// The sides met and found that both had been written.
    pub split_brain: bool,
    /// How often that was found since this noded looks.
    pub splits: u64,
}

impl Live {
    /// Both sides have all data.
    pub fn is_equal(&self) -> bool {
        self.connection.is_connected()
            && !self.connection.is_syncing()
            && self.disk == DiskState::UpToDate
            && self.peer_disk == DiskState::UpToDate
    }

    /// Good data can be read here: from this side, or through the other.
    pub fn has_good_data(&self) -> bool {
        self.disk >= DiskState::Consistent
            || self.connection.is_connected() && self.peer_disk == DiskState::UpToDate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_become_one() {
        let of = |a, b| Connection::of_two(a, b).word();
        assert_eq!(of("StandAlone", "Off"), "StandAlone");
        assert_eq!(of("Connecting", "Off"), "WFConnection");
        assert_eq!(of("Connected", "Off"), "WFReportParams");
        assert_eq!(of("Connected", "Established"), "Connected");
        assert_eq!(of("Connected", "SyncSource"), "SyncSource");
        assert_eq!(of("NetworkFailure", "Off"), "NetworkFailure");
        assert_eq!(of("WordOfTomorrow", "Off"), "Unconnected");
    }

    #[test]
    fn states_are_ordered_by_worth() {
        assert!(DiskState::UpToDate > DiskState::Consistent);
        assert!(DiskState::Consistent > DiskState::Outdated);
        assert!(DiskState::Outdated > DiskState::Inconsistent);
        assert!(Connection::of("SyncTarget").is_syncing());
        assert!(!Connection::of("VerifyS").is_syncing() && Connection::VerifyS.is_connected());
        assert!(!Connection::Comparing.is_connected());
    }
}
