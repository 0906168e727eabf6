//! Which nodes `gnt-cluster command` and `copyfile` work on.

use crate::context::Cx;
use crate::failure::Outcome;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::names::match_name;
use roost_proto::query::Resource;

/// A choice of nodes.
#[derive(Args, Clone, Debug)]
pub struct NodesOptions {
    /// Only this node; repeat for more
    #[arg(short = 'n', long, value_name = "NODE")]
    pub node: Vec<String>,
    /// Only nodes of this group
    #[arg(short = 'g', long, value_name = "GROUP")]
    pub node_group: Option<String>,
}

impl NodesOptions {
    /// The chosen nodes that are not offline, in order, the master last or left out.
    pub async fn online(&self, cx: &Cx, with_master: bool) -> Outcome<Vec<String>> {
        let fields = ["name", "offline", "master", "group", "group.uuid"];
        let response = cx.client().await?.query(Resource::Node, &fields, None).await?;
        let rows: Vec<_> = response
            .data
            .iter()
            .map(|row| {
                let text = |i: usize| row[i].value.as_str().unwrap_or_default();
                let flag = |i: usize| row[i].value.as_bool().unwrap_or_default();
                (text(0), flag(1), flag(2), text(3), text(4))
            })
            .collect();
        let mut wanted = Vec::new();
        for name in &self.node {
            let full = match_name(name, rows.iter().map(|row| row.0)).map_err(|_| {
                Error::unknown(format!("Node '{name}' not known; see 'gnt-node list'"))
            })?;
            wanted.push(full);
        }
        let mut offline = Vec::new();
        let mut nodes = Vec::new();
        let mut last = None;
        for (name, is_offline, is_master, group, group_uuid) in rows {
            let by_name = wanted.is_empty() || wanted.contains(&name);
            let by_group = self.node_group.as_ref().is_none_or(|g| g == group || g == group_uuid);
            if !by_name || !by_group {
                continue;
            }
            if is_offline {
                offline.push(name.to_owned());
            } else if is_master {
                last = with_master.then(|| name.to_owned());
            } else {
                nodes.push(name.to_owned());
            }
        }
        if !offline.is_empty() {
            cx.note(format_args!("Note: skipping offline node(s): {}", offline.join(", ")));
        }
        nodes.extend(last);
        Ok(nodes)
    }
}
