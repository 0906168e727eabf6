//! Disks, CDs and floppies as XML.

use super::Host;
use super::element::{Element, el};
use super::params::{KvmParams, refused};
use crate::hypervisor::{Attachment, Source};
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;

/// The bus a disk hangs on, and what kind of device it is there.
#[derive(Clone, Copy)]
struct Place {
    bus: &'static str,
    device: &'static str,
    prefix: &'static str,
}

const VIRTIO: Place = Place { bus: "virtio", device: "disk", prefix: "vd" };
const SCSI: Place = Place { bus: "scsi", device: "disk", prefix: "sd" };

fn place(disk_type: &str, q35: bool) -> Place {
    match disk_type {
        // The q35 machine has AHCI where others have IDE; guests see the same disk.
        "ide" if q35 => Place { bus: "sata", device: "disk", prefix: "sd" },
        "ide" => Place { bus: "ide", device: "disk", prefix: "hd" },
        "scsi" | "scsi-hd" => SCSI,
        "scsi-cd" => Place { device: "cdrom", ..SCSI },
        "scsi-block" => Place { device: "lun", ..SCSI },
        _ => VIRTIO,
    }
}

/// `a` for 0, `b` for 1, …, `aa` for 26.
fn letters(mut index: u32) -> String {
    let mut text = String::new();
    loop {
        text.insert(0, char::from(b'a' + u8::try_from(index % 26).expect("below 26")));
        if index < 26 {
            return text;
        }
        index = index / 26 - 1;
    }
}

/// The name by which libvirt knows a disk of ours, however it was plugged.
pub fn alias(disk: DiskId) -> String {
    format!("ua-{disk}")
}

/// The target device name of a disk: unique in a guest, what the guest calls it is its own affair.
pub fn target(params: &KvmParams<'_>, host: &Host, index: u32) -> String {
    format!("{}{}", place(params.text("disk_type"), host.q35).prefix, letters(index))
}

/// One of the guest's own disks.
pub fn disk(params: &KvmParams<'_>, host: &Host, disk: &Attachment) -> Result<Element> {
    let place = place(params.text("disk_type"), host.q35);
    let source = source(&disk.source)?;
    let cache = match params.text("disk_cache") {
        // Another node's guest would read stale data from there after a migration.
        _ if disk.shared => Some("none"),
        "" | "default" => None,
        other => Some(other),
    };
    let io = params.text("disk_aio");
    if io == "native" && cache != Some("none") {
        return Err(refused("disk_aio", io, "it bypasses the cache; set disk_cache=none too"));
    }
    let driver = el("driver")
        .attr("name", "qemu")
        .attr("type", disk.format.as_str())
        .attr_if("cache", cache)
        .attr_if("io", Some(io).filter(|io| !io.is_empty()))
        .attr_if("discard", params.set("disk_discard").filter(|_| place.device != "lun"));
    let serial: String = disk.uuid.to_string().chars().filter(|c| *c != '-').take(20).collect();
    let mut xml = el("disk")
        .attr("type", source.kind)
        .attr("device", place.device)
        .child(driver)
        .child(source.xml)
        .child(el("target").attr("dev", target(params, host, disk.index)).attr("bus", place.bus));
    if place.device != "lun" {
        xml = xml.child(el("serial").text(serial));
    }
    if disk.readonly || place.device == "cdrom" {
        xml = xml.child(el("readonly"));
    }
    Ok(xml.child(el("alias").attr("name", alias(disk.uuid))))
}

/// The SCSI controller, if a disk or CD needs one.
pub fn scsi_controller(params: &KvmParams<'_>) -> Option<Element> {
    let on_scsi = |name| params.text(name).starts_with("scsi");
    if !on_scsi("disk_type") && !on_scsi("cdrom_disk_type") {
        return None;
    }
    let model = match params.text("scsi_controller_type") {
        "virtio-scsi-pci" => "virtio-scsi",
        "megasas" => "lsisas1078",
        // The chip on that card: libvirt misspells the card's own name to QEMU.
        "dc390" => "am53c974",
        _ => "lsilogic",
    };
    Some(el("controller").attr("type", "scsi").attr("index", 0).attr("model", model))
}

