//! Samples of counters over a while, and how fast the counters grew.
//!
//! ```text
//!      ◄──────── span ────────►
//!   ×  ●  ●  ●  ●  ●  ●  ●  ●  ●      at most `capacity`; what is older than the span falls out
//!      └──┴─ growth ─┴──┴──┴──┘       summed over neighbours: one that went backwards counts for nothing
//! ```

use std::collections::VecDeque;
use std::time::Duration;

/// See the module. Times are those of a clock that never goes backwards and stands still while the machine
/// sleeps, as its counters do.
#[derive(Debug)]
pub struct Window<T> {
    span: Duration,
    capacity: usize,
    samples: VecDeque<(Duration, T)>,
}

/// How much a counter grew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth {
    pub amount: f64,
    /// In which time; zero: it cannot be told.
    pub time: Duration,
}

impl Growth {
    /// Per second; `None`: it cannot be told.
    pub fn rate(self) -> Option<f64> {
        (!self.time.is_zero()).then(|| self.amount / self.time.as_secs_f64())
    }
}

impl<T> Window<T> {
    /// Empty.
    pub fn new(span: Duration, capacity: usize) -> Window<T> {
        Window { span, capacity: capacity.max(2), samples: VecDeque::new() }
    }

    /// Adds the newest sample. The last two stay, however old: who samples seldom wants an average, too.
    pub fn push(&mut self, at: Duration, sample: T) {
        // Samples that come faster than the window can hold them replace each other, so that it covers its span.
        let resolution = self.span / u32::try_from(self.capacity).unwrap_or(u32::MAX);
        let dense = match self.samples.iter().rev().take(2).collect::<Vec<_>>().as_slice() {
            [newest, before] => newest.0.saturating_sub(before.0) < resolution,
            _ => false,
        };
        if dense {
            self.samples.pop_back();
        }
        self.samples.push_back((at, sample));
        while self.samples.len() > self.capacity
            || self.samples.len() > 2
                && self
                    .samples
                    .front()
                    .is_some_and(|(then, _)| at.saturating_sub(*then) > self.span)
        {
            self.samples.pop_front();
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The newest one and its time.
    pub fn newest(&self) -> Option<&(Duration, T)> {
        self.samples.back()
    }

    /// How much a counter grew in it. `None` where a sample does not have the counter.
    pub fn growth(&self, counter: impl Fn(&T) -> Option<f64>) -> Growth {
        let mut growth = Growth::default();
        let mut before: Option<(Duration, f64)> = None;
        for (at, sample) in &self.samples {
            let now = counter(sample).map(|value| (*at, value));
            if let (Some((then, old)), Some((at, new))) = (before, now)
                && new >= old
            {
                growth.amount += new - old;
                growth.time += at.saturating_sub(then);
            }
            before = now;
        }
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(samples: &[(u64, Option<f64>)]) -> Window<Option<f64>> {
        let mut window = Window::new(Duration::from_secs(600), 150);
        for (at, value) in samples {
            window.push(Duration::from_secs(*at), *value);
        }
        window
    }

    fn rate(samples: &[(u64, Option<f64>)]) -> Option<f64> {
        of(samples).growth(|value| *value).rate()
    }

    #[test]
    fn one_sample_is_no_average() {
        assert_eq!(rate(&[]), None);
        assert_eq!(rate(&[(5, Some(1.0))]), None);
        assert_eq!(rate(&[(5, Some(1.0)), (5, Some(2.0))]), None, "no time has passed");
        assert_eq!(rate(&[(5, Some(1.0)), (10, Some(6.0))]), Some(1.0));
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        // Busy for an hour, idle for ten minutes.
        let mut samples: Vec<_> = (0..=720).map(|i| (i * 5, Some(i as f64 * 5.0))).collect();
        assert_eq!(rate(&samples), Some(1.0));
        samples.extend((1..=120).map(|i| (3600 + i * 5, Some(3600.0))));
        assert_eq!(rate(&samples), Some(0.0));
        assert!(of(&samples).samples.len() <= 150);
    }

    #[test]
    fn many_samples_still_cover_the_window() {
        let samples: Vec<_> = (0..10_000).map(|i| (i, Some(i as f64))).collect();
        let window = of(&samples);
        let growth = window.growth(|value| *value);
        assert!(window.samples.len() <= 150, "{}", window.samples.len());
        assert!(growth.time >= Duration::from_secs(590), "{growth:?}");
        assert_eq!(growth.rate(), Some(1.0));
        assert_eq!(window.newest().unwrap().0, Duration::from_secs(9_999));
    }

    #[test]
    fn seldom_samples_give_an_average_too() {
        assert_eq!(rate(&[(0, Some(0.0)), (3600, Some(7200.0))]), Some(2.0));
        assert_eq!(rate(&[(0, Some(0.0)), (3600, Some(0.0)), (7200, Some(3600.0))]), Some(1.0));
    }

    #[test]
    fn a_counter_that_starts_again_or_is_missing_costs_only_that_while() {
        let again = [(0, Some(100.0)), (10, Some(110.0)), (20, Some(2.0)), (30, Some(12.0))];
        assert_eq!(rate(&again), Some(1.0));
        let gap =
            [(0, Some(0.0)), (10, Some(10.0)), (20, None), (30, Some(500.0)), (40, Some(510.0))];
        assert_eq!(rate(&gap), Some(1.0));
    }

    proptest! {
        #[test]
        fn a_rate_is_between_the_slowest_and_the_fastest(steps in prop::collection::vec((1u64..100, 0u32..50), 1..400)) {
            let (mut at, mut value, mut samples) = (0, 0.0, vec![(0, Some(0.0))]);
            for (time, speed) in &steps {
                at += time;
                value += (time * u64::from(*speed)) as f64;
                samples.push((at, Some(value)));
            }
            let rate = rate(&samples).unwrap();
            let fastest = steps.iter().map(|(_, speed)| *speed).max().unwrap();
            let slowest = steps.iter().map(|(_, speed)| *speed).min().unwrap();
            prop_assert!(rate <= f64::from(fastest) + 1e-9 && rate >= f64::from(slowest) - 1e-9, "{rate}");
        }
    }
}
