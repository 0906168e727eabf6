//! A volume, and what a script is told of it.

use crate::script::Script;
use roost_proto::error::{Error, Result};
use std::collections::BTreeMap;

/// A volume of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// `<uuid>.ext.disk<N>`.
    pub name: String,
    pub uuid: String,
    /// What its user calls it.
    pub cname: Option<String>,
    /// The provider's parameters, as text.
    pub params: BTreeMap<String, String>,
}

/// What a script is to do. Sizes in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    Create {
        size: u64,
    },
    Attach,
    Detach,
    Remove,
    Grow {
        size: u64,
        new_size: u64,
    },
    /// See [`metadata`].
    SetInfo {
        metadata: &'a str,
    },
    Verify,
    /// The copy is a volume, too; it has another name.
    Snapshot {
        name: &'a str,
        size: u64,
    },
    /// Not exclusively while another node has it open, too.
    Open {
        exclusive: bool,
    },
    Close,
}

impl Call<'_> {
    /// The script that does it.
    pub fn script(&self) -> Script {
        match self {
            Call::Create { .. } => Script::Create,
            Call::Attach => Script::Attach,
            Call::Detach => Script::Detach,
            Call::Remove => Script::Remove,
            Call::Grow { .. } => Script::Grow,
            Call::SetInfo { .. } => Script::SetInfo,
            Call::Verify => Script::Verify,
            Call::Snapshot { .. } => Script::Snapshot,
            Call::Open { .. } => Script::Open,
            Call::Close => Script::Close,
        }
    }
}

impl Volume {
    /// Whether scripts may be given it: they run as root and not all of them quote.
    pub fn check_name(name: &str) -> Result<()> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        if !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(fits) {
            return Ok(());
        }
        Err(Error::wrong_input(format!("'{name}' is not a name of an external volume")))
    }

    /// The variables of a call, and no others: Ganeti's.
    pub fn environment(&self, call: &Call<'_>) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
        set("VOL_NAME", &self.name);
        if call.script() != Script::Snapshot {
            set("VOL_UUID", &self.uuid);
            if let Some(cname) = &self.cname {
                set("VOL_CNAME", cname);
            }
        }
        match call {
            Call::Create { size } => {
                set("VOL_SIZE", &size.to_string());
            }
            Call::Grow { size, new_size } => {
                set("VOL_SIZE", &size.to_string());
                set("VOL_NEW_SIZE", &new_size.to_string());
            }
            Call::SetInfo { metadata } => {
                set("VOL_METADATA", metadata);
            }
            Call::Snapshot { name, size } => {
                set("VOL_SNAPSHOT_NAME", name);
                set("VOL_SNAPSHOT_SIZE", &size.to_string());
            }
            Call::Open { exclusive } => {
                set("VOL_OPEN_EXCLUSIVE", if *exclusive { "True" } else { "False" });
            }
            Call::Attach | Call::Detach | Call::Remove | Call::Verify | Call::Close => {}
        }
        for (name, value) in &self.params {
            set(&format!("EXTP_{}", name.to_uppercase()), value);
        }
        env
    }
}

/// What `setinfo` is told: whose the volume is.
pub fn metadata(instance: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    let text = format!("originstname+{instance}");
    text.chars().map(|c| if fits(c) { c } else { '_' }).take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(call: Call<'_>) -> String {
        let volume = Volume {
            name: "u.ext.disk0".into(),
            uuid: "u".into(),
            cname: Some("root".into()),
            params: [("pool".to_owned(), "fast one".to_owned())].into(),
        };
        let env = volume.environment(&call);
        env.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn each_script_is_told_exactly_what_is_documented() {
        let all = "EXTP_POOL=fast one\n";
        let named = "VOL_CNAME=root\n";
        let of = "VOL_NAME=u.ext.disk0\n";
        let id = "VOL_UUID=u\n";
        for call in [Call::Attach, Call::Detach, Call::Remove, Call::Verify, Call::Close] {
            assert_eq!(env(call), format!("{all}{named}{of}{id}"), "{call:?}");
        }
        assert_eq!(env(Call::Create { size: 5 }), format!("{all}{named}{of}VOL_SIZE=5\n{id}"));
        assert_eq!(
            env(Call::Grow { size: 5, new_size: 7 }),
            format!("{all}{named}{of}VOL_NEW_SIZE=7\nVOL_SIZE=5\n{id}")
        );
        assert_eq!(
            env(Call::SetInfo { metadata: "x" }),
            format!("{all}{named}VOL_METADATA=x\n{of}{id}")
        );
        assert_eq!(
            env(Call::Open { exclusive: false }),
            format!("{all}{named}{of}VOL_OPEN_EXCLUSIVE=False\n{id}")
        );
        assert_eq!(
            env(Call::Snapshot { name: "u.ext.disk0.snap", size: 5 }),
            format!("{all}{of}VOL_SNAPSHOT_NAME=u.ext.disk0.snap\nVOL_SNAPSHOT_SIZE=5\n")
        );
    }

    #[test]
    fn metadata_is_plain() {
        assert_eq!(metadata("web1.example.com"), "originstname+web1.example.com");
        assert_eq!(metadata("a b/c"), "originstname+a_b_c");
        assert_eq!(metadata(&"x".repeat(300)).len(), 128);
    }

    #[test]
    fn names_of_volumes_are_plain() {
        Volume::check_name("0aa2bc2e-2a6a-4f7e-bb36-2bd3b4ff2a0f.ext.disk0").expect("good");
        for bad in ["", "a/b", "..", "-x", "a b", "a;b", "$(x)"] {
            Volume::check_name(bad).expect_err(bad);
        }
    }
}
