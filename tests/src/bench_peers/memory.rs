//! What ours need of memory: confd with 20,000 instances, mond after a million requests.

use super::Plan;
use super::confd::{SHAPE, questions};
use super::daemons::Daemon;
use super::udp;
use super::world::Node;
use super::{http, mond};
use crate::bench::figure;
use crate::generate_config::Shape;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// Long enough for any number of requests.
const LONG: Duration = Duration::from_secs(1800);

/// Both.
pub(super) fn measure(plan: &Plan, scratch: &Path) -> Result<()> {
    let (shape, name) = match plan.quick {
        true => (Shape { nodes: 40, instances: 2_000 }, "2,000 instances"),
        false => (Shape { nodes: 400, instances: 20_000 }, "20,000 instances"),
    };
    let node = Node::new(scratch.join("big"), shape)?;
    let file = std::fs::metadata(node.data().join("config.data"))?.len();
    figure(&format!("config.data of {name}"), file as f64 / 1024.0 / 1024.0, "MiB");
    {
        let confd = Daemon::confd(&plan.programs, &node, 1914)?;
        figure(&format!("confd memory, {name}"), confd.memory("VmRSS")?, "MiB");
        figure(&format!("confd memory, {name}, highest"), confd.memory("VmHWM")?, "MiB");
        for question in questions(shape) {
            // Some answers of big clusters are more than a datagram: those are lost, as they should be.
            udp::Load::new(confd.port, 16, &question.all)?.run(plan.span)?;
        }
        let name = format!("confd memory, {name}, after all questions");
        figure(&name, confd.memory("VmRSS")?, "MiB");
        figure(&format!("{name}, highest"), confd.memory("VmHWM")?, "MiB");
    }
    let node = Node::new(scratch.join("requests"), SHAPE)?;
    let _confd = Daemon::confd(&plan.programs, &node, 1814)?;
    let daemon = Daemon::mond(&plan.programs, &node, 1915)?;
    figure("mond memory at its start", daemon.memory("VmRSS")?, "MiB");
    let marks: &[usize] =
        if plan.quick { &[1_000, 5_000, 10_000] } else { &[100_000, 500_000, 1_000_000] };
    let mut paths = mond::reports(daemon.port)?;
    paths.extend(["/", "/1/list/collectors", "/1/report/all", "/metrics"].map(str::to_owned));
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut load = http::Load::new(daemon.port, 8, &paths)?;
    let mut done = 0;
    for mark in marks {
        done += load.run(LONG, mark - done)?.answered;
        figure(&format!("mond memory, {mark} requests"), daemon.memory("VmRSS")?, "MiB");
    }
    figure("mond memory, highest", daemon.memory("VmHWM")?, "MiB");
    Ok(())
}
