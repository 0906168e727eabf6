//! `OP_CLUSTER_VERIFY_DISKS`: one job for each group that looks at its disks.

use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate};
use roost_proto::error::Result;
use roost_proto::nicesort;
use roost_proto::opcodes::{ClusterVerifyDisks, GroupVerifyDisks, OpInput};
use serde_json::json;

impl Operate for ClusterVerifyDisks {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let mut groups: Vec<String> = match &self.group_name {
            Some(name) => vec![config.group(name)?.name.to_string()],
            None => config.groups.values().map(|g| g.name.to_string()).collect(),
        };
        nicesort::sort(&mut groups);
        let job = |name: String| {
            let op = GroupVerifyDisks { is_strict: self.is_strict, ..GroupVerifyDisks::new(name) };
            vec![OpInput::from(op).to_json()]
        };
        let mut plan = cx.start_plan();
        plan.pivot.jobs = groups.into_iter().map(job).collect();
        plan.result = json!({"jobs": []});
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;

    #[test]
    fn one_job_for_each_group() {
        let mut site = Site::new(&["node1"]);
        site.group("a-rack");
        let jobs = site.plan(ClusterVerifyDisks::new()).expect("a plan").pivot.jobs;
        let names: Vec<_> = jobs.iter().map(|ops| &ops[0]["group_name"]).collect();
        assert_eq!(names, ["a-rack", "default"]);
        assert!(jobs.iter().all(|ops| ops[0]["OP_ID"] == "OP_GROUP_VERIFY_DISKS"));
        let one =
            ClusterVerifyDisks { group_name: Some("default".into()), ..ClusterVerifyDisks::new() };
        assert_eq!(site.plan(one).expect("a plan").pivot.jobs.len(), 1);
    }
}
