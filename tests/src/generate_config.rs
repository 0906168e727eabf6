//! Configurations of any size in the format of `config.data`, for measurements: valid for Ganeti's own daemons
//! (which refuse unknown and missing keys), the same for the same numbers, and as varied as real ones, so that
//! what compresses or indexes them meets what it will meet.
//!
//! ```text
//!   node i      node<i>.example.org; 0 is master, the first 10 are candidates, each 50th drained, each 70th offline
//!   instance i  inst<i>.example.org on node i mod N; one NIC with an address, each 5th on link br1
//!               7 of 10 have plain disks, 3 of 10 are mirrored to the next node; each second has two disks
//! ```

use serde_json::{Value, json};
use std::io::{self, Write};

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// At least 2.
    pub nodes: usize,
    /// At most 16 million.
    pub instances: usize,
}

/// The configuration that the cluster, the group and the network are taken from.
const MODEL: &str = include_str!("../../confd/fixtures/confd-config.data.json");
const GROUP: &str = "11111111-1111-4111-8111-111111111111";
/// When everything was made.
const MADE: f64 = 1_700_000_000.25;

/// Writes a whole configuration, in Ganeti's order of keys. Errors: those of `out`.
pub fn write_config(shape: Shape, out: &mut impl Write) -> io::Result<()> {
    let mut model: Value = serde_json::from_str(MODEL)?;
    let config = Generated { shape };
    let mut cluster = model["cluster"].take();
    cluster["master_node"] = json!(config.node_uuid(0));
    cluster["candidate_certs"] = (0..config.candidates())
        .map(|i| (config.node_uuid(i), json!(format!("{:02x}:{:02x}:03", i % 256, i / 256))))
        .collect();
    write!(out, "{{\"cluster\":{cluster},\"ctime\":{MADE},\"disks\":{{")?;
    let mut sides = vec![0; shape.nodes];
    let mut first = true;
    for i in 0..shape.instances {
        for disk in config.disks(i, &mut sides) {
            let uuid = disk["uuid"].clone();
            write!(out, "{}{uuid}:{disk}", if first { "" } else { "," })?;
            first = false;
        }
    }
    write!(out, "}},\"filters\":{{}},\"instances\":{{")?;
    for i in 0..shape.instances {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}\"{}\":{}", config.instance_uuid(i), config.instance(i))?;
    }
    let networks = model["networks"].take();
    write!(
        out,
        "}},\"mtime\":{MADE},\"networks\":{networks},\"nodegroups\":{},\"nodes\":{{",
        model["nodegroups"].take()
    )?;
    for i in 0..shape.nodes {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}\"{}\":{}", config.node_uuid(i), config.node(i))?;
    }
    write!(out, "}},\"serial_no\":57,\"version\":3020000}}")?;
    out.flush()
}

/// The same as text.
pub fn config_text(shape: Shape) -> String {
    let mut text = Vec::new();
    // A Vec takes everything, and JSON is UTF-8.
    write_config(shape, &mut text).expect("writing to memory does not fail");
    String::from_utf8(text).expect("JSON is UTF-8")
}

/// The name of a node.
pub fn node_name(i: usize) -> String {
    format!("node{i}.example.org")
}

/// The name of an instance.
pub fn instance_name(i: usize) -> String {
    format!("inst{i}.example.org")
}

/// The address of an instance's NIC.
pub fn instance_ip(i: usize) -> String {
    format!("10.{}.{}.{}", i / 62_500, i / 250 % 250, i % 250 + 1)
}

/// The primary address of a node.
pub fn node_ip(i: usize) -> String {
    format!("172.16.{}.{}", i / 250, i % 250 + 1)
}

/// Bits that look random and are always the same for the same two numbers (splitmix64).
fn random(of: u64, index: usize) -> u64 {
    let mut x = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(of << 56);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

fn uuid(of: u64, index: usize) -> String {
    let (a, b) = (random(of, 2 * index), random(of, 2 * index + 1));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 48 & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff
    )
}

struct Generated {
    shape: Shape,
}

impl Generated {
    fn candidates(&self) -> usize {
        self.shape.nodes.min(10)
    }

    fn node_uuid(&self, i: usize) -> String {
        uuid(1, i)
    }

    fn instance_uuid(&self, i: usize) -> String {
        uuid(2, i)
    }

    fn time(&self, of: u64, i: usize) -> f64 {
        let micros = random(of, i) % 60_000_000_000_000;
        // As Ganeti writes it: seconds with microseconds.
        (1_650_000_000_000_000 + micros) as f64 / 1e6
    }

    fn node(&self, i: usize) -> Value {
        let candidate = i < self.candidates();
        json!({
            "ctime": self.time(3, i), "drained": i % 50 == 49, "group": GROUP,
            "master_candidate": candidate, "master_capable": true, "mtime": self.time(4, i),
            "name": node_name(i), "ndparams": {}, "offline": i % 70 == 69, "powered": true,
            "primary_ip": node_ip(i), "secondary_ip": format!("172.17.{}.{}", i / 250, i % 250 + 1),
            "serial_no": 1 + i % 7, "tags": [], "uuid": self.node_uuid(i), "vm_capable": true,
        })
    }

    fn mirrored(&self, i: usize) -> bool {
        i % 10 >= 7
    }

    fn disk_count(&self, i: usize) -> usize {
        1 + i % 2
    }

    fn disk_uuid(&self, i: usize, index: usize) -> String {
        uuid(5, 2 * i + index)
    }

