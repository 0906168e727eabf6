//! Options that several tools have, each or few of them a struct to be flattened into a tool's.

use super::sources::{SourceOptions, UtilisationOptions};
use super::values::{at_least, choice, list, more_than, number};
use clap::{ArgAction, Args};
use roost_htools::balance::{self, Algorithm};
use roost_htools::sources::units::mebibytes;
use roost_htools::tables::{self, NodeField};
use std::path::PathBuf;

/// `-v`, `-q`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Verbosity {
    /// Say more; repeat for more
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say less
    #[arg(short, long, action = ArgAction::Count)]
    pub quiet: u8,
}

impl Verbosity {
    /// 1 if nothing was given.
    pub fn level(self) -> i32 {
        1 + i32::from(self.verbose) - i32::from(self.quiet)
    }
}

/// `-t`.
#[derive(Args, Clone, Debug, Default)]
pub struct TextData {
    /// Data of the cluster from FILE
    #[arg(short, long = "text-data", value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Placement rules from FILE, one a line in the words of 'gnt-rule add', instead of the cluster's own
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
}

/// `-m`.
#[derive(Args, Clone, Debug, Default)]
pub struct RapiData {
    /// Data by the remote API at ADDRESS
    #[arg(short, long, value_name = "ADDRESS")]
    pub master: Option<String>,
}

/// `-L`.
#[derive(Args, Clone, Debug, Default)]
pub struct LuxiData {
    /// Data of this cluster, from its master; SOCKET instead of where it listens usually
    #[arg(
        short = 'L', long, value_name = "SOCKET", num_args = 0..=1, require_equals = true,
        default_missing_value = ""
    )]
    pub luxi: Option<String>,
}

/// `-I`.
#[derive(Args, Clone, Debug, Default)]
pub struct RequestData {
    /// Data from an allocator's request in FILE
    #[arg(short = 'I', long, value_name = "FILE")]
    pub ialloc_src: Option<PathBuf>,
}

/// `--simulate`.
#[derive(Args, Clone, Debug, Default)]
pub struct Simulation {
    /// An empty cluster, as 'policy,nodes,disk,ram,cpu'; ',spindles' may follow; repeat for more groups
    #[arg(long, value_name = "SPEC", action = ArgAction::Append)]
    pub simulate: Vec<String>,
}

/// `--static-kvm-node-memory`.
#[derive(Args, Clone, Copy, Debug)]
pub struct KvmMemory {
    /// What KVM nodes use themselves, in MiB, instead of what they report; 0: what they report
    #[arg(long, value_name = "N", default_value = "4096", value_parser = number::<i64>("static node memory"))]
    pub static_kvm_node_memory: i64,
}

/// `-t`, `-m`, `-L`, `-I`: of which one must be given.
#[derive(Args, Clone, Debug)]
pub struct Data {
    #[command(flatten)]
    pub text: TextData,
    #[command(flatten)]
    pub rapi: RapiData,
    #[command(flatten)]
    pub luxi: LuxiData,
    #[command(flatten)]
    pub request: RequestData,
    #[command(flatten)]
    pub kvm: KvmMemory,
}

impl Data {
    /// Where the cluster comes from.
    pub fn source(&self) -> SourceOptions {
        SourceOptions {
            text: self.text.text.clone(),
            rules: self.text.rules.clone(),
            master: self.rapi.master.clone(),
            luxi: self.luxi.luxi.clone(),
            request: self.request.ialloc_src.clone(),
            simulate: vec![],
            static_kvm_node_memory: self.kvm.static_kvm_node_memory,
        }
    }
}

/// `-O`.
#[derive(Args, Clone, Debug, Default)]
pub struct Offline {
    /// Treat NODE as offline; may be repeated
    #[arg(short = 'O', long, value_name = "NODE", action = ArgAction::Append)]
    pub offline: Vec<String>,
}

/// `-G`.
#[derive(Args, Clone, Debug, Default)]
pub struct GroupOption {
    /// The node group, by name or UUID
    #[arg(short = 'G', long, value_name = "ID")]
    pub group: Option<String>,
}

/// `-l`.
#[derive(Args, Clone, Copy, Debug)]
pub struct MaxLength {
    /// At most N moves or allocations; -1: as many as it takes
    #[arg(short = 'l', long, value_name = "N", default_value = "-1", allow_hyphen_values = true,
          value_parser = number::<i64>("max solution length"))]
    pub max_length: i64,
}

impl MaxLength {
    /// Negative: no limit.
    pub fn limit(self) -> usize {
        usize::try_from(self.max_length).unwrap_or(usize::MAX)
    }
}

