//! `gnt-debug locks`: who holds what, and who waits.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::table::{self, ListOptions, ListRequest};
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::Resource;
use std::time::Duration;

/// `locks`.
#[derive(Args, Debug)]
pub struct Locks {
    #[command(flatten)]
    options: ListOptions,
    /// Repeat for ever, with a pause of so many seconds
    #[arg(long, value_name = "SECONDS")]
    interval: Option<f64>,
}

impl Verb for Locks {
    const NAME: &'static str = "locks";
    const ABOUT: &'static str = "Shows a list of locks in the master daemon";

    async fn run(self, cx: &Cx) -> Outcome {
        loop {
            let request = ListRequest {
                resource: Resource::Lock,
                arguments: &[],
                force_filter: false,
                condition: None,
                options: &self.options,
                units: None,
            };
            table::list(cx, request).await?;
            let Some(seconds) = self.interval else { return Ok(()) };
            say!(cx, "");
            tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.1, 86_400.0))).await;
        }
    }
}
