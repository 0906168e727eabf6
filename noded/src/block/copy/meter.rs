//! How far a copy is, told about once a second.

use crate::steps::Reporter;
use roost_proto::node::Progress;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The rate is that of so long a time.
const WINDOW: Duration = Duration::from_secs(5);
const TELL: Duration = Duration::from_millis(500);

/// Tells how far a copy of several parts is.
#[derive(Debug)]
pub struct Meter {
    reporter: Reporter,
    /// Bytes of all parts; nothing where that is not known.
    total: Option<u64>,
    /// Of the parts that are over.
    before: u64,
    /// Moments of the last seconds, with the bytes moved since the beginning of this process.
    past: VecDeque<(Instant, u64)>,
    moved: u64,
    told: Instant,
}

impl Meter {
    /// Of a copy of so many bytes, if that is known.
    pub fn new(reporter: Reporter, total: Option<u64>) -> Meter {
        let now = Instant::now();
        Meter { reporter, total, before: 0, past: [(now, 0)].into(), moved: 0, told: now }
    }

    /// By which lines get into the job's log.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Now it is known.
    pub fn set_total(&mut self, total: Option<u64>) {
        self.total = total;
    }

    /// `n` bytes more have moved; of this part `done` are over.
    pub fn add(&mut self, n: u64, done: u64) {
        self.moved += n;
        let now = Instant::now();
        if now - self.told < TELL {
            return;
        }
        self.told = now;
        self.past.push_back((now, self.moved));
        while self.past.len() > 2 && now - self.past[1].0 > WINDOW {
            self.past.pop_front();
        }
        let (start, moved) = self.past[0];
        let rate = (self.moved - moved) as f64 / (now - start).as_secs_f64().max(0.001);
        self.reporter.progress(figures(self.total, self.before + done, rate));
    }

    /// A part of so many bytes is over.
    pub fn part(&mut self, bytes: u64) {
        self.before += bytes;
    }
}

fn figures(total: Option<u64>, done: u64, rate: f64) -> Progress {
    let left = total.map(|total| total.saturating_sub(done) as f64);
    Progress {
        percent: total.map(|total| (100.0 * done as f64 / total.max(1) as f64).min(100.0)),
        rate: Some(rate),
        eta: left.map(|left| left / rate.max(1.0)),
        message: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_all_parts() {
        let half = figures(Some(200), 100, 10.0);
        assert_eq!((half.percent, half.rate, half.eta), (Some(50.0), Some(10.0), Some(10.0)));
        let unknown = figures(None, 100, 10.0);
        assert_eq!((unknown.percent, unknown.eta), (None, None));
        assert_eq!(figures(Some(10), 20, 1.0).percent, Some(100.0), "a dump larger than foretold");
    }
}
