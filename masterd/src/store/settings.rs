//! Which store this node uses: `store.json` in the data directory.
//!
//! No file means the embedded one. The file names secrets, so it is root's alone, and so must be
//! the files it names.

use crate::files;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use roost_proto::store::{EtcdSettings, StoreSettings};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the settings are.
pub fn file(paths: &Paths) -> PathBuf {
    paths.data_dir().join("store.json")
}

/// Reads and checks the settings of this node. Errors: unreadable, open to others, contradictory.
pub fn load(paths: &Paths) -> Result<StoreSettings> {
    let path = file(paths);
    if !path.exists() {
        return Ok(StoreSettings::Embedded);
    }
    check_private(&path)?;
    let settings: StoreSettings = serde_json::from_str(&files::read(&path)?)
        .map_err(|e| Error::environment(format!("{} cannot be understood: {e}", path.display())))?;
    if let StoreSettings::Etcd(etcd) = &settings {
        validate(etcd)
            .map_err(|e| Error::environment(format!("{}: {}", path.display(), e.message)))?;
    }
    Ok(settings)
}

/// Writes the settings; for the embedded store the file goes away.
pub fn save(paths: &Paths, settings: &StoreSettings) -> Result<()> {
    let path = file(paths);
    match settings {
        StoreSettings::Embedded => match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::environment(format!("Cannot remove {}: {e}", path.display())))
            }
            _ => Ok(()),
        },
        StoreSettings::Etcd(_) => {
            let text = serde_json::to_string_pretty(settings)
                .map_err(|e| Error::internal(format!("unstorable settings: {e}")))?;
            files::write(&path, text.as_bytes(), 0o600)
        }
    }
}

/// Do the settings make sense together, and are the secrets secret? Errors: `wrong_input`.
pub fn validate(etcd: &EtcdSettings) -> Result<()> {
    if etcd.endpoints.is_empty() {
        return Err(Error::wrong_input("etcd needs at least one endpoint, as https://host:2379"));
    }
    let mut encrypted = None;
    for endpoint in &etcd.endpoints {
        let https = check_endpoint(endpoint)?;
        if *encrypted.get_or_insert(https) != https {
            return Err(Error::wrong_input(
                "Some endpoints of etcd are https and some http: use https for all",
            ));
        }
    }
    let https = encrypted.unwrap_or(false);
    let certificates = etcd.ca.is_some() || etcd.certificate.is_some() || etcd.key.is_some();
    if https && etcd.ca.is_none() {
        return Err(Error::wrong_input(
            "Endpoints of etcd with https need the certificate of the authority that signed \
             theirs (ca)",
        ));
    }
    if !https && certificates {
        return Err(Error::wrong_input(
            "Certificates are of no use with http: write https in the endpoints of etcd",
        ));
    }
    if etcd.certificate.is_some() != etcd.key.is_some() {
        return Err(Error::wrong_input(
            "A certificate for etcd needs its key, and a key its certificate",
        ));
    }
    if etcd.user.is_some() != etcd.password_file.is_some() {
        return Err(Error::wrong_input(
            "A user of etcd needs a password file, and a password file its user",
        ));
    }
    if etcd.user.is_some() && !https && !etcd.endpoints.iter().all(|e| is_local(e)) {
        return Err(Error::wrong_input(
            "The password for etcd would cross the network in clear text: use https",
        ));
    }
    if !(2..=300).contains(&etcd.ttl) {
        return Err(Error::wrong_input(format!(
            "A leadership of {} s is not between 2 and 300 s (ttl)",
            etcd.ttl
        )));
    }
    for secret in [&etcd.key, &etcd.password_file].into_iter().flatten() {
        check_private(secret)?;
    }
    for path in [&etcd.ca, &etcd.certificate].into_iter().flatten() {
        files::read_bytes(path)?;
    }
    Ok(())
}

