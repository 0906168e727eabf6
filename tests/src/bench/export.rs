//! How fast a disk of 1 GiB is exported to another node, and imported on a third one, compared with
//! what a shell would do over the same wire.
//!
//! ```text
//!   ours:      cat (the OS script) ─► noded ══ TLS ══► noded ─► file, synced
//!   baseline:  cat ─► [gzip -1] ─► openssl s_client ══ TLS ══► openssl s_server ─► [gunzip] ─► cat ─► file, synced
//! ```
//!
//! Both read the same file on the same node, write to the same file system, and are measured one
//! after the other in the same lab. Half of the data is random, half of it is text.

use super::{figure, median};
use crate::lab::{Hypervisor, Lab, Options};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(600);
const MIB: f64 = 1024.0;
/// The scripts of an OS that does nothing but `cat`.
const OS: &[(&str, &str)] = &[
    ("create", "true"),
    ("export", "cat \"$EXPORT_DEVICE\""),
    ("import", "cat >\"$IMPORT_DEVICE\""),
    ("rename", "true"),
    ("verify", "true"),
];
/// 1 GiB on the disk of the instance: blocks of noise between blocks of text.
const FILL: &str = r#"
disk=$(find /srv/ganeti/file-storage -name '*disk0')
text=/srv/ganeti/export/.text
yes 'a line of the text of a disk' | head -c 8M >$text
for i in $(seq 64); do head -c 8M /dev/urandom; cat $text; done | dd of=$disk bs=1M iflag=fullblock conv=notrunc,fsync status=none
rm $text
"#;

/// Measures and prints the figures; with `quick` each once.
pub fn measure(quick: bool) -> Result<()> {
    let os_dir = std::env::temp_dir().join(format!("roost-bench-os-{}", std::process::id()));
    let dir = os_dir.join("cat");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("ganeti_api_version"), "20\n")?;
    fs::write(dir.join("parameters.list"), "")?;
    for (name, body) in OS {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let lab = Lab::up(Options {
        os_dir: os_dir.clone(),
        hypervisor: Hypervisor::Fake,
        init: true,
        ..Options::new("benchx")
    })?;
    let here = |command: &str| shell(&lab, "node1", command);
    here(
        "gnt-instance add -t file --disk 0:size=1G -o cat -n node1 --no-start --ignore-ipolicy x.lab",
    )?;
    here(FILL)?;
    let keys = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout /srv/ganeti/export/.bench-key -out \
                /srv/ganeti/export/.bench-cert 2>/dev/null";
    shell(&lab, "node2", keys)?;
    let times = if quick { 1 } else { 3 };
    for (tool, pack, unpack) in [("none", "cat", "cat"), ("gzip-fast", "gzip -1", "gunzip")] {
        let (mut ours, mut theirs, mut imports) = (vec![], vec![], vec![]);
        for _ in 0..times {
            theirs.push(baseline(&lab, pack, unpack)?);
            let export = format!("gnt-backup export -n node2 --transport-compression {tool} x.lab");
            ours.push(timed(|| here(&export))?);
            let import = format!(
                "gnt-backup import -n node3 --src-dir x.lab --compress {tool} --ignore-ipolicy y.lab"
            );
            imports.push(timed(|| here(&import))?);
            here("gnt-instance remove -f y.lab")?;
        }
        let (ours, theirs, imports) = (median(ours), median(theirs), median(imports));
        figure(&format!("export of 1 GiB, compression {tool}"), MIB / ours, "MiB/s");
        figure(&format!("import of 1 GiB, compression {tool}"), MIB / imports, "MiB/s");
        figure(&format!("cat over TLS of 1 GiB, compression {tool}"), MIB / theirs, "MiB/s");
        figure(&format!("export to cat over TLS, compression {tool}"), theirs / ours, "times");
        figure(&format!("import to cat over TLS, compression {tool}"), theirs / imports, "times");
    }
    drop(lab);
    fs::remove_dir_all(&os_dir)?;
    Ok(())
}

/// What a shell does: seconds.
fn baseline(lab: &Lab, pack: &str, unpack: &str) -> Result<f64> {
    let cert = "-cert /srv/ganeti/export/.bench-cert -key /srv/ganeti/export/.bench-key";
    // Its standard input must neither end nor be a terminal: a pipe that it opens for both ends.
    let serve = format!(
        "cd /srv/ganeti/export; rm -f .bench-out .bench-ok .bench-in; mkfifo .bench-in; (openssl s_server \
         -accept 5999 -naccept 1 -quiet {cert} 2>/dev/null <>.bench-in | {unpack} >.bench-out; \
         sync .bench-out; echo ok >.bench-ok) >/dev/null 2>&1 &"
    );
    shell(lab, "node2", &serve)?;
    shell(lab, "node2", "until ss -Hltn sport = 5999 | grep -q .; do sleep 0.05; done")?;
    let address =
        shell(lab, "node2", "hostname -I 2>/dev/null || ip -4 -o addr show scope global")?;
    let address = address
        .split_whitespace()
        .find_map(|word| word.split('/').next()?.parse::<std::net::Ipv4Addr>().ok())
        .context("node2 has no address")?;
    let disk = "$(find /srv/ganeti/file-storage -name '*disk0')";
    let send = format!(
        "cat {disk} | {pack} | openssl s_client -connect {address}:5999 -quiet -no_ign_eof \
         -nocommands >/dev/null 2>&1"
    );
    let seconds = timed(|| {
        shell(lab, "node1", &send)?;
        shell(lab, "node2", "until [ -e /srv/ganeti/export/.bench-ok ]; do sleep 0.02; done")
    })?;
    let size = shell(
        lab,
        "node2",
        "stat -c %s /srv/ganeti/export/.bench-out; rm -f /srv/ganeti/export/.bench-out",
    )?;
    ensure!(size.trim() == "1073741824", "the baseline carried {size} bytes only");
    Ok(seconds)
}

fn timed<T>(doing: impl FnOnce() -> Result<T>) -> Result<f64> {
    let begun = Instant::now();
    doing()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn shell(lab: &Lab, node: &str, command: &str) -> Result<String> {
    let output = lab.exec_within(LIMIT, node, &["sh", "-c", command])?;
    ensure!(output.ok(), "{node}: {command}\n{}\n{}", output.stdout, output.stderr);
    Ok(output.stdout)
}
