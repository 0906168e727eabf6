//! `gnt-job autoarchive`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::verb::Verb;
use clap::Args;
use roost_proto::units::parse_timespec;

/// `autoarchive`.
#[derive(Args, Debug)]
pub struct Autoarchive {
    /// How long ago they must have ended: seconds, or a number with s, m, h, d, w; or "all"
    #[arg(value_name = "AGE")]
    age: String,
}

impl Verb for Autoarchive {
    const NAME: &'static str = "autoarchive";
    const ABOUT: &'static str = "Auto archives jobs older than the given age";

    async fn run(self, cx: &Cx) -> Outcome {
        let age = match self.age.as_str() {
            "all" => -1,
            text => i64::try_from(parse_timespec(text)?).unwrap_or(i64::MAX),
        };
        let (archived, left) = cx.client().await?.auto_archive(age).await?;
        say!(cx, "Archived {archived} jobs, {left} unchecked left");
        Ok(())
    }
}
