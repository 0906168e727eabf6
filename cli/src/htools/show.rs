//! What several tools print: what was loaded, tables, files that were written.

use super::options::{PrintInstances, PrintNodes};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::{note, say, whole_file};
use roost_htools::balance::Plan;
use roost_htools::model::{
    Cluster, DiskTemplate, GroupIdx, InstanceIdx, InstanceSpec, NodeIdx, Policy,
};
use roost_htools::names::ShortNames;
use roost_htools::score::Score;
use roost_htools::state::Placement;
use roost_htools::tables;
use roost_htools::text;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Tags of the cluster, in a line.
pub fn tags(cx: &Cx, cluster: &Cluster) -> Outcome {
    cx.say(format_args!("Loaded cluster tags: {}", cluster.tags.join(",")))
}

/// The cluster's policy, in a line.
pub fn policy(cx: &Cx, cluster: &Cluster) -> Outcome {
    cx.say(format_args!("Loaded cluster ipolicy: {}", policy_text(&cluster.policy)))
}

/// What names are shown without, if anything.
pub fn stripped(cx: &Cx, names: &ShortNames) -> Outcome {
    if names.suffix().is_empty() {
        return Ok(());
    }
    cx.say(format_args!("Note: Stripping common suffix of '{}' from names", names.suffix()))
}

/// A policy as the reference shows its own value of it.
fn policy_text(policy: &Policy) -> String {
    let spec = |spec: &InstanceSpec| {
        let InstanceSpec { memory, cpus, disk, disks, nics, spindles } = spec;
        format!(
            "ISpec {{iSpecMemorySize = {memory}, iSpecCpuCount = {cpus}, iSpecDiskSize = {disk}, \
             iSpecDiskCount = {disks}, iSpecNicCount = {nics}, iSpecSpindleUse = {spindles}}}"
        )
    };
    let ranges: Vec<String> = policy
        .ranges
        .iter()
        .map(|range| {
            let (min, max) = (spec(&range.min), spec(&range.max));
            format!("MinMaxISpecs {{minMaxISpecsMinSpec = {min}, minMaxISpecsMaxSpec = {max}}}")
        })
        .collect();
    let templates: Vec<&str> = policy.templates.iter().map(|t| template_text(*t)).collect();
    format!(
        "IPolicy {{iPolicyMinMaxISpecs = [{}], iPolicyStdSpec = {}, iPolicyDiskTemplates = [{}], \
         iPolicyVcpuRatio = {:?}, iPolicySpindleRatio = {:?}}}",
        ranges.join(","),
        spec(&policy.standard),
        templates.join(","),
        policy.vcpu_ratio,
        policy.spindle_ratio,
    )
}

fn template_text(template: DiskTemplate) -> &'static str {
    match template {
        DiskTemplate::Diskless => "DTDiskless",
        DiskTemplate::File => "DTFile",
        DiskTemplate::SharedFile => "DTSharedFile",
        DiskTemplate::Plain => "DTPlain",
        DiskTemplate::BlockDev => "DTBlock",
        DiskTemplate::Drbd => "DTDrbd8",
        DiskTemplate::Rbd => "DTRbd",
        DiskTemplate::Ext => "DTExt",
        DiskTemplate::Gluster => "DTGluster",
    }
}

/// The instances, if that is asked for; `when` begins the title.
pub fn instances(
    cx: &Cx,
    option: PrintInstances,
    when: &str,
    placement: &Placement,
    shown: &[InstanceIdx],
) {
    if option.print_instances {
        let table = tables::instances(placement, shown.iter().copied()).render("");
        cx.io.write_err(&format!("\n{when} instance map:\n{table}"));
    }
}

/// The nodes, if that is asked for; `when` begins the title.
pub fn nodes(
    cx: &Cx,
    option: &PrintNodes,
    when: &str,
    placement: &Placement,
    names: &ShortNames,
    shown: &[NodeIdx],
) {
    if let Some(columns) = option.columns() {
        let table = tables::nodes(placement, names, shown, &columns).render("");
        cx.io.write_err(&format!("\n{when} status:\n{table}\n"));
    }
}

/// The terms of a score.
pub fn terms(cx: &Cx, score: &Score) -> Outcome {
    cx.io.write_out(&tables::score(score).render("  "))
}

/// Writes the cluster to `FILE.suffix`, if that is asked for; `when` says which state of it it is.
pub fn save(
    cx: &Cx,
    file: Option<&PathBuf>,
    suffix: &str,
    when: &str,
    cluster: &Cluster,
) -> Outcome {
    let Some(file) = file else { return Ok(()) };
    let mut path = OsString::from(file);
    path.push(format!(".{suffix}"));
    let path = PathBuf::from(path);
    write_file(&path, &text::write(cluster))?;
    note!(cx, "The cluster state {when} has been written to file '{}'", path.display());
    Ok(())
}

/// Writes a file. Errors: which, and why not.
pub fn write_file(path: &Path, content: &str) -> Outcome {
    put(path, content).map_err(|why| Failure::say(format!("Error: {}: {why}", path.display())))
}

/// Writes a file as a whole or not at all: half a script must not be run. What is no plain file, as a
/// terminal, is written to.
pub fn put(path: &Path, content: &str) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|is| !is.is_file()) {
        return std::fs::write(path, content);
    }
    whole_file::write(path, content.as_bytes(), 0o666)
}

/// The group that is meant, of several the one that was named. Errors: which there are.
pub fn choose_group(cx: &Cx, cluster: &Cluster, wanted: Option<&str>) -> Outcome<GroupIdx> {
    let list = || cluster.groups.iter().for_each(|group| note!(cx, "  {}", group.name));
    match wanted {
        Some(wanted) => {
            if let Some(found) = cluster.find_group(wanted) {
                return Ok(found);
            }
            note!(cx, "Node group {wanted} not found. Node group list is:");
        }
        None => {
            let mut used: Vec<GroupIdx> = cluster.nodes.iter().map(|node| node.group).collect();
            used.sort_unstable();
            used.dedup();
            match used.as_slice() {
                [only] => return Ok(*only),
                [] => return Err(Failure::say("Error: No groups found by the cluster")),
                _ => note!(cx, "Found multiple node groups:"),
            }
        }
    }
    list();
    Err(Failure::say("Error: Aborting."))
}

/// How much a plan has to copy, in a line.
pub fn copied(cx: &Cx, plan: &Plan) -> Outcome {
    let gib = plan.copied() as f64 / 1024.0;
    say!(cx, "Data to copy: {} GiB", tables::decimals(gib, 1));
    Ok(())
}
