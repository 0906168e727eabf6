//! A node's own libvirtd: reached at `qemu:///system` inside the node.

use std::time::Duration;

use super::error::{Error, Result};
use super::exec;
use super::layout::SHARED_DIR;
use super::node::Node;
use super::process::wait_until;

/// Where libvirtd leaves its pid.
pub const PID_FILE: &str = "/run/libvirtd.pid";

/// What the host must have for it: (program, Debian package).
pub const PROGRAMS: &[(&str, &str)] = &[
    ("libvirtd", "libvirt-daemon"),
    ("virsh", "libvirt-clients"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
];

/// Writes the node's `/etc/libvirt`. The host's own configuration plays no part.
pub fn configure(node: &Node<'_>, ip: &str) -> Result<()> {
    let name = format!("{}/{}", node.layout().dir().display(), node.name());
    let uuid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
    // All nodes have the machine's DMI uuid, and libvirt refuses to migrate to "itself".
    let daemon = format!(
        "listen_tls = 0\n\
         listen_tcp = 0\n\
         auth_unix_ro = \"none\"\n\
         auth_unix_rw = \"none\"\n\
         unix_sock_rw_perms = \"0700\"\n\
         host_uuid = \"{uuid}\"\n\
         log_outputs = \"2:file:/var/log/libvirt/libvirtd.log\"\n"
    );
    // Namespaces, cgroups and ownership: the lab's own namespaces are isolation enough, and disks
    // of the shared folder must look the same on both ends of a migration.
    let qemu = format!(
        "user = \"root\"\n\
         group = \"root\"\n\
         dynamic_ownership = 0\n\
         remember_owner = 0\n\
         security_driver = \"none\"\n\
         namespaces = []\n\
         cgroup_controllers = []\n\
         stdio_handler = \"file\"\n\
         migration_address = \"{ip}\"\n\
         shared_filesystems = [ \"{SHARED_DIR}\" ]\n"
    );
    // libvirtd leaves making these to its packages.
    let argv = ["mkdir", "-p", "/var/log/libvirt/qemu", "/var/lib/libvirt/images"];
    node.exec(&argv)?.success(&argv.join(" "))?;
    for (name, text) in [("libvirtd.conf", daemon), ("qemu.conf", qemu)] {
        node.write(&format!("/etc/libvirt/{name}"), 0o600, text.as_bytes())?;
    }
    Ok(())
}

/// Starts it and returns when it answers.
pub fn start(node: &Node<'_>) -> Result<()> {
    let argv = ["libvirtd", "--daemon", "--pid-file", PID_FILE];
    exec::collect(node.command(&argv)?, &argv)?.success("libvirtd --daemon")?;
    let limit = Duration::from_secs(120);
    let answers = ["virsh", "-c", "qemu:///system", "version"];
    let wait = wait_until(
        limit,
        || format!("an answer of {}'s libvirtd", node.name()),
        || node.exec(&answers).is_ok_and(|o| o.ok()),
    );
    wait.map_err(|e| match e {
        Error::Timeout { what, seconds, .. } => {
            let log = node.layout().private(node.name(), "/var/log/libvirt");
            let hint = log.map(|d| format!(": see {}/libvirtd.log", d.display()));
            Error::Timeout { what, seconds, hint: hint.unwrap_or_default() }
        }
        other => other,
    })
}

/// Names of the guests that run on the node; empty when its libvirtd does not answer.
pub fn guests(node: &Node<'_>) -> Vec<String> {
    let argv = ["virsh", "-c", "qemu:///system", "-q", "list", "--name"];
    let out = node.exec_within(Duration::from_secs(5), &argv);
    let names = out.ok().filter(|o| o.ok()).map(|o| o.stdout).unwrap_or_default();
    names.split_whitespace().map(str::to_owned).collect()
}