/// `--max-cpu`, `--min-disk`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct NodeLimits {
    /// Virtual CPUs for each CPU, at most; more than 0 [default: the policy's]
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true,
          value_parser = more_than("max cpu ratio", 0.0, "Invalid value of the max-cpu ratio, expected >0"))]
    pub max_cpu: Option<f64>,
    /// The share of a node's disk that stays free, between 0 and 1
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true,
          value_parser = number::<f64>("min free disk space"))]
    pub min_disk: Option<f64>,
}

/// `--exclusion-tags`.
#[derive(Args, Clone, Debug, Default)]
pub struct ExclusionTags {
    /// Tags that begin so keep instances off each other's primary node, besides those of cluster tags
    #[arg(long, value_name = "TAG,...")]
    pub exclusion_tags: Option<String>,
}

impl ExclusionTags {
    /// As the model wants them: `service:`.
    pub fn prefixes(&self) -> Vec<String> {
        let words = self.exclusion_tags.as_deref().map(list).unwrap_or_default();
        words.into_iter().map(|word| format!("{word}:")).collect()
    }
}

/// `--select-instances`, `--exclude-instances`.
#[derive(Args, Clone, Debug, Default)]
pub struct InstanceChoice {
    /// Move only these
    #[arg(long, value_name = "INSTS")]
    pub select_instances: Option<String>,
    /// Do not move these
    #[arg(long, value_name = "INSTS")]
    pub exclude_instances: Option<String>,
}

/// `--ignore-soft-errors`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct SoftErrors {
    /// Refuse only what is impossible
    #[arg(long)]
    pub ignore_soft_errors: bool,
}

/// What a balancer may do, and when it has done enough.
#[derive(Args, Clone, Debug)]
pub struct Balancing {
    #[command(flatten)]
    pub length: MaxLength,
    /// Enough is a score this near to the best that reservations allow
    #[arg(short = 'e', long, value_name = "EPSILON", default_value = "1e-9", allow_hyphen_values = true,
          value_parser = number::<f64>("min score"))]
    pub min_score: f64,
    /// A move has to win so much
    #[arg(short = 'g', long, value_name = "DELTA", default_value = "0.01", allow_hyphen_values = true,
          value_parser = number::<f64>("min gain"))]
    pub min_gain: f64,
    /// Moves may win little while the score is above this
    #[arg(long, value_name = "SCORE", default_value = "0.1", allow_hyphen_values = true,
          value_parser = number::<f64>("min gain limit"))]
    pub min_gain_limit: f64,
    /// Copy no disks: only migrations and failovers
    #[arg(long)]
    pub no_disk_moves: bool,
    /// Change no instance's primary node: only new secondaries
    #[arg(long)]
    pub no_instance_moves: bool,
    /// Only move instances away from offline and drained nodes
    #[arg(short = 'E', long)]
    pub evac_mode: bool,
    #[command(flatten)]
    pub soft: SoftErrors,
    /// 'greedy': always the move that wins most; 'search': plans that win more together
    #[arg(long, value_name = "ALGORITHM", default_value = "search", value_parser = algorithm)]
    pub algorithm: Algorithm,
    /// Copy no more than so much in all; MiB, or with a unit: 20g
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_copy: Option<i64>,
    /// What a GiB to be copied is worth, in units of the score: more is for plans that copy less
    #[arg(long, value_name = "SCORE", default_value = "0",
          value_parser = at_least("weight of copies", 0.0, "Invalid weight of copies, expected >= 0"))]
    pub weigh_copy: f64,
}

fn algorithm(word: &str) -> Result<Algorithm, String> {
    match word {
        "greedy" => Ok(Algorithm::Greedy),
        "search" => Ok(Algorithm::Search),
        other => Err(format!("Unknown algorithm '{other}', pass one of 'greedy' or 'search'")),
    }
}

/// An amount of disk, MiB.
fn size(text: &str) -> Result<i64, String> {
    mebibytes(text).map_err(|why| format!("amount to copy: {why}"))
}

impl Balancing {
    /// For the balancer.
    pub fn wanted(&self) -> balance::Options {
        balance::Options {
            algorithm: self.algorithm,
            max_moves: self.length.limit(),
            max_copy: self.max_copy,
            weigh_copy: self.weigh_copy,
            enough: self.min_score,
            min_gain: self.min_gain,
            min_gain_limit: self.min_gain_limit,
            disk_moves: !self.no_disk_moves,
            instance_moves: !self.no_instance_moves,
            evacuate: self.evac_mode,
            ignore_soft_errors: self.soft.ignore_soft_errors,
            ..balance::Options::default()
        }
    }
}

