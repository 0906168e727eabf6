//! `gnt-lab`: whole clusters on one machine. See `roost_tests::lab`.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use roost_tests::lab::layout::Layout;
use roost_tests::lab::{Activity, Error, Hypervisor, Kernel, Lab, Options, init, uml};

/// Whole clusters on one machine: every node in namespaces of its own, with its own daemons and,
/// for real guests, its own libvirtd. Needs root. State: $ROOST_LAB_DIR, else /var/lib/roost-lab.
#[derive(Debug, Parser)]
#[command(name = "gnt-lab", version, arg_required_else_help = true)]
struct Args {
    /// Which lab; several can run beside each other.
    #[arg(long, global = true, default_value = "lab", env = "ROOST_LAB")]
    name: String,
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Debug, Subcommand)]
enum Cmd {
    /// Bring the lab up, or whatever of it is missing.
    Up {
        /// How many nodes: node1, node2, … at 10.78.0.1, 10.78.0.2, …
        #[arg(long, default_value_t = 3)]
        nodes: usize,
        /// What runs the guests.
        #[arg(long, value_enum, default_value_t = Hypervisor::Kvm)]
        hypervisor: Hypervisor,
        /// What nodes are: namespaces of this kernel, or user-mode Linux with real LVM and DRBD.
        #[arg(long, value_enum, default_value_t = Kernel::Host)]
        kernel: Kernel,
        /// Memory of each user-mode Linux node [default: 256, for guests 900].
        #[arg(long, value_name = "MIB")]
        memory: Option<u64>,
        /// Disks of each user-mode Linux node, all in volume group xenvg.
        #[arg(long, value_name = "N", default_value_t = 2)]
        disks: usize,
        /// Size of each of these disks; they take room as they are written to.
        #[arg(long, value_name = "MIB", default_value_t = 2048)]
        disk_size: u64,
        /// Let the first three nodes have an etcd, with TLS and users; with --init the cluster's
        /// state is in it. `etcdctl` works in every node.
        #[arg(long)]
        etcd: bool,
        /// Make a cluster of the nodes: gnt-cluster init, gnt-node add.
        #[arg(long)]
        init: bool,
        /// Room for the cluster's state on each node, MiB: then `fill` works.
        #[arg(long, value_name = "MIB")]
        data_size: Option<u64>,
        /// What daemons find in their environment; repeat for more.
        #[arg(long = "env", value_name = "NAME=VALUE", value_parser = assignment)]
        environment: Vec<(String, String)>,
    },
    /// Run a command on a node (or on `switch`, the outside client); its exit code is ours.
    Exec {
        node: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// A shell on a node.
    Shell { node: String },
    /// Power cut of a node, or SIGKILL of one of its daemons (noded, masterd, libvirtd, …).
    Kill { node: String, daemon: Option<String> },
    /// Power on a node, or start one of its daemons.
    Start { node: String, daemon: Option<String> },
    /// Stop a daemon where it is, or all of a node's: they keep their connections and answer nothing.
    Freeze { node: String, daemon: Option<String> },
    /// Let a frozen daemon go on, or all of a node's.
    Thaw { node: String, daemon: Option<String> },
    /// Take all the room for the cluster's state on a node (needs `up --data-size`).
    Fill { node: String },
    /// Give the room back.
    Unfill { node: String },
    /// Cut the wire between two nodes (or a node and `switch`); one node alone: from everybody.
    Cut { a: String, b: Option<String> },
    /// Mend all wires.
    Heal,
    /// Play the tour: a fresh lab, and a cluster's life in it, every step checked.
    Tour,
    /// What runs where.
    Status,
    /// End everything and remove the lab's folder.
    Down,
    /// First process of a node.
    #[command(name = init::SUBCOMMAND, hide = true)]
    NodeInit { dir: PathBuf, node: String, os_dir: PathBuf, ext_dir: PathBuf },
    /// First process inside a user-mode Linux node.
    #[command(name = uml::boot::SUBCOMMAND, hide = true)]
    MachineInit,
    /// Runs commands inside a user-mode Linux node.
    #[command(name = uml::agent::SUBCOMMAND, hide = true)]
    MachineAgent { card: String },
    /// Has a command run by a user-mode Linux node's agent.
    #[command(name = uml::client::SUBCOMMAND, hide = true)]
    MachineExec {
        node: String,
        socket: PathBuf,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("gnt-lab: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = Options::new(&args.name);
    match args.command {
        Cmd::NodeInit { dir, node, os_dir, ext_dir } => {
            init::run(&Layout::at(&dir), &node, &os_dir, &ext_dir)?;
        }
        Cmd::MachineInit => uml::boot::run(),
        Cmd::MachineAgent { card } => {
            uml::agent::run(&card)?;
        }
        Cmd::MachineExec { node, socket, command } => {
            let code = match uml::client::run(&node, &socket, &command) {
                // As any command that was killed.
                Err(e @ Error::PowerLost { .. }) => {
                    eprintln!("gnt-lab: {e}");
                    137
                }
                code => code?,
            };
            return Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from));
        }
        Cmd::Up {
            nodes,
            hypervisor,
            kernel,
            memory: memory_mib,
            disks,
            disk_size: disk_mib,
            etcd,
            init,
            data_size: data_mib,
            environment,
        } => {
            let environment = environment.into_iter().collect();
            let lab = Lab::up(Options {
                nodes,
                hypervisor,
                kernel,
                memory_mib,
                disks,
                disk_mib,
                etcd,
                init,
                environment,
                data_mib,
                ..options
            })?;
            print_status(&lab);
            lab.keep();
        }
        Cmd::Exec { node, command } => {
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            return enter(&Lab::open(options)?, &node, &argv);
        }
        Cmd::Shell { node } => {
            let prompt = format!("PS1=\\u@{node}:\\w# ");
            let argv = ["env", &prompt, "bash", "--norc", "--noprofile", "-i"];
            return enter(&Lab::open(options)?, &node, &argv);
        }
        Cmd::Kill { node, daemon } => match daemon {
            Some(daemon) => Lab::open(options)?.kill_daemon(&node, &daemon)?,
            None => Lab::open(options)?.kill(&node)?,
        },
        Cmd::Start { node, daemon } => match daemon {
            Some(daemon) => Lab::open(options)?.start_daemon(&node, &daemon)?,
            None => Lab::open(options)?.start(&node)?,
        },
        Cmd::Freeze { node, daemon } => match daemon {
            Some(daemon) => Lab::open(options)?.freeze(&node, &daemon)?,
            None => Lab::open(options)?.freeze_node(&node)?,
        },
        Cmd::Thaw { node, daemon } => match daemon {
            Some(daemon) => Lab::open(options)?.thaw(&node, &daemon)?,
            None => Lab::open(options)?.thaw_node(&node)?,
        },
        Cmd::Fill { node } => Lab::open(options)?.fill(&node)?,
        Cmd::Unfill { node } => Lab::open(options)?.unfill(&node)?,
        Cmd::Cut { a, b } => Lab::open(options)?.cut(&a, b.as_deref())?,
        Cmd::Heal => Lab::open(options)?.heal()?,
        Cmd::Tour => roost_tests::tour::run(options)?,
        Cmd::Status => print_status(&Lab::open(options)?),
        Cmd::Down => {
            if !Lab::down_by_name(&options)? {
                eprintln!("gnt-lab: there was no lab `{}`", args.name);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Becomes a command on a node.
fn enter(lab: &Lab, node: &str, argv: &[&str]) -> anyhow::Result<ExitCode> {
    let error = lab.node(node)?.interactive(argv)?.exec();
    Err(anyhow::Error::new(error).context("cannot run nsenter"))
}

fn print_status(lab: &Lab) {
    for node in lab.status() {
        let daemon = |(name, activity): &(String, Activity)| match activity {
            Activity::Running => match lab.memory(&node.name, name) {
                Some(kib) => format!("{name} ({} MiB)", kib.div_ceil(1024)),
                None => name.clone(),
            },
            Activity::Frozen => format!("{name} (frozen)"),
        };
        let daemons: Vec<String> = node.daemons.iter().map(daemon).collect();
        let power = match (node.power, node.frozen) {
            (true, false) => "up",
            (true, true) => "frozen",
            (false, _) => "no power",
        };
        print!("{:<8} {:<12} {power:<8} {}", node.name, node.ip, daemons.join(", "));
        println!(
            "{}{}",
            if node.guests.is_empty() { "" } else { "  guests: " },
            node.guests.join(" ")
        );
    }
    for cut in lab.cuts() {
        println!("cut: {} from {}", cut.a, cut.b.as_deref().unwrap_or("everybody"));
    }
}
