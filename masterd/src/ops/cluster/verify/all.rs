//! `OP_CLUSTER_VERIFY`: one job for the configuration, then one for each group.

use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use roost_proto::error::Result;
use roost_proto::nicesort;
use roost_proto::opcodes::{ClusterVerify, ClusterVerifyConfig, ClusterVerifyGroup, OpInput};

impl Operate for ClusterVerify {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        super::findings::check_codes(&self.ignore_errors)?;
        let mut jobs = Vec::new();
        let mut groups = Vec::new();
        match &self.group_name {
            Some(name) => groups.push(config.group(name)?.name.to_string()),
            None => {
                groups.extend(config.groups.values().map(|g| g.name.to_string()));
                nicesort::sort(&mut groups);
                jobs.push(OpInput::from(ClusterVerifyConfig {
                    debug_simulate_errors: self.debug_simulate_errors,
                    error_codes: self.error_codes,
                    ignore_errors: self.ignore_errors.clone(),
                    verbose: self.verbose,
                }));
            }
        }
        for name in groups {
            let mut op = OpInput::from(ClusterVerifyGroup {
                debug_simulate_errors: self.debug_simulate_errors,
                error_codes: self.error_codes,
                skip_checks: self.skip_checks.clone(),
                ignore_errors: self.ignore_errors.clone(),
                verbose: self.verbose,
                verify_clutter: self.verify_clutter,
                ..ClusterVerifyGroup::new(name)
            });
            if self.group_name.is_none() {
                // The configuration's job is so many jobs before; any end of it will do.
                op.common.depends = vec![(-(jobs.len() as i64), vec![])];
            }
            jobs.push(op);
        }
        let mut plan = cx.start_plan();
        plan.pivot.jobs = jobs.iter().map(|op| vec![op.to_json()]).collect();
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::error::Error;
    use serde_json::json;

    #[test]
    fn one_job_for_each_part() {
        let mut site = Site::new(&["node1"]);
        site.group("rack10");
        site.group("rack2");
        let op = ClusterVerify { verbose: true, ..ClusterVerify::new() };
        let jobs = site.plan(op).expect("a plan").pivot.jobs;
        let short: Vec<_> = jobs
            .iter()
            .map(|ops| json!([ops[0]["OP_ID"], ops[0]["group_name"], ops[0]["depends"]]))
            .collect();
        assert_eq!(
            short,
            [
                json!(["OP_CLUSTER_VERIFY_CONFIG", null, null]),
                json!(["OP_CLUSTER_VERIFY_GROUP", "default", [[-1, []]]]),
                json!(["OP_CLUSTER_VERIFY_GROUP", "rack2", [[-2, []]]]),
                json!(["OP_CLUSTER_VERIFY_GROUP", "rack10", [[-3, []]]]),
            ]
        );
        assert!(jobs.iter().all(|ops| ops[0]["verbose"] == true));
        let one = ClusterVerify { group_name: Some("rack2".into()), ..ClusterVerify::new() };
        let jobs = site.plan(one).expect("a plan").pivot.jobs;
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0][0]["depends"], json!(null));
    }

    #[test]
    fn unknown_codes_are_refused() {
        let site = Site::new(&["node1"]);
        let op = ClusterVerify { ignore_errors: vec!["ENODEX".into()], ..ClusterVerify::new() };
        let error: Error = site.refusal(op);
        assert!(error.message.starts_with("Unknown error code 'ENODEX'"), "{error}");
    }
}
