//! Our placement tools beside Ganeti's: first that they say the same, then what it costs.
//!
//! ```text
//!   every shape of cluster ─► hbal -l 0              the same initial score
//!                          ─► hbal --algorithm=greedy   the same output, word for word
//!                          ─► hbal -l K               ours ends no worse than theirs
//!   larger ones ─► hbal, hspace, hail: CPU seconds of both, reading included
//! ```

use super::{Plan, Rounds};
use crate::bench::figure;
use crate::generate_cluster::{Shape, generate};
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian's programs are, and the one that all tools are.
const PEER_PROGRAM: &str = "usr/lib/ganeti/3.0/usr/bin/htools";
const PEER_LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const PEER_LINKER: &str = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Peer,
    Ours,
}

#[derive(Debug)]
struct Tools<'a> {
    plan: &'a Plan,
    scratch: &'a Path,
}

/// What a run came to.
#[derive(Debug)]
struct Ran {
    out: String,
    /// CPU time, seconds.
    cost: f64,
}

impl Tools<'_> {
    /// Runs a tool. Errors: it cannot be run, or fails.
    fn run(&self, side: Side, tool: &str, words: &[&str]) -> Result<Ran> {
        #[allow(clippy::disallowed_methods, reason = "what other programs do is measured")]
        let mut command = match side {
            Side::Ours => Command::new(self.plan.programs.join("htools")),
            Side::Peer => {
                let root = &self.plan.root;
                let mut command = Command::new(root.join(PEER_LINKER));
                command.arg("--library-path").arg(root.join(PEER_LIBRARIES));
                command.arg(root.join(PEER_PROGRAM));
                command
            }
        };
        command.args(words).env("HTOOLS", tool).env("LC_ALL", "C.UTF-8");
        let before = spent()?;
        let output = command.output().with_context(|| format!("{side:?} {tool} cannot be run"))?;
        let cost = spent()? - before;
        let err = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{side:?} {tool} {words:?}: {err}");
        Ok(Ran { out: String::from_utf8_lossy(&output.stdout).into_owned(), cost })
    }

    fn file(&self, name: &str, content: &str) -> Result<String> {
        let path: PathBuf = self.scratch.join(name);
        std::fs::write(&path, content)?;
        Ok(path.display().to_string())
    }

    fn cluster(&self, shape: &Shape) -> Result<String> {
        self.file("cluster.data", &generate(shape)?)
    }
}

/// CPU time of all programs that were run and have ended, seconds.
fn spent() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// Compares and measures.
pub(super) fn measure(plan: &Plan, scratch: &Path) -> Result<()> {
    let tools = Tools { plan, scratch };
    let shapes = shapes(if plan.quick { 1 } else { 3 });
    agreement(&tools, &shapes)?;
    costs(&tools)
}

fn shapes(seeds: u64) -> Vec<Shape> {
    let of = |seed| {
        let small = Shape::new(8, 60, seed);
        [
            small.clone(),
            Shape { template: "ext", ..small.clone() },
            Shape { template: "drbd:6,plain:1,ext:2", imbalance: 0.8, ..small.clone() },
            Shape { offline: 1, ..small.clone() },
            Shape { exclusion_tags: true, ..small.clone() },
            Shape { racks: 3, exclusion_tags: true, ..small.clone() },
            Shape { empty_nodes: 0.25, fill: 0.5, ..small.clone() },
            Shape { down: 0.4, cpu_speed: true, ..small },
        ]
    };
    // With some seeds a shape has no room for its instances: then the next one counts.
    let fits = |shape: Shape| {
        let seeds = (shape.seed..).step_by(100).take(20);
        seeds.map(|seed| Shape { seed, ..shape.clone() }).find(|shape| generate(shape).is_ok())
    };
    (1..=seeds).flat_map(of).filter_map(fits).collect()
}

/// The figure behind a word of hbal's output.
fn score(out: &str, words: &str) -> Option<f64> {
    out.lines().find_map(|line| line.strip_prefix(words)?.split_whitespace().last()?.parse().ok())
}

