//! Exact XML of whole guests.

use super::*;
use crate::hypervisor::{ImageFormat, Source};
use roost_proto::choices::Hypervisor;
use roost_proto::params::hypervisor::defaults;
use serde_json::{Value, json};
use uuid::Uuid;

fn guest(changes: &[(&str, Value)]) -> GuestSpec {
    let mut hvparams = defaults(Hypervisor::Kvm);
    for (name, value) in changes {
        hvparams.insert((*name).into(), value.clone());
    }
    serde_json::from_value(json!({
        "uuid": Uuid::from_u128(1), "name": "web.example.com", "hypervisor": "kvm",
        "hvparams": hvparams, "beparams": {"maxmem": 128, "minmem": 128, "vcpus": 2},
        "network_port": 11003,
        "nics": [{"index": 0, "uuid": Uuid::from_u128(2), "mac": "aa:00:00:01:02:03",
                  "mode": "bridged", "link": "br0"}],
    }))
    .expect("a guest")
}

fn attachment(index: u32) -> Attachment {
    Attachment {
        index,
        uuid: Uuid::from_u128(16 + u128::from(index)).into(),
        source: Source::File("/srv/ganeti/file-storage/web/disk0".into()),
        format: ImageFormat::Raw,
        readonly: false,
        shared: false,
    }
}

fn host() -> Host {
    Host {
        q35: true,
        emulator: "/usr/bin/qemu-system-x86_64".into(),
        console_log: "/var/log/ganeti/console/web.example.com.log".into(),
        ..Host::default()
    }
}

fn xml(changes: &[(&str, Value)], disks: &[Attachment]) -> String {
    domain(&guest(changes), disks, &host()).expect("xml")
}

/// The part of a text from `from` to the end of the first `to` behind it.
fn part<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    let length = text[start..].find(to).unwrap_or_else(|| panic!("no {to} in {text}"));
    &text[start..start + length + to.len()]
}

#[test]
fn a_plain_guest() {
    let slots = [("kvm_pci_reservations", json!(32))];
    assert_eq!(xml(&slots, &[attachment(0)]), include_str!("plain.xml").trim_end());
}

#[test]
fn a_kernel_from_outside() {
    let text = xml(
        &[
            ("kernel_path", json!("/boot/vmlinuz")),
            ("initrd_path", json!("/boot/initrd")),
            ("kernel_args", json!("ro quiet")),
            ("serial_speed", json!(115_200)),
        ],
        &[],
    );
    assert!(text.contains("<initrd>/boot/initrd</initrd>"), "{text}");
    assert!(
        text.contains("<cmdline>root=/dev/vda1 ro quiet console=ttyS0,115200</cmdline>"),
        "{text}"
    );
    assert!(!text.contains("<boot"), "{text}");
}

