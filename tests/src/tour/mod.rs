//! The tour: a cluster's life in front of a person, from nothing to a verified cluster that has
//! lost and regained a node. Every command is shown before its output, and whatever it claims is
//! checked; the first thing that does not hold ends the tour with an error.

mod chapters;
mod stage;

use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::lab::{Hypervisor, Lab, Options};
use stage::{Screen, Stage};

/// Brings up a fresh lab (one of that name is taken down first), plays the tour in it, and leaves
/// it running, also when the tour fails.
pub fn run(options: Options) -> Result<()> {
    let screen = Screen::new();
    let began = Instant::now();
    let command = command(&options);
    if Lab::down_by_name(&options)? {
        screen.say(&format!("An earlier lab `{}` was there: it is gone now.", options.name));
    }
    let (nodes, hypervisor) = (options.nodes, options.hypervisor);
    screen.say(&format!(
        "Bringing up {nodes} machines: namespaces of this one, each with its own network, disks{}",
        if hypervisor == Hypervisor::Kvm {
            "\nand libvirtd. There is no cluster yet."
        } else {
            "."
        }
    ));
    Lab::up(options.clone())?.keep();
    let lab = Lab::open(options)?;
    screen.good(&format!("{nodes} machines are up after {:.1} s", began.elapsed().as_secs_f32()));
    let mut stage = Stage::new(lab, screen);
    let told = chapters::play(&mut stage);
    match told {
        Ok(home) => {
            screen.good(&format!("The tour is over: {:.0} s.", began.elapsed().as_secs_f32()));
            println!("{}", going_on(&command, &home));
            Ok(())
        }
        Err(e) => {
            screen.bad(&format!("{e:#}"));
            println!("{}", looking(&command));
            Err(anyhow!("the tour did not get to its end"))
        }
    }
}

/// The lab's command as one would type it here.
fn command(options: &Options) -> String {
    let program = options.programs.join("gnt-lab");
    let here = std::env::current_dir().unwrap_or_default();
    let program = program.strip_prefix(&here).unwrap_or(&program).display().to_string();
    format!("{program} --name {}", options.name)
}

/// What one can do with the lab now; `home` is the node that `web` is on.
fn going_on(lab: &str, home: &str) -> String {
    format!(
        "\nThe cluster keeps running. To go on, as root:\n\
         \x20 # a shell on the master: gnt-instance list, gnt-cluster info, …\n\
         \x20 {lab} shell node1\n\
         \x20 # a guest as its users see it, and at its console (Ctrl-] leaves)\n\
         \x20 {lab} exec switch curl http://10.78.0.50/\n\
         \x20 {lab} exec {home} virsh console web.lab\n\
         \x20 # what runs where; another power cut, and its end\n\
         \x20 {lab} status\n\
         \x20 {lab} kill node3\n\
         \x20 {lab} start node3\n\
         Logs of each node are in its /var/log/ganeti.\n\
         To stop the lab and remove all of it: make demo-down"
    )
}

/// Where to look when something went wrong.
fn looking(lab: &str) -> String {
    format!(
        "\nThe lab still runs, as it was when this happened. To look inside, as root:\n\
         \x20 {lab} status\n\
         \x20 {lab} shell node1\n\
         Logs of each node are in its /var/log/ganeti.\n\
         To stop the lab and remove all of it: make demo-down"
    )
}