/// The name and password to log in with.
pub fn credentials(etcd: &EtcdSettings) -> Result<Option<(String, String)>> {
    let (Some(user), Some(path)) = (&etcd.user, &etcd.password_file) else { return Ok(None) };
    check_private(path)?;
    let password = files::read(path)?.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        return Err(Error::environment(format!("{} has no password in it", path.display())));
    }
    Ok(Some((user.clone(), password)))
}

/// Is it https? Errors: it is no endpoint.
fn check_endpoint(endpoint: &str) -> Result<bool> {
    let bad = |why: &str| {
        Error::wrong_input(format!(
            "'{endpoint}' is no endpoint of etcd ({why}): write it as https://host:2379"
        ))
    };
    let (https, rest) = match (endpoint.strip_prefix("https://"), endpoint.strip_prefix("http://"))
    {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(bad("it begins with neither https:// nor http://")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
    if host.is_empty() || host.contains(['/', '@']) {
        return Err(bad("the host is missing"));
    }
    port.parse::<u16>().map_err(|_| bad("the port is not a number"))?;
    Ok(https)
}

fn is_local(endpoint: &str) -> bool {
    ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"]
        .iter()
        .any(|local| endpoint.starts_with(local))
}

fn check_private(path: &Path) -> Result<()> {
    let about = path
        .metadata()
        .map_err(|e| Error::environment(format!("Cannot read {}: {e}", path.display())))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(Error::environment(format!(
            "{path} can be read by others than root: chmod 600 {path}",
            path = path.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd(endpoints: &[&str]) -> EtcdSettings {
        EtcdSettings {
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            ttl: 3,
            compact: true,
            ..EtcdSettings::default()
        }
    }

    fn refusal(settings: &EtcdSettings) -> String {
        validate(settings).unwrap_err().message
    }

    #[test]
    fn settings_survive_and_their_absence_means_embedded() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        assert_eq!(load(&paths).unwrap(), StoreSettings::Embedded);
        let settings = StoreSettings::Etcd(etcd(&["http://127.0.0.1:2379"]));
        save(&paths, &settings).unwrap();
        assert_eq!(load(&paths).unwrap(), settings);
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file(&paths), mode).unwrap();
        assert!(load(&paths).unwrap_err().message.contains("chmod 600"));
        save(&paths, &StoreSettings::Embedded).unwrap();
        save(&paths, &StoreSettings::Embedded).unwrap();
        assert_eq!(load(&paths).unwrap(), StoreSettings::Embedded);
    }

    #[test]
    fn contradictions_are_refused_with_the_way_out() {
        assert!(refusal(&etcd(&[])).contains("at least one endpoint"));
        assert!(refusal(&etcd(&["10.0.0.1:2379"])).contains("neither https://"));
        assert!(refusal(&etcd(&["http://10.0.0.1"])).contains("port"));
        assert!(refusal(&etcd(&["https://a:1", "http://b:1"])).contains("https for all"));
        assert!(refusal(&etcd(&["https://a:1"])).contains("(ca)"));
        let plain = etcd(&["http://a:1"]);
        assert!(refusal(&EtcdSettings { ca: Some("/x".into()), ..plain.clone() }).contains("http"));
        assert!(refusal(&EtcdSettings { ttl: 1, ..plain.clone() }).contains("ttl"));
        let user = EtcdSettings { user: Some("roost".into()), ..plain.clone() };
        assert!(refusal(&user).contains("password file"));
        let user = EtcdSettings { password_file: Some("/x".into()), ..user };
        assert!(refusal(&user).contains("clear text"));
        validate(&plain).unwrap();
    }

    #[test]
    fn passwords_that_others_can_read_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        files::write(&path, b"secret\n", 0o600).unwrap();
        let settings = EtcdSettings {
            user: Some("roost".into()),
            password_file: Some(path.clone()),
            ..etcd(&["http://localhost:2379"])
        };
        validate(&settings).unwrap();
        let expected = Some(("roost".to_owned(), "secret".to_owned()));
        assert_eq!(credentials(&settings).unwrap(), expected);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(validate(&settings).unwrap_err().message.contains("chmod 600"));
    }
}
