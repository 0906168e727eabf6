//! The directories of exports on this node.
//!
//! ```text
//!   <export directory>/web1/        a whole export: config.ini and dumps
//!                      web1.new/    one that is being made, or was when something broke
//!                      web1.old/    the one before, until the new one is settled: until then it has
//!                                   a mark, and may be taken back
//! ```

use crate::durable;
use roost_proto::error::{Error, Result};
use roost_proto::node::ExportInfo;
use roost_proto::paths::Paths;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// Says what the instance was like.
pub const CONFIG: &str = "config.ini";
/// In an export that may still be taken back.
const UNSETTLED: &str = ".unsettled";
/// A `config.ini` that is larger than this is none, bytes.
const LARGEST: u64 = 1 << 20;

/// Names of the whole exports that are here, in order. A directory that cannot be read has none.
pub fn list(paths: &Paths) -> Vec<String> {
    let entries = fs::read_dir(paths.export_dir()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(CONFIG).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_name(name) && !name.ends_with(".new") && !name.ends_with(".old"))
        .collect();
    names.sort();
    names
}

/// Where an export of this name is.
pub fn whole(paths: &Paths, name: &str) -> Result<PathBuf> {
    if is_name(name) {
        return Ok(paths.export_dir().join(name));
    }
    Err(Error::wrong_input(format!("'{name}' cannot be the name of an export")))
}

/// Where it is while it is being made.
pub fn unfinished(paths: &Paths, name: &str) -> Result<PathBuf> {
    whole(paths, &format!("{name}.new"))
}

/// The directory that a person names: absolute, or below the export directory.
pub fn named(paths: &Paths, path: &str) -> Result<PathBuf> {
    let asked = Path::new(path);
    let plain = asked.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if path.is_empty() || path.contains('\0') || !plain {
        return Err(Error::wrong_input(format!("'{path}' is not the path of an export")));
    }
    Ok(match asked.is_absolute() {
        true => paths.absolute(asked),
        false => paths.export_dir().join(asked),
    })
}

/// What an export is like; nothing if there is none.
pub fn info(paths: &Paths, path: &str) -> Result<Option<ExportInfo>> {
    let dir = named(paths, path)?;
    let file = dir.join(CONFIG);
    let failed = |e: io::Error| Error::exec(format!("Cannot read '{}': {e}", file.display()));
    let config = match fs::metadata(&file) {
        Ok(meta) if meta.len() > LARGEST => {
            return Err(failed(io::Error::other("it is too large to be one of an export")));
        }
        Ok(_) => fs::read_to_string(&file).map_err(failed)?,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(failed(e)),
    };
    let mut dumps = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(failed)?.flatten() {
        if let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata())
            && meta.is_file()
            && name != CONFIG
            && name != UNSETTLED
        {
            dumps.insert(name, meta.len());
        }
    }
    Ok(Some(ExportInfo { config, dumps }))
}

