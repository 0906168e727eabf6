//! A cluster by its remote API, or by its documents in a directory.

use super::http::{AUTHORITIES, Place};
use super::read_file;
use roost_htools::sources::Known;
use roost_htools::sources::rapi::{Document, PATHS, read};
use std::path::{Path, PathBuf};

/// Where the API listens.
const PORT: u16 = 5080;

/// The cluster at an address: a host, a URL, or `file://DIRECTORY`. Errors: what is wrong, where.
pub async fn load(address: &str) -> Result<Known, String> {
    let documents = match address.strip_prefix("file://") {
        Some(directory) => files(Path::new(directory))?,
        None => {
            let authorities = std::env::var_os(AUTHORITIES).map(PathBuf::from);
            answers(&Place::of(address, PORT)?, authorities.as_deref()).await?
        }
    };
    read(&documents).map_err(|why| why.to_string())
}

fn files(directory: &Path) -> Result<[Document; 4], String> {
    let mut documents: [Document; 4] = Default::default();
    for (document, (_, name)) in documents.iter_mut().zip(PATHS) {
        let path = directory.join(name);
        *document = Document { text: read_file(&path)?, name: path.display().to_string() };
    }
    Ok(documents)
}

/// One after the other, as an API that answers few at a time wants it.
pub(super) async fn answers(
    place: &Place,
    authorities: Option<&Path>,
) -> Result<[Document; 4], String> {
    let mut documents: [Document; 4] = Default::default();
    for (document, (path, _)) in documents.iter_mut().zip(PATHS) {
        let text = place.get(path, authorities).await?;
        *document = Document { text, name: place.url(path) };
    }
    Ok(documents)
}
