//! `gnt-cluster info`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::info_dump::{Fields, Info as Dump};
use crate::verb::Verb;
use crate::{clock, replication, table};
use clap::Args;
use roost_proto::query::pyrepr;
use serde_json::Value;

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Roman numerals
    #[arg(long)]
    roman: bool,
}

impl Verb for Info {
    const NAME: &'static str = "info";
    const ALIASES: &'static [&'static str] = &["show"];
    const ABOUT: &'static str = "Shows cluster configuration";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut info = cx.client().await?.info().await?;
        if let (Some(store), Some(fields)) =
            (replication::shared_store(cx).await, info.as_object_mut())
        {
            fields.insert("store".into(), store.into());
        }
        replication::warn(cx).await;
        cx.io.write_out(&match self.json {
            true => table::pretty(&info),
            false => dump(&info).numerals(self.roman).render(),
        })
    }
}

fn get<'a>(info: &'a Value, key: &str) -> &'a Value {
    info.get(key).unwrap_or(&Value::Null)
}

/// Words with commas; a word of its own for none.
fn joined(list: &Value, none: &str) -> String {
    let words: Vec<String> = list.as_array().into_iter().flatten().map(pyrepr::str).collect();
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

fn time(value: &Value) -> String {
    value.as_f64().map_or_else(|| "N/A".into(), |seconds| clock::stamp(seconds as u64))
}

fn or<'a>(value: &'a Value, none: &'a str) -> String {
    match value {
        Value::Null => none.to_owned(),
        Value::String(text) if text.is_empty() => none.to_owned(),
        other => pyrepr::str(other),
    }
}

/// Only the enabled hypervisors' parameters are of interest.
fn enabled(params: &Value, names: &Value) -> Dump {
    let mut fields = Fields::new();
    let mut names: Vec<&str> =
        names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    for name in names {
        fields.add(name, Dump::json(get(params, name)));
    }
    fields.done()
}

fn uid_pool(pool: &Value) -> String {
    let range = |range: &Value| match (range[0].as_u64(), range[1].as_u64()) {
        (Some(low), Some(high)) if low == high => low.to_string(),
        (Some(low), Some(high)) => format!("{low}-{high}"),
        _ => pyrepr::str(range),
    };
    pool.as_array().into_iter().flatten().map(range).collect::<Vec<_>>().join(", ")
}

fn dump(info: &Value) -> Dump {
    let value = |key: &str| get(info, key);
    let mut fields = Fields::new();
    let architecture = value("architecture");
    fields
        .text("Cluster name", pyrepr::str(value("name")))
        .text("Cluster UUID", pyrepr::str(value("uuid")))
        .text("Creation time", time(value("ctime")))
        .text("Modification time", time(value("mtime")))
        .text("Master node", pyrepr::str(value("master")))
        .text(
            "Architecture (this node)",
            format!("{} ({})", pyrepr::str(&architecture[0]), pyrepr::str(&architecture[1])),
        )
        .text("Tags", joined(value("tags"), "(none)"))
        .text("Default hypervisor", pyrepr::str(value("default_hypervisor")))
        .text("Enabled hypervisors", joined(value("enabled_hypervisors"), ""))
        .add("Hypervisor parameters", enabled(value("hvparams"), value("enabled_hypervisors")))
        .add("OS-specific hypervisor parameters", Dump::json(value("os_hvp")))
        .add("OS parameters", Dump::json(value("osparams")))
        .text("Hidden OSes", joined(value("hidden_os"), ""))
        .text("Blacklisted OSes", joined(value("blacklisted_os"), ""))
        .add("Cluster parameters", cluster_parameters(info))
        .add("Default node parameters", Dump::json(value("ndparams")))
        .add("Default instance parameters", Dump::json(value("beparams")))
        .add("Default nic parameters", Dump::json(value("nicparams")))
        .add("Default disk parameters", Dump::json(value("diskparams")))
        .add("Instance policy - limits for instances", policy(value("ipolicy")))
        .add("Data collectors", collectors(info));
    // Ours: last, so that what Ganeti says stays as it is.
    if let Some(store) = info.get("store") {
        fields.text("State kept in", pyrepr::str(store));
    }
    fields.done()
}

