//! Runs the scripts of an OS.

use super::definition::Definition;
use super::environment::{self, Environment};
use crate::blocking::blocking;
use crate::clock;
use crate::exec::Command;
use crate::hypervisor::Attachment;
use roost_proto::error::{Error, Result};
use roost_proto::node::{GuestSpec, OsScript};
use roost_proto::objects::ParamMap;
use roost_proto::paths::Paths;
use std::time::Duration;

/// Lines of a failed script's log that the error repeats.
const LAST: usize = 20;
/// A check of parameters that takes longer has failed.
const VERIFY: Duration = Duration::from_secs(300);

/// What a script is run for.
#[derive(Debug)]
pub struct Run<'a> {
    pub guest: &'a GuestSpec,
    /// Public parameters.
    pub osparams: ParamMap,
    /// Private and secret ones; they are in the script's environment and nowhere else.
    pub osparams_private: ParamMap,
    pub debug: bool,
    /// The guest's assembled disks.
    pub disks: Vec<Attachment>,
}

/// Runs a script that works on an instance, as long as it takes. Its output is in
/// `<log>/os/{add|rename}-<os>-<instance>-<time>.log`; on failure the last lines are in the error.
pub async fn run(paths: &Paths, run: Run<'_>, script: &OsScript) -> Result<()> {
    let Run { guest, osparams, osparams_private, debug, disks } = run;
    let os = find(paths, &guest.os).await?;
    check_formats(&os, guest)?;
    let mut env = environment::core(&os, &guest.os, &[&osparams, &osparams_private], debug);
    environment::instance(&mut env, guest, &disks);
    let (file, kind) = match script {
        OsScript::Create { reinstall } => {
            if !os.trusted {
                return Err(Error::environment(format!(
                    "OS '{}' has only a 'create_untrusted' script, which must run in a helper \
                     instance; this version runs 'create' scripts only",
                    os.name
                )));
            }
            if *reinstall {
                env.insert("INSTANCE_REINSTALL".into(), "1".into());
            }
            ("create", "add")
        }
        OsScript::Rename { old_name } => {
            env.insert("OLD_INSTANCE_NAME".into(), old_name.clone());
            ("rename", "rename")
        }
    };
    let name = format!("{kind}-{}-{}-{}.log", guest.os, guest.name, clock::file_stamp());
    let log = paths.os_log_dir().join(name.replace('/', "_"));
    let end = script_of(&os, file, env).log(&log).run().await?;
    if end.ok() {
        return Ok(());
    }
    Err(Error::exec(format!(
        "The script '{file}' of OS '{}' {} for instance {}; the last lines of its log '{}' are:\n{}",
        os.name,
        end.end,
        guest.name,
        log.display(),
        end.last_lines(LAST)
    )))
}

/// Whether an OS takes these parameters (and, unless `force_variant`, has the variant).
pub async fn validate(
    paths: &Paths,
    name: &str,
    osparams: &ParamMap,
    force_variant: bool,
) -> Result<()> {
    let os = find(paths, name).await?;
    if !force_variant {
        os.check_variant(name)?;
    }
    if os.api < 20 {
        return Ok(());
    }
    let known = |key: &str| os.parameters.iter().any(|(name, _)| name.eq_ignore_ascii_case(key));
    let unknown: Vec<&str> = osparams.keys().map(String::as_str).filter(|k| !known(k)).collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = os.parameters.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Error::wrong_input(format!(
            "OS '{}' has no parameters {}; it has: {}",
            os.name,
            unknown.join(", "),
            known.join(", ")
        )));
    }
    let env = environment::core(&os, name, &[osparams], false);
    let end = script_of(&os, "verify", env).arg("parameters").deadline(VERIFY).run().await?;
    if end.ok() {
        return Ok(());
    }
    Err(Error::wrong_input(format!(
        "The parameters are refused by the script 'verify' of OS '{}' ({}):\n{}",
        os.name,
        end.end,
        end.last_lines(LAST)
    )))
}

