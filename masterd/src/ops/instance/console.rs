//! `OP_INSTANCE_CONSOLE`: how a person gets at the console of a running instance. Its node says.

use super::check;
use crate::config::Config;
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::guest::guest;
use crate::ops::{Context, Operate};
use crate::query::{Place, console_dict, status};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::InstanceConsole;
use roost_proto::params::fill;

impl Operate for InstanceConsole {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let instance = config.instance(&self.instance_name)?;
        Ok(LockSet::new().with(LockName::new(Level::Instance, &instance.name), Mode::Shared))
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        let guest = Box::new(guest(config, instance)?);
        Ok(vec![(node, Question::Guests), (node, Question::Console { guest })])
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        let found = cx.guests(node)?.iter().find(|g| g.name == instance.name.as_str());
        if !found.is_some_and(|guest| guest.state.is_running()) {
            let place = found.map_or(Place::Nowhere, Place::Here);
            let may_shut_down = || {
                let hv = fill::instance_hvparams(&config.cluster, instance);
                hv.get("user_shutdown").and_then(serde_json::Value::as_bool).unwrap_or(false)
            };
            let state = status(&config.cluster, instance, place, may_shut_down);
            return Err(Error::exec(format!(
                "Instance {} is not running (state {})",
                instance.name,
                state.as_str()
            )));
        }
        let asked = |q: &Question| matches!(q, Question::Console { .. });
        let console = cx.answer(node, asked, |answer| match answer {
            Answer::Console(console) => Some(console),
            _ => None,
        })?;
        let mut plan = cx.start_plan();
        plan.result = console_dict(console);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, running};
    use roost_proto::choices::AdminState;
    use roost_proto::node::ConsoleInfo;
    use serde_json::json;

    fn site() -> Site {
        let mut site = Site::new(&["n1", "n2"]);
        site.instance("web1", "n2", |_| {});
        site
    }

    #[test]
    fn the_node_says_how() {
        let mut site = site();
        let op = InstanceConsole::new("web1");
        let asked = site.questions(op.clone());
        assert_eq!(asked.len(), 2);
        assert!(asked.iter().all(|(node, _)| node == "n2"));
        let info = ConsoleInfo {
            instance: "web1".into(),
            kind: "msg".into(),
            message: Some("none here".into()),
            host: Some("n2".into()),
            ..ConsoleInfo::default()
        };
        site.answer("n2", Question::Guests, Ok(Answer::Guests(vec![running("web1")])));
        site.answer("n2", asked[1].1.clone(), Ok(Answer::Console(info)));
        let plan = site.plan(op).expect("it runs");
        assert_eq!(
            plan.result,
            json!({"instance": "web1", "kind": "msg", "message": "none here", "host": "n2"})
        );
        assert!(plan.before.is_empty() && plan.after.is_empty());
    }

    #[test]
    fn it_must_run() {
        let mut site = site();
        site.answer("n2", Question::Guests, Ok(Answer::Guests(vec![])));
        let error = site.refusal(InstanceConsole::new("web1"));
        assert_eq!(error.message, "Instance web1 is not running (state ERROR_down)");
        site.instance("web2", "n2", |i| i.admin_state = AdminState::Down);
        let error = site.refusal(InstanceConsole::new("web2"));
        assert_eq!(error.message, "Instance web2 is not running (state ADMIN_down)");
    }

    #[test]
    fn its_node_must_be_online() {
        let mut site = site();
        site.node("n2", |node| node.offline = true);
        let error = site.refusal(InstanceConsole::new("web1"));
        assert!(error.message.contains("n2, which is marked offline"), "{error}");
    }
}