fn cluster_parameters(info: &Value) -> Dump {
    let value = |key: &str| get(info, key);
    let mut fields = Fields::new();
    let mut plain = |title: &str, key: &str| {
        fields.text(title, pyrepr::str(value(key)));
    };
    plain("candidate pool size", "candidate_pool_size");
    plain("maximal number of jobs running simultaneously", "max_running_jobs");
    plain("maximal number of jobs simultaneously tracked by the scheduler", "max_tracked_jobs");
    plain("mac prefix", "mac_prefix");
    plain("master netdev", "master_netdev");
    plain("master netmask", "master_netmask");
    plain("use external master IP address setup script", "use_external_mip_script");
    plain("lvm volume group", "volume_group_name");
    fields.text("lvm reserved volumes", joined(value("reserved_lvs"), "(none)"));
    let mut plain = |title: &str, key: &str| {
        fields.text(title, pyrepr::str(value(key)));
    };
    plain("drbd usermode helper", "drbd_usermode_helper");
    plain("file storage path", "file_storage_dir");
    plain("shared file storage path", "shared_file_storage_dir");
    plain("gluster storage path", "gluster_storage_dir");
    plain("maintenance of node health", "maintain_node_health");
    fields
        .text("uid pool", uid_pool(value("uid_pool")))
        .text("default instance allocator", or(value("default_iallocator"), "None"))
        .add(
            "default instance allocator parameters",
            Dump::json(value("default_iallocator_params")),
        )
        .text("primary ip version", pyrepr::str(value("primary_ip_version")))
        .text("preallocation wipe disks", pyrepr::str(value("prealloc_wipe_disks")))
        .text("OS search path", joined(value("os_search_path"), ""))
        .text("ExtStorage Providers search path", joined(value("es_search_path"), ""))
        .text("enabled disk templates", joined(value("enabled_disk_templates"), ""))
        .text("install image", or(value("install_image"), "(none)"))
        .text(
            "instance communication network",
            or(value("instance_communication_network"), "(none)"),
        )
        .text("zeroing image", or(value("zeroing_image"), "(none)"))
        .add(
            "compression tools",
            Dump::List(
                value("compression_tools")
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|tool| Dump::text(pyrepr::str(tool)))
                    .collect(),
            ),
        )
        .text("enabled user shutdown", pyrepr::str(value("enabled_user_shutdown")))
        .text("modify ssh setup", pyrepr::str(value("modify_ssh_setup")))
        .text("ssh_key_type", pyrepr::str(value("ssh_key_type")))
        .text("ssh_key_bits", pyrepr::str(value("ssh_key_bits")));
    fields.done()
}

/// An instance policy, own values only: for the cluster all are.
pub(crate) fn policy(policy: &Value) -> Dump {
    let mut fields = Fields::new();
    let bounds = get(policy, "minmax");
    let bound = |(index, pair): (usize, &Value)| {
        let mut fields = Fields::new();
        for side in ["max", "min"] {
            fields.add(format!("{side}/{index}"), Dump::json(get(pair, side)));
        }
        fields.done()
    };
    fields.add(
        "bounds specs",
        Dump::List(bounds.as_array().into_iter().flatten().enumerate().map(bound).collect()),
    );
    if let Some(std) = policy.get("std") {
        fields.add("std", Dump::json(std));
    }
    fields.text("allowed disk templates", joined(get(policy, "disk-templates"), ""));
    for ratio in ["spindle-ratio", "vcpu-ratio"] {
        fields.text(ratio, pyrepr::str(get(policy, ratio)));
    }
    fields.done()
}

fn collectors(info: &Value) -> Dump {
    let mut fields = Fields::new();
    let intervals = get(info, "data_collector_interval");
    let mut names: Vec<(&String, &Value)> =
        get(info, "enabled_data_collectors").as_object().into_iter().flatten().collect();
    names.sort_by_key(|(name, _)| *name);
    for (name, active) in names {
        let mut one = Fields::new();
        let interval = get(intervals, name).as_f64().unwrap_or_default() / 1e6;
        one.text("active", pyrepr::str(active)).text("interval", format!("{interval:.3}s"));
        fields.add(name.clone(), one.done());
    }
    fields.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_shared_store_is_named_last() {
        let text = dump(&json!({ "store": "etcd: https://a:1, https://b:1" })).render();
        assert!(text.ends_with("\nState kept in: etcd: https://a:1, https://b:1\n"), "{text}");
    }

    #[test]
    fn sections_come_in_ganetis_order() {
        let text = dump(&json!({
            "name": "c1", "uuid": "u", "ctime": null, "master": "n1",
            "architecture": ["64bit", "x86_64"], "tags": [],
            "default_hypervisor": "fake", "enabled_hypervisors": ["kvm", "fake"],
            "hvparams": {"fake": {}, "kvm": {"acpi": true}, "lxc": {"x": 1}},
            "uid_pool": [[1, 1], [5, 9]], "compression_tools": ["gzip"],
            "ipolicy": {"minmax": [{"min": {"cpu-count": 1}, "max": {"cpu-count": 8}}],
                        "disk-templates": ["file"], "vcpu-ratio": 4.0, "spindle-ratio": 32.0},
            "enabled_data_collectors": {"lv": true}, "data_collector_interval": {"lv": 5_000_000},
        }))
        .render();
        assert!(
            text.starts_with(
                "Cluster name: c1\nCluster UUID: u\nCreation time: N/A\nModification time: N/A\n\
             Master node: n1\nArchitecture (this node): 64bit (x86_64)\nTags: (none)\n\
             Default hypervisor: fake\nEnabled hypervisors: kvm, fake\nHypervisor parameters: \n  \
             fake: \n  kvm: \n    acpi: True\nOS-specific hypervisor parameters: None\n"
            ),
            "{text}"
        );
        assert!(text.contains("\n  uid pool: 1, 5-9\n"), "{text}");
        assert!(text.contains("\n  compression tools: \n    - gzip\n"), "{text}");
        assert!(text.ends_with(
            "Instance policy - limits for instances: \n  bounds specs: \n    - max/0: \n        \
             cpu-count: 8\n      min/0: \n        cpu-count: 1\n  allowed disk templates: file\n  \
             spindle-ratio: 32.0\n  vcpu-ratio: 4.0\nData collectors: \n  lv: \n    active: True\n    \
             interval: 5.000s\n"
        ), "{text}");
    }
}
