//! The field `console`: how to reach a running instance's console, as far as the configuration
//! tells. `OP_INSTANCE_CONSOLE` asks the node, which knows for sure.

use super::InstanceRow;
use roost_proto::choices::Hypervisor;
use roost_proto::node::ConsoleInfo;
use serde_json::{Map, Value};

impl InstanceRow<'_> {
    /// Ganeti's dict, without what is not set.
    pub(super) fn console(&self) -> Value {
        let name = self.instance.name.to_string();
        let info = ConsoleInfo { instance: name.clone(), ..ConsoleInfo::default() };
        let host = || self.host.map(|host| host.node.name.to_string());
        let shell = |uri: &str| {
            let command = ["virsh", "-c", uri, "console", &name].map(str::to_owned).to_vec();
            ConsoleInfo {
                kind: "ssh".into(),
                host: host(),
                user: Some("root".into()),
                command: Some(command),
                ..info.clone()
            }
        };
        let message =
            |text: String| ConsoleInfo { kind: "msg".into(), message: Some(text), ..info.clone() };
        let hypervisor = self.instance.hypervisor;
        console_dict(&match hypervisor {
            Hypervisor::Kvm if self.hv_flag("serial_console") => shell("qemu:///system"),
            Hypervisor::Kvm => self
                .display(&info)
                .unwrap_or_else(|| message(format!("No serial shell for instance {name}"))),
            Hypervisor::XenHvm | Hypervisor::XenPvm => shell("xen:///system"),
            Hypervisor::Lxc => shell("lxc:///system"),
            Hypervisor::Fake | Hypervisor::Chroot => {
                message(format!("Console not available for {hypervisor} hypervisor"))
            }
        })
    }

    /// Its graphical display, if it has one that listens on the network.
    fn display(&self, info: &ConsoleInfo) -> Option<ConsoleInfo> {
        let hv = self.hv_params();
        let set = |name: &str| {
            let value = self.instance.hvparams.get(name).or_else(|| hv.get(name));
            value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let host = |bind: String| match bind.as_str() {
            "0.0.0.0" | "::" => self.host.map(|host| host.node.name.to_string()),
            _ => Some(bind),
        };
        let port = self.instance.network_port;
        if let Some(bind) = set("vnc_bind_address").filter(|bind| !bind.starts_with('/')) {
            return Some(ConsoleInfo {
                kind: "vnc".into(),
                host: host(bind),
                port,
                display: port.map(|port| port.saturating_sub(5900)),
                ..info.clone()
            });
        }
        let bind = set("spice_bind")?;
        Some(ConsoleInfo { kind: "spice".into(), host: host(bind), port, ..info.clone() })
    }
}

/// How a console is reached, as Ganeti's dict: what is not set is absent.
pub fn console_dict(info: &ConsoleInfo) -> Value {
    let mut dict = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            dict.insert(key.to_owned(), value);
        }
    };
    put("instance", Some(info.instance.clone().into()));
    put("kind", Some(info.kind.clone().into()));
    put("message", info.message.clone().map(Value::from));
    put("host", info.host.clone().map(Value::from));
    put("port", info.port.map(Value::from));
    put("user", info.user.clone().map(Value::from));
    put("command", info.command.clone().map(Value::from));
    put("display", info.display.map(Value::from));
    Value::Object(dict)
}