    fn instance(&self, i: usize) -> Value {
        let disks: Vec<String> = (0..self.disk_count(i)).map(|d| self.disk_uuid(i, d)).collect();
        let nicparams = if i % 5 == 4 { json!({"link": "br1"}) } else { json!({}) };
        let mac = random(6, i);
        let mut hvparams = json!({
            "boot_order": "disk", "cpu_mask": "all", "cpu_type": "host", "disk_cache": "none",
            "kernel_path": "", "migration_downtime": 30, "nic_type": "paravirtual",
            "serial_speed": 38400, "vnc_bind_address": "127.0.0.1",
        });
        if i.is_multiple_of(3) {
            hvparams["usb_devices"] = json!("host:1d6b:0002");
        }
        json!({
            "admin_state": if i % 20 == 19 { "down" } else { "up" }, "admin_state_source": "admin",
            "beparams": {
                "auto_balance": true, "maxmem": 1024 << (i % 4), "minmem": 1024 << (i % 4),
                "vcpus": 1 + i % 8,
            },
            "ctime": self.time(7, i), "disks": disks, "disks_active": i % 20 != 19,
            "forthcoming": false, "hvparams": hvparams, "hypervisor": "kvm",
            "mtime": self.time(8, i), "name": instance_name(i),
            "network_port": 11_000 + i % 50_000,
            "nics": [{
                "ip": instance_ip(i), "name": "eth0", "nicparams": nicparams, "uuid": uuid(9, i),
                "mac": format!("aa:00:01:{:02x}:{:02x}:{:02x}", mac & 255, mac >> 8 & 255, mac >> 16 & 255),
            }],
            "os": "debootstrap+bookworm",
            "osparams": {
                "dhcp": "no", "filesystem": "ext4", "locale": "en_US.UTF-8", "partition_style": "msdos",
                "proxy": "http://proxy.example.org:3128/", "ssh_pwauth": "no",
            },
            "osparams_private": {}, "primary_node": self.node_uuid(i % self.shape.nodes),
            "serial_no": 1 + i % 90, "tags": [format!("customer:{}", i / 12), "env:production"],
            "uuid": self.instance_uuid(i),
        })
    }

    /// Those of an instance; `sides` counts the minors that are used on each node.
    fn disks(&self, i: usize, sides: &mut [usize]) -> Vec<Value> {
        let (here, there) = (i % self.shape.nodes, (i + 1) % self.shape.nodes);
        let (node, peer) = (self.node_uuid(here), self.node_uuid(there));
        (0..self.disk_count(i))
            .map(|d| {
                let at = 2 * i + d;
                let (ctime, mtime) = (self.time(7, i), self.time(10, at));
                let size = 10_240 << (i % 4);
                let volume = |what: &str,
                              size: usize,
                              uuid: String,
                              iv_name: &str,
                              nodes: Value| {
                    json!({
                        "children": [], "ctime": ctime, "dev_type": "plain", "iv_name": iv_name,
                        "logical_id": ["vgtest", what], "mode": "rw", "mtime": mtime,
                        "nodes": nodes, "params": {}, "serial_no": 1, "size": size, "uuid": uuid,
                    })
                };
                let (uuid_here, iv_name) = (self.disk_uuid(i, d), format!("disk/{d}"));
                if !self.mirrored(i) {
                    let what = format!("{}.disk{d}", uuid(11, at));
                    return volume(&what, size, uuid_here, &iv_name, json!([node]));
                }
                let minors = (sides[here], sides[there]);
                sides[here] += 1;
                sides[there] += 1;
                let both = json!([node, peer]);
                let data = format!("{}.disk{d}_data", uuid(11, at));
                let meta = format!("{}.disk{d}_meta", uuid(11, at));
                let secret = format!("{:016x}{:016x}{:08x}", random(12, at), random(13, at), at);
                json!({
                    "children": [
                        volume(&data, size, uuid(14, at), "", both.clone()),
                        volume(&meta, 128, uuid(15, at), "", both.clone()),
                    ],
                    "ctime": ctime, "dev_type": "drbd", "iv_name": iv_name,
                    "logical_id": [node, peer, 11_000 + at % 50_000, minors.0, minors.1, secret],
                    "mode": "rw", "mtime": mtime, "nodes": both, "params": {}, "serial_no": 2,
                    "size": size, "uuid": uuid_here,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::objects::ConfigData;
    use std::collections::BTreeSet;

    #[test]
    fn it_is_a_configuration_with_the_keys_of_the_model() {
        let shape = Shape { nodes: 12, instances: 100 };
        let text = config_text(shape);
        assert_eq!(text, config_text(shape), "the same again");
        let config: ConfigData = serde_json::from_str(&text).expect("readable");
        assert_eq!(
            (config.nodes.len(), config.instances.len(), config.disks.len()),
            (12, 100, 150)
        );
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let model: Value = serde_json::from_str(MODEL).expect("JSON");
        // What Ganeti takes beyond what the model happens to have.
        let allowed = ["network_port", "children", "name"];
        for map in ["nodes", "instances", "disks"] {
            let keys = |of: &Value| -> BTreeSet<String> {
                let all = of[map].as_object().expect("a map").values();
                all.flat_map(|o| o.as_object().expect("an object").keys().cloned()).collect()
            };
            let unknown: Vec<_> = keys(&value).difference(&keys(&model)).cloned().collect();
            assert!(unknown.iter().all(|k| allowed.contains(&k.as_str())), "{map}: {unknown:?}");
        }
        for (uuid, disk) in value["disks"].as_object().expect("a map") {
            assert_eq!(disk["uuid"], json!(uuid));
        }
    }

    #[test]
    fn ids_are_unlike() {
        let all: BTreeSet<String> =
            (1..16).flat_map(|of| (0..2000).map(move |i| uuid(of, i))).collect();
        assert_eq!(all.len(), 15 * 2000);
    }
}
