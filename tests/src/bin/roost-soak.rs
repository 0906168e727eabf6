//! `roost-soak`: a cluster at work while things break. See `roost_tests::soak`.

use clap::Parser;
use roost_tests::soak::{self, Plan};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Breaks a cluster in every way there is while clients work, and checks what it has promised.
/// Needs root.
#[derive(Debug, Parser)]
#[command(name = "roost-soak", version)]
struct Arguments {
    /// How long things break
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Every decision follows from it; another one each time if it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many nodes
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// How many of them are master candidates
    #[arg(long, default_value_t = 3)]
    candidates: usize,
    /// How many clients submit jobs
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Where logs and history are put if a promise is broken
    #[arg(long, default_value = "soak-failed")]
    keep: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The process's number is as good as anything to tell runs apart.
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}");
    let kept = soak::run(&Plan {
        seed,
        length: Duration::from_secs(60 * arguments.minutes),
        nodes: arguments.nodes,
        candidates: arguments.candidates,
        clients: arguments.clients,
        keep: arguments.keep.join(format!("seed-{seed}")),
    });
    match kept {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roost-soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}
