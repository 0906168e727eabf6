//! `hscan`: clusters in a line each, and their data in files.

use super::Tool;
use super::options::{KvmMemory, LuxiData, NoHeaders, PrintNodes, Verbosity};
use super::show;
use super::sources::{self, SourceOptions};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use clap::Args;
use roost_htools::health;
use roost_htools::model::NodeIdx;
use roost_htools::names::ShortNames;
use roost_htools::score::Score;
use roost_htools::sources::Known;
use roost_htools::state::{Options, Placement};
use roost_htools::tables::{self, decimals};
use roost_htools::text;
use std::path::PathBuf;

/// How this machine's cluster is called.
const LOCAL: &str = "LOCAL";
/// What the exit code is when a cluster could not be scanned.
const FAILED: u8 = 2;

/// The options.
#[derive(Args, Clone, Debug)]
pub struct Hscan {
    #[command(flatten)]
    nodes: PrintNodes,
    /// Write the data to files in PATH
    #[arg(short = 'd', long, value_name = "PATH", default_value = ".")]
    output_dir: PathBuf,
    #[command(flatten)]
    luxi: LuxiData,
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(flatten)]
    headers: NoHeaders,
    #[command(flatten)]
    kvm: KvmMemory,
    /// Addresses of clusters; none: this machine's
    #[arg(value_name = "CLUSTER")]
    clusters: Vec<String>,
}

impl Tool for Hscan {
    const NAME: &'static str = "hscan";
    const ABOUT: &'static str = "tool for scanning clusters via RAPI and saving their data in the input format \
                                 used by hbal(1) and hspace(1)";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut scans = vec![];
        for cluster in &self.clusters {
            let source =
                SourceOptions { master: Some(cluster.clone()), ..SourceOptions::default() };
            scans.push((cluster.as_str(), source));
        }
        if scans.is_empty() {
            let luxi = Some(self.luxi.luxi.clone().unwrap_or_default());
            scans.push((LOCAL, SourceOptions { luxi, ..SourceOptions::default() }));
        }
        let width = scans.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        if !self.headers.no_headers {
            say!(
                cx,
                "{:width$} {:>5} {:>5} {:>5} {:>5} {:>6} {:>6} {:>6} {:>6} {:>10}",
                "Name",
                "Nodes",
                "Inst",
                "BNode",
                "BInst",
                "t_mem",
                "f_mem",
                "t_disk",
                "f_disk",
                "Score"
            );
        }
        let mut failed = false;
        for (name, source) in scans {
            match sources::known(cx, &source).await {
                Ok(known) => failed |= !self.show(cx, name, width, known)?,
                Err(why) => {
                    say!(cx, "\nError for {name}: failed to load data. Details:\n{why}");
                    failed = true;
                }
            }
        }
        if failed { Err(Failure::Exit(FAILED)) } else { Ok(()) }
    }
}

impl Hscan {
    /// Prints a cluster's line and writes its file. Result: whether that was possible.
    fn show(&self, cx: &Cx, name: &str, width: usize, known: Known) -> Outcome<bool> {
        let data = text::write(&known.cluster);
        let cluster = known.with_kvm_memory(self.kvm.static_kvm_node_memory);
        let names = ShortNames::of(&cluster);
        let placement = Placement::new(cluster, &Options::default());
        say!(cx, "{name:width$} {}", summary(&placement));
        if let Some(columns) = self.nodes.columns() {
            let all: Vec<NodeIdx> = every_node(&placement);
            let table = tables::nodes(&placement, &names, &all, &columns).render("");
            cx.io.write_out(&table)?;
        }
        let path = self.output_dir.join(format!("{}.data", name.replace('/', "_")));
        let Err(why) = show::put(&path, &data) else { return Ok(true) };
        say!(cx, "\nError for {name}: failed to write data. Details:\n{}: {why}", path.display());
        Ok(false)
    }
}

