//! Commands on several instances: how they are chosen, the question, the jobs.

use crate::confirm;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::jobs::{self, Ended, NamedJob};
use crate::submit::How;
use clap::Args;
use roost_proto::error::Error;
use roost_proto::opcodes::OpCode;
use roost_proto::query::filter::names_filter;
use roost_proto::query::{Filter, QueryResponse, Resource};

/// What the arguments name. Of several of these options the last one counts.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Do not ask about several instances
    #[arg(long)]
    pub force_multiple: bool,
    /// The arguments are instances (the default)
    #[arg(long, overrides_with_all = ["all", "node", "primary", "secondary", "tags", "node_tags", "pri_node_tags", "sec_node_tags"])]
    instance: bool,
    /// All instances; there are no arguments
    #[arg(long, overrides_with_all = ["instance", "node", "primary", "secondary", "tags", "node_tags", "pri_node_tags", "sec_node_tags"])]
    all: bool,
    /// The arguments are nodes: their instances in any role
    #[arg(long, overrides_with_all = ["instance", "all", "primary", "secondary", "tags", "node_tags", "pri_node_tags", "sec_node_tags"])]
    node: bool,
    /// The arguments are nodes: their primary instances
    #[arg(long, overrides_with_all = ["instance", "all", "node", "secondary", "tags", "node_tags", "pri_node_tags", "sec_node_tags"])]
    primary: bool,
    /// The arguments are nodes: their secondary instances
    #[arg(long, overrides_with_all = ["instance", "all", "node", "primary", "tags", "node_tags", "pri_node_tags", "sec_node_tags"])]
    secondary: bool,
    /// The arguments are tags of instances
    #[arg(long, overrides_with_all = ["instance", "all", "node", "primary", "secondary", "node_tags", "pri_node_tags", "sec_node_tags"])]
    tags: bool,
    /// The arguments are tags of nodes: their instances in any role
    #[arg(long, overrides_with_all = ["instance", "all", "node", "primary", "secondary", "tags", "pri_node_tags", "sec_node_tags"])]
    node_tags: bool,
    /// The arguments are tags of nodes: their primary instances
    #[arg(long, overrides_with_all = ["instance", "all", "node", "primary", "secondary", "tags", "node_tags", "sec_node_tags"])]
    pri_node_tags: bool,
    /// The arguments are tags of nodes: their secondary instances
    #[arg(long, overrides_with_all = ["instance", "all", "node", "primary", "secondary", "tags", "node_tags", "pri_node_tags"])]
    sec_node_tags: bool,
    /// Instances, or what the options say
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

fn any_tag(tags: &[String]) -> Filter {
    Filter::Or(
        tags.iter().map(|tag| Filter::Contains("tags".into(), tag.as_str().into())).collect(),
    )
}

/// All names in these columns, which hold a name or a list of names.
fn collect(response: &QueryResponse, columns: &[usize]) -> Vec<String> {
    let mut names = Vec::new();
    for row in &response.data {
        for value in columns.iter().map(|column| &row[*column].value) {
            match value {
                serde_json::Value::Array(list) => {
                    names.extend(list.iter().filter_map(|name| name.as_str().map(str::to_owned)));
                }
                value => names.extend(value.as_str().map(str::to_owned)),
            }
        }
    }
    names
}

impl Selection {
    /// Whether anything else than instances was named.
    pub fn is_indirect(&self) -> bool {
        self.all
            || self.node
            || self.primary
            || self.secondary
            || self.tags
            || self.node_tags
            || self.pri_node_tags
            || self.sec_node_tags
    }

    /// The chosen instances' full names.
    pub async fn names(&self, cx: &Cx) -> Outcome<Vec<String>> {
        let by_tags = self.node_tags || self.pri_node_tags || self.sec_node_tags;
        let by_nodes = self.node || self.primary || self.secondary || by_tags;
        let missing = |what: &str| Failure::from(Error::wrong_input(format!("No {what} passed")));
        match (self.all, self.names.is_empty()) {
            (true, false) => {
                return Err(
                    Error::wrong_input("--all takes no arguments, it is all of them").into()
                );
            }
            (false, true) if by_tags => return Err(missing("node tags")),
            (false, true) if by_nodes => return Err(missing("node names")),
            (false, true) if self.tags => return Err(missing("instance tags")),
            (false, true) => return Err(missing("instance names")),
            _ => {}
        }
        let by_name = || {
            names_filter(&self.names, "name", false)
                .map_err(|error| Error::wrong_input(error.to_string()))
        };
        let client = cx.client().await?;
        let mut names = if by_nodes {
            let filter = if by_tags { Some(any_tag(&self.names)) } else { by_name()? };
            let both = self.node || self.node_tags;
            let fields: &[&str] = if both {
                &["pinst_list", "sinst_list"]
            } else if self.primary || self.pri_node_tags {
                &["pinst_list"]
            } else {
                &["sinst_list"]
            };
            let response = client.query(Resource::Node, fields, filter.as_ref()).await?;
            collect(&response, &(0..fields.len()).collect::<Vec<_>>())
        } else {
            let filter = match (self.all, self.tags) {
                (true, _) => None,
                (_, true) => Some(any_tag(&self.names)),
                _ => by_name()?,
            };
            let response = client.query(Resource::Instance, &["name"], filter.as_ref()).await?;
            let names = collect(&response, &[0]);
            if !self.is_indirect() {
                // In the order they were named.
                return Ok(names);
            }
            names
        };
        roost_proto::nicesort::sort(&mut names);
        names.dedup();
        if names.is_empty() {
            return Err(Error::wrong_input("Selection filter does not match any instances").into());
        }
        Ok(names)
    }
}

/// Runs an operation on the chosen instances: a job each.
pub async fn run<O: Into<OpCode>>(
    cx: &Cx,
    selection: &Selection,
    operation: &str,
    how: &How,
    op: impl Fn(&str) -> O,
) -> Outcome {
    let names = selection.names(cx).await?;
    let several = names.len() > 1 || selection.is_indirect();
    if several
        && !selection.force_multiple
        && !confirm::several(cx, &names, "instances", operation, "")
    {
        return Err(Failure::Exit(1));
    }
    jobs::all_good(&submit(cx, &names, several, how, op).await?)
}

/// Submits a job for each instance and waits for them.
pub async fn submit<O: Into<OpCode>>(
    cx: &Cx,
    names: &[String],
    several: bool,
    how: &How,
    op: impl Fn(&str) -> O,
) -> Outcome<Ended> {
    let jobs = names.iter().map(|name| NamedJob::new(name.as_str(), op(name))).collect();
    jobs::run(cx, jobs, how, several).await
}
