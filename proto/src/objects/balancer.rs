//! What the cluster's own balancer may do. Not in Ganeti's file.

use crate::choices::BalancerMode;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings of the balancer. Scores are those that `hbal` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Balancer {
    pub mode: BalancerMode,
    /// A group is left alone while its score is not more than this above what cannot be avoided.
    pub threshold: f64,
    /// For how long it has to be above, seconds.
    pub hold: u64,
    /// What a plan has to win at least.
    pub margin: f64,
    /// Moves in any hour, at most.
    pub moves_per_hour: u32,
    /// What may be copied for moves of any hour, MiB.
    pub copy_per_hour: u64,
    /// How often it looks, seconds.
    pub interval: u64,
}

impl Default for Balancer {
    fn default() -> Balancer {
        Balancer {
            mode: BalancerMode::Off,
            threshold: 1.0,
            hold: 600,
            margin: 0.2,
            moves_per_hour: 10,
            copy_per_hour: 100 << 10,
            interval: 30,
        }
    }
}

impl Balancer {
    /// Nobody changed anything.
    pub fn is_default(&self) -> bool {
        *self == Balancer::default()
    }

    /// Errors: a figure that makes no sense.
    pub fn check(&self) -> Result<()> {
        let positive = |what: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Error::wrong_input(format!(
                "The balancer's {what} is {value}; it must be a number above 0"
            ))),
        };
        positive("threshold", self.threshold)?;
        positive("margin", self.margin)?;
        if self.interval == 0 {
            return Err(Error::wrong_input(
                "The balancer's interval is 0 seconds; it must be 1 at least",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_without_sense_are_refused() {
        assert!(Balancer::default().check().is_ok());
        let refused = |settings: Balancer| settings.check().expect_err("refused").message;
        let threshold = refused(Balancer { threshold: f64::NAN, ..Balancer::default() });
        assert!(threshold.contains("threshold is NaN"), "{threshold}");
        let margin = refused(Balancer { margin: 0.0, ..Balancer::default() });
        assert!(margin.contains("margin is 0"), "{margin}");
        let interval = refused(Balancer { interval: 0, ..Balancer::default() });
        assert!(interval.contains("interval"), "{interval}");
    }

    #[test]
    fn what_an_older_version_stored_has_defaults() {
        let read: Balancer = serde_json::from_str(r#"{"mode": "on"}"#).expect("settings");
        assert_eq!(read, Balancer { mode: BalancerMode::On, ..Balancer::default() });
        assert!(!read.is_default() && Balancer::default().is_default());
    }
}
