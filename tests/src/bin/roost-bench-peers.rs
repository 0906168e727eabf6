//! `roost-bench-peers`: our confd, mond and placement tools beside Debian's own. One JSON object a line:
//! `{"name", "value", "unit"}`.

use anyhow::{Context, Result};
use clap::Parser;
use roost_tests::bench_peers::{Part, Plan, run};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(
    about = "Measures confd, mond and the placement tools beside Ganeti's; prints one JSON object a line"
)]
struct Arguments {
    /// A smoke run: one short round
    #[arg(long)]
    quick: bool,
    /// How often each figure is measured; medians are printed
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a question is asked in a round
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    span: f64,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Debian's system with ganeti
    #[arg(long, value_name = "DIR", default_value = "/var/lib/roost/ganeti-peer/root")]
    peer: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let own = std::env::current_exe()?;
    let programs = own.parent().context("a program without a directory")?.to_owned();
    run(&Plan {
        root: arguments.peer,
        programs,
        rounds: if arguments.quick { 1 } else { arguments.rounds.max(1) },
        span: Duration::from_secs_f64(if arguments.quick { 0.1 } else { arguments.span }),
        quick: arguments.quick,
        parts: arguments.only,
    })
}
