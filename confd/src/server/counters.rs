//! What became of the datagrams: numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a datagram has no answer. In the order in which they are found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Reason {
    /// It does not begin with the bytes of the protocol, or those of an HMAC that is not enabled.
    Magic,
    /// Behind them is no envelope.
    Envelope,
    /// Its salt is no time, or one too far from now.
    Clock,
    /// Its HMAC is not that of the key.
    Signature,
    /// It was signed, but is no question.
    Question,
    /// The answer does not fit a datagram.
    TooLarge,
    /// The answer cannot be made.
    Internal,
    /// The answer could not be sent.
    Unsent,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 8] = [
        Reason::Magic,
        Reason::Envelope,
        Reason::Clock,
        Reason::Signature,
        Reason::Question,
        Reason::TooLarge,
        Reason::Internal,
        Reason::Unsent,
    ];

    /// Its word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Magic => "magic",
            Reason::Envelope => "envelope",
            Reason::Clock => "clock",
            Reason::Signature => "signature",
            Reason::Question => "question",
            Reason::TooLarge => "too_large",
            Reason::Internal => "internal",
            Reason::Unsent => "unsent",
        }
    }

    /// What a log line says of it.
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::Magic => "it is not of this protocol, or signed in a way that is not enabled",
            Reason::Envelope => "its envelope is malformed",
            Reason::Clock => {
                "it was made too long ago or ahead; compare the clocks of both machines"
            }
            Reason::Signature => "its HMAC is wrong; does the sender have this cluster's hmac.key?",
            Reason::Question => "its question is malformed or of an unknown type",
            Reason::TooLarge => "the answer does not fit a datagram; ask for less",
            Reason::Internal => "the answer cannot be made, which is a defect",
            Reason::Unsent => "the answer could not be sent",
        }
    }
}

/// The numbers of one thread: nobody else writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    received: AtomicU64,
    answered: AtomicU64,
    dropped: [AtomicU64; Reason::ALL.len()],
}

impl Counters {
    /// So many datagrams came.
    pub fn received(&self, datagrams: u64) {
        self.received.fetch_add(datagrams, Relaxed);
    }

    /// So many answers left.
    pub fn answered(&self, answers: u64) {
        self.answered.fetch_add(answers, Relaxed);
    }

    /// One has no answer.
    pub fn dropped(&self, reason: Reason) {
        self.dropped[reason as usize].fetch_add(1, Relaxed);
    }
}

/// What all threads counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub received: u64,
    pub answered: u64,
    /// By [`Reason`].
    pub dropped: [u64; Reason::ALL.len()],
}

impl Totals {
    /// Of these threads.
    pub fn of<'a>(all: impl IntoIterator<Item = &'a Counters>) -> Totals {
        let mut totals = Totals::default();
        for one in all {
            totals.received += one.received.load(Relaxed);
            totals.answered += one.answered.load(Relaxed);
            for (sum, count) in totals.dropped.iter_mut().zip(&one.dropped) {
                *sum += count.load(Relaxed);
            }
        }
        totals
    }

    /// `magic 3, clock 1`; empty if nothing was dropped.
    pub fn drops(&self) -> String {
        let some = Reason::ALL.iter().zip(self.dropped).filter(|(_, count)| *count > 0);
        some.map(|(reason, count)| format!("{} {count}", reason.word()))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// A JSON object: `received`, `answered`, `dropped` by reason.
    pub fn report(&self) -> serde_json::Value {
        let dropped: serde_json::Map<_, _> = Reason::ALL
            .iter()
            .zip(self.dropped)
            .map(|(reason, count)| (reason.word().to_owned(), count.into()))
            .collect();
        serde_json::json!({
            "received": self.received, "answered": self.answered, "dropped": dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed() {
        let (a, b) = (Counters::default(), Counters::default());
        a.received(3);
        b.received(2);
        a.answered(1);
        a.dropped(Reason::Clock);
        b.dropped(Reason::Clock);
        b.dropped(Reason::Unsent);
        let totals = Totals::of([&a, &b]);
        assert_eq!((totals.received, totals.answered), (5, 1));
        assert_eq!(totals.drops(), "clock 2, unsent 1");
        let report = totals.report();
        assert_eq!(report["dropped"]["clock"], 2);
        assert_eq!(report["dropped"].as_object().unwrap().len(), Reason::ALL.len());
    }

    #[test]
    fn every_reason_has_its_place() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
    }
}
