//! Parameters of network cards: how they are connected on the node.

use super::ParamMap;
use super::value::{self, Check, Kind, Lit, Param, param};
use crate::choices::NicMode;
use crate::error::{Error, Result};
use serde_json::Value;

/// Every parameter of a network card. The default link is the bridge that most distributions
/// suggest; Ganeti's is set when it is built.
pub const TABLE: &[Param] = &[
    param("link", Kind::Text, Lit::T("br0"), Check::Any),
    param("mode", Kind::Text, Lit::T("bridged"), Check::OneOf(NicMode::WORDS)),
    param("vlan", Kind::Text, Lit::T(""), Check::Any),
];

/// All parameters of a network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledNic {
    /// How it is connected.
    pub mode: NicMode,
    /// To which bridge, routing table or switch.
    pub link: String,
    /// Its VLANs, as [`vlan`] writes them.
    pub vlan: String,
}

impl FilledNic {
    /// Reads a filled map; what is missing or odd in it takes the built-in default.
    pub fn from_map(map: &ParamMap) -> FilledNic {
        let text = |key| map.get(key).and_then(Value::as_str);
        FilledNic {
            mode: text("mode").and_then(|word| word.parse().ok()).unwrap_or(NicMode::Bridged),
            link: text("link").unwrap_or("br0").to_owned(),
            vlan: text("vlan").unwrap_or_default().to_owned(),
        }
    }

    /// The map again.
    pub fn to_map(&self) -> ParamMap {
        ParamMap::from([
            ("mode".to_owned(), self.mode.as_str().into()),
            ("link".to_owned(), self.link.as_str().into()),
            ("vlan".to_owned(), self.vlan.as_str().into()),
        ])
    }

    /// Errors if the values contradict each other.
    pub fn check(&self) -> Result<()> {
        if self.link.is_empty() && matches!(self.mode, NicMode::Bridged | NicMode::OpenVSwitch) {
            return Err(Error::wrong_input(format!(
                "Missing link for a NIC of mode '{}': name the bridge or switch with link=NAME",
                self.mode
            )));
        }
        Ok(())
    }
}

/// Types and checks settings as a user gives them; VLANs are normalized. Errors: `wrong_input`.
pub fn typed(settings: &ParamMap) -> Result<ParamMap> {
    let mut out = value::typed(TABLE, settings, "NIC")?;
    if let Some(Value::String(text)) = out.get_mut("vlan")
        && text != super::DEFAULT
    {
        *text = vlan(text)?;
    }
    Ok(out)
}

/// Reads VLANs: `N` or `.N` untagged, `:N:M` tagged, `.N:M` both. Result: the same with the dot.
/// Errors: `wrong_input`.
pub fn vlan(text: &str) -> Result<String> {
    let wrong = || {
        Error::wrong_input(format!(
            "Invalid VLAN '{text}': write N or .N for an access port, :N:M for a trunk, or both as \
             .N:M, with numbers from 1 to 4094"
        ))
    };
    let number = |digits: &str| match digits.parse::<u16>() {
        Ok(n) if (1..=4094).contains(&n) => Ok(n),
        _ => Err(wrong()),
    };
    if text.is_empty() {
        return Ok(String::new());
    }
    let mut parts = text.split(':');
    let access = parts.next().unwrap_or_default();
    let mut out = String::new();
    if !access.is_empty() {
        out = format!(".{}", number(access.strip_prefix('.').unwrap_or(access))?);
    }
    for trunk in parts {
        out = format!("{out}:{}", number(trunk)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_typed() {
        let settings = ParamMap::from([
            ("mode".to_owned(), json!("routed")),
            ("link".to_owned(), json!(100)),
            ("vlan".to_owned(), json!("7")),
        ]);
        let out = typed(&settings).expect("good");
        assert_eq!(
            FilledNic::from_map(&out),
            FilledNic { mode: NicMode::Routed, link: "100".into(), vlan: ".7".into() }
        );
        assert!(typed(&ParamMap::from([("mode".to_owned(), json!("pool"))])).is_err());
    }

    #[test]
    fn defaults_agree() {
        let filled = FilledNic::from_map(&ParamMap::new());
        assert_eq!(filled.to_map(), value::defaults(TABLE));
        filled.check().expect("good");
        assert!(FilledNic { link: String::new(), ..filled }.check().is_err());
    }

    #[test]
    fn vlans() {
        for (text, expected) in [
            ("", ""),
            ("3", ".3"),
            (".3", ".3"),
            (":4:5", ":4:5"),
            (".3:4", ".3:4"),
            ("3:4", ".3:4"),
        ] {
            assert_eq!(vlan(text).expect(text), expected);
        }
        for bad in [".", "0", "4095", ":", "a", ".1.2", "1:"] {
            assert!(vlan(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
