//! Cards that libvirt does not connect itself: routed ones, and those of the site's scripts.
//!
//! A tap device is made here and connected by Ganeti's network scripts, with their environment:
//!
//! ```text
//!   ext                 <conf>/network/ext/up, which must exist
//!   any other mode      <conf>/network/<mode>/up replaces what we would do
//!   routed              else: a route to the guest's address, in the routing table `link` names
//!   bridged, openvswitch  else: libvirt connects it
//! ```
//!
//! What was connected for a guest is kept in `<run dir>/kvm/nics/NAME`, so that it is undone also
//! when the guest ends by itself.

use super::xml::tap;
use crate::exec::Command;
use roost_proto::choices::NicMode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NicId;
use roost_proto::node::{GuestNic, GuestSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// A script that takes longer is broken.
const LIMIT: Duration = Duration::from_secs(60);

/// Connects cards by scripts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Nics {
    scripts: PathBuf,
    kept: PathBuf,
}

/// A connected card.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Connected {
    nic: GuestNic,
    env: BTreeMap<String, String>,
}

/// When a script runs, if it is not a plain start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The guest is started or the card plugged.
    Start,
    /// On a migration's target, before the guest arrives.
    Pre,
    /// On a migration's target, when it has.
    Post,
}

impl Nics {
    /// `conf`: Ganeti's configuration directory; `run`: where to keep what was connected.
    pub fn new(conf: PathBuf, run: PathBuf) -> Nics {
        Nics { scripts: conf.join("network"), kept: run.join("nics") }
    }

    /// The cards of a guest that scripts connect.
    pub fn scripted(&self, nics: &[GuestNic]) -> BTreeSet<NicId> {
        let by_script = |nic: &&GuestNic| match nic.mode {
            NicMode::Ext | NicMode::Routed => true,
            mode => self.script(mode, "up").is_some(),
        };
        nics.iter().filter(by_script).map(|nic| nic.uuid).collect()
    }

    fn script(&self, mode: NicMode, action: &str) -> Option<PathBuf> {
        let path = self.scripts.join(mode.as_str()).join(action);
        let mode = std::fs::metadata(&path).ok()?.permissions().mode();
        (mode & 0o111 != 0).then_some(path)
    }

    /// Connects those of `nics` that scripts connect. Errors: what the script said; none of them
    /// is left connected then.
    pub async fn connect(&self, guest: &GuestSpec, nics: &[GuestNic], phase: Phase) -> Result<()> {
        let connected = self.connect_all(guest, nics, phase).await;
        if connected.is_err() && phase != Phase::Post {
            for nic in nics {
                self.disconnect_one(&guest.name, nic.uuid).await?;
            }
        }
        connected
    }

    async fn connect_all(&self, guest: &GuestSpec, nics: &[GuestNic], phase: Phase) -> Result<()> {
        let scripted = self.scripted(nics);
        for nic in nics.iter().filter(|nic| scripted.contains(&nic.uuid)) {
            let mut env = environment(guest, nic);
            match phase {
                Phase::Start => {}
                // As Ganeti: a routed card is connected only when the guest is here.
                Phase::Pre if nic.mode == NicMode::Ext => {
                    env.insert("MIGRATION_PHASE".into(), "pre".into());
                }
                Phase::Pre => {
                    self.make_tap(guest, nic).await?;
                    self.keep(guest, Connected { nic: nic.clone(), env })?;
                    continue;
                }
                Phase::Post => {
                    env.insert("MIGRATION_PHASE".into(), "post".into());
                }
            }
            self.make_tap(guest, nic).await?;
            self.keep(guest, Connected { nic: nic.clone(), env: env.clone() })?;
            let up = self.run(nic, "up", env).await.map_err(|e| {
                e.at(format!("Failed to configure interface {} of {}", tap(nic.uuid), guest.name))
            });
            if phase == Phase::Start || nic.mode != NicMode::Ext {
                up?;
            } else if let Err(error) = up {
                tracing::warn!(%error, "a network script failed; the migration goes on");
            }
        }
        Ok(())
    }

    async fn make_tap(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        let name = tap(nic.uuid);
        if std::path::Path::new("/sys/class/net").join(&name).exists() {
            return Ok(());
        }
        let queues = guest.hvparams.get("virtio_net_queues").and_then(serde_json::Value::as_u64);
        let many = queues.is_some_and(|queues| queues > 1).then_some("multi_queue");
        ip(["tuntap", "add", "dev", &name, "mode", "tap", "vnet_hdr"].into_iter().chain(many))
            .await
            .map_err(|e| e.at(format!("Cannot make the tap device of {}", guest.name)))
    }

