//! External storage: the providers that disks ask for are there, and know the parameters they get.

use crate::ops::Context;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::DiskSpec;

/// What the primary must be asked before disks of a template are made.
pub fn question(template: DiskTemplate, node: NodeId) -> Option<(NodeId, Question)> {
    (template == DiskTemplate::Ext).then_some((node, Question::ExtProviders))
}

/// The node, which was asked, has the providers, and they take the parameters.
pub fn check(cx: &Context<'_, '_>, node: NodeId, specs: &[DiskSpec]) -> Result<()> {
    let asked = |q: &Question| matches!(q, Question::ExtProviders);
    let found = cx.answer(node, asked, |answer| match answer {
        Answer::ExtProviders(list) => Some(list),
        _ => None,
    })?;
    let on = cx.config().node_name(node);
    for (index, spec) in specs.iter().enumerate() {
        let Some(name) = spec.provider.as_deref() else { continue };
        let Some(provider) = found.iter().find(|provider| provider.name == name) else {
            let names: Vec<_> = found.iter().map(|provider| provider.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(Error::unknown(format!(
                "External storage provider '{name}' not found on node {on}; it has: {names}"
            )));
        };
        if !provider.valid {
            return Err(Error::environment(format!(
                "External storage provider '{name}' is not usable on node {on}: {}",
                provider.problem
            )));
        }
        let knows = |key: &&String| provider.parameters.iter().any(|(known, _)| known == *key);
        if let Some(unknown) = spec.extra.keys().find(|key| !knows(key)) {
            let known: Vec<_> = provider.parameters.iter().map(|(key, _)| key.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Error::wrong_input(format!(
                "Unknown parameter '{unknown}' of disk/{index}: provider '{name}' has: {known}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};
    use roost_proto::node::ExtReport;
    use serde_json::json;

    #[test]
    fn providers_and_their_parameters() {
        let mut site = Site::new(&["node1"]);
        let provider = |name: &str, valid| ExtReport {
            name: name.into(),
            path: String::new(),
            valid,
            problem: "no script 'grow'".into(),
            parameters: vec![("pool".into(), "which pool".into())],
        };
        let list = vec![provider("loop", true), provider("half", false)];
        site.answer("node1", Question::ExtProviders, Ok(Answer::ExtProviders(list)));
        let check = |spec: serde_json::Value| {
            let spec: DiskSpec = serde_json::from_value(spec).expect("a spec");
            site.planning(|cx| check(cx, node_id("node1"), &[spec]))
        };
        check(json!({"provider": "loop", "pool": "fast"})).expect("all is there");
        for (spec, part) in [
            (json!({"provider": "none"}), "not found on node node1; it has: loop, half"),
            (json!({"provider": "half"}), "not usable on node node1: no script 'grow'"),
            (json!({"provider": "loop", "color": "red"}), "provider 'loop' has: pool"),
        ] {
            let error = check(spec).expect_err("it must be refused").message;
            assert!(error.contains(part), "{error}");
        }
    }
}