/// `--no-capacity-checks`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct CapacityChecks {
    /// Do not ask whether the cluster survives the loss of any node
    #[arg(long)]
    pub no_capacity_checks: bool,
}

/// `-U`.
#[derive(Args, Clone, Debug, Default)]
pub struct DynamicFile {
    /// What instances use, from FILE: lines of instance, CPU, memory, disk, net
    #[arg(short = 'U', long, value_name = "FILE")]
    pub dynu_file: Option<PathBuf>,
}

/// `--ignore-dynu`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct IgnoreDynamic {
    /// Take no notice of what instances use
    #[arg(long)]
    pub ignore_dynu: bool,
}

/// `--mond`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Mond {
    /// Ask the nodes' monitoring daemons what instances use: 'yes' or 'no'
    #[arg(long, value_name = "CHOICE", num_args = 0..=1, require_equals = true,
          default_missing_value = "yes", value_parser = choice)]
    pub mond: Option<bool>,
}

/// `--mond-data`.
#[derive(Args, Clone, Debug, Default)]
pub struct MondData {
    /// What monitoring daemons would answer, from FILE
    #[arg(long, value_name = "FILE")]
    pub mond_data: Option<PathBuf>,
}

/// `--mond-xen`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct MondXen {
    /// Ask for Xen's figures of each instance, too
    #[arg(long)]
    pub mond_xen: bool,
}

/// `--exit-on-missing-mond-data`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct MondComplete {
    /// Give up if a monitoring daemon did not answer
    #[arg(long)]
    pub exit_on_missing_mond_data: bool,
}

/// All about what instances use.
#[derive(Args, Clone, Debug, Default)]
pub struct Utilisation {
    #[command(flatten)]
    pub file: DynamicFile,
    #[command(flatten)]
    pub ignore: IgnoreDynamic,
    #[command(flatten)]
    pub mond: Mond,
    #[command(flatten)]
    pub data: MondData,
    #[command(flatten)]
    pub xen: MondXen,
    #[command(flatten)]
    pub complete: MondComplete,
}

impl Utilisation {
    /// What was asked for.
    pub fn wanted(&self) -> UtilisationOptions {
        UtilisationOptions {
            ignore: self.ignore.ignore_dynu,
            file: self.file.dynu_file.clone(),
            mond: self.mond.mond.unwrap_or(false),
            mond_data: self.data.mond_data.clone(),
            mond_xen: self.xen.mond_xen,
            complete: self.complete.exit_on_missing_mond_data,
        }
    }
}

/// `-p`.
#[derive(Args, Clone, Debug, Default)]
pub struct PrintNodes {
    /// Print a table of the nodes; FIELDS instead of the usual columns, or with a '+' besides them
    #[arg(short, long, value_name = "FIELDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "", value_parser = node_columns)]
    pub print_nodes: Option<String>,
}

/// Names of columns that are there.
fn node_columns(names: &str) -> Result<String, String> {
    tables::columns(names).map(|_| names.to_owned())
}

impl PrintNodes {
    /// The columns to print, if any.
    pub fn columns(&self) -> Option<Vec<NodeField>> {
        self.print_nodes.as_deref().and_then(|names| tables::columns(names).ok())
    }
}

/// `--print-instances`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct PrintInstances {
    /// Print the instances on standard error
    #[arg(long)]
    pub print_instances: bool,
}

/// `-S`.
#[derive(Args, Clone, Debug, Default)]
pub struct Save {
    /// Write states of the cluster to files whose names begin with FILE
    #[arg(short = 'S', long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// `-C`.
#[derive(Args, Clone, Debug, Default)]
pub struct PrintCommands {
    /// Print the commands that do it, or write them to FILE as a script
    #[arg(short = 'C', long, value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    pub print_commands: Option<String>,
}

/// `-X`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Execute {
    /// Do it: submit the jobs and follow them; only with -L
    #[arg(short = 'X', long)]
    pub exec: bool,
}

/// `--machine-readable`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct MachineReadable {
    /// Print KEY=value lines: 'yes' or 'no'
    #[arg(long, value_name = "CHOICE", num_args = 0..=1, require_equals = true,
          default_missing_value = "yes", value_parser = choice)]
    pub machine_readable: Option<bool>,
}

/// `--no-headers`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct NoHeaders {
    /// No header line
    #[arg(long)]
    pub no_headers: bool,
}
