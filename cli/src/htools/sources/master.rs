//! This cluster, by its running master.

use crate::client::Client;
use crate::failure::{Failure, Outcome};
use roost_htools::rules;
use roost_htools::sources::Known;
use roost_htools::sources::this_cluster::{
    Answers, GROUP_FIELDS, INSTANCE_FIELDS, NODE_FIELDS, read,
};
use roost_proto::query::Resource;

/// The cluster as the master sees it. Errors: what the master says, or what of its answer is not understood.
pub async fn load(client: &Client) -> Result<Known, String> {
    let said = |failure: Failure| {
        failure.text().unwrap_or_else(|| "the master does not answer".to_owned())
    };
    let answers = ask(client).await.map_err(said)?;
    if let Some(master) = client.copy_of() {
        return Err(format!(
            "this node has a copy of the configuration, but what nodes report is known to the master only: run \
             it on '{master}'"
        ));
    }
    let mut known = read(&answers).map_err(|why| why.to_string())?;
    let specs = rules(client).await.map_err(said)?;
    let specs = rules::read(&specs).map_err(|why| format!("placement rules: {why}"))?;
    known.cluster.rules = rules::resolve(&known.cluster, &specs).map_err(|why| why.message)?;
    Ok(known)
}

/// The placement rules, one a line.
async fn rules(client: &Client) -> Outcome<String> {
    let answer = client.query(Resource::Rule, &["line"], None).await?;
    let lines = answer.data.iter().filter_map(|row| row.first()?.value.as_str());
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

async fn ask(client: &Client) -> Outcome<Answers> {
    Ok(Answers {
        groups: client.query(Resource::Group, GROUP_FIELDS, None).await?,
        nodes: client.query(Resource::Node, NODE_FIELDS, None).await?,
        instances: client.query(Resource::Instance, INSTANCE_FIELDS, None).await?,
        info: client.info().await?,
    })
}