fn every_node(placement: &Placement) -> Vec<NodeIdx> {
    (0..placement.cluster().nodes.len()).map(NodeIdx::of).collect()
}

/// How many there are, how many are not well, memory in MiB, disk in GiB, and the score.
fn summary(placement: &Placement) -> String {
    let cluster = placement.cluster();
    let all = every_node(placement);
    let bad = health::bad_nodes(placement, &all);
    let sum = |of: fn(&roost_htools::model::Node) -> f64| cluster.nodes.iter().map(of).sum::<f64>();
    let free_disk: i64 = all.iter().map(|node| placement.node(*node).free_disk).sum();
    format!(
        "{:>5} {:>5} {:>5} {:>5} {:>6} {:>6} {:>6} {:>6} {}",
        cluster.nodes.len(),
        cluster.instances.len(),
        bad.len(),
        health::bad_instances(placement, &bad).len(),
        decimals(sum(|node| node.total_memory), 0),
        cluster.nodes.iter().map(|node| node.free_memory).sum::<i64>(),
        decimals(sum(|node| node.total_disk) / 1024.0, 0),
        free_disk.div_euclid(1024),
        decimals(Score::of(placement, &all).total, 8),
    )
}

#[cfg(test)]
mod tests {
    use crate::testing::run_alone;
    use std::path::Path;

    /// As Ganeti 3.0.2's hscan prints it of the same documents, but that shares of nothing are 0 and not -Infinity
    /// or NaN.
    const SHOWN: &str = include_str!("../../fixtures/htools/hscan.txt");
    const SAVED: &str = include_str!("../../../htools/fixtures/sources/rapi.data");

    fn documents() -> String {
        format!("file://{}/../htools/fixtures/sources/rapi", env!("CARGO_MANIFEST_DIR"))
    }

    fn saved(directory: &Path, name: &str) -> String {
        std::fs::read_to_string(directory.join(name)).expect("a file")
    }

    #[tokio::test]
    async fn a_cluster_is_a_line_and_a_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (path, cluster) = (directory.path().display(), documents());
        let ran = run_alone(&format!("hscan -d {path} --no-headers -p {cluster}")).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert_eq!(ran.out.replace(&cluster, "CLUSTER"), SHOWN);
        let file = format!("{}.data", cluster.replace('/', "_"));
        assert_eq!(saved(directory.path(), &file), SAVED);
    }

    #[tokio::test]
    async fn others_are_scanned_when_one_cannot_be() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (path, cluster) = (directory.path().display(), documents());
        let ran = run_alone(&format!("hscan -d {path} file:///nowhere {cluster}")).await;
        assert_eq!(ran.code, 2);
        let lines: Vec<&str> = ran.out.lines().collect();
        let width = cluster.len();
        assert_eq!(
            lines[0],
            format!(
                "{:width$} Nodes  Inst BNode BInst  t_mem  f_mem t_disk f_disk      Score",
                "Name"
            )
        );
        assert_eq!(lines[1..3], ["", "Error for file:///nowhere: failed to load data. Details:"]);
        assert_eq!(lines[3], "/nowhere/groups.json: No such file or directory (os error 2)");
        assert!(lines[4].starts_with(&cluster), "{}", lines[4]);
    }

    #[tokio::test]
    async fn without_clusters_it_is_this_one() {
        let ran = run_alone("hscan --no-headers").await;
        assert_eq!(ran.code, 2);
        assert!(
            ran.out.starts_with("\nError for LOCAL: failed to load data. Details:\n"),
            "{}",
            ran.out
        );
        assert!(ran.out.contains("not part of a cluster"), "{}", ran.out);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_an_error() {
        let ran = run_alone(&format!("hscan --no-headers -d /nowhere {}", documents())).await;
        assert_eq!(ran.code, 2);
        assert!(ran.out.contains("failed to write data. Details:\n/nowhere/"), "{}", ran.out);
    }
}
