//! The site's own way: `/etc/ganeti/scripts/master-ip-setup start|stop`, for addresses that are not
//! simply on a device — routed ones, or those of a load balancer.
//!
//! It gets four variables and nothing else, and may be run again when it is done already.

use super::Turn;
use crate::exec::Command;
use roost_proto::error::{Error, Result};
use roost_proto::node::MasterIp;
use roost_proto::paths::Paths;
use std::time::Duration;

/// Ganeti's limit for the call.
const DEADLINE: Duration = Duration::from_secs(300);

/// What scripts and hooks are told of the address.
pub fn variables(address: &MasterIp) -> [(String, String); 4] {
    [
        ("MASTER_NETDEV", address.netdev.clone()),
        ("MASTER_IP", address.ip.to_string()),
        ("MASTER_NETMASK", address.netmask.to_string()),
        ("CLUSTER_IP_VERSION", address.version().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Runs it. Result: what it printed.
pub async fn run(paths: &Paths, address: &MasterIp, turn: Turn) -> Result<Vec<String>> {
    let script = paths.conf_dir().join("scripts/master-ip-setup");
    let word = match turn {
        Turn::Up => "start",
        Turn::Down => "stop",
    };
    if !script.is_file() {
        return Err(Error::environment(format!(
            "The master IP {} cannot be handled: the script '{}' is missing on this node; install \
             it, or run 'gnt-cluster modify --use-external-mip-script=no'",
            address.ip,
            script.display()
        )));
    }
    let command = Command::new(&script).arg(word).envs(variables(address).into());
    let output = command.deadline(DEADLINE).run_ok().await?;
    Ok(output.last_lines(20).lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn the_script_gets_its_variables_and_one_word() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let missing = run(&paths, &example(), Turn::Up).await.expect_err("there is none");
        assert!(missing.message.contains("scripts/master-ip-setup' is missing"), "{missing}");

        let dir = paths.conf_dir().join("scripts");
        fs::create_dir_all(&dir).expect("directory");
        let script = dir.join("master-ip-setup");
        let text = "#!/bin/sh\necho \"$@\"; env | grep -v ^PWD | sort\n[ $1 = start ]\n";
        fs::write(&script, text).expect("script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("mode");
        let said = run(&paths, &example(), Turn::Up).await.expect("it runs");
        assert_eq!(
            said,
            [
                "start",
                "CLUSTER_IP_VERSION=4",
                "MASTER_IP=192.0.2.250",
                "MASTER_NETDEV=br0",
                "MASTER_NETMASK=24",
                "PATH=/sbin:/bin:/usr/sbin:/usr/bin",
            ]
        );
        let failed = run(&paths, &example(), Turn::Down).await.expect_err("it fails");
        assert!(failed.message.contains("exited with code 1: stop"), "{failed}");
    }
}
