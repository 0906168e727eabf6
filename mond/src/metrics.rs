//! Figures for Prometheus: what a collector adds to `/metrics`.

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Goes up and down.
    Gauge,
    /// Only goes up; its samples end in `_total`.
    Counter,
}

/// One figure with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// Samples of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without `_total`; in base units, which end it: `_bytes`, `_seconds`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Type,
    pub samples: Vec<Sample>,
}

/// The families of a collector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    pub families: Vec<Family>,
}

impl Metrics {
    /// A figure that goes up and down. The families are in the order of their first sample.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.add(Type::Gauge, name, help, labels, value);
    }

    /// A figure that only goes up.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.add(Type::Counter, name, help, labels, value);
    }

    fn add(
        &mut self,
        kind: Type,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let sample = Sample { labels, value };
        match self.families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.samples.push(sample),
            None => self.families.push(Family { name, help, kind, samples: vec![sample] }),
        }
    }
}
