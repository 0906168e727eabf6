//! Exports of instances on this node, and imports.

mod directory;
mod run;

pub use directory::list;
pub use run::perform;

use crate::blocking::blocking;
use crate::host::Host;
use crate::os;
use roost_proto::error::Result;
use roost_proto::node::{ExportAnswer, ExportQuestion};

/// Answers.
pub async fn answer(host: &Host, question: ExportQuestion) -> Result<ExportAnswer> {
    let paths = host.paths.clone();
    match question {
        ExportQuestion::List => blocking(move || Ok(ExportAnswer::List(list(&paths)))).await,
        ExportQuestion::Info { path } => {
            blocking(move || directory::info(&paths, &path).map(ExportAnswer::Info)).await
        }
        ExportQuestion::Scripts { os } => Ok(ExportAnswer::List(
            os::check_export(&paths, &os).await.err().map(|e| e.message).into_iter().collect(),
        )),
    }
}
