//! Where a cluster keeps its configuration and jobs: settings of the store, as in `store.json` of
//! the data directory and as `gnt-cluster init` and `gnt-cluster migrate-store` send them.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Seconds a leadership lasts after the last sign of life.
pub const DEFAULT_TTL: u32 = 3;

/// Which store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "store", rename_all = "lowercase")]
pub enum StoreSettings {
    /// A database file of masterd's, on every master candidate.
    #[default]
    Embedded,
    /// An etcd cluster.
    Etcd(EtcdSettings),
}

impl StoreSettings {
    /// The embedded one: what there is without settings.
    pub fn is_embedded(&self) -> bool {
        *self == StoreSettings::Embedded
    }
}

/// How to reach an etcd cluster. Files are read when masterd starts; the password is only ever in
/// a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdSettings {
    /// `https://host:port` (or `http://`) of each member.
    pub endpoints: Vec<String>,
    /// The authority that signed the members' certificates, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM, if etcd asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Our name, if etcd asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A file with nothing but the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Seconds a leadership lasts after the last sign of life.
    #[serde(default = "default_ttl")]
    pub ttl: u32,
    /// Let the leader remove old revisions, which etcd keeps for ever otherwise. Off where somebody
    /// else does it (etcd's own `--auto-compaction-retention`).
    #[serde(default = "yes")]
    pub compact: bool,
}

/// `gnt-cluster migrate-store` hands this to masterd, as JSON on its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateSpec {
    /// The new store.
    pub to: StoreSettings,
    /// The master has copied already: only switch.
    #[serde(default)]
    pub follow: bool,
    /// Only look whether it would work.
    #[serde(default)]
    pub check_only: bool,
}

fn default_ttl() -> u32 {
    DEFAULT_TTL
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_their_defaults() {
        let text = r#"{"store":"etcd","endpoints":["http://127.0.0.1:2379"]}"#;
        let StoreSettings::Etcd(etcd) = serde_json::from_str(text).unwrap() else {
            panic!("not etcd")
        };
        assert_eq!((etcd.ttl, etcd.compact), (3, true));
        assert_eq!(
            serde_json::from_str::<StoreSettings>(r#"{"store":"embedded"}"#).unwrap(),
            StoreSettings::Embedded
        );
        let misspelt = r#"{"store":"etcd","endpoints":[],"cacert":"x"}"#;
        assert!(serde_json::from_str::<StoreSettings>(misspelt).is_err());
    }

    #[test]
    fn settings_come_back_as_written() {
        let etcd = EtcdSettings {
            endpoints: vec!["https://a:2379".into()],
            ca: Some("/ca".into()),
            ttl: 5,
            ..EtcdSettings::default()
        };
        let text = serde_json::to_string(&StoreSettings::Etcd(etcd.clone())).unwrap();
        assert!(text.starts_with(r#"{"store":"etcd","#), "{text}");
        assert_eq!(
            serde_json::from_str::<StoreSettings>(&text).unwrap(),
            StoreSettings::Etcd(etcd)
        );
    }
}
