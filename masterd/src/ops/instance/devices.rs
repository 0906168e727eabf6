//! Making disks and network cards from what a user asked for.

use crate::config::Config;
use crate::ops::Context;
use roost_proto::choices::{DiskTemplate, NicMode};
use roost_proto::error::{Error, Result};
use roost_proto::names::InstanceName;
use roost_proto::objects::Nic;
use roost_proto::opcodes::NicSpec;
use roost_proto::params::{ParamMap, fill, nic};
use std::net::IpAddr;

/// The value that means "none" in a NIC's or disk's settings.
const NONE: &str = "none";

/// The directory of an instance's files: `<cluster's>/<subdirectory>/<instance>`.
pub fn file_directory(
    config: &Config,
    template: DiskTemplate,
    subdirectory: Option<&str>,
    instance: &InstanceName,
) -> Result<String> {
    let (base, option) = match template {
        DiskTemplate::SharedFile => {
            (&config.cluster.shared_file_storage_dir, "--shared-file-storage-dir")
        }
        _ => (&config.cluster.file_storage_dir, "--file-storage-dir"),
    };
    if base.is_empty() {
        return Err(Error::wrong_state(format!(
            "The cluster has no directory for disks of template '{template}'; set it with \
             'gnt-cluster modify {option}=DIR'"
        )));
    }
    let mut directory = base.trim_end_matches('/').to_owned();
    if let Some(sub) = subdirectory {
        if sub.starts_with('/') || sub.split('/').any(|part| part == ".." || part.is_empty()) {
            return Err(Error::wrong_input(format!(
                "File storage directory '{sub}' must be relative, without '..'"
            )));
        }
        directory = format!("{directory}/{sub}");
    }
    Ok(format!("{directory}/{instance}"))
}

/// A new network card.
pub fn new_nic(cx: &mut Context<'_, '_>, spec: &NicSpec, index: usize) -> Result<Nic> {
    let mut nic = Nic {
        uuid: cx.uuid().into(),
        mac: String::new(),
        ip: None,
        network: None,
        nicparams: ParamMap::new(),
        name: None,
        extra: ParamMap::new(),
    };
    change_nic(cx, &mut nic, spec, index)?;
    if nic.mac.is_empty() {
        let prefix = cx.config().cluster.mac_prefix.clone();
        nic.mac = cx.new_mac(&prefix)?;
    }
    Ok(nic)
}

/// Changes a card as asked for.
pub fn change_nic(
    cx: &mut Context<'_, '_>,
    nic: &mut Nic,
    spec: &NicSpec,
    index: usize,
) -> Result<()> {
    let config = cx.config();
    let place = |why: String| Error::wrong_input(format!("NIC/{index}: {why}"));
    let mut settings = ParamMap::new();
    for (key, value) in [("mode", &spec.mode), ("vlan", &spec.vlan)] {
        if let Some(value) = value {
            settings.insert(key.into(), value.as_str().into());
        }
    }
    if let Some(link) = spec.link.as_ref().or(spec.bridge.as_ref()) {
        settings.insert("link".into(), link.as_str().into());
    }
    match spec.network.as_deref() {
        None => {}
        Some(NONE) => nic.network = None,
        Some(name) => {
            if settings.contains_key("mode") || settings.contains_key("link") {
                return Err(place("mode and link come from its network, don't give them".into()));
            }
            nic.network = Some(config.network(name)?.uuid);
        }
    }
    nic.nicparams = fill::modified(&nic.nicparams, &nic::typed(&settings)?);
    let filled = fill::nic_params(&config.cluster, nic);
    filled.check()?;
    match spec.ip.as_deref() {
        None => {}
        Some(NONE) => nic.ip = None,
        Some("pool" | "auto") => {
            return Err(place(
                "an address from a pool needs a network with a pool; give the address itself, or \
                 none"
                    .into(),
            ));
        }
        Some(ip) => {
            let ip: IpAddr = ip.parse().map_err(|_| place(format!("invalid IP address '{ip}'")))?;
            nic.ip = Some(ip.to_string());
        }
    }
    if filled.mode == NicMode::Routed && nic.ip.is_none() {
        return Err(place("mode routed needs an IP address (ip=ADDRESS)".into()));
    }
    match spec.mac.as_deref() {
        None => {}
        Some("auto" | "generate") => {
            let prefix = config.cluster.mac_prefix.clone();
            nic.mac = cx.new_mac(&prefix)?;
        }
        Some(mac) => {
            let mac = normal_mac(mac)
                .ok_or_else(|| place(format!("invalid MAC address '{mac}' (xx:xx:xx:xx:xx:xx)")))?;
            if mac != nic.mac && cx.mac_taken(&mac) {
                return Err(Error::prereq(
                    roost_proto::error::ErrorType::ResourceNotUnique,
                    format!("MAC address {mac} already in use in cluster"),
                ));
            }
            nic.mac = mac;
        }
    }
    match spec.name.as_deref() {
        None => {}
        Some(NONE | "") => nic.name = None,
        Some(name) => nic.name = Some(name.to_owned()),
    }
    Ok(())
}

/// Lower case, six bytes, not a group address.
fn normal_mac(mac: &str) -> Option<String> {
    let bytes: Vec<u8> = mac
        .split(':')
        .map(|part| if part.len() == 2 { u8::from_str_radix(part, 16).ok() } else { None })
        .collect::<Option<_>>()?;
    let individual = bytes.first().is_some_and(|first| first & 1 == 0);
    (bytes.len() == 6 && individual).then(|| mac.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::normal_mac;

    #[test]
    fn mac_addresses() {
        assert_eq!(normal_mac("AA:00:00:12:34:56").as_deref(), Some("aa:00:00:12:34:56"));
        for bad in
            ["", "aa:00:00:12:34", "ab:00:00:12:34:zz", "01:00:00:00:00:00", "aa-00-00-00-00-00"]
        {
            assert_eq!(normal_mac(bad), None, "{bad}");
        }
    }
}