#[test]
fn disks_by_type_and_cache() {
    let mut disk = attachment(1);
    disk.format = ImageFormat::Qcow2;
    disk.readonly = true;
    let text = xml(&[("disk_type", json!("ide")), ("disk_discard", json!("unmap"))], &[disk]);
    assert_eq!(
        part(&text, "    <disk", "</disk>"),
        r#"    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" io="threads" discard="unmap"/>
      <source file="/srv/ganeti/file-storage/web/disk0"/>
      <target dev="sdb" bus="sata"/>
      <serial>00000000000000000000</serial>
      <readonly/>
      <alias name="ua-00000000-0000-0000-0000-000000000011"/>
    </disk>"#
    );
    let mut shared = attachment(0);
    shared.shared = true;
    shared.source = Source::Block("/dev/drbd0".into());
    let text = xml(
        &[
            ("disk_type", json!("scsi-hd")),
            ("disk_cache", json!("writeback")),
            ("scsi_controller_type", json!("virtio-scsi-pci")),
        ],
        &[shared],
    );
    assert!(text.contains(r#"cache="none""#), "shared disks are never cached: {text}");
    assert!(text.contains(r#"<source dev="/dev/drbd0"/>"#), "{text}");
    assert!(text.contains(r#"<controller type="scsi" index="0" model="virtio-scsi"/>"#), "{text}");
    let native = guest(&[("disk_aio", json!("native"))]);
    let error = domain(&native, &[attachment(0)], &host()).expect_err("needs no cache");
    assert!(error.message.contains("set disk_cache=none"), "{error}");
}

#[test]
fn boot_order_and_removable_media() {
    let text = xml(
        &[
            ("boot_order", json!("cdrom,disk,network,floppy")),
            ("cdrom_image_path", json!("http://boot.example.com/a/x.iso")),
            ("cdrom2_image_path", json!("/iso/b.iso")),
            ("cdrom_disk_type", json!("paravirtual")),
            ("floppy_image_path", json!("/img/f.img")),
        ],
        &[],
    );
    assert_eq!(
        part(&text, "    <boot", "</os>"),
        "    <boot dev=\"cdrom\"/>\n    <boot dev=\"hd\"/>\n    <boot dev=\"network\"/>\n    \
         <boot dev=\"fd\"/>\n  </os>"
    );
    assert!(text.contains(r#"<source protocol="http" name="a/x.iso">"#), "{text}");
    assert!(text.contains(r#"<host name="boot.example.com" port="80"/>"#), "{text}");
    assert!(text.contains(r#"<target dev="vdv" bus="virtio"/>"#), "{text}");
    assert!(text.contains(r#"<target dev="fda" bus="fdc"/>"#), "{text}");
}

#[test]
fn processors() {
    let text = xml(&[("cpu_mask", json!("0-1,^0:all"))], &[]);
    assert!(text.contains("<vcpu placement=\"static\">2</vcpu>"), "{text}");
    assert!(text.contains("<vcpupin vcpu=\"0\" cpuset=\"0-1,^0\"/>\n  </cputune>"), "{text}");
    let text = xml(&[("cpu_mask", json!("3"))], &[]);
    assert!(text.contains("<vcpu placement=\"static\" cpuset=\"3\">2</vcpu>"), "{text}");
    let error = domain(&guest(&[("cpu_mask", json!("0:1:2"))]), &[], &host()).expect_err("3");
    assert!(error.message.contains("has 3 parts"), "{error}");
    let text = xml(&[("cpu_type", json!("SandyBridge,+aes,-xsave")), ("cpu_cores", json!(2))], &[]);
    assert_eq!(
        part(&text, "  <cpu ", "</cpu>"),
        r#"  <cpu mode="custom" match="exact" check="none">
    <model fallback="forbid">SandyBridge</model>
    <topology sockets="1" cores="2" threads="1"/>
    <feature policy="require" name="aes"/>
    <feature policy="disable" name="xsave"/>
  </cpu>"#
    );
    let error = domain(&guest(&[("cpu_threads", json!(3))]), &[], &host()).expect_err("0 sockets");
    assert!(error.message.contains("2 vcpus"), "{error}");
    let kvm = Host { kvm: true, ..host() };
    let text = domain(&guest(&[]), &[], &kvm).expect("xml");
    assert!(text.starts_with("<domain type=\"kvm\">"), "{text}");
    assert!(text.contains("<cpu mode=\"host-model\" check=\"partial\"/>"), "{text}");
}

#[test]
fn displays() {
    let vnc = guest(&[("vnc_bind_address", json!("0.0.0.0")), ("keymap", json!("de"))]);
    let at = Host { listen: Some("0.0.0.0".into()), password: Some("p".into()), ..host() };
    let text = domain(&vnc, &[], &at).expect("xml");
    assert_eq!(
        part(&text, "    <graphics", "</graphics>"),
        r#"    <graphics type="vnc" port="11003" autoport="no" keymap="de" passwd="p">
      <listen type="address" address="0.0.0.0"/>
    </graphics>"#
    );
    assert!(text.contains(r#"<input type="tablet" bus="usb"/>"#), "{text}");
    assert!(!text.contains(r#"<controller type="usb" model="none"/>"#), "{text}");
    let text = xml(&[("vnc_bind_address", json!("/run/vnc/"))], &[]);
    assert!(text.contains(r#"type="socket" socket="/run/vnc/web.example.com.vnc""#), "{text}");
    let spice = guest(&[
        ("spice_bind", json!("10.0.0.1")),
        ("spice_use_tls", json!(true)),
        ("spice_image_compression", json!("glz")),
        ("spice_streaming_video", json!("off")),
        ("soundhw", json!("hda,ac97")),
        ("vga", json!("qxl")),
    ]);
    let at = Host { listen: Some("10.0.0.1".into()), ..host() };
    let text = domain(&spice, &[], &at).expect("xml");
    assert_eq!(
        part(&text, "    <graphics", "</graphics>"),
        r#"    <graphics type="spice" autoport="no" tlsPort="11003" defaultMode="secure">
      <listen type="address" address="10.0.0.1"/>
      <image compression="glz"/>
      <playback compression="on"/>
      <streaming mode="off"/>
    </graphics>"#
    );
    assert!(text.contains("name=\"com.redhat.spice.0\""), "{text}");
    assert!(text.contains("<sound model=\"ich6\"/>\n    <sound model=\"ac97\"/>"), "{text}");
    assert!(text.contains("<model type=\"qxl\"/>"), "{text}");
    let error = domain(&guest(&[("soundhw", json!("all"))]), &[], &host()).expect_err("all");
    assert!(error.message.contains("soundhw=all"), "{error}");
}

#[test]
fn cards_by_mode() {
    let mut guest = guest(&[
        ("virtio_net_queues", json!(4)),
        ("vhost_net", json!(false)),
        ("use_guest_agent", json!(true)),
    ]);
    guest.nics[0].mode = roost_proto::choices::NicMode::OpenVSwitch;
    guest.nics[0].vlan = ".7".into();
    let text = domain(&guest, &[], &host()).expect("xml");
    assert_eq!(
        part(&text, "    <interface", "</interface>"),
        r#"    <interface type="bridge">
      <source bridge="br0"/>
      <virtualport type="openvswitch"/>
      <vlan>
        <tag id="7"/>
      </vlan>
      <mac address="aa:00:00:01:02:03"/>
      <model type="virtio"/>
      <driver queues="4" name="qemu"/>
      <alias name="ua-00000000-0000-0000-0000-000000000002"/>
    </interface>"#
    );
    assert!(text.contains("org.qemu.guest_agent.0"), "{text}");
    let at = Host { scripted: [guest.nics[0].uuid].into(), ..host() };
    let text = plugged_nic(&guest, &guest.nics[0], &at).expect("xml");
    assert!(text.contains(r#"<target dev="gnt0000000000" managed="no"/>"#), "{text}");
}

#[test]
fn raw_arguments_and_security() {
    let text = xml(
        &[
            ("kvm_extra", json!("-foo \"a b\" c\"d\"")),
            ("security_model", json!("user")),
            ("security_domain", json!("vm7")),
            ("reboot_behavior", json!("exit")),
            ("use_localtime", json!(true)),
            ("acpi", json!(false)),
        ],
        &[],
    );
    assert!(text.contains("xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\""), "{text}");
    assert_eq!(
        part(&text, "  <qemu:commandline", "</qemu:commandline>"),
        "  <qemu:commandline>\n    <qemu:arg value=\"-foo\"/>\n    <qemu:arg value=\"a b\"/>\n    \
         <qemu:arg value=\"cd\"/>\n  </qemu:commandline>"
    );
    assert!(text.contains("<label>vm7:vm7</label>"), "{text}");
    assert!(text.contains("<on_reboot>destroy</on_reboot>"), "{text}");
    assert!(text.contains("<clock offset=\"localtime\"/>"), "{text}");
    assert!(!text.contains("<acpi/>"), "{text}");
    domain(&guest(&[("kvm_extra", json!("\"x"))]), &[], &host()).expect_err("open quote");
}

#[test]
fn huge_pages_need_a_mount() {
    let guest = guest(&[("mem_path", json!("/hugepages"))]);
    let error = domain(&guest, &[], &host()).expect_err("no mount");
    assert!(error.message.contains("mem_path=/hugepages"), "{error}");
    let text = domain(&guest, &[], &Host { hugepage: Some(2048), ..host() }).expect("xml");
    assert!(text.contains("<page size=\"2048\" unit=\"KiB\"/>"), "{text}");
    assert!(text.contains("<allocation mode=\"immediate\"/>"), "{text}");
}
