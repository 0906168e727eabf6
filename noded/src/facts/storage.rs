//! Storage units: what `gnt-node list-storage` shows.

use crate::block::{self, lvm};
use crate::blocking::blocking;
use roost_proto::error::{Error, Result};
use roost_proto::node::StorageUnit;
use roost_proto::objects::ParamMap;
use roost_proto::paths::Paths;

/// The units of a type; all of them if no names are given.
pub async fn units(
    paths: &Paths,
    storage_type: &str,
    names: Vec<String>,
) -> Result<Vec<StorageUnit>> {
    match storage_type {
        "file" | "sharedfile" | "gluster" => {
            let paths = paths.clone();
            blocking(move || {
                let names = match names.as_slice() {
                    [] => &block::allowed_directories(&paths),
                    names => names,
                };
                names.iter().map(|name| directory(&paths, name)).collect()
            })
            .await
        }
        "lvm-vg" => lvm::groups(&names).await,
        "lvm-pv" => lvm::physical_volumes(&names).await,
        "diskless" => Ok(vec![]),
        other => Err(Error::environment(format!(
            "Storage of type '{other}' has no units that a node could list; there are: file, \
             sharedfile, gluster, lvm-vg, lvm-pv"
        ))),
    }
}

/// Changes a unit.
pub async fn modify(storage_type: &str, name: &str, changes: &ParamMap) -> Result<()> {
    match storage_type {
        "lvm-pv" => lvm::modify(name, changes).await,
        other => Err(Error::wrong_input(format!(
            "Storage units of type '{other}' cannot be changed; only those of type lvm-pv can"
        ))),
    }
}

/// Makes a unit consistent again. Returns what is to be said of it.
pub async fn repair(storage_type: &str, name: &str) -> Result<Vec<String>> {
    match storage_type {
        "lvm-vg" => lvm::repair(name).await,
        other => Err(Error::wrong_input(format!(
            "Storage units of type '{other}' cannot be repaired; only those of type lvm-vg can"
        ))),
    }
}

fn directory(paths: &Paths, name: &str) -> Result<StorageUnit> {
    let local = paths.absolute(name);
    if !local.is_dir() {
        return Err(Error::environment(format!(
            "The storage directory '{name}' does not exist on this node; make it, or mount it"
        )));
    }
    let (size, free) = block::space(&local).ok_or_else(|| {
        Error::environment(format!("The space of the storage directory '{name}' cannot be told"))
    })?;
    Ok(StorageUnit {
        name: name.to_owned(),
        size,
        used: size.saturating_sub(free),
        free,
        allocatable: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn directories_are_units() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        std::fs::create_dir_all(paths.data_dir()).expect("data");
        std::fs::create_dir_all(paths.absolute("/srv/files")).expect("storage");
        std::fs::write(paths.ssconf("file_storage_dir"), "/srv/files\n").expect("ssconf");
        let units = units(&paths, "file", vec![]).await.expect("units");
        assert_eq!(units[0].name, "/srv/files");
        assert!(units[0].size >= units[0].free && units[0].size == units[0].used + units[0].free);
        let error = super::units(&paths, "file", vec!["/none".into()]).await.expect_err("missing");
        assert!(error.message.contains("'/none' does not exist"), "{error}");
        let error = super::units(&paths, "rados", vec![]).await.expect_err("no units");
        assert!(error.message.contains("'rados'"), "{error}");
        let error = super::modify("file", "/srv/files", &ParamMap::new()).await;
        assert!(error.expect_err("no").message.contains("only those of type lvm-pv"));
        let error = super::repair("lvm-pv", "/dev/sdb").await.expect_err("no");
        assert!(error.message.contains("only those of type lvm-vg"), "{error}");
    }
}
