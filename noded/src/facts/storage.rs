//! Storage units: what `gnt-node list-storage` shows.

use crate::block;
use roost_proto::error::{Error, Result};
use roost_proto::node::StorageUnit;
use roost_proto::paths::Paths;

/// The units of a type; all of them if no names are given.
pub fn units(paths: &Paths, storage_type: &str, names: &[String]) -> Result<Vec<StorageUnit>> {
    match storage_type {
        "file" | "sharedfile" | "gluster" => {
            let names = match names {
                [] => &block::allowed_directories(paths),
                names => names,
            };
            names.iter().map(|name| directory(paths, name)).collect()
        }
        "diskless" => Ok(vec![]),
        other => Err(Error::environment(format!(
            "Storage of type '{other}' cannot be listed on this node: this version knows file, \
             sharedfile and diskless"
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

    #[test]
    fn directories_are_units() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        std::fs::create_dir_all(paths.data_dir()).expect("data");
        std::fs::create_dir_all(paths.absolute("/srv/files")).expect("storage");
        std::fs::write(paths.ssconf("file_storage_dir"), "/srv/files\n").expect("ssconf");
        let units = units(&paths, "file", &[]).expect("units");
        assert_eq!(units[0].name, "/srv/files");
        assert!(units[0].size >= units[0].free && units[0].size == units[0].used + units[0].free);
        let error = super::units(&paths, "file", &["/none".into()]).expect_err("missing");
        assert!(error.message.contains("'/none' does not exist"), "{error}");
        let error = super::units(&paths, "lvm-vg", &[]).expect_err("no LVM yet");
        assert!(error.message.contains("'lvm-vg'"), "{error}");
    }
}
