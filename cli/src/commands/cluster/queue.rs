//! `gnt-cluster queue`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::verb::Verb;
use clap::Args;
use roost_proto::error::Error;

/// `queue`.
#[derive(Args, Debug)]
pub struct Queue {
    /// drain (refuse new jobs), undrain or info
    #[arg(value_name = "drain|undrain|info")]
    what: String,
}

impl Verb for Queue {
    const NAME: &'static str = "queue";
    const ABOUT: &'static str = "Changes or shows whether the queue takes new jobs";

    async fn run(self, cx: &Cx) -> Outcome {
        let drain = match self.what.as_str() {
            "drain" => Some(true),
            "undrain" => Some(false),
            "info" => None,
            other => {
                return Err(Error::wrong_input(format!(
                    "Command '{other}' is not valid; use drain, undrain or info"
                ))
                .into());
            }
        };
        let drained = cx.client().await?.drain(drain).await?;
        if drain.is_none() {
            say!(cx, "The drain flag is {}", if drained { "set" } else { "unset" });
        }
        Ok(())
    }
}
