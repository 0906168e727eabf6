//! An etcd cluster on the first nodes of a lab, as a careful administrator would set it up: TLS
//! between all, certificates for clients, users with passwords.
//!
//! ```text
//!   node1: etcd ═══ node2: etcd ═══ node3: etcd        members live and die with their nodes
//!      user root: everything (etcdctl by hand)
//!      user roost: the keys below /roost/ (masterd)
//! ```
//!
//! Certificates are made once, in the lab's folder, and copied to `/etc/etcd` of every node, so that
//! nodes without a member can reach the others too.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::daemon::{self, Activity};
use super::error::{Context as _, Error, Result};
use super::layout::{Layout, node_ip, node_name};
use super::node::Node;
use super::process::wait_until;

/// What the host must have for it: (program, Debian package).
pub const PROGRAMS: &[(&str, &str)] = &[("etcd", "etcd-server"), ("etcdctl", "etcd-client")];

/// Where certificates and passwords are, in every node.
pub const DIR: &str = "/etc/etcd";
/// Most members there are.
const MEMBERS: usize = 3;
const ROOT_PASSWORD: &str = "lab-root";
const PASSWORD: &str = "lab-roost";

/// How many nodes have a member.
pub fn members(nodes: usize) -> usize {
    nodes.min(MEMBERS)
}

/// Where clients reach it.
pub fn endpoints(nodes: usize) -> String {
    let url = |n| format!("https://{}:2379", node_ip(n));
    (1..=members(nodes)).map(url).collect::<Vec<_>>().join(",")
}

/// The options that make `gnt-cluster init` use it.
pub fn init_options(nodes: usize) -> Vec<String> {
    let at = |file: &str| format!("{DIR}/{file}");
    vec![
        "--store=etcd".into(),
        format!("--etcd-endpoints={}", endpoints(nodes)),
        format!("--etcd-ca={}", at("ca.pem")),
        format!("--etcd-certificate={}", at("client.pem")),
        format!("--etcd-key={}", at("client.key")),
        "--etcd-user=roost".into(),
        format!("--etcd-password-file={}", at("password")),
    ]
}

/// What makes `etcdctl` work by hand on a node; empty when the lab has no etcd.
pub fn environment(layout: &Layout, node: &str) -> Vec<(String, String)> {
    let there = layout.private(node, DIR).is_some_and(|dir| dir.join("endpoints").exists());
    if !there {
        return Vec::new();
    }
    let dir = layout.private(node, DIR).unwrap_or_default();
    let endpoints = fs::read_to_string(dir.join("endpoints")).unwrap_or_default();
    let mut environment = vec![
        ("API", "3".to_owned()),
        ("ENDPOINTS", endpoints),
        ("CACERT", format!("{DIR}/ca.pem")),
        ("CERT", format!("{DIR}/client.pem")),
        ("KEY", format!("{DIR}/client.key")),
    ];
    if layout.etcd_secured().exists() {
        environment.push(("USER", format!("root:{ROOT_PASSWORD}")));
    }
    environment.into_iter().map(|(name, value)| (format!("ETCDCTL_{name}"), value)).collect()
}

/// Makes certificates and passwords for all nodes; again only what is missing.
pub fn prepare(layout: &Layout, nodes: usize) -> Result<()> {
    let store = layout.etcd();
    if !store.join("client.pem").exists() {
        fs::create_dir_all(&store).what(|| format!("cannot make {}", store.display()))?;
        make_certificates(&store, nodes).map_err(|why| Error::Invalid(why.to_string()))?;
    }
    for n in 1..=nodes {
        let Some(dir) = layout.private(&node_name(n), DIR) else { continue };
        fs::create_dir_all(&dir).what(|| format!("cannot make {}", dir.display()))?;
        for file in ["ca.pem", "client.pem", "client.key"] {
            copy(store.join(file), dir.join(file))?;
        }
        for kind in ["pem", "key"] {
            copy(store.join(format!("{}.{kind}", node_name(n))), dir.join(format!("own.{kind}")))?;
        }
        for (file, text) in [("password", PASSWORD), ("endpoints", &endpoints(nodes))] {
            secret(dir.join(file), text)?;
        }
    }
    Ok(())
}

fn make_certificates(dir: &std::path::Path, nodes: usize) -> anyhow::Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    secret(dir.join("ca.pem"), &authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let one = |file: &str, names: Vec<String>| -> anyhow::Result<()> {
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        secret(dir.join(format!("{file}.key")), &key.serialize_pem())?;
        secret(dir.join(format!("{file}.pem")), &params.signed_by(&key, &issuer)?.pem())?;
        Ok(())
    };
    for n in 1..=nodes {
        let name = node_name(n);
        let names = [node_ip(n), "127.0.0.1".into(), format!("{name}.lab"), name.clone()];
        one(&name, names.into())?;
    }
    // Last: with it all are there.
    one("client", vec!["client.lab".into()])
}

