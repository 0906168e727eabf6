//! Network cards as XML.

use super::element::{Element, el};
use super::params::KvmParams;
use roost_proto::choices::NicMode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NicId;
use roost_proto::node::GuestNic;

/// The name of the tap device of a card that scripts connect: the same on every node, and not
/// longer than the kernel allows.
pub fn tap(nic: NicId) -> String {
    let id: String = nic.to_string().chars().filter(|c| *c != '-').take(10).collect();
    format!("gnt{id}")
}

/// The name by which libvirt knows a card of ours.
pub fn alias(nic: NicId) -> String {
    format!("ua-{nic}")
}

/// A card. `scripted`: its tap device exists and is connected by scripts.
pub fn nic(params: &KvmParams<'_>, nic: &GuestNic, scripted: bool) -> Result<Element> {
    let model = match params.text("nic_type") {
        "" | "paravirtual" => "virtio",
        other => other,
    };
    let queues = params.number("virtio_net_queues").filter(|n| *n > 1 && model == "virtio");
    let xml = if scripted {
        el("interface")
            .attr("type", "ethernet")
            .child(el("target").attr("dev", tap(nic.uuid)).attr("managed", "no"))
    } else {
        let xml =
            el("interface").attr("type", "bridge").child(el("source").attr("bridge", &nic.link));
        if nic.mode == NicMode::OpenVSwitch {
            xml.child(el("virtualport").attr("type", "openvswitch"))
        } else {
            xml
        }
        .children(vlan(&nic.vlan)?)
    };
    let mut driver = el("driver").attr_if("queues", queues);
    if model == "virtio" && !params.flag("vhost_net") {
        driver = driver.attr("name", "qemu");
    }
    let mut xml =
        xml.child(el("mac").attr("address", &nic.mac)).child(el("model").attr("type", model));
    if driver != el("driver") {
        xml = xml.child(driver);
    }
    Ok(xml.child(el("alias").attr("name", alias(nic.uuid))))
}

/// `.5` one VLAN, untagged for the guest; `:5:6` tagged VLANs; `.5:6` both.
fn vlan(text: &str) -> Result<Option<Element>> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Error::wrong_input(format!(
            "'{text}' is not a VLAN: write .N (untagged for the guest), :N[:M…] (tagged) or \
             .N:M… (both), with numbers from 1 to 4094"
        ))
    };
    let mut parts = text.split(':');
    let access = parts.next().unwrap_or_default();
    let trunk: Vec<&str> = parts.collect();
    let access = match access.strip_prefix('.').unwrap_or(access) {
        "" => None,
        id => Some(id),
    };
    for id in access.iter().chain(&trunk) {
        if !id.parse::<u16>().is_ok_and(|id| (1..=4094).contains(&id)) {
            return Err(wrong());
        }
    }
    let tag = |id: &str| el("tag").attr("id", id);
    let xml = match (access, trunk.is_empty()) {
        (None, true) => return Err(wrong()),
        (Some(id), true) => el("vlan").child(tag(id)),
        (None, false) => el("vlan").attr("trunk", "yes").children(trunk.into_iter().map(tag)),
        (Some(id), false) => el("vlan")
            .attr("trunk", "yes")
            .child(tag(id).attr("nativeMode", "untagged"))
            .children(trunk.into_iter().map(tag)),
    };
    Ok(Some(xml))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans() {
        let xml = |text: &str| vlan(text).expect("good").expect("one").render();
        assert_eq!(xml(".5"), "<vlan>\n  <tag id=\"5\"/>\n</vlan>");
        assert_eq!(xml("5"), xml(".5"));
        assert_eq!(
            xml(":5:6"),
            "<vlan trunk=\"yes\">\n  <tag id=\"5\"/>\n  <tag id=\"6\"/>\n</vlan>"
        );
        assert_eq!(
            xml(".5:6"),
            "<vlan trunk=\"yes\">\n  <tag id=\"5\" nativeMode=\"untagged\"/>\n  \
             <tag id=\"6\"/>\n</vlan>"
        );
        assert_eq!(vlan("").expect("none"), None);
        for bad in [".", ":", ".x", ":0", ":4095", ".1:"] {
            vlan(bad).expect_err(bad);
        }
    }

    #[test]
    fn tap_names_fit_the_kernel() {
        assert_eq!(tap(NicId(uuid::Uuid::from_u128(0x1234_5678 << 96))), "gnt1234567800");
    }
}