/// CDs and the floppy.
pub fn removable(params: &KvmParams<'_>, host: &Host) -> Result<Vec<Element>> {
    let mut all = vec![];
    let wanted = params.set("cdrom_disk_type").unwrap_or("ide");
    // A CD on virtio is a read-only disk: there is no virtio CD drive.
    let place = match place(wanted, host.q35) {
        virtio if virtio.bus == "virtio" => virtio,
        other => Place { device: "cdrom", ..other },
    };
    for (n, name) in ["cdrom_image_path", "cdrom2_image_path"].into_iter().enumerate() {
        let Some(path) = params.set(name) else { continue };
        let source = match path.split_once("://") {
            Some((scheme, rest)) => url(scheme, rest).ok_or_else(|| {
                refused(name, path, "use a file or an http, https, ftp, ftps or tftp URL")
            })?,
            None => file(path),
        };
        // Behind all disks: 16 at most.
        let index = 20 + u32::try_from(n).expect("two CDs");
        all.push(
            el("disk")
                .attr("type", source.kind)
                .attr("device", place.device)
                .child(el("driver").attr("name", "qemu").attr("type", "raw"))
                .child(source.xml)
                .child(
                    el("target")
                        .attr("dev", format!("{}{}", place.prefix, letters(index)))
                        .attr("bus", place.bus),
                )
                .child(el("readonly")),
        );
    }
    if let Some(path) = params.set("floppy_image_path") {
        all.push(
            el("disk")
                .attr("type", "file")
                .attr("device", "floppy")
                .child(el("driver").attr("name", "qemu").attr("type", "raw"))
                .child(file(path).xml)
                .child(el("target").attr("dev", "fda").attr("bus", "fdc")),
        );
    }
    Ok(all)
}

struct DiskSource {
    kind: &'static str,
    xml: Element,
}

fn file(path: &str) -> DiskSource {
    DiskSource { kind: "file", xml: el("source").attr("file", path) }
}

fn source(source: &Source) -> Result<DiskSource> {
    match source {
        Source::File(path) => Ok(file(&path.to_string_lossy())),
        Source::Block(path) => {
            Ok(DiskSource { kind: "block", xml: el("source").attr("dev", path.display()) })
        }
        Source::Uri(uri) => network(uri).ok_or_else(|| {
            Error::wrong_input(format!(
                "A disk cannot be opened by QEMU itself as '{uri}': only rbd:, gluster:, nbd:, \
                 iscsi: and http URIs are understood; set the disk parameter access=kernelspace"
            ))
        }),
    }
}

/// URIs of disks that QEMU opens itself.
fn network(uri: &str) -> Option<DiskSource> {
    if let Some(rest) = uri.strip_prefix("rbd:") {
        return Some(rbd(rest));
    }
    if let Some(rest) = uri.strip_prefix("nbd:").filter(|rest| !rest.starts_with("//")) {
        return nbd(rest);
    }
    if let Some(rest) = uri.strip_prefix("nbd+unix:///") {
        let (export, query) = rest.split_once('?')?;
        return Some(nbd_socket(query.strip_prefix("socket=")?, export));
    }
    let (scheme, rest) = uri.split_once("://")?;
    url(scheme, rest)
}

/// `unix:/socket` or `host:port`, and `:exportname=…`: QEMU's older notation.
fn nbd(rest: &str) -> Option<DiskSource> {
    let (place, export) = rest.split_once(":exportname=").unwrap_or((rest, ""));
    if let Some(socket) = place.strip_prefix("unix:") {
        return Some(nbd_socket(socket, export));
    }
    let (host, port) = place.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    url("nbd", &format!("{host}:{port}/{export}"))
}

fn nbd_socket(socket: &str, export: &str) -> DiskSource {
    let xml = el("source")
        .attr("protocol", "nbd")
        .attr_if("name", Some(export).filter(|name| !name.is_empty()))
        .child(el("host").attr("transport", "unix").attr("socket", socket));
    DiskSource { kind: "network", xml }
}

/// `pool/image` and options `:id=…:conf=…:mon_host=a;b`, as QEMU writes them.
fn rbd(rest: &str) -> DiskSource {
    let mut parts = rest.split(':');
    let mut xml =
        el("source").attr("protocol", "rbd").attr("name", parts.next().unwrap_or_default());
    for option in parts {
        match option.split_once('=') {
            Some(("conf", file)) => xml = xml.child(el("config").attr("file", file)),
            // Its key is a secret of libvirt's, by the name that Ceph's manual gives it.
            Some(("id", user)) => {
                let usage = format!("client.{user} secret");
                let secret = el("secret").attr("type", "ceph").attr("usage", usage);
                xml = xml.child(el("auth").attr("username", user).child(secret));
            }
            Some(("mon_host", hosts)) => {
                xml = xml.children(hosts.split(';').map(|host| el("host").attr("name", host)));
            }
            _ => {}
        }
    }
    DiskSource { kind: "network", xml }
}

