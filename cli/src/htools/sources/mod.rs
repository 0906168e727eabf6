//! Where a cluster comes from: files, the remote API, this cluster's master, or nowhere.
//!
//! ```text
//!   -t FILE ─────► htools::text ──┐
//!   -m, -L, -I, --simulate ───────┴─► model::Cluster ──► use_utilisation (-U, --mond) ──► load.rs
//! ```
//!
//! The formats are the library's; here is the I/O.

mod http;
pub mod master;
mod monitoring;
mod rapi;

#[cfg(test)]
mod tests;

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use roost_htools::model::{Cluster, Utilisation};
use roost_htools::request;
use roost_htools::rules::{self, Rule};
use roost_htools::sources::{Known, simulate, utilisation};
use roost_htools::text;
use std::path::{Path, PathBuf};

/// The options that say where the cluster comes from; tools that lack one leave it empty.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// `-t`
    pub text: Option<PathBuf>,
    /// `--rules`
    pub rules: Option<PathBuf>,
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
pub async fn load(cx: &Cx, options: &SourceOptions) -> Result<Cluster, String> {
    let known = known(cx, options).await?;
    let mut cluster = known.with_kvm_memory(options.static_kvm_node_memory);
    if let Some(path) = &options.rules {
        cluster.rules = rules_file(&cluster, path)?;
    }
    Ok(cluster)
}

/// The placement rules in a file, for this cluster. Errors: the file and what is wrong in it.
pub fn rules_file(cluster: &Cluster, path: &Path) -> Result<Vec<Rule>, String> {
    let named = |why: &str| format!("{}: {why}", path.display());
    let specs = rules::read(&read_file(path)?).map_err(|why| named(&why.to_string()))?;
    rules::resolve(cluster, &specs).map_err(|why| named(&why.message))
}

/// The same with what nodes report of themselves as they report it. Of several sources the first of these counts;
/// which may be given together is checked elsewhere.
pub async fn known(cx: &Cx, options: &SourceOptions) -> Result<Known, String> {
    let bare = |cluster| Known { cluster, kvm: vec![], down: vec![] };
    if let Some(address) = &options.master {
        return rapi::load(address).await;
    }
    if let Some(socket) = &options.luxi {
        return master::load(cx.client_at(socket).await.map_err(why)?).await;
    }
    if !options.simulate.is_empty() {
        return simulate::read(&options.simulate).map(bare);
    }
    match (&options.text, &options.request) {
        (Some(path), _) => text_file(path).map(bare),
        (None, Some(path)) => {
            let named = |why| format!("{}: {why}", path.display());
            request::cluster(&read_file(path)?).map_err(named)
        }
        (None, None) => Err("No backend selected! Exiting.".into()),
    }
}

/// What a failure has to say.
pub fn why(failure: Failure) -> String {
    failure.text().unwrap_or_default()
}

/// Changes what instances use from what is assumed to what is known. Errors: exit code 1 with a word about why.
pub async fn use_utilisation(
    cx: &Cx,
    cluster: &mut Cluster,
    options: &UtilisationOptions,
) -> Outcome {
    // A file is read even if it is not wanted, so that a mistake in it is seen.
    let measured = match &options.file {
        Some(path) => {
            let text = read_file(path).map_err(|why| Failure::say(format!("Error: {why}")))?;
            let wrong =
                |why| format!("Error: can't parse utilisation data: {}: {why}", path.display());
            utilisation::read(&text).map_err(|why| Failure::say(wrong(why)))?
        }
        None => vec![],
    };
    if options.ignore {
        cluster.instances.iter_mut().for_each(|instance| instance.utilisation = Utilisation::ZERO);
        return Ok(());
    }
    utilisation::apply(cluster, &measured);
    if options.mond {
        monitoring::use_reports(cx, cluster, options).await?;
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
