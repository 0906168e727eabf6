//! `OP_TEST_DELAY`: waits, on the master and on nodes.

use super::{Context, Operate};
use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::{Plan, Step, Task};
use roost_proto::error::{Error, Result};
use roost_proto::node::Action;
use roost_proto::opcodes::TestDelay;

impl Operate for TestDelay {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        // Without locks nothing is held up by a test, which is what the field promises.
        if !self.no_locks {
            for name in &self.on_nodes {
                locks.add(LockName::new(Level::Node, config.node(name)?.uuid), Mode::Exclusive);
            }
            if self.on_master {
                locks.add(LockName::new(Level::Node, config.master()), Mode::Exclusive);
            }
        }
        Ok(locks)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        if !self.duration.is_finite() || self.duration < 0.0 {
            return Err(Error::wrong_input(format!("Invalid duration: {} seconds", self.duration)));
        }
        let nodes = self
            .on_nodes
            .iter()
            .map(|name| cx.node(name).map(|node| node.uuid))
            .collect::<Result<Vec<_>>>()?;
        let mut plan = cx.start_plan();
        let rounds = self.repeat.max(1);
        for round in 1..=rounds {
            let said = (self.repeat > 0).then(|| format!("Test delay iteration {round}/{rounds}"));
            if self.on_master {
                let mut step =
                    Step::new("waiting on the master", Task::Sleep { duration: self.duration });
                step.say = said.clone();
                plan.before.push(step);
            }
            if !nodes.is_empty() {
                let action = Box::new(Action::Delay { duration: self.duration });
                let task = Task::Nodes { nodes: nodes.clone(), action };
                plan.before.push(Step::new("waiting on nodes", task));
            }
        }
        Ok(plan)
    }
}