/// Begins an export: a directory in which dumps can be made. What an earlier try left of them stays,
/// so that a dump that broke goes on; nothing else is in such a directory.
pub fn begin(paths: &Paths, name: &str, dumps: &[String]) -> Result<PathBuf> {
    if let Some(bad) = dumps.iter().find(|dump| !is_name(dump) || dump.as_str() == CONFIG) {
        return Err(Error::wrong_input(format!("'{bad}' cannot be the name of a dump")));
    }
    // The one before was good, or it would not be there any more.
    settle(paths, name)?;
    let dir = unfinished(paths, name)?;
    let failed = |e: io::Error| {
        Error::exec(format!("Cannot make the directory of an export '{}': {e}", dir.display()))
    };
    durable::make_dir(&paths.export_dir())?;
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
    for entry in fs::read_dir(&dir).map_err(failed)?.flatten() {
        let wanted = entry.file_name().into_string().is_ok_and(|name| dumps.contains(&name));
        if !wanted {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    durable::write(&dir.join(UNSETTLED), b"", 0o600)?;
    durable::sync_parent(&dir).map_err(failed)?;
    Ok(dir)
}

/// Makes it whole: it is what the export of that name is, unless it is taken back. The one before is
/// kept aside until then.
pub fn finish(paths: &Paths, name: &str, config: &str) -> Result<()> {
    let (new, place) = (unfinished(paths, name)?, whole(paths, name)?);
    if !new.exists() && fs::read_to_string(place.join(CONFIG)).is_ok_and(|text| text == config) {
        return Ok(());
    }
    let old = aside(paths, name)?;
    let failed = |e: io::Error| {
        Error::exec(format!(
            "Cannot put the export '{}' in its place '{}': {e}",
            new.display(),
            place.display()
        ))
    };
    durable::write(&new.join(CONFIG), config.as_bytes(), 0o600)?;
    File::open(&new).and_then(|dir| dir.sync_all()).map_err(failed)?;
    if place.symlink_metadata().is_ok() {
        erase(&old)?;
        fs::rename(&place, &old).map_err(failed)?;
    }
    fs::rename(&new, &place).and_then(|()| durable::sync_parent(&place)).map_err(failed)
}

/// It stays: the one before goes.
pub fn settle(paths: &Paths, name: &str) -> Result<()> {
    let (place, old) = (whole(paths, name)?, aside(paths, name)?);
    if place.symlink_metadata().is_err() {
        return put_back(&old, &place);
    }
    // The one before first: while the mark is there, it is known what is to be done.
    erase(&old)?;
    match place.is_dir() {
        true => durable::remove(&place.join(UNSETTLED)),
        false => Ok(()),
    }
}

/// Removes an export, or only one that is not settled.
pub fn remove(paths: &Paths, name: &str, unfinished: bool) -> Result<()> {
    let (place, old) = (whole(paths, name)?, aside(paths, name)?);
    erase(&self::unfinished(paths, name)?)?;
    if !unfinished {
        erase(&place)?;
        return erase(&old);
    }
    if place.join(UNSETTLED).exists() {
        erase(&place)?;
    }
    put_back(&old, &place)
}

/// What was kept aside is the export again, if nothing is in its place.
fn put_back(old: &Path, place: &Path) -> Result<()> {
    if !old.exists() || place.exists() {
        return Ok(());
    }
    fs::rename(old, place)
        .and_then(|()| durable::sync_parent(place))
        .map_err(|e| Error::exec(format!("Cannot put '{}' back: {e}", old.display())))
}

fn aside(paths: &Paths, name: &str) -> Result<PathBuf> {
    whole(paths, &format!("{name}.old"))
}

fn erase(dir: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => Err(e),
        // A link leads to what is not ours: only the link goes.
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(dir),
        Ok(_) => fs::remove_file(dir),
    };
    removed
        .and_then(|()| durable::sync_parent(dir))
        .map_err(|e| Error::exec(format!("Cannot remove '{}': {e}", dir.display())))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        (dir, paths)
    }

    #[test]
    fn an_export_becomes_whole_and_replaces_the_one_before() {
        let (_dir, paths) = node();
        assert_eq!(list(&paths), [""; 0], "there is not even a directory");
        for content in ["first", "second"] {
            let dir = begin(&paths, "web1", &["d0".into()]).expect("begun");
            fs::write(dir.join("d0"), content).expect("dump");
            let before = list(&paths);
            assert_eq!(before.len(), usize::from(content == "second"), "{before:?}");
            finish(&paths, "web1", "[export]\n").expect("finished");
            finish(&paths, "web1", "[export]\n").expect("finished already");
            assert_eq!(dump(&paths), content);
            for _ in 0..2 {
                settle(&paths, "web1").expect("settled");
                remove(&paths, "web1", true).expect("nothing is unfinished");
            }
            assert_eq!((list(&paths), dump(&paths).as_str()), (vec!["web1".into()], content));
        }
        let info = info(&paths, "web1").expect("read").expect("there");
        assert_eq!((info.config.as_str(), info.dumps.len()), ("[export]\n", 1));
        assert_eq!(info.dumps["d0"], 6);
        assert_eq!(fs::read_dir(paths.export_dir()).expect("list").count(), 1);
        remove(&paths, "web1", false).expect("removed");
        remove(&paths, "web1", false).expect("removed already");
        assert_eq!(super::info(&paths, "web1").expect("read"), None);
    }

    fn dump(paths: &Paths) -> String {
        fs::read_to_string(paths.export_dir().join("web1/d0")).expect("dump")
    }

    #[test]
    fn taken_back_it_leaves_the_one_before_wherever_it_broke() {
        let (_dir, paths) = node();
        let begun = |content: &str| {
            let dir = begin(&paths, "web1", &["d0".into()]).expect("begun");
            fs::write(dir.join("d0"), content).expect("dump");
        };
        begun("old");
        finish(&paths, "web1", "old").expect("finished");
        settle(&paths, "web1").expect("settled");
        remove(&paths, "web1", true).expect("before it began");
        assert_eq!(dump(&paths), "old");
        begun("new");
        remove(&paths, "web1", true).expect("begun");
        assert_eq!(dump(&paths), "old");
        begun("new");
        let (place, old) = (paths.export_dir().join("web1"), paths.export_dir().join("web1.old"));
        fs::rename(&place, &old).expect("the first of two renames");
        remove(&paths, "web1", true).expect("between the renames");
        assert_eq!(dump(&paths), "old");
        begun("new");
        finish(&paths, "web1", "new").expect("finished");
        remove(&paths, "web1", true).expect("finished, and taken back");
        assert_eq!(dump(&paths), "old");
        begun("new");
        fs::rename(&place, &old).expect("the first of two renames");
        finish(&paths, "web1", "new").expect("gone on with");
        // The job ended well, but settling did not come through: the next export does it.
        begun("newest");
        remove(&paths, "web1", true).expect("taken back");
        assert_eq!(dump(&paths), "new");
    }

    #[test]
    fn what_was_left_goes_and_dumps_stay() {
        let (_dir, paths) = node();
        let dir = begin(&paths, "web1", &["d0".into()]).expect("begun");
        fs::write(dir.join("d0"), "half").expect("dump");
        fs::write(dir.join("config.ini.new"), "half").expect("config");
        begin(&paths, "web1", &["d0".into()]).expect("begun again");
        assert!(dir.join("d0").exists() && !dir.join("config.ini.new").exists());
        for bad in ["../x", "a/b", "", ".x", CONFIG] {
            begin(&paths, "web1", &[bad.into()]).expect_err(bad);
        }
        whole(&paths, "../etc").expect_err("not a name");
        assert_eq!(named(&paths, "/mnt/x").expect("absolute"), paths.absolute("/mnt/x"));
        named(&paths, "../x").expect_err("leads out");
    }
}