/// A script that takes every disk for a plain image would destroy one that is not. An OS that
/// knows other formats (by `DISK_n_FORMAT`) lists them in its file `disk_formats`, one a line.
pub(super) fn check_formats(os: &Definition, guest: &GuestSpec) -> Result<()> {
    let known = std::fs::read_to_string(os.dir.join("disk_formats")).unwrap_or_default();
    let knows = |format: &str| format == "raw" || known.lines().any(|line| line.trim() == format);
    match guest.disks.iter().find(|disk| !knows(disk.disk.format())) {
        None => Ok(()),
        Some(disk) => Err(Error::environment(format!(
            "OS '{}' does not know the format '{}' of disk {}; use format=raw, --no-install, or \
             an OS whose file 'disk_formats' lists it",
            os.name,
            disk.disk.format(),
            disk.index
        ))),
    }
}

pub(super) async fn find(paths: &Paths, name: &str) -> Result<Definition> {
    let (paths, name) = (paths.clone(), name.to_owned());
    blocking(move || Definition::find(&paths, &name)).await
}

pub(super) fn script_of(os: &Definition, script: &str, env: Environment) -> Command {
    Command::new(os.dir.join(script)).dir(&os.dir).envs(env)
}

#[cfg(test)]
mod tests {
    use super::super::definition::tests::{FULL, make};
    use super::*;
    use crate::hypervisor::{ImageFormat, Source};
    use serde_json::json;
    use std::fs;
    use std::path::Path;

