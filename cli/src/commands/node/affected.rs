//! The instances that an operation on a whole node moves.

use crate::context::Cx;
use crate::failure::Outcome;
use roost_proto::query::{Filter, Resource};

/// A node's full name, and its instances in one role or both.
pub async fn instances(
    cx: &Cx,
    node: &str,
    primaries: bool,
    secondaries: bool,
) -> Outcome<(String, Vec<String>)> {
    let fields = ["name", "pinst_list", "sinst_list"];
    let filter = Filter::Or(vec![Filter::equal("name", node)]);
    let response = cx.client().await?.query(Resource::Node, &fields, Some(&filter)).await?;
    let mut name = node.to_owned();
    let mut instances = Vec::new();
    for row in &response.data {
        name = row[0].value.as_str().unwrap_or(node).to_owned();
        for (wanted, cell) in [(primaries, &row[1]), (secondaries, &row[2])] {
            let list = cell.value.as_array().into_iter().flatten();
            instances.extend(
                list.filter(|_| wanted).filter_map(|name| name.as_str().map(str::to_owned)),
            );
        }
    }
    roost_proto::nicesort::sort(&mut instances);
    instances.dedup();
    Ok((name, instances))
}
