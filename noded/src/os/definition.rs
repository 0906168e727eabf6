//! What an OS directory has, and whether that is what an OS must have.
//!
//! ```text
//!   file                        API 10    15         20
//!   ganeti_api_version          needed    needed     needed      one version a line
//!   create, create_untrusted    one of    one of     one of      executable
//!   export, import, rename      needed    needed     needed      executable
//!   verify                                           needed      executable
//!   parameters.list                                  needed      `name description` a line
//!   variants.list                         possible   possible    a name a line, # comments
//! ```

use nix::unistd::{AccessFlags, access};
use roost_proto::error::{Error, Result};
use roost_proto::node::OsReport;
use roost_proto::paths::Paths;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The versions of the interface that noded speaks.
const VERSIONS: [u32; 3] = [10, 15, 20];

/// A usable OS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Without variant.
    pub name: String,
    pub dir: PathBuf,
    /// All that it offers.
    pub api_versions: Vec<u32>,
    /// The highest that both sides know.
    pub api: u32,
    pub variants: Vec<String>,
    /// (name, description).
    pub parameters: Vec<(String, String)>,
    /// It has a `create` that may run on the node itself.
    pub trusted: bool,
}

impl Definition {
    /// The OS of a name, which may have a variant behind `+`. Errors: none of that name, not valid.
    pub fn find(paths: &Paths, os: &str) -> Result<Definition> {
        let name = split(os).0;
        if !is_name(name) {
            return Err(Error::wrong_input(format!("'{name}' is not a name of an OS")));
        }
        let path = paths.os_search_path().into_iter().map(|dir| dir.join(name));
        match path.into_iter().find(|dir| dir.is_dir()) {
            Some(dir) => read(name, &dir)
                .map_err(|why| Error::environment(format!("OS '{name}' is not valid: {why}"))),
            None => Err(Error::environment(format!(
                "OS '{name}' is not on this node; install it below one of {}",
                paths
                    .os_search_path()
                    .iter()
                    .map(|p| p.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    /// The variant that scripts are told: the one asked for, else the first.
    pub fn variant<'a>(&'a self, os: &'a str) -> &'a str {
        match (self.api, split(os).1) {
            (10, _) => "",
            (_, Some(variant)) => variant,
            (_, None) => self.variants.first().map_or("", String::as_str),
        }
    }

    /// Whether the OS has the variant of the name. Errors name those it has.
    pub fn check_variant(&self, os: &str) -> Result<()> {
        let name = &self.name;
        match split(os).1 {
            None if self.variants.is_empty() => Ok(()),
            None => Err(Error::wrong_input(format!(
                "OS '{name}' has variants: use one of {}",
                self.variants.iter().map(|v| format!("{name}+{v}")).collect::<Vec<_>>().join(", ")
            ))),
            Some(variant) if self.variants.iter().any(|v| v == variant) => Ok(()),
            Some(variant) if self.variants.is_empty() => Err(Error::wrong_input(format!(
                "OS '{name}' has no variants ('{variant}' was asked for)"
            ))),
            Some(variant) => Err(Error::wrong_input(format!(
                "OS '{name}' has no variant '{variant}'; it has {}",
                self.variants.join(", ")
            ))),
        }
    }
}

/// Every OS on this node, valid or not; of several with one name the first on the search path.
pub fn list(paths: &Paths) -> Vec<OsReport> {
    let mut found = BTreeMap::new();
    for base in paths.os_search_path() {
        let Ok(entries) = fs::read_dir(&base) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_name(&name) && entry.path().is_dir() {
                found.entry(name).or_insert(entry.path());
            }
        }
    }
    found.into_iter().map(|(name, dir)| report(name, &dir)).collect()
}

fn report(name: String, dir: &Path) -> OsReport {
    let path = dir.to_string_lossy().into_owned();
    match read(&name, dir) {
        Ok(os) => OsReport {
            name,
            path,
            valid: true,
            problem: String::new(),
            api_versions: os.api_versions,
            variants: os.variants,
            parameters: os.parameters,
            trusted: os.trusted,
        },
        Err(problem) => OsReport { name, path, problem, ..OsReport::default() },
    }
}

/// `name+variant`.
fn split(os: &str) -> (&str, Option<&str>) {
    match os.split_once('+') {
        Some((name, "")) => (name, None),
        Some((name, variant)) => (name, Some(variant)),
        None => (os, None),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn read(name: &str, dir: &Path) -> std::result::Result<Definition, String> {
    let api_versions = versions(dir)?;
    let api = api_versions.iter().copied().filter(|v| VERSIONS.contains(v)).max();
    let api = api.ok_or_else(|| {
        format!("it has API versions {api_versions:?}; this node knows {VERSIONS:?}")
    })?;
    let trusted = dir.join("create").exists();
    let untrusted = dir.join("create_untrusted").exists();
    if !trusted && !untrusted {
        return Err("it has neither a 'create' nor a 'create_untrusted' script".into());
    }
    for (script, needed) in [
        ("create", trusted),
        ("create_untrusted", untrusted),
        ("export", true),
        ("import", true),
        ("rename", true),
        ("verify", api >= 20),
    ] {
        if needed {
            executable(dir, script)?;
        }
    }
    let variants = match api {
        10 => vec![],
        _ => variants(dir)?,
    };
    let parameters = match api {
        20 => parameters(dir)?,
        _ => vec![],
    };
    let (name, dir) = (name.to_owned(), dir.to_owned());
    Ok(Definition { name, dir, api_versions, api, variants, parameters, trusted })
}

fn versions(dir: &Path) -> std::result::Result<Vec<u32>, String> {
    let file = "ganeti_api_version";
    let text = needed(dir, file)?;
    text.lines()
        .map(|line| {
            let line = line.trim();
            line.parse().map_err(|_| format!("'{file}' has a line '{line}' that is no number"))
        })
        .collect()
}

fn executable(dir: &Path, script: &str) -> std::result::Result<(), String> {
    let path = dir.join(script);
    match fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => Err(format!("'{script}' is not a regular file")),
        Ok(_) if access(&path, AccessFlags::X_OK).is_err() => {
            Err(format!("'{script}' is not executable"))
        }
        Ok(_) => Ok(()),
        Err(e) => Err(format!("the script '{script}' is missing: {e}")),
    }
}

fn needed(dir: &Path, file: &str) -> std::result::Result<String, String> {
    let path = dir.join(file);
    match fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => Err(format!("'{file}' is not a regular file")),
        Ok(_) => fs::read_to_string(&path).map_err(|e| format!("'{file}' cannot be read: {e}")),
        Err(e) => Err(format!("the file '{file}' is missing: {e}")),
    }
}

fn variants(dir: &Path) -> std::result::Result<Vec<String>, String> {
    if !dir.join("variants.list").exists() {
        return Ok(vec![]);
    }
    let text = needed(dir, "variants.list")?;
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect())
}

fn parameters(dir: &Path) -> std::result::Result<Vec<(String, String)>, String> {
    let text = needed(dir, "parameters.list")?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines
        .map(|line| {
            let (name, description) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            (name.to_owned(), description.trim_start().to_owned())
        })
        .collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Makes an OS with these files; the ones that begin with `#!` are executable.
    pub fn make(paths: &Paths, place: usize, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = paths.os_search_path()[place].join(name);
        fs::create_dir_all(&dir).expect("directory");
        for (file, text) in files {
            fs::write(dir.join(file), text).expect("file");
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(dir.join(file), fs::Permissions::from_mode(mode)).expect("mode");
        }
        dir
    }

    pub const SCRIPT: &str = "#!/bin/sh\n";
    pub const FULL: &[(&str, &str)] = &[
        ("ganeti_api_version", "20\n15\n10\n"),
        ("create", SCRIPT),
        ("export", SCRIPT),
        ("import", SCRIPT),
        ("rename", SCRIPT),
        ("verify", SCRIPT),
        ("parameters.list", "dhcp  yes or no\nmirror\n"),
        ("variants.list", "# which\n\nstable\n testing\n"),
    ];

    fn node() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        (dir, paths)
    }

    #[test]
    fn a_full_os_is_valid() {
        let (_dir, paths) = node();
        let dir = make(&paths, 3, "debian", FULL);
        let os = Definition::find(&paths, "debian+testing").expect("valid");
        assert_eq!((os.api, os.trusted), (20, true));
        assert_eq!(os.variants, ["stable", "testing"]);
        let described = |n: &str, d: &str| (n.to_owned(), d.to_owned());
        assert_eq!(os.parameters, [described("dhcp", "yes or no"), described("mirror", "")]);
        assert_eq!(os.variant("debian+testing"), "testing");
        assert_eq!(os.variant("debian"), "stable");
        os.check_variant("debian+stable").expect("known");
        let error = os.check_variant("debian+old").expect_err("unknown");
        assert_eq!(error.message, "OS 'debian' has no variant 'old'; it has stable, testing");
        os.check_variant("debian").expect_err("a variant is needed");
        let report = &list(&paths)[0];
        assert_eq!((report.valid, report.path.as_str()), (true, dir.to_str().expect("utf-8")));
    }

    #[test]
    fn the_first_on_the_search_path_wins() {
        let (_dir, paths) = node();
        make(&paths, 1, "x", FULL);
        make(&paths, 0, "x", &[("ganeti_api_version", "5\n")]);
        let error = Definition::find(&paths, "x").expect_err("the first is not valid");
        assert_eq!(
            error.message,
            "OS 'x' is not valid: it has API versions [5]; this node knows [10, 15, 20]"
        );
        let all = list(&paths);
        assert_eq!((all.len(), all[0].valid), (1, false));
    }

    #[test]
    fn each_version_needs_its_files() {
        let (_dir, paths) = node();
        let old = &[("ganeti_api_version", "10\n")];
        make(&paths, 0, "old", &[old, &FULL[1..5]].concat());
        let os = Definition::find(&paths, "old").expect("valid without verify and lists");
        assert_eq!((os.api, os.variant("old+x")), (10, ""));
        for (n, (missing, says)) in [
            ("ganeti_api_version", "the file 'ganeti_api_version' is missing"),
            ("create", "neither a 'create' nor a 'create_untrusted'"),
            ("export", "the script 'export' is missing"),
            ("verify", "the script 'verify' is missing"),
            ("parameters.list", "the file 'parameters.list' is missing"),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("os{n}");
            let files: Vec<_> = FULL.iter().copied().filter(|(f, _)| *f != missing).collect();
            make(&paths, 0, &name, &files);
            let error = Definition::find(&paths, &name).expect_err("not valid");
            assert!(error.message.contains(says), "{error}");
        }
        make(&paths, 0, "bad", &[FULL, &[("ganeti_api_version", "20\nx\n")]].concat());
        let error = Definition::find(&paths, "bad").expect_err("not valid");
        assert!(error.message.contains("a line 'x' that is no number"), "{error}");
        make(&paths, 0, "noexec", &[FULL, &[("import", "no script")]].concat());
        let dir = paths.os_search_path()[0].join("noexec/import");
        fs::set_permissions(dir, fs::Permissions::from_mode(0o644)).expect("mode");
        let error = Definition::find(&paths, "noexec").expect_err("not valid");
        assert!(error.message.contains("'import' is not executable"), "{error}");
        let error = Definition::find(&paths, "../etc").expect_err("not a name");
        assert!(error.message.contains("is not a name of an OS"), "{error}");
    }
}