    /// Disconnects all cards of a guest that scripts connected. Best effort: it is gone anyway.
    pub async fn disconnect(&self, name: &str) {
        for connected in self.kept(name) {
            self.take_down(connected).await;
        }
        // None there is the usual case.
        let _ = std::fs::remove_file(self.kept.join(name));
    }

    /// Disconnects one card.
    pub async fn disconnect_one(&self, name: &str, nic: NicId) -> Result<()> {
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.kept(name).into_iter().partition(|connected| connected.nic.uuid == nic);
        if gone.is_empty() {
            return Ok(());
        }
        for connected in gone {
            self.take_down(connected).await;
        }
        self.write(name, &stay)
    }

    async fn take_down(&self, connected: Connected) {
        let Connected { nic, env } = connected;
        let name = tap(nic.uuid);
        if let Err(error) = self.run(&nic, "down", env).await {
            tracing::warn!(interface = name, %error, "a network script failed");
        }
        if std::path::Path::new("/sys/class/net").join(&name).exists()
            && let Err(error) = ip(["link", "delete", &name]).await
        {
            tracing::warn!(interface = name, %error, "cannot remove a tap device");
        }
    }

    async fn run(&self, nic: &GuestNic, action: &str, env: BTreeMap<String, String>) -> Result<()> {
        match self.script(nic.mode, action) {
            Some(script) => Command::new(script)
                .arg(tap(nic.uuid))
                .envs(env)
                .env("ACTION", action)
                .deadline(LIMIT)
                .run_ok()
                .await
                .map(drop),
            None if nic.mode == NicMode::Ext => Err(Error::environment(format!(
                "NIC {} has mode ext, but there is no executable {}",
                nic.index,
                self.scripts.join("ext").join(action).display()
            ))),
            None if action == "up" && nic.mode == NicMode::Routed => route(nic).await,
            None => Ok(()),
        }
    }

