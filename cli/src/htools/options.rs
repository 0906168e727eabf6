//! Options that several tools have, each or few of them a struct to be flattened into a tool's.

use super::sources::{SourceOptions, UtilisationOptions};
use super::values::{at_least, choice, list, number};
use clap::{ArgAction, Args};
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
    /// An empty cluster, as 'alloc_policy,num_nodes,disk,ram,cpu[,spindles]'; repeat for more groups
    #[arg(long, value_name = "SPEC", action = ArgAction::Append)]
    pub simulate: Vec<String>,
}

/// `--static-kvm-node-memory`.
#[derive(Args, Clone, Copy, Debug)]
pub struct KvmMemory {
    /// What KVM nodes use themselves, MiB, instead of what they report; 0: what they report
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
    /// At most N moves or allocations
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
    /// Virtual CPUs for each CPU, at most [default: the policy's]
    #[arg(long, value_name = "RATIO", allow_hyphen_values = true,
          value_parser = at_least("max cpu ratio", 0.0, "Invalid value of the max-cpu ratio, expected >0"))]
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
    /// Print the nodes on standard error; FIELDS instead of, or with a '+' besides, the usual ones
    #[arg(short, long, value_name = "FIELDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    pub print_nodes: Option<String>,
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