/// Starts the node's member if it should have one; it may have to wait for the others.
pub fn start(node: &Node<'_>, nodes: usize) -> Result<()> {
    let Some(n) = (1..=members(nodes)).find(|n| node_name(*n) == node.name()) else {
        return Ok(());
    };
    if daemon::activity(node, "etcd").is_some() {
        return Ok(());
    }
    let peer = |n: usize| format!("https://{}:2380", node_ip(n));
    let everybody: Vec<String> =
        (1..=members(nodes)).map(|n| format!("{}={}", node_name(n), peer(n))).collect();
    let client = format!("https://{}:2379", node_ip(n));
    let options = [
        ("name", node_name(n)),
        ("data-dir", "/var/lib/etcd/data".into()),
        ("listen-client-urls", format!("{client},https://127.0.0.1:2379")),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer(n)),
        ("initial-advertise-peer-urls", peer(n)),
        ("initial-cluster", everybody.join(",")),
        // A member that was cut off must not depose the leader when it returns.
        ("pre-vote", "true".into()),
        ("client-cert-auth", "true".into()),
        ("peer-client-cert-auth", "true".into()),
        ("trusted-ca-file", format!("{DIR}/ca.pem")),
        ("peer-trusted-ca-file", format!("{DIR}/ca.pem")),
        ("cert-file", format!("{DIR}/own.pem")),
        ("peer-cert-file", format!("{DIR}/own.pem")),
        ("key-file", format!("{DIR}/own.key")),
        ("peer-key-file", format!("{DIR}/own.key")),
    ];
    let options: Vec<String> =
        options.iter().map(|(name, value)| format!("--{name}={value}")).collect();
    let script = format!(
        "setsid etcd {} >>/var/lib/etcd/log 2>&1 </dev/null & \
         echo $! >/run/etcd.pid",
        options.join(" ")
    );
    node.exec(&["sh", "-c", &script])?.success(&format!("{}: etcd", node.name()))?;
    let what = || format!("start of etcd on {}", node.name());
    wait_until(Duration::from_secs(30), what, || {
        daemon::activity(node, "etcd") == Some(Activity::Running)
    })
}

/// Once: makes the users and asks for them from then on.
pub fn secure(layout: &Layout) -> Result<()> {
    if layout.etcd_secured().exists() {
        return Ok(());
    }
    let name = node_name(1);
    let node = Node::new(layout, &name);
    let control = |words: &str| {
        let argv: Vec<&str> = std::iter::once("etcdctl").chain(words.split(' ')).collect();
        node.exec_within(Duration::from_secs(20), &argv)
    };
    let what = || "an answer of the lab's etcd: see lib-etcd/log of its nodes".into();
    let answers = || control("endpoint health --cluster").is_ok_and(|said| said.ok());
    wait_until(Duration::from_secs(60), what, answers)?;
    let commands = [
        format!("user add root:{ROOT_PASSWORD}"),
        format!("user add roost:{PASSWORD}"),
        "role add roost".into(),
        "role grant-permission roost --prefix=true readwrite /roost/".into(),
        "user grant-role roost roost".into(),
        "auth enable".into(),
    ];
    for command in &commands {
        let said = control(command)?;
        // From an attempt that was interrupted.
        if !said.stderr.contains("already exist") {
            said.success(&format!("etcdctl {command}"))?;
        }
    }
    let marker = layout.etcd_secured();
    fs::write(&marker, "").what(|| format!("cannot write {}", marker.display()))
}

fn copy(from: PathBuf, to: PathBuf) -> Result<()> {
    let text = fs::read_to_string(&from).what(|| format!("cannot read {}", from.display()))?;
    secret(to, &text)
}

fn secret(path: PathBuf, text: &str) -> Result<()> {
    fs::write(&path, text).what(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .what(|| format!("cannot protect {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_three_nodes_have_members() {
        assert_eq!((members(1), members(3), members(9)), (1, 3, 3));
        assert_eq!(endpoints(2), "https://10.78.0.1:2379,https://10.78.0.2:2379");
    }

    #[test]
    fn every_node_gets_its_certificates_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), "x");
        prepare(&layout, 2).unwrap();
        let file = |n: usize| layout.private(&node_name(n), DIR).unwrap().join("own.pem");
        let before = fs::read(file(1)).unwrap();
        assert_ne!(before, fs::read(file(2)).unwrap());
        prepare(&layout, 2).unwrap();
        assert_eq!(fs::read(file(1)).unwrap(), before);
        let mode = fs::metadata(file(1)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<String> =
            environment(&layout, "node2").into_iter().map(|(name, _)| name).collect();
        assert!(
            names.contains(&"ETCDCTL_CACERT".to_owned())
                && !names.contains(&"ETCDCTL_USER".to_owned())
        );
        fs::write(layout.etcd_secured(), "").unwrap();
        assert!(environment(&layout, "node2").iter().any(|(name, _)| name == "ETCDCTL_USER"));
        assert!(environment(&Layout::new(dir.path(), "y"), "node1").is_empty());
    }
}
