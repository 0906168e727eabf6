//! `OP_INSTANCE_REINSTALL`.
//!
//! ```text
//!   activate disks, run the OS create script │ new OS and parameters │ deactivate disks
//! ```

use super::check;
use super::create::check_os;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::health;
use crate::ops::guest::{guest_with, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Answer, OsScript, Question};
use roost_proto::objects::Instance;
use roost_proto::opcodes::{InstanceReinstall, REDACTED};
use roost_proto::params::fill;
use serde_json::Value;

/// What to do about a secondary node that does not answer.
const WAY_OUT: &str = "if it is dead mark it offline ('gnt-node modify --offline=yes')";

impl Operate for InstanceReinstall {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        let mut questions = health::ask_secondaries(config, instance);
        questions.extend([(node, Question::Guests), (node, Question::OsList)]);
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?;
        if instance.disks.is_empty() {
            return Err(Error::wrong_input(format!(
                "Specified instance '{}' has no disks",
                instance.name
            )));
        }
        if instance.admin_state != AdminState::Down || cx.runs_on(instance, node.uuid)? {
            return Err(Error::wrong_state(format!(
                "Instance {} must be down to be reinstalled; shut it down first",
                instance.name
            )));
        }
        let mut new = Instance::clone(instance);
        if let Some(os) = &self.os_type {
            cx.say(format!("Changing OS scripts to '{os}'..."));
            new.os = os.clone();
        }
        if new.os.is_empty() {
            return Err(Error::wrong_input(format!(
                "Instance {} has no OS; name one with -o",
                instance.name
            )));
        }
        if let Some(params) = &self.osparams {
            new.osparams = fill::modified(&new.osparams, params);
        }
        if let Some(params) = &self.osparams_private {
            new.osparams_private = fill::modified(&new.osparams_private, params.reveal());
        }
        let asked = |q: &Question| matches!(q, Question::OsList);
        let found = cx.answer(node.uuid, asked, |a| match a {
            Answer::Os(list) => Some(list),
            _ => None,
        })?;
        check_os(found, &new.os, self.force_variant, &node.name)?;

        let without = health::away(cx, instance, false, WAY_OUT)?;
        let stored = health::stored(config, instance);
        let guest = guest_with(config, &new, &stored)?;
        let mut private = fill::osparams_private(&config.cluster, &new.os, &new.osparams_private);
        if let Some(secret) = &self.osparams_secret {
            // A plan is stored, secrets are not: they are put in when the step runs.
            private.extend(secret.keys().map(|key| (key.to_owned(), Value::from(REDACTED))));
        }
        let mut plan = cx.start_plan();
        let on = |action| Task::on(node.uuid, action);
        let who = instance_ref(instance);
        let how = Assembling { without: without.clone(), ..Assembling::default() };
        let assemble = active::assemble(config, &who, &stored, node.uuid, &how)?;
        plan.before.extend(assemble.into_iter().map(|step| match instance.disks_active {
            true => Step { undo: None, ..step },
            false => step,
        }));
        let run = Action::OsRun {
            osparams: fill::osparams(&config.cluster, &new.os, &new.osparams),
            osparams_private: private,
            guest: Box::new(guest),
            script: OsScript::Create { reinstall: true },
            debug: cx.common().debug_level > 0,
        };
        plan.before.push(
            Step::new("running the instance OS create scripts", on(run))
                .saying("Running the instance OS create scripts..."),
        );
        if new != **instance {
            plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(new))));
        }
        if !instance.disks_active {
            plan.after.extend(active::shutdown(config, &who, &stored, node.uuid, &without)?);
        }
        Ok(plan)
    }
}
