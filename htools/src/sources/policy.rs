//! Instance policies, as JSON has them everywhere: in the API, in answers of the master, in requests
//! to allocators.

use super::record::{excerpt, real, whole};
use crate::model::{DiskTemplate, InstanceSpec, MinMax, Policy};
use serde_json::Value;

/// A policy of `{"minmax": [{"min": …, "max": …}], "std": …, "disk-templates": […], "vcpu-ratio": …,
/// "spindle-ratio": …}`. Errors: the field, and what is wrong with it.
pub fn read(value: &Value) -> Result<Policy, String> {
    let range = |value: &Value| {
        Ok(MinMax {
            min: spec(get(value, "min")?).map_err(within("min"))?,
            max: spec(get(value, "max")?).map_err(within("max"))?,
        })
    };
    let template = |value: &Value| {
        let word = value.as_str().and_then(|word| word.parse::<DiskTemplate>().ok());
        word.ok_or_else(|| format!("disk-templates: {} is no disk template", excerpt(value)))
    };
    Ok(Policy {
        standard: spec(get(value, "std")?).map_err(within("std"))?,
        ranges: list(value, "minmax")?
            .iter()
            .map(range)
            .collect::<Result<_, String>>()
            .map_err(within("minmax"))?,
        templates: list(value, "disk-templates")?.iter().map(template).collect::<Result<_, _>>()?,
        vcpu_ratio: ratio(value, "vcpu-ratio")?,
        spindle_ratio: ratio(value, "spindle-ratio")?,
    })
}

fn within(field: &'static str) -> impl Fn(String) -> String {
    move |why| format!("{field}: {why}")
}

fn get<'a>(value: &'a Value, field: &str) -> Result<&'a Value, String> {
    value.get(field).ok_or_else(|| format!("{field}: it is missing"))
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>, String> {
    let value = get(value, field)?;
    value.as_array().ok_or_else(|| format!("{field}: {} is not a list", excerpt(value)))
}

fn ratio(value: &Value, field: &str) -> Result<f64, String> {
    let value = get(value, field)?;
    real(value).ok_or_else(|| format!("{field}: {} is not a number in range", excerpt(value)))
}

fn spec(value: &Value) -> Result<InstanceSpec, String> {
    let number = |field| {
        let value = get(value, field)?;
        let wrong = || format!("{field}: {} is not a whole number in range", excerpt(value));
        whole(value).ok_or_else(wrong)
    };
    Ok(InstanceSpec {
        memory: number("memory-size")?,
        cpus: number("cpu-count")?,
        disk: number("disk-size")?,
        disks: number("disk-count")?,
        nics: number("nic-count")?,
        spindles: number("spindle-use")?,
    })
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::model::Policy;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn policy() -> Value {
        json!({
            "minmax": [{
                "min": {"memory-size": 128, "disk-size": 1024, "disk-count": 1, "cpu-count": 1,
                        "nic-count": 1, "spindle-use": 1},
                "max": {"memory-size": 32768, "disk-size": 1048576, "disk-count": 16, "cpu-count": 8,
                        "nic-count": 8, "spindle-use": 12}
            }],
            "std": {"memory-size": 128, "disk-size": 1024, "disk-count": 1, "cpu-count": 1,
                    "nic-count": 1, "spindle-use": 1},
            "disk-templates": ["diskless", "file", "sharedfile", "plain", "blockdev", "drbd", "rbd",
                               "ext", "gluster"],
            "vcpu-ratio": 4, "spindle-ratio": 32.0
        })
    }

    #[test]
    fn the_usual_policy_is_read() {
        let mut wanted = Policy::default();
        let mut read = read(&policy()).expect("policy");
        wanted.templates.sort_unstable();
        read.templates.sort_unstable();
        assert_eq!(read, wanted);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("/std/cpu-count", json!("x"), r#"std: cpu-count: "x" is not a whole number in range"#),
            ("/minmax/0/max", json!({}), "minmax: max: memory-size: it is missing"),
            ("/minmax", json!(1), "minmax: 1 is not a list"),
            ("/disk-templates/0", json!("tape"), r#"disk-templates: "tape" is no disk template"#),
            ("/vcpu-ratio", json!(1e99), "vcpu-ratio: 1e+99 is not a number in range"),
        ];
        for (pointer, wrong, message) in cases {
            let mut value = policy();
            *value.pointer_mut(pointer).expect(pointer) = wrong;
            assert_eq!(read(&value), Err(message.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(
            at in 0_usize..8,
            wrong in prop_oneof![Just(Value::Null), Just(json!([])), Just(json!([{}])), Just(json!(-1.5e300)), Just(json!({"min": 1}))],
        ) {
            let pointers = ["", "/minmax", "/minmax/0", "/minmax/0/min", "/std", "/std/disk-size", "/disk-templates", "/spindle-ratio"];
            let mut value = policy();
            *value.pointer_mut(pointers[at]).expect("it is there") = wrong;
            let _ = read(&value);
        }
    }
}