/// Where a plan ends.
fn end(out: &str) -> Option<f64> {
    score(out, "Cluster score improved from").or_else(|| score(out, "Initial score:"))
}

fn agreement(tools: &Tools<'_>, shapes: &[Shape]) -> Result<()> {
    let (mut initial, mut same, mut worse, mut tried) = (0, 0, 0, 0);
    for shape in shapes {
        let file = tools.cluster(shape)?;
        let run = |side, more: &[&str]| {
            let words: Vec<&str> = ["-t", &file, "-q"].iter().chain(more).copied().collect();
            tools.run(side, "hbal", &words).map(|ran| ran.out)
        };
        let differs = |what: &str| eprintln!("{what}: {shape:?}");
        let begins = |out: &str| score(out, "Initial score:");
        let whole = run(Side::Peer, &[])?;
        let greedy = run(Side::Ours, &["--algorithm=greedy"])?;
        match begins(&whole) == begins(&greedy) {
            true => initial += 1,
            false => differs("another initial score"),
        }
        match whole == greedy {
            true => same += 1,
            false => differs("other moves"),
        }
        for length in ["1", "2", "5", "10", "20", "-1"] {
            let theirs = end(&run(Side::Peer, &["-l", length])?);
            let ours = end(&run(Side::Ours, &["-l", length])?);
            tried += 1;
            if theirs.zip(ours).is_none_or(|(theirs, ours)| ours > theirs) {
                differs(&format!("-l {length}: {ours:?} is worse than {theirs:?}"));
                worse += 1;
            }
        }
    }
    let of = shapes.len();
    figure(
        &format!("hbal: initial score is the peer's, of {of} clusters"),
        f64::from(initial),
        "clusters",
    );
    figure(
        &format!("hbal --algorithm=greedy: output is the peer's, of {of} clusters"),
        f64::from(same),
        "clusters",
    );
    figure(
        &format!("hbal: plans that end worse than the peer's, of {tried}"),
        f64::from(worse),
        "plans",
    );
    Ok(())
}

/// An instance that is to be allocated.
const REQUEST: &str = r#"{"enabled_hypervisors":["kvm"],"cluster_tags":[],"nodegroups":{},"nodes":{},"instances":{},
"request":{"type":"allocate","name":"new1.vm.example.com","memory":4096,"vcpus":2,"disk_space_total":40960,
"disks":[{"size":40960,"mode":"rw"}],"disk_template":"drbd","spindle_use":1,"tags":[],"nics":[],"os":"debian",
"hypervisor":"kvm","required_nodes":2}}"#;

fn costs(tools: &Tools<'_>) -> Result<()> {
    let quick = tools.plan.quick;
    // Each program, on a cluster of this size, with these words.
    let request = tools.file("request.json", REQUEST)?;
    let (few, many) = ((20, 400), (40, 800));
    let runs: [(&str, (usize, usize), Vec<&str>); 4] = [
        ("hbal", few, vec!["-l", "5"]),
        // To the end: theirs takes some seven minutes.
        ("hbal", if quick { few } else { many }, if quick { vec!["-l", "1"] } else { vec![] }),
        ("hspace", if quick { few } else { many }, vec![]),
        ("hail", (100, 2_000), vec![&request]),
    ];
    for (tool, (nodes, instances), words) in runs {
        let file = tools.cluster(&Shape::new(nodes, instances, 1))?;
        let mut all = vec!["-t", &file];
        all.extend(&words);
        let mut rounds = Rounds::default();
        // Theirs takes minutes: once is enough.
        rounds.peer.push(tools.run(Side::Peer, tool, &all)?.cost);
        for _ in 0..tools.plan.rounds {
            rounds.ours.push(tools.run(Side::Ours, tool, &all)?.cost);
        }
        let shown = words.iter().filter(|word| **word != request).copied().collect::<Vec<_>>();
        let what = std::iter::once(tool).chain(shown).collect::<Vec<_>>().join(" ");
        rounds.print(&format!("{what}, {nodes} nodes, {instances} instances, CPU time"), "s");
    }
    Ok(())
}