/// `scheme://host:port/name`.
fn url(scheme: &str, rest: &str) -> Option<DiskSource> {
    let (protocol, transport) = match scheme.split_once('+') {
        Some((protocol, transport)) => (protocol, Some(transport)),
        None => (scheme, None),
    };
    let known = ["http", "https", "ftp", "ftps", "tftp", "gluster", "nbd", "iscsi"];
    let protocol = known.into_iter().find(|known| *known == protocol)?;
    // Settings and passwords would not reach QEMU: better refused than forgotten.
    if matches!(protocol, "nbd" | "iscsi") && rest.contains(['?', '@']) {
        return None;
    }
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port.to_owned())),
        _ => (authority, None),
    };
    let port = port.or_else(|| {
        let usual = match protocol {
            "http" => "80",
            "https" => "443",
            "ftp" => "21",
            "ftps" => "990",
            "tftp" => "69",
            _ => return None,
        };
        Some(usual.to_owned())
    });
    let host = el("host")
        .attr("name", host.trim_matches(['[', ']']))
        .attr_if("port", port)
        .attr_if("transport", transport);
    // An NBD server has one export without a name.
    let name = Some(name).filter(|name| protocol != "nbd" || !name.is_empty());
    let xml = el("source").attr("protocol", protocol).attr_if("name", name).child(host);
    Some(DiskSource { kind: "network", xml })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_letters() {
        let all: Vec<_> = [0, 1, 25, 26, 27, 51, 52].into_iter().map(letters).collect();
        assert_eq!(all, ["a", "b", "z", "aa", "ab", "az", "ba"]);
    }

    #[test]
    fn uris() {
        let xml = |uri: &str| network(uri).expect("known").xml.render();
        assert_eq!(
            xml("rbd:pool/image:conf=/etc/ceph/x.conf"),
            "<source protocol=\"rbd\" name=\"pool/image\">\n  \
             <config file=\"/etc/ceph/x.conf\"/>\n</source>"
        );
        assert_eq!(
            xml("rbd:pool/image:id=roost"),
            "<source protocol=\"rbd\" name=\"pool/image\">\n  <auth username=\"roost\">\n    \
             <secret type=\"ceph\" usage=\"client.roost secret\"/>\n  </auth>\n</source>"
        );
        assert_eq!(
            xml("gluster://127.0.0.1:24007/vol/dir/x.0"),
            "<source protocol=\"gluster\" name=\"vol/dir/x.0\">\n  \
             <host name=\"127.0.0.1\" port=\"24007\"/>\n</source>"
        );
        assert_eq!(
            xml("nbd:unix:/run/x.sock:exportname=d0"),
            "<source protocol=\"nbd\" name=\"d0\">\n  \
             <host transport=\"unix\" socket=\"/run/x.sock\"/>\n</source>"
        );
        assert_eq!(
            xml("nbd:unix:/run/x.sock"),
            "<source protocol=\"nbd\">\n  \
             <host transport=\"unix\" socket=\"/run/x.sock\"/>\n</source>"
        );
        assert_eq!(xml("nbd+unix:///d0?socket=/run/x"), xml("nbd:unix:/run/x:exportname=d0"));
        assert_eq!(
            xml("nbd://10.0.0.5:10809/d0"),
            "<source protocol=\"nbd\" name=\"d0\">\n  \
             <host name=\"10.0.0.5\" port=\"10809\"/>\n</source>"
        );
        assert_eq!(xml("nbd:10.0.0.5:10809:exportname=d0"), xml("nbd://10.0.0.5:10809/d0"));
        assert_eq!(
            xml("nbd://[fd00::5]:10809"),
            "<source protocol=\"nbd\">\n  <host name=\"fd00::5\" port=\"10809\"/>\n</source>"
        );
        assert_eq!(
            xml("iscsi://10.0.0.5:3260/iqn.2026-11.org.example:d0/1"),
            "<source protocol=\"iscsi\" name=\"iqn.2026-11.org.example:d0/1\">\n  \
             <host name=\"10.0.0.5\" port=\"3260\"/>\n</source>"
        );
        for unknown in ["magic://x", "iscsi://user%secret@h/iqn/1", "nbd://h/x?tls", "nbd:h", "x"] {
            assert!(network(unknown).is_none(), "{unknown}");
        }
    }
}
