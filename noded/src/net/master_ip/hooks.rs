//! Hooks of the master IP: `master-ip-turnup` and `master-ip-turndown`, run by the node itself,
//! with the variables that Ganeti's reference names for these two.

use super::Turn;
use crate::hooks;
use roost_proto::error::{Error, ErrorKind, Result};
use roost_proto::node::{HookPhase, MasterIp};
use roost_proto::paths::Paths;
use std::collections::BTreeMap;

/// Where scripts expect the state: Ganeti's path, whatever root the daemon has.
const DATA_DIR: &str = "/var/lib/ganeti";

/// Runs those of a phase. Errors: one before it vetoed. Result: those that failed after it.
pub async fn run(
    paths: &Paths,
    address: &MasterIp,
    turn: Turn,
    phase: HookPhase,
) -> Result<Vec<String>> {
    let path = match turn {
        Turn::Up => "master-ip-turnup",
        Turn::Down => "master-ip-turndown",
    };
    let results = hooks::run(paths, path, phase, &environment(address, turn, path, phase)).await?;
    let failed: Vec<_> = results
        .into_iter()
        .filter(|hook| hook.ok == Some(false))
        .map(|hook| format!("script {} failed, output: {}", hook.script, hook.output))
        .collect();
    if phase == HookPhase::Pre && !failed.is_empty() {
        return Err(Error {
            kind: ErrorKind::HooksAbort,
            error_type: None,
            message: failed.join("\n"),
        });
    }
    Ok(failed)
}

fn environment(
    address: &MasterIp,
    turn: Turn,
    path: &str,
    phase: HookPhase,
) -> BTreeMap<String, String> {
    let op = match turn {
        Turn::Up => "OP_CLUSTER_IP_TURNUP",
        Turn::Down => "OP_CLUSTER_IP_TURNDOWN",
    };
    let phase_name = if phase == HookPhase::Pre { "pre" } else { "post" };
    let mut env = BTreeMap::new();
    let mut put = |name: String, value: &str| env.insert(name, value.to_owned());
    for (name, value) in [
        ("HOOKS_VERSION", "2"),
        ("HOOKS_PHASE", phase_name),
        ("HOOKS_PATH", path),
        ("OP_CODE", op),
        ("OBJECT_TYPE", "CLUSTER"),
        ("DATA_DIR", DATA_DIR),
        ("CLUSTER", address.cluster.as_str()),
        ("MASTER", address.master.as_str()),
    ] {
        put(format!("GANETI_{name}"), value);
    }
    for (name, value) in super::script::variables(address) {
        put(format!("GANETI_{name}"), &value);
        if phase == HookPhase::Post {
            put(format!("GANETI_POST_{name}"), &value);
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn hook(paths: &Paths, directory: &str, text: &str) {
        let dir = paths.hooks_dir().join(directory);
        fs::create_dir_all(&dir).expect("directory");
        fs::write(dir.join("log"), text).expect("script");
        fs::set_permissions(dir.join("log"), fs::Permissions::from_mode(0o755)).expect("mode");
    }

    #[tokio::test]
    async fn scripts_know_the_address() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let seen = root.path().join("seen");
        let script = format!("#!/bin/sh\nenv | grep ^GANETI | sort > {}\n", seen.display());
        hook(&paths, "master-ip-turnup-post.d", &script);
        let said = run(&paths, &example(), Turn::Up, HookPhase::Post).await.expect("no veto");
        assert_eq!(said, [] as [&str; 0]);
        let text = fs::read_to_string(seen).expect("it ran");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "GANETI_CLUSTER=c1.example.com",
                "GANETI_CLUSTER_IP_VERSION=4",
                "GANETI_DATA_DIR=/var/lib/ganeti",
                "GANETI_HOOKS_PATH=master-ip-turnup",
                "GANETI_HOOKS_PHASE=post",
                "GANETI_HOOKS_VERSION=2",
                "GANETI_MASTER=node1.example.com",
                "GANETI_MASTER_IP=192.0.2.250",
                "GANETI_MASTER_NETDEV=br0",
                "GANETI_MASTER_NETMASK=24",
                "GANETI_OBJECT_TYPE=CLUSTER",
                "GANETI_OP_CODE=OP_CLUSTER_IP_TURNUP",
                "GANETI_POST_CLUSTER_IP_VERSION=4",
                "GANETI_POST_MASTER_IP=192.0.2.250",
                "GANETI_POST_MASTER_NETDEV=br0",
                "GANETI_POST_MASTER_NETMASK=24",
            ]
        );
    }

    #[tokio::test]
    async fn before_they_veto_and_after_they_complain() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        for phase in ["pre", "post"] {
            let dir = format!("master-ip-turndown-{phase}.d");
            hook(&paths, &dir, "#!/bin/sh\necho $GANETI_OP_CODE; exit 1\n");
        }
        let veto = run(&paths, &example(), Turn::Down, HookPhase::Pre).await.expect_err("a veto");
        assert_eq!(veto.kind, ErrorKind::HooksAbort);
        let text = "script master-ip-turndown-pre.d/log failed, output: OP_CLUSTER_IP_TURNDOWN";
        assert_eq!(veto.message, text);
        let said = run(&paths, &example(), Turn::Down, HookPhase::Post).await.expect("done");
        assert_eq!(said.len(), 1, "{said:?}");
        let up = run(&paths, &example(), Turn::Up, HookPhase::Pre).await;
        assert_eq!(up, Ok(vec![]), "it has other hooks");
    }
}
