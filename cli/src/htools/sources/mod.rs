//! Where a cluster comes from: files, the remote API, this cluster's master, or nowhere.
//!
//! ```text
//!   -t FILE ─────► htools::text ──┐
//!   -m, -L, -I, --simulate ───────┴─► model::Cluster ──► use_utilisation (-U, --mond) ──► load.rs
//! ```
//!
//! The formats are the library's; here is the I/O.

use crate::context::Cx;
use roost_htools::model::{Cluster, Utilisation};
use roost_htools::text;
use std::path::{Path, PathBuf};

/// The options that say where the cluster comes from; tools that lack one leave it empty.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// `-t`
    pub text: Option<PathBuf>,
    /// `-m`
    pub master: Option<String>,
    /// `-L`; empty: the master's usual socket.
    pub luxi: Option<String>,
    /// `-I`
    pub request: Option<PathBuf>,
    /// `--simulate`, in the order given.
    pub simulate: Vec<String>,
    /// What KVM nodes use themselves, MiB; 0: what they report.
    pub static_kvm_node_memory: i64,
}

/// The options that say what instances use.
#[derive(Clone, Debug, Default)]
pub struct UtilisationOptions {
    /// `--ignore-dynu`
    pub ignore: bool,
    /// `-U`
    pub file: Option<PathBuf>,
    /// `--mond`
    pub mond: bool,
    /// `--mond-data`
    pub mond_data: Option<PathBuf>,
    /// `--mond-xen`
    pub mond_xen: bool,
    /// `--exit-on-missing-mond-data`
    pub complete: bool,
}

/// The cluster as the source tells it. Errors: what is wrong, and where.
pub async fn load(_cx: &Cx, options: &SourceOptions) -> Result<Cluster, String> {
    let SourceOptions { text, master, luxi, request, simulate, .. } = options;
    let given =
        [text.is_some(), master.is_some(), luxi.is_some(), request.is_some(), !simulate.is_empty()];
    match (given.into_iter().filter(|given| *given).count(), text) {
        (0, _) => Err("No backend selected! Exiting.".into()),
        (1, Some(path)) => text_file(path),
        _ => Err("This source is not there yet".into()),
    }
}

/// Changes what instances use from what is assumed.
pub async fn use_utilisation(
    _cx: &Cx,
    cluster: &mut Cluster,
    options: &UtilisationOptions,
) -> Result<(), String> {
    if options.ignore {
        cluster.instances.iter_mut().for_each(|instance| instance.utilisation = Utilisation::ZERO);
    }
    Ok(())
}

/// What is in a file.
pub fn read_file(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))
}

fn text_file(path: &Path) -> Result<Cluster, String> {
    text::read(&read_file(path)?).map_err(|why| format!("{}: {why}", path.display()))
}