    /// A guest with one disk, at `disk`, and one network card.
    fn guest(disk: &Path) -> (GuestSpec, Attachment) {
        let uuid = "11111111-0000-4000-8000-000000000001";
        let spec: GuestSpec = serde_json::from_value(json!({
            "uuid": "11111111-0000-4000-8000-000000000000",
            "name": "web1.example.com",
            "hypervisor": "kvm",
            "hvparams": {"disk_type": "paravirtual", "nic_type": "virtio", "acpi": true,
                         "kernel_path": ""},
            "beparams": {"maxmem": 512, "always_failover": false, "x": null},
            "os": "debian+testing",
            "primary_node": "n1", "secondary_nodes": ["n2", "n3"],
            "ctime": 1700000000.0, "mtime": 1700000000.25,
            "disks": [{"index": 0, "disk": {
                "uuid": uuid, "dev_type": "file", "size": 1024, "name": "root",
                "logical_id": ["loop", "/srv/x"]}}],
            "nics": [{"index": 0, "uuid": "22222222-0000-4000-8000-000000000000",
                "mac": "aa:00:00:00:00:01", "ip": "10.0.0.5", "mode": "bridged", "link": "br0",
                "network": {"name": "lan", "uuid": "u", "tags": ["a", "b"],
                            "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}}],
        }))
        .expect("a guest");
        let attachment = Attachment {
            index: 0,
            uuid: uuid.parse().expect("uuid"),
            source: Source::File(disk.to_owned()),
            format: ImageFormat::Raw,
            readonly: false,
            shared: false,
        };
        (spec, attachment)
    }

    fn params(pairs: &[(&str, &str)]) -> ParamMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect()
    }

    #[tokio::test]
    async fn create_is_told_exactly_what_is_documented() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let dir = make(&paths, 0, "debian", FULL);
        make(
            &paths,
            0,
            "debian",
            &[("create", "#!/bin/sh\nenv | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort > env\n")],
        );
        let disk = root.path().join("disk0");
        fs::write(&disk, "").expect("disk");
        let (spec, attachment) = guest(&disk);
        let what = Run {
            guest: &spec,
            osparams: params(&[("dhcp", "yes"), ("root-size", "5G")]),
            osparams_private: params(&[("password", "secret")]),
            debug: true,
            disks: vec![attachment],
        };
        run(&paths, what, &OsScript::Create { reinstall: true }).await.expect("created");
        let env = fs::read_to_string(dir.join("env")).expect("it ran in its directory");
        let expected = format!(
            "DEBUG_LEVEL=1\nDISK_0_ACCESS=rw\nDISK_0_BACKEND_TYPE=file:loop\n\
             DISK_0_FRONTEND_TYPE=paravirtual\nDISK_0_NAME=root\nDISK_0_PATH={}\n\
             DISK_0_SIZE=1024\nDISK_0_UUID=11111111-0000-4000-8000-000000000001\nDISK_COUNT=1\n\
             HYPERVISOR=kvm\nINSTANCE_BE_always_failover=False\nINSTANCE_BE_maxmem=512\n\
             INSTANCE_BE_x=None\nINSTANCE_CTIME=1700000000.0\nINSTANCE_HV_acpi=True\n\
             INSTANCE_HV_disk_type=paravirtual\nINSTANCE_HV_kernel_path=\n\
             INSTANCE_HV_nic_type=virtio\nINSTANCE_MTIME=1700000000.25\n\
             INSTANCE_NAME=web1.example.com\nINSTANCE_OS=debian+testing\n\
             INSTANCE_PRIMARY_NODE=n1\nINSTANCE_REINSTALL=1\nINSTANCE_SECONDARY_NODES=n2 n3\n\
             INSTANCE_UUID=11111111-0000-4000-8000-000000000000\nNIC_0_BRIDGE=br0\n\
             NIC_0_FRONTEND_TYPE=virtio\nNIC_0_IP=10.0.0.5\nNIC_0_LINK=br0\n\
             NIC_0_MAC=aa:00:00:00:00:01\nNIC_0_MODE=bridged\nNIC_0_NETWORK_GATEWAY=10.0.0.1\n\
             NIC_0_NETWORK_NAME=lan\nNIC_0_NETWORK_SUBNET=10.0.0.0/24\nNIC_0_NETWORK_TAGS=a b\n\
             NIC_0_NETWORK_UUID=u\nNIC_0_UUID=22222222-0000-4000-8000-000000000000\nNIC_COUNT=1\n\
             OSP_DHCP=yes\nOSP_PASSWORD=secret\nOSP_ROOT_SIZE=5G\nOS_API_VERSION=20\n\
             OS_NAME=debian\nOS_VARIANT=testing\nPATH=/sbin:/bin:/usr/sbin:/usr/bin\n",
            disk.display()
        );
        assert_eq!(env, expected);
        let logs: Vec<_> = fs::read_dir(paths.os_log_dir()).expect("log").flatten().collect();
        let name = logs[0].file_name().into_string().expect("utf-8");
        assert!(name.starts_with("add-debian+testing-web1.example.com-2"), "{name}");
    }

    #[tokio::test]
    async fn a_failed_script_tells_its_last_lines() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        make(&paths, 0, "debian", FULL);
        let fails = "#!/bin/sh\nseq 1 30; echo was $OLD_INSTANCE_NAME >&2; exit 2\n";
        make(&paths, 0, "debian", &[("rename", fails)]);
        let (spec, attachment) = guest(&root.path().join("none"));
        let what = Run {
            guest: &spec,
            osparams: ParamMap::new(),
            osparams_private: ParamMap::new(),
            debug: false,
            disks: vec![attachment],
        };
        let old = OsScript::Rename { old_name: "old".into() };
        let error = run(&paths, what, &old).await.expect_err("it fails").message;
        assert!(error.contains("'rename' of OS 'debian' exited with code 2"), "{error}");
        assert!(error.ends_with("are:\n12\n13\n14\n15\n16\n17\n18\n19\n20\n21\n22\n23\n24\n25\n26\n27\n28\n29\n30\nwas old"), "{error}");
    }

    #[tokio::test]
    async fn parameters_are_checked_by_the_os() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        make(&paths, 0, "debian", FULL);
        let verify = "#!/bin/sh\n[ \"$1\" = parameters ] && [ \"$OSP_DHCP\" = yes ] && exit 0\n\
                      echo dhcp must be yes; exit 1\n";
        make(&paths, 0, "debian", &[("verify", verify)]);
        let check = async |name: &str, pairs: &[(&str, &str)], force| {
            validate(&paths, name, &params(pairs), force).await
        };
        check("debian+stable", &[("dhcp", "yes")], false).await.expect("good");
        let error = check("debian+stable", &[("dhcp", "no")], false).await.expect_err("bad");
        assert!(error.message.ends_with("dhcp must be yes"), "{error}");
        let error = check("debian+stable", &[("color", "red")], false).await.expect_err("unknown");
        assert_eq!(error.message, "OS 'debian' has no parameters color; it has: dhcp, mirror");
        check("debian+odd", &[("dhcp", "yes")], true).await.expect("forced");
        check("debian+odd", &[("dhcp", "yes")], false).await.expect_err("no such variant");
        check("none", &[], false).await.expect_err("no such OS");
    }
}
