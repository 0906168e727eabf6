//! What is told of the balancer, for who asks.

use super::ledger::{End, Ledger};
use crate::clock;
use crate::config::Config;
use roost_proto::balancer::{BalancerTold, GroupTold, MadeTold, RestTold};
use roost_proto::ids::InstanceId;
use std::sync::{Arc, PoisonError, RwLock};

/// Where the balancer writes what it does, and requests read it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<RwLock<Option<BalancerTold>>>);

impl Board {
    /// What was written last, with the settings as they are now.
    pub fn read(&self, config: &Config) -> BalancerTold {
        let settings = config.cluster.balancer.clone();
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(told) => BalancerTold { settings, ..told.clone() },
            // It begins in a moment.
            None => told(config, &Ledger::default(), vec![], None, clock::seconds()),
        }
    }

    pub(super) fn write(&self, told: BalancerTold) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }
}

/// Everything, at this moment. `looked`: when it looked last.
pub fn told(
    config: &Config,
    ledger: &Ledger,
    groups: Vec<GroupTold>,
    looked: Option<f64>,
    now: f64,
) -> BalancerTold {
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
        looked,
        moves_left,
        copy_left,
        groups,
        resting: resting.collect(),
        moves: moves.collect(),
        settings,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Cost;
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::BalancerMode;
    use roost_proto::ids::JobId;

    #[test]
    fn what_was_moved_is_told_by_name() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |_| {});
        site.cluster(|cluster| cluster.balancer.mode = BalancerMode::On);
        let group = site.config.group("default").expect("it").uuid;
        let instance = site.config.instance("web").expect("it").uuid;
        let mut ledger = Ledger::default();
        let costs = [Cost { instance, copy: 1024 }, Cost { instance, copy: 0 }];
        let settings = &site.config.cluster.balancer;
        let marks = ledger.charge(settings, group, &costs, 1000.0).expect("a budget");
        ledger.submitted(marks[0], JobId(17));
        ledger.ended(marks[0], End::Failed, 1100.0);
        let board = Board::default();
        assert_eq!(board.read(&site.config).moves_left, 10, "before it begins");
        board.write(told(&site.config, &ledger, vec![], Some(1200.0), 1200.0));
        let read = board.read(&site.config);
        assert_eq!((read.moves_left, read.copy_left), (8, (100 << 10) - 1024));
        assert_eq!(read.settings.mode, BalancerMode::On);
        let [rest] = &read.resting[..] else { panic!("{read:?}") };
        assert_eq!((rest.instance.as_str(), rest.until, rest.failures), ("web", 1700.0, 1));
        let moves: Vec<_> = read.moves.iter().map(|m| (m.job, m.end.as_str())).collect();
        assert_eq!(moves, [(Some(JobId(17)), "failed"), (None, "under way")]);
    }
}
