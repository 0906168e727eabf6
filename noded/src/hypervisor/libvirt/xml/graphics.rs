//! Display, sound and input devices as XML.

use super::Host;
use super::element::{Element, el};
use super::params::{KvmParams, refused};
use roost_proto::error::{Error, Result};
use roost_proto::node::GuestSpec;

/// Display, video card, sound cards, input devices, and the channels that belong to them.
pub fn devices(guest: &GuestSpec, params: &KvmParams<'_>, host: &Host) -> Result<Vec<Element>> {
    let mut all = inputs(params)?;
    if params.set("spice_bind").is_some() {
        all.push(spice(guest, params, host)?);
        if params.flag("spice_use_vdagent") {
            let target = el("target").attr("type", "virtio").attr("name", "com.redhat.spice.0");
            all.push(el("channel").attr("type", "spicevmc").child(target));
        }
    } else if params.set("vnc_bind_address").is_some() {
        all.push(vnc(guest, params, host)?);
    }
    all.extend(sound(params)?);
    all.push(el("video").child(el("model").attr("type", video(params))));
    Ok(all)
}

fn video<'a>(params: &KvmParams<'a>) -> &'a str {
    match params.text("vga") {
        // Boot loaders want some card, displayed or not.
        "" | "std" => "vga",
        "vmware" => "vmvga",
        other => other,
    }
}

/// Whether anything needs a USB controller.
pub fn wants_usb(params: &KvmParams<'_>) -> bool {
    params.set("usb_mouse").is_some()
        || params.set("usb_devices").is_some()
        || params.set("vnc_bind_address").is_some()
}

fn inputs(params: &KvmParams<'_>) -> Result<Vec<Element>> {
    let input = |kind: &str| el("input").attr("type", kind).attr("bus", "usb");
    let mut all = vec![];
    match params.set("usb_mouse") {
        Some(kind) => all.push(input(kind)),
        // Without it a VNC viewer's pointer is not where the guest's is.
        None if params.set("vnc_bind_address").is_some() => all.push(input("tablet")),
        None => {}
    }
    for device in params.list("usb_devices", ',') {
        all.push(match device.split(':').collect::<Vec<_>>()[..] {
            [kind @ ("tablet" | "mouse")] => input(kind),
            ["keyboard"] => input("keyboard"),
            ["host", vendor, product] => usb_host(vendor, product),
            _ => {
                return Err(refused(
                    "usb_devices",
                    device,
                    "use tablet, mouse, keyboard, or host:VENDOR:PRODUCT (hexadecimal)",
                ));
            }
        });
    }
    Ok(all)
}

fn usb_host(vendor: &str, product: &str) -> Element {
    let id = |name: &'static str, id: &str| {
        el(name).attr("id", format!("0x{}", id.trim_start_matches("0x")))
    };
    let source = el("source").child(id("vendor", vendor)).child(id("product", product));
    el("hostdev").attr("mode", "subsystem").attr("type", "usb").child(source)
}

fn vnc(guest: &GuestSpec, params: &KvmParams<'_>, host: &Host) -> Result<Element> {
    let bind = params.text("vnc_bind_address");
    let xml = el("graphics").attr("type", "vnc");
    let xml = if bind.starts_with('/') {
        let socket = format!("{}/{}.vnc", bind.trim_end_matches('/'), guest.name);
        xml.child(el("listen").attr("type", "socket").attr("socket", socket))
    } else {
        listen(xml.attr("port", port(guest)?).attr("autoport", "no"), host)
    };
    Ok(xml.attr_if("keymap", params.set("keymap")).attr_if("passwd", host.password.as_ref()))
}

fn spice(guest: &GuestSpec, params: &KvmParams<'_>, host: &Host) -> Result<Element> {
    let port = port(guest)?;
    let xml = el("graphics").attr("type", "spice").attr("autoport", "no");
    let xml = if params.flag("spice_use_tls") {
        xml.attr("tlsPort", port).attr("defaultMode", "secure")
    } else {
        xml.attr("port", port)
    };
    let xml = xml.attr_if("keymap", params.set("keymap")).attr_if("passwd", host.password.as_ref());
    let option = |element: &'static str, attr: &'static str, param: &str| {
        params.set(param).map(|value| el(element).attr(attr, value))
    };
    let playback = if params.flag("spice_playback_compression") { "on" } else { "off" };
    Ok(listen(xml, host)
        .children(option("image", "compression", "spice_image_compression"))
        .children(option("jpeg", "compression", "spice_jpeg_wan_compression"))
        .children(option("zlib", "compression", "spice_zlib_glz_wan_compression"))
        .child(el("playback").attr("compression", playback))
        .children(option("streaming", "mode", "spice_streaming_video")))
}

fn listen(xml: Element, host: &Host) -> Element {
    let address = host.listen.as_deref().unwrap_or("127.0.0.1");
    xml.child(el("listen").attr("type", "address").attr("address", address))
}

/// The port that the cluster has reserved for the guest's display.
fn port(guest: &GuestSpec) -> Result<u16> {
    guest.network_port.ok_or_else(|| {
        Error::wrong_state(format!(
            "Instance {} has a graphical console but no port for it; set vnc_bind_address or \
             spice_bind anew with gnt-instance modify",
            guest.name
        ))
    })
}

/// QEMU's names of sound cards and libvirt's.
const SOUND: &[(&str, &str)] = &[
    ("ac97", "ac97"),
    ("AC97", "ac97"),
    ("es1370", "es1370"),
    ("ES1370", "es1370"),
    ("hda", "ich6"),
    ("ich9", "ich9"),
    ("intel-hda", "ich6"),
    ("sb16", "sb16"),
    ("usb-audio", "usb"),
];

fn sound(params: &KvmParams<'_>) -> Result<Vec<Element>> {
    let card = |name: &str| {
        let known = SOUND.iter().find(|(qemu, _)| *qemu == name);
        known.map(|(_, model)| el("sound").attr("model", model)).ok_or_else(|| {
            refused("soundhw", name, "use ac97, es1370, hda, ich9, sb16 or usb-audio")
        })
    };
    params.list("soundhw", ',').into_iter().map(card).collect()
}
