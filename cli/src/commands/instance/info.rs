//! `gnt-instance info`.

use super::disk_dump;
use crate::context::Cx;
use crate::failure::Outcome;
use crate::info_dump::{Fields, Info as Dump};
use crate::submit::{self, PriorityOption};
use crate::verb::Verb;
use crate::{clock, table};
use clap::Args;
use roost_proto::error::Error;
use roost_proto::nicesort;
use roost_proto::opcodes::InstanceQueryData;
use roost_proto::query::pyrepr;
use serde_json::Value;

/// `info`.
#[derive(Args, Debug)]
pub struct Info {
    #[command(flatten)]
    job: PriorityOption,
    /// Only what is known without asking nodes
    #[arg(short, long = "static")]
    only_static: bool,
    /// All instances
    #[arg(long)]
    all: bool,
    /// Roman numerals
    #[arg(long)]
    roman: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Names
    #[arg(value_name = "INSTANCE")]
    names: Vec<String>,
}

impl Verb for Info {
    const NAME: &'static str = "info";
    const ALIASES: &'static [&'static str] = &["show"];
    const ABOUT: &'static str = "Shows information about instances";

    async fn run(self, cx: &Cx) -> Outcome {
        match (self.all, self.names.is_empty()) {
            (true, false) => {
                return Err(
                    Error::wrong_input("Cannot use --all if you specify instance names").into()
                );
            }
            (false, true) => {
                return Err(Error::wrong_input(
                    "No instances selected. Use '--all' if you want all",
                )
                .into());
            }
            _ => {}
        }
        let op = InstanceQueryData {
            // Looking must not wait for whoever works on the instance.
            use_locking: false,
            instances: self.names,
            r#static: self.only_static,
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        if self.json {
            return cx.io.write_out(&table::pretty(&result));
        }
        cx.io.write_out(&dump(&result, self.only_static).numerals(self.roman).render())
    }
}

fn dump(result: &Value, only_static: bool) -> Dump {
    let mut names: Vec<&String> =
        result.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    nicesort::sort(&mut names);
    Dump::List(names.iter().map(|name| instance(&result[name.as_str()], only_static)).collect())
}

fn instance(data: &Value, only_static: bool) -> Dump {
    let value = |key: &str| data.get(key).unwrap_or(&Value::Null);
    let text = |key: &str| pyrepr::str(value(key));
    let time = |key: &str| {
        value(key).as_f64().map_or_else(|| "N/A".into(), |seconds| clock::stamp(seconds as u64))
    };
    let mut state = format!("configured to be {}", text("config_state"));
    if !only_static {
        state.push_str(&format!(", actual state is {}", text("run_state")));
    }
    let mut fields = Fields::new();
    fields
        .text("Instance name", text("name"))
        .text("UUID", text("uuid"))
        .text("Serial number", text("serial_no"))
        .text("Creation time", time("ctime"))
        .text("Modification time", time("mtime"))
        .text("State", state)
        .add("Nodes", nodes(data))
        .text("Operating system", text("os"))
        .add("Operating system parameters", Dump::params(value("os_instance"), value("os_actual")));
    if !value("network_port").is_null() {
        fields.text("Allocated network port", text("network_port"));
    }
    fields.text("Hypervisor", text("hypervisor"));
    if let Some(console) = console(data) {
        fields.text("console connection", console);
    }
    let mut backend = Dump::params(value("be_instance"), value("be_actual"));
    if let (Dump::Fields(parameters), Some(memory)) =
        (&mut backend, value("be_actual").get("maxmem"))
    {
        // The word of before ballooning.
        let own = value("be_instance").get("maxmem").map(pyrepr::str);
        let memory = own.unwrap_or_else(|| format!("default ({})", pyrepr::str(memory)));
        parameters.push(("memory".into(), Dump::text(memory)));
        parameters.sort_by(|a, b| a.0.cmp(&b.0));
    }
    fields
        .add("Hypervisor parameters", Dump::params(value("hv_instance"), value("hv_actual")))
        .add("Back-end parameters", backend)
        .add("NICs", nics(value("nics")))
        .text("Disk template", text("disk_template"))
        .add("Disks", disk_dump::disks(value("disks"), only_static));
    fields.done()
}

/// `NAME (group G, group UUID U)`.
fn with_group(name: &Value, group: &Value, uuid: &Value) -> String {
    let [name, group, uuid] = [name, group, uuid].map(pyrepr::str);
    format!("{name} (group {group}, group UUID {uuid})")
}

fn nodes(data: &Value) -> Dump {
    let value = |key: &str| data.get(key).unwrap_or(&Value::Null);
    let mut primary = Fields::new();
    primary.text("primary", pyrepr::str(value("pnode"))).text(
        "group",
        format!(
            "{} (UUID {})",
            pyrepr::str(value("pnode_group_name")),
            pyrepr::str(value("pnode_group_uuid"))
        ),
    );
    let secondaries: Vec<String> = value("snodes")
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(i, node)| {
            with_group(node, &value("snodes_group_names")[i], &value("snodes_group_uuids")[i])
        })
        .collect();
    let mut secondary = Fields::new();
    secondary.text("secondaries", secondaries.join(", "));
    Dump::List(vec![primary.done(), secondary.done()])
}

