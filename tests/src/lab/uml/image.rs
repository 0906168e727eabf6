//! The image all machines' root file systems are layers of: made by a script, kept for all labs.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::error::{Context as _, Error, Result};
use super::super::exec;

/// Where the script puts images; `image` leads to the newest.
fn dir() -> PathBuf {
    std::env::var_os("UML_DIR").unwrap_or("/var/lib/roost/uml".into()).into()
}

/// The image to use now. Its name changes with its contents, so a layer's image never changes below
/// it.
pub fn current() -> Result<PathBuf> {
    let link = dir().join("image");
    fs::canonicalize(&link)
        .what(|| format!("there is no image of user-mode Linux nodes at {}", link.display()))
}

/// Lets the script build it, which does nothing when it is current.
pub fn build() -> Result<()> {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
    let script = repo.join("scripts/build-uml-node");
    if !script.exists() {
        // Installed without its sources: the image that is there is the one to use.
        return current().map(|_| ());
    }
    let text = script.display().to_string();
    let mut command = exec::command(&[&text, "--quiet"]);
    // What it says is for whoever waits for it, never part of a command's output.
    command.stdout(std::io::stderr());
    let status = command.status().what(|| format!("cannot run {text}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Invalid(format!("the image of user-mode Linux nodes could not be built by {text}")))
}
