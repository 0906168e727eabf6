//! Tags that remember repairs.

use super::{PREFIX, behind};

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal, $shown:literal;)+ })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word in tags.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// The word in messages: Ganeti's.
            pub fn shown(self) -> &'static str {
                match self { $($name::$variant => $shown),+ }
            }

            /// Of its word in tags.
            pub fn of(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|known| known.word() == word)
            }
        }
    )+};
}

words! {
    /// What may be done to an instance; a later one does more harm and includes those before it.
    Repair {
        /// Its mirror is made anew.
        FixStorage = "fix-storage", "ArFixStorage";
        Migrate = "migrate", "ArMigrate";
        /// It is started on its secondary node.
        Failover = "failover", "ArFailover";
        /// Its disks are made anew, and are empty.
        Reinstall = "reinstall", "ArReinstall";
    }
    /// How a repair ended. Of several the last in this order counts.
    Outcome {
        /// It was not allowed.
        NotAllowed = "enoperm", "ArEnoperm";
        Success = "success", "ArSuccess";
        Failure = "failure", "ArFailure";
    }
}

/// A repair, as a tag has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub repair: Repair,
    /// Of this repair, for all its tags.
    pub id: String,
    /// Seconds since 1970.
    pub time: i64,
    pub jobs: Vec<u64>,
    /// None: it is pending.
    pub outcome: Option<Outcome>,
}

impl Record {
    /// Of a tag; none: it is another tag, or malformed.
    pub fn of(tag: &str) -> Option<Record> {
        let (rest, pending) = match behind(tag, ":pending") {
            Some(rest) => (rest, true),
            None => (behind(tag, ":result")?, false),
        };
        let parts: Vec<&str> = rest.split(':').collect();
        let (repair, id, time, outcome, jobs) = match (pending, &parts[..]) {
            (true, [repair, id, time, jobs]) => (repair, id, time, None, jobs),
            (false, [repair, id, time, outcome, jobs]) => {
                (repair, id, time, Some(Outcome::of(outcome)?), jobs)
            }
            _ => return None,
        };
        let numbers = jobs.split('+').filter(|_| !jobs.is_empty());
        Some(Record {
            repair: Repair::of(repair)?,
            id: (*id).to_owned(),
            time: time.parse().ok()?,
            jobs: numbers.map(str::parse).collect::<Result<_, _>>().ok()?,
            outcome,
        })
    }

    /// Its tag.
    pub fn tag(&self) -> String {
        let Record { repair, id, time, jobs, outcome } = self;
        let jobs: Vec<String> = jobs.iter().map(u64::to_string).collect();
        let (repair, jobs) = (repair.word(), jobs.join("+"));
        match outcome {
            None => format!("{PREFIX}:pending:{repair}:{id}:{time}:{jobs}"),
            Some(outcome) => {
                format!("{PREFIX}:result:{repair}:{id}:{time}:{}:{jobs}", outcome.word())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_ganetis() {
        let pending = "ganeti:watcher:autorepair:pending:failover:9f-1:1700000000:12+13";
        let record = Record::of(pending).expect("a record");
        assert_eq!(
            (record.repair, record.time, &record.jobs[..], record.outcome),
            (Repair::Failover, 1_700_000_000, &[12, 13][..], None)
        );
        assert_eq!(record.tag(), pending);
        let refused = "ganeti:watcher:autorepair:result:reinstall:9f-1:1700000000:enoperm:";
        let record = Record::of(refused).expect("a record");
        assert_eq!((record.outcome, record.jobs.len()), (Some(Outcome::NotAllowed), 0));
        assert_eq!(record.tag(), refused);
    }

    #[test]
    fn other_tags_are_none() {
        for tag in [
            "ganeti:watcher:autorepair:failover",
            "ganeti:watcher:autorepair:pending",
            "ganeti:watcher:autorepair:pending:",
            "ganeti:watcher:autorepair:pending:failover:id:x:1",
            "ganeti:watcher:autorepair:pending:failover:id:1:a",
            "ganeti:watcher:autorepair:pending:tape:id:1:1",
            "ganeti:watcher:autorepair:result:failover:id:1:maybe:1",
            "ganeti:watcher:autorepair:pendingfailover:id:1:1",
            "web",
        ] {
            assert_eq!(Record::of(tag), None, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            repair in prop::sample::select(Repair::ALL),
            id in "[0-9a-f-]{0,36}",
            time in any::<i64>(),
            jobs in prop::collection::vec(any::<u64>(), 0..4),
            outcome in prop::option::of(prop::sample::select(Outcome::ALL)),
            tag in "(ganeti:watcher:autorepair)?[:a-z0-9+]{0,30}",
        ) {
            let record = Record { repair, id, time, jobs, outcome };
            prop_assert_eq!(Record::of(&record.tag()), Some(record));
            let _ = Record::of(&tag);
        }
    }
}