/// Where a graphical console listens.
fn console(data: &Value) -> Option<String> {
    let hv = data.get("hv_actual")?;
    let port = data.get("network_port")?.as_u64()?;
    let node = data.get("pnode")?.as_str()?;
    let address = |key: &str| hv.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(bind) = address("vnc_bind_address") {
        return Some(match bind {
            "0.0.0.0" | "::" => {
                let display = port.checked_sub(5900);
                let display = display.map(|n| format!(" (display {n})")).unwrap_or_default();
                format!("vnc to {node}:{port}{display}")
            }
            bind if bind.starts_with('/') => format!("vnc to {node}:{bind} (a socket)"),
            "127.0.0.1" | "::1" => format!("vnc to localhost:{port} on node {node}"),
            bind => format!("vnc to {bind}:{port} on node {node}"),
        });
    }
    address("spice_bind").map(|bind| format!("spice to {bind}:{port} on node {node}"))
}

/// Each card is a list: name, uuid, ip, mac, mode, link, vlan, network, network's details.
fn nics(list: &Value) -> Dump {
    let nic = |(index, nic): (usize, &Value)| {
        let part = |i: usize| pyrepr::str(nic.get(i).unwrap_or(&Value::Null));
        let network = match nic.get(8).and_then(|network| network.get("name")) {
            Some(name) => pyrepr::str(name),
            None => part(7),
        };
        let mut inner = Fields::new();
        inner
            .text("MAC", part(3))
            .text("IP", part(2))
            .text("mode", part(4))
            .text("link", part(5))
            .text("vlan", part(6))
            .text("network", network)
            .text("UUID", part(1))
            .text("name", part(0));
        let Dump::Fields(inner) = inner.done() else { return Dump::List(Vec::new()) };
        let mut fields = vec![(format!("nic/{index}"), Dump::text(""))];
        fields.extend(inner);
        Dump::Fields(fields)
    };
    Dump::List(list.as_array().into_iter().flatten().enumerate().map(nic).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn looks_like_ganetis() {
        let text = dump(
            &json!({"web1": {
                "name": "web1", "uuid": "u1", "serial_no": 3, "config_state": "up",
                "run_state": "up", "pnode": "n1", "pnode_group_name": "default",
                "pnode_group_uuid": "g1", "snodes": ["n2"], "snodes_group_names": ["default"],
                "snodes_group_uuids": ["g1"], "os": "tiny", "os_instance": {}, "os_actual": {},
                "network_port": 11000, "hypervisor": "kvm",
                "hv_instance": {}, "hv_actual": {"vnc_bind_address": "0.0.0.0"},
                "be_instance": {"maxmem": 512}, "be_actual": {"maxmem": 512, "vcpus": 1},
                "nics": [[null, "nu", null, "aa:00:00:00:00:01", "bridged", "br0", "", null, null]],
                "disk_template": "file",
                "disks": [{"iv_name": "disk/0", "dev_type": "file", "size": 1024, "mode": "rw",
                    "logical_id": ["loop", "/srv/d0"], "uuid": "d0", "name": null,
                    "pstatus": ["/srv/d0", null, null, null, null, false, 1], "sstatus": null,
                    "children": []}],
            }}),
            false,
        )
        .render();
        assert_eq!(
            text,
            "- Instance name: web1\n  UUID: u1\n  Serial number: 3\n  Creation time: N/A\n  \
             Modification time: N/A\n  State: configured to be up, actual state is up\n  Nodes: \n    \
             - primary: n1\n      group: default (UUID g1)\n    \
             - secondaries: n2 (group default, group UUID g1)\n  Operating system: tiny\n  \
             Operating system parameters: \n  Allocated network port: 11000\n  Hypervisor: kvm\n  \
             console connection: vnc to n1:11000 (display 5100)\n  Hypervisor parameters: \n    \
             vnc_bind_address: default (0.0.0.0)\n  Back-end parameters: \n    maxmem: 512\n    \
             memory: 512\n    vcpus: default (1)\n  NICs: \n    - nic/0: \n      \
             MAC: aa:00:00:00:00:01\n      IP: None\n      mode: bridged\n      link: br0\n      \
             vlan: \n      network: None\n      UUID: nu\n      name: None\n  Disk template: file\n  \
             Disks: \n    - disk/0: file, size 1.0G\n      access mode: rw\n      \
             logical_id: (loop, /srv/d0)\n      on primary: /srv/d0 (N/A:N/A)\n      name: None\n      \
             UUID: d0\n"
        );
    }
}
