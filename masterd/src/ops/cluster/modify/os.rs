//! Settings of guest operating systems: hidden, blacklisted, and their parameters.

use crate::ops::Context;
use roost_proto::choices::ListAction;
use roost_proto::error::{Error, Result};
use roost_proto::objects::Cluster;
use roost_proto::opcodes::ClusterSetParams;
use roost_proto::params::fill;

/// Puts the settings into a cluster.
pub fn put_into(op: &ClusterSetParams, cx: &mut Context<'_, '_>, new: &mut Cluster) -> Result<()> {
    if let Some(changes) = &op.hidden_os {
        list(cx, "hidden", &mut new.hidden_os, changes);
    }
    if let Some(changes) = &op.blacklisted_os {
        list(cx, "blacklisted", &mut new.blacklisted_os, changes);
    }
    for (os, given) in op.osparams.iter().flatten() {
        new.osparams = fill::modified_each(&new.osparams, [(os, given.clone())]);
    }
    for (os, given) in op.osparams_private_cluster.iter().flatten() {
        let given = [(os, given.reveal().clone())];
        new.osparams_private_cluster = fill::modified_each(&new.osparams_private_cluster, given);
    }
    for (os, public) in &new.osparams {
        let private = new.osparams_private_cluster.get(os);
        let both = public.keys().find(|key| private.is_some_and(|p| p.contains_key(*key)));
        if let Some(key) = both {
            return Err(Error::wrong_input(format!(
                "Parameter '{key}' of OS {os} can't be both public and private; drop one with \
                 {key}=default"
            )));
        }
    }
    Ok(())
}

fn list(
    cx: &mut Context<'_, '_>,
    what: &str,
    list: &mut Vec<String>,
    changes: &[(ListAction, String)],
) {
    for (action, os) in changes {
        match (action, list.contains(os)) {
            (ListAction::Add, true) => cx.say(format!("OS {os} already in {what}, ignoring")),
            (ListAction::Add, false) => list.push(os.clone()),
            (ListAction::Remove, true) => list.retain(|entry| entry != os),
            (ListAction::Remove, false) => cx.say(format!("OS {os} not found in {what}, ignoring")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::given as op;
    use crate::ops::testing::Site;
    use serde_json::json;

    #[test]
    fn lists_and_parameters() {
        let mut site = Site::new(&["node1"]);
        let plan = site.run(op(json!({
            "hidden_os": [["add", "tiny"], ["add", "tiny"], ["remove", "other"]],
            "blacklisted_os": [["add", "old"]],
            "osparams": {"tiny": {"size": "small"}},
            "osparams_private_cluster": {"tiny": {"password": "x"}},
        })));
        assert_eq!(
            plan.say,
            ["OS tiny already in hidden, ignoring", "OS other not found in hidden, ignoring"]
        );
        let cluster = &site.config.cluster;
        assert_eq!(
            (&cluster.hidden_os, &cluster.blacklisted_os),
            (&vec!["tiny".to_owned()], &vec!["old".to_owned()])
        );
        assert_eq!(json!(cluster.osparams), json!({"tiny": {"size": "small"}}));
        let both = site.refusal(op(json!({"osparams": {"tiny": {"password": "y"}}})));
        assert!(both.message.contains("both public and private"), "{both}");
        site.run(op(json!({
            "osparams_private_cluster": {"tiny": {"password": "default"}},
            "hidden_os": [["remove", "tiny"]],
        })));
        assert!(site.config.cluster.osparams_private_cluster.is_empty());
        assert!(site.config.cluster.hidden_os.is_empty());
    }
}
