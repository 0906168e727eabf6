//! What is public of the certificates of this node. The files hold keys, too, or lie where only root may look,
//! so the helper reads them and hands on what this module makes of them.

use roost_proto::paths::Paths;
use roost_proto::secrets::SecretFile;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use x509_parser::pem::Pem;

/// A file is not read further than this: it holds no more than some certificates and a key.
const LONGEST: usize = 1 << 20;

/// What is public of one certificate, or why there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The file's name, without its directory; with ` (2)` for the second in it and so on.
    pub file: String,
    /// Distinguished names.
    pub subject: String,
    pub issuer: String,
    /// From when to when it is good, seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// Looks at the certificates of this node: those files that exist.
pub fn look(paths: &Paths) -> Vec<Certificate> {
    files(paths).iter().flat_map(|path| of_file(path)).collect()
}

/// Where certificates may be.
fn files(paths: &Paths) -> Vec<PathBuf> {
    let mut all = vec![paths.certificate(), paths.former_certificate(), paths.authority()];
    let secrets = SecretFile::ALL.into_iter().filter(|file| file.is_certificate());
    all.extend(secrets.map(|file| paths.secret(file)));
    all
}

fn of_file(path: &Path) -> Vec<Certificate> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match std::fs::read(path) {
        Ok(content) => of(&name, &content),
        Err(error) if error.kind() == ErrorKind::NotFound => vec![],
        Err(error) => {
            let error = Some(format!("{} cannot be read: {error}", path.display()));
            vec![Certificate { file: name, error, ..Certificate::default() }]
        }
    }
}

/// The certificates in the content of a file: PEM, keys beside them are passed over.
pub fn of(name: &str, content: &[u8]) -> Vec<Certificate> {
    let content = &content[..content.len().min(LONGEST)];
    let mut all: Vec<Certificate> = vec![];
    let failed = |why: String| Certificate {
        file: name.to_owned(),
        error: Some(format!("{name} holds no readable certificate: {why}")),
        ..Certificate::default()
    };
    for pem in Pem::iter_from_buffer(content) {
        let found = match &pem {
            Ok(pem) if pem.label != "CERTIFICATE" => continue,
            Ok(pem) => match pem.parse_x509() {
                Ok(x509) => Certificate {
                    file: match all.len() {
                        0 => name.to_owned(),
                        n => format!("{name} ({})", n + 1),
                    },
                    subject: x509.subject().to_string(),
                    issuer: x509.issuer().to_string(),
                    not_before: x509.validity().not_before.timestamp(),
                    not_after: x509.validity().not_after.timestamp(),
                    error: None,
                },
                Err(why) => failed(why.to_string()),
            },
            Err(why) => failed(why.to_string()),
        };
        let is_end = found.error.is_some() && pem.is_err();
        all.push(found);
        // After text that is no PEM there is nothing to be found.
        if is_end {
            break;
        }
    }
    if all.is_empty() {
        all.push(failed("there is none in it".into()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn only_the_public_parts_of_certificates_are_told() {
        let (first, key) = made("one.example.org");
        let (second, _) = made("two.example.org");
        let content = format!("{key}{first}\n{second}");
        let all = of("rapi.pem", content.as_bytes());
        let files: Vec<&str> = all.iter().map(|found| found.file.as_str()).collect();
        assert_eq!(files, ["rapi.pem", "rapi.pem (2)"]);
        for found in &all {
            assert_eq!(found.error, None);
            assert!(found.not_before < found.not_after && !found.subject.is_empty(), "{found:?}");
        }
        let json = serde_json::to_string(&all).unwrap();
        let secret: String = key.lines().filter(|line| !line.starts_with('-')).collect();
        assert!(!json.contains(&secret[..20]) && !json.contains("PRIVATE"), "{json}");
    }

    #[test]
    fn a_file_without_a_certificate_says_so_and_one_that_is_absent_says_nothing() {
        for content in
            ["", "rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            let all = of("node.pem", content.as_bytes());
            assert_eq!(all.len(), 1, "{content}");
            assert!(all[0].error.as_deref().unwrap().starts_with("node.pem holds no"), "{all:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(&Paths::new(Some(dir.path().into()))), []);
        let paths = Paths::new(Some(dir.path().into()));
        std::fs::create_dir_all(paths.data_dir()).unwrap();
        std::fs::write(paths.authority(), made("authority").0).unwrap();
        std::fs::create_dir(paths.certificate()).unwrap();
        let all = look(&paths);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].error.as_deref().unwrap().contains("cannot be read"), "{all:?}");
        assert_eq!((all[1].file.as_str(), &all[1].error), ("ca.pem", &None));
    }

    proptest! {
        #[test]
        fn nothing_in_a_file_makes_it_panic(content in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(!of("x", &content).is_empty());
            let mut framed = b"-----BEGIN CERTIFICATE-----\n".to_vec();
            framed.extend(&content);
            framed.extend(b"\n-----END CERTIFICATE-----\n");
            prop_assert!(!of("x", &framed).is_empty());
        }
    }
}
