//! `gnt-cluster version`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::pyrepr;
use serde_json::Value;

/// `version`.
#[derive(Args, Debug)]
pub struct Version {}

impl Verb for Version {
    const NAME: &'static str = "version";
    const ABOUT: &'static str = "Shows the cluster version";

    async fn run(self, cx: &Cx) -> Outcome {
        let info = cx.client().await?.info().await?;
        for (title, key) in [
            ("Software version", "software_version"),
            ("Internode protocol", "protocol_version"),
            ("Configuration format", "config_version"),
            ("OS api version", "os_api_version"),
            ("Export interface", "export_version"),
            ("VCS version", "vcs_version"),
        ] {
            say!(cx, "{title}: {}", pyrepr::str(info.get(key).unwrap_or(&Value::Null)));
        }
        Ok(())
    }
}
