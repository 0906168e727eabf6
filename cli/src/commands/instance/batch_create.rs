//! `gnt-instance batch-create`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use crate::{jobs, say};
use clap::Args;
use roost_proto::error::{Error, Result};
use roost_proto::opcodes::{InstanceCreate, InstanceMultiAlloc};
use serde_json::{Value, json};

/// `batch-create`.
#[derive(Args, Debug)]
pub struct BatchCreate {
    #[command(flatten)]
    job: JobOptions,
    /// Allocator that selects nodes; . is the cluster's default
    #[arg(short = 'I', long, value_name = "NAME")]
    iallocator: Option<String>,
    /// JSON list of objects with the fields of OP_INSTANCE_CREATE
    #[arg(value_name = "FILE")]
    file: String,
}

/// The instances in the file; what is not said is as with `add`.
fn instances(text: &str) -> Result<Vec<InstanceCreate>> {
    let mut list: Vec<Value> = serde_json::from_str(text)
        .map_err(|why| Error::wrong_input(format!("it is not a JSON list of objects: {why}")))?;
    list.iter_mut()
        .enumerate()
        .map(|(index, one)| {
            if let Value::Object(fields) = one {
                fields.entry("mode").or_insert(json!("create"));
                fields.entry("nics").or_insert(json!([{}]));
                fields.entry("disks").or_insert(json!([]));
            }
            serde_json::from_value(one.clone())
                .map_err(|why| Error::wrong_input(format!("instance {index}: {why}")))
        })
        .collect()
}

impl Verb for BatchCreate {
    const NAME: &'static str = "batch-create";
    const ABOUT: &'static str = "Creates several instances from a JSON file";

    async fn run(self, cx: &Cx) -> Outcome {
        let text = std::fs::read_to_string(&self.file)
            .map_err(|why| Failure::say(format!("Can't read '{}': {why}", self.file)))?;
        let op = InstanceMultiAlloc {
            iallocator: self.iallocator,
            instances: instances(&text).map_err(|error| error.at(&self.file))?,
            ..InstanceMultiAlloc::new()
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        let ended = jobs::wait_for_children(cx, &result).await?;
        let failed = result.get("failed").and_then(Value::as_array).map_or(0, Vec::len);
        match jobs::failures(&ended) + failed {
            0 => {
                say!(cx, "All instances created successfully.");
                Ok(())
            }
            bad => {
                say!(cx, "There were {bad} errors during the creation.");
                Err(Failure::Exit(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_refused() {
        let good = instances(r#"[{"instance_name": "a", "disk_template": "diskless"}]"#);
        assert_eq!(good.expect("good")[0].nics.len(), 1);
        let error = instances(r#"[{"instance_name": "a", "colour": 1}]"#).expect_err("unknown");
        assert!(error.message.contains("colour"), "{error}");
        assert!(instances("{}").is_err());
    }
}
