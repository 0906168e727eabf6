//! Processors as XML.

use super::Host;
use super::element::{Element, el};
use super::params::{KvmParams, refused};
use roost_proto::error::Result;

/// The number of processors and where they run: `<vcpu>`, and `<cputune>` where each has its own
/// place.
pub fn placement(params: &KvmParams<'_>, vcpus: u64) -> Result<Vec<Element>> {
    let mask = params.text("cpu_mask");
    let masks: Vec<&str> = mask.split(':').map(str::trim).collect();
    let set =
        |mask: &str| Some(mask.to_owned()).filter(|mask| !matches!(mask.as_str(), "" | "all"));
    let vcpu = el("vcpu").attr("placement", "static");
    if masks.len() == 1 {
        return Ok(vec![vcpu.attr_if("cpuset", set(masks[0])).text(vcpus)]);
    }
    if masks.len() as u64 != vcpus {
        return Err(refused(
            "cpu_mask",
            mask,
            &format!(
                "it has {} parts but the instance has {vcpus} vcpus; give one part for each \
                      or a single one",
                masks.len()
            ),
        ));
    }
    let pins = masks
        .iter()
        .enumerate()
        .filter_map(|(n, mask)| Some(el("vcpupin").attr("vcpu", n).attr("cpuset", set(mask)?)));
    Ok(vec![vcpu.text(vcpus), el("cputune").children(pins)])
}

/// `<cpu>`: model, features, topology.
pub fn model(params: &KvmParams<'_>, host: &Host, vcpus: u64) -> Result<Element> {
    let mut parts = params.list("cpu_type", ',').into_iter();
    let xml = match (parts.next(), host.kvm) {
        // What the host has, named so that a similar host can take the guest over.
        (None, true) => el("cpu").attr("mode", "host-model").attr("check", "partial"),
        (None, false) => custom("qemu64"),
        (Some("host"), true) => el("cpu").attr("mode", "host-passthrough"),
        (Some("host" | "max"), _) => el("cpu").attr("mode", "maximum"),
        (Some(name), _) => custom(name),
    };
    let topology = topology(params, vcpus)?;
    let features = parts.map(feature).collect::<Result<Vec<_>>>()?;
    Ok(xml.children(topology).children(features))
}

fn custom(name: &str) -> Element {
    el("cpu")
        .attr("mode", "custom")
        .attr("match", "exact")
        .attr("check", "none")
        .child(el("model").attr("fallback", "forbid").text(name))
}

/// `+aes`, `-aes`, `aes=on`, `aes=off`.
fn feature(text: &str) -> Result<Element> {
    let (name, policy) = if let Some(name) = text.strip_prefix('+') {
        (name, "require")
    } else if let Some(name) = text.strip_prefix('-') {
        (name, "disable")
    } else {
        match text.split_once('=') {
            None => (text, "require"),
            Some((name, "on" | "true")) => (name, "require"),
            Some((name, "off" | "false")) => (name, "disable"),
            Some(_) => {
                let why = "after the model only features can stand, as +NAME, -NAME, NAME=on or \
                           NAME=off; use kvm_extra for others";
                return Err(refused("cpu_type", text, why));
            }
        }
    };
    Ok(el("feature").attr("policy", policy).attr("name", name))
}

/// Sockets, cores and threads: what is not given is made so that they multiply to `vcpus`.
fn topology(params: &KvmParams<'_>, vcpus: u64) -> Result<Option<Element>> {
    let [sockets, cores, threads] =
        ["cpu_sockets", "cpu_cores", "cpu_threads"].map(|name| params.number(name));
    if sockets.is_none() && cores.is_none() && threads.is_none() {
        return Ok(None);
    }
    let threads = threads.unwrap_or(1);
    let (sockets, cores) = match (sockets, cores) {
        (Some(sockets), Some(cores)) => (sockets, cores),
        (Some(sockets), None) => (sockets, vcpus / (sockets * threads)),
        (None, Some(cores)) => (vcpus / (cores * threads), cores),
        (None, None) => (vcpus / threads, 1),
    };
    if sockets * cores * threads != vcpus {
        let text = format!("{sockets} (cpu_cores={cores}, cpu_threads={threads})");
        let why = format!("they multiply to something else than the {vcpus} vcpus of the instance");
        return Err(refused("cpu_sockets", &text, &why));
    }
    let xml = el("topology").attr("sockets", sockets).attr("cores", cores).attr("threads", threads);
    Ok(Some(xml))
}