    fn kept(&self, name: &str) -> Vec<Connected> {
        let content = std::fs::read(self.kept.join(name)).unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    fn keep(&self, guest: &GuestSpec, connected: Connected) -> Result<()> {
        let mut all = self.kept(&guest.name);
        all.retain(|known| known.nic.uuid != connected.nic.uuid);
        all.push(connected);
        self.write(&guest.name, &all)
    }

    fn write(&self, name: &str, all: &[Connected]) -> Result<()> {
        let path = self.kept.join(name);
        let written = std::fs::create_dir_all(&self.kept)
            .and_then(|()| Ok(serde_json::to_vec(all)?))
            .and_then(|content| std::fs::write(&path, content));
        written.map_err(|e| Error::exec(format!("Cannot write {}: {e}", path.display())))
    }
}

async fn ip<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<()> {
    Command::new("ip").args(args).deadline(LIMIT).run_ok().await.map(drop)
}

/// Routes the guest's address to its tap device, in the routing table `link` if that is set.
async fn route(nic: &GuestNic) -> Result<()> {
    let address = nic.ip.as_deref().ok_or_else(|| {
        Error::wrong_input(format!("NIC {} is routed and needs an IP address", nic.index))
    })?;
    let name = tap(nic.uuid);
    let (family, version) = if address.contains(':') { ("-6", "ipv6") } else { ("-4", "ipv4") };
    ip(["link", "set", "dev", &name, "up"]).await?;
    let settings: &[(&str, &str)] = match version {
        "ipv4" => &[("forwarding", "1"), ("proxy_arp", "1")],
        _ => &[("forwarding", "1"), ("proxy_ndp", "1")],
    };
    for (setting, value) in settings {
        let path = format!("/proc/sys/net/{version}/conf/{name}/{setting}");
        std::fs::write(&path, value).map_err(|e| Error::exec(format!("Cannot set {path}: {e}")))?;
    }
    if nic.link.is_empty() {
        return ip([family, "route", "replace", address, "dev", &name, "proto", "static"]).await;
    }
    // Once: a rule for the same device may be left from an earlier try.
    let rule = ["rule", "add", "iif", &name, "table", &nic.link];
    let drop_rule = ["rule", "del", "iif", &name, "table", &nic.link];
    let _ = ip([family].into_iter().chain(drop_rule)).await;
    ip([family].into_iter().chain(rule)).await?;
    ip([family, "route", "replace", address, "dev", &name, "proto", "static", "table", &nic.link])
        .await
}

/// What Ganeti's network scripts are told.
fn environment(guest: &GuestSpec, nic: &GuestNic) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            env.insert(name.to_owned(), value.to_owned());
        }
    };
    put("INSTANCE", &guest.name);
    put("MAC", &nic.mac);
    put("MODE", nic.mode.as_str());
    put("INTERFACE", &tap(nic.uuid));
    put("INTERFACE_INDEX", &nic.index.to_string());
    put("INTERFACE_UUID", &nic.uuid.to_string());
    put("INTERFACE_NAME", nic.name.as_deref().unwrap_or_default());
    put("IP", nic.ip.as_deref().unwrap_or_default());
    put("LINK", &nic.link);
    put("VLAN", &nic.vlan);
    if nic.mode == NicMode::Bridged {
        put("BRIDGE", &nic.link);
    }
    if let Some(network) = &nic.network {
        put("NETWORK_NAME", &network.name);
        put("NETWORK_UUID", &network.uuid);
        put("NETWORK_TAGS", &network.tags.join(" "));
        put("NETWORK_SUBNET", &network.subnet);
        put("NETWORK_GATEWAY", network.gateway.as_deref().unwrap_or_default());
        put("NETWORK_SUBNET6", network.subnet6.as_deref().unwrap_or_default());
        put("NETWORK_GATEWAY6", network.gateway6.as_deref().unwrap_or_default());
        put("NETWORK_MAC_PREFIX", network.mac_prefix.as_deref().unwrap_or_default());
    }
    // Always there, also when empty.
    env.insert("TAGS".to_owned(), guest.tags.join(" "));
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn guest(mode: &str) -> GuestSpec {
        serde_json::from_value(serde_json::json!({
            "uuid": Uuid::from_u128(1), "name": "web.example.com", "hypervisor": "kvm",
            "hvparams": {}, "beparams": {}, "tags": ["a", "b"],
            "nics": [{"index": 0, "uuid": Uuid::from_u128(2), "mac": "aa:00:00:01:02:03",
                      "mode": mode, "link": "br0", "ip": "10.0.0.5",
                      "network": {"name": "n", "uuid": "u", "subnet": "10.0.0.0/24"}}],
        }))
        .expect("a guest")
    }

    #[test]
    fn scripts_are_told_what_ganeti_tells_them() {
        let guest = guest("bridged");
        let env = environment(&guest, &guest.nics[0]);
        for (name, value) in [
            ("INSTANCE", "web.example.com"),
            ("MODE", "bridged"),
            ("BRIDGE", "br0"),
            ("LINK", "br0"),
            ("IP", "10.0.0.5"),
            ("INTERFACE", "gnt0000000000"),
            ("INTERFACE_INDEX", "0"),
            ("NETWORK_SUBNET", "10.0.0.0/24"),
            ("TAGS", "a b"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!env.contains_key("VLAN") && !env.contains_key("NETWORK_GATEWAY"));
    }

    #[tokio::test]
    async fn a_site_script_replaces_what_libvirt_would_do() {
        let dir = tempfile::tempdir().expect("directory");
        let nics = Nics::new(dir.path().to_owned(), dir.path().join("run"));
        let guest = guest("bridged");
        assert!(nics.scripted(&guest.nics).is_empty());
        let scripts = dir.path().join("network/bridged");
        std::fs::create_dir_all(&scripts).expect("directory");
        let up = scripts.join("up");
        let told = dir.path().join("told");
        let script = format!("#!/bin/sh\necho \"$1 $ACTION $BRIDGE\" > {}\n", told.display());
        std::fs::write(&up, script).expect("script");
        assert!(nics.scripted(&guest.nics).is_empty(), "not executable");
        std::fs::set_permissions(&up, std::fs::Permissions::from_mode(0o755)).expect("mode");
        assert_eq!(nics.scripted(&guest.nics).len(), 1);
        let env = environment(&guest, &guest.nics[0]);
        nics.run(&guest.nics[0], "up", env.clone()).await.expect("run");
        assert_eq!(std::fs::read_to_string(&told).expect("told"), "gnt0000000000 up br0\n");
        nics.keep(&guest, Connected { nic: guest.nics[0].clone(), env }).expect("keep");
        nics.disconnect(&guest.name).await;
        assert!(nics.kept(&guest.name).is_empty());
    }

    #[tokio::test]
    async fn mode_ext_needs_its_script() {
        let dir = tempfile::tempdir().expect("directory");
        let nics = Nics::new(dir.path().to_owned(), dir.path().join("run"));
        let guest = guest("ext");
        assert_eq!(nics.scripted(&guest.nics).len(), 1);
        let error = nics.run(&guest.nics[0], "up", BTreeMap::new()).await.expect_err("no script");
        assert!(error.message.contains("network/ext/up"), "{error}");
    }
}
