//! What is told of the balancer, for who asks.

use super::ledger::{End, Ledger};
use crate::config::Config;
use roost_proto::balancer::{BalancerTold, GroupTold, MadeTold, RestTold};
use roost_proto::ids::InstanceId;
use std::sync::{Arc, PoisonError, RwLock};

/// Where the balancer writes what it does, and requests read it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<RwLock<BalancerTold>>);

impl Board {
    /// What was written last, with the settings as they are now.
    pub fn read(&self, config: &Config) -> BalancerTold {
        let mut told = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if told.looked.is_none() {
            let settings = &config.cluster.balancer;
            (told.moves_left, told.copy_left) = (settings.moves_per_hour, settings.copy_per_hour);
        }
        told.settings = config.cluster.balancer.clone();
        told
    }

    pub(super) fn write(&self, told: BalancerTold) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = told;
    }
}

/// Everything, at this moment.
pub fn told(config: &Config, ledger: &Ledger, groups: Vec<GroupTold>, now: f64) -> BalancerTold {
    let settings = config.cluster.balancer.clone();
    let (moves_left, copy_left) = ledger.left(&settings, now);
    let name = |id: InstanceId| {
        config.instances.get(&id).map_or_else(|| id.to_string(), |found| found.name.to_string())
    };
    let resting = ledger.resting(now).map(|(instance, rest)| RestTold {
        instance: name(instance),
        until: rest.until,
        failures: rest.failures,
    });
    let moves = ledger.charges.iter().map(|charge| MadeTold {
        at: charge.at,
        instance: name(charge.instance),
        job: charge.job,
        copy: charge.copy,
        end: match charge.end {
            None => "under way",
            Some(End::Done) => "done",
            Some(End::Failed) => "failed",
            Some(End::NotSubmitted) => "not submitted",
        }
        .into(),
    });
    BalancerTold {
        looked: Some(now),
        moves_left,
        copy_left,
        groups,
        resting: resting.collect(),
        moves: moves.collect(),
        settings,
    }
}
