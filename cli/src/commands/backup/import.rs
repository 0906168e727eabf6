//! `gnt-backup import`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::options::instance::{CreateOptions, HelperOptions};
use crate::submit;
use crate::verb::Verb;
use clap::Args;
use roost_proto::choices::InstCreateMode;
use roost_proto::error::Result;
use roost_proto::opcodes::InstanceCreate;

/// `import`.
#[derive(Args, Debug)]
pub struct Import {
    #[command(flatten)]
    create: CreateOptions,
    #[command(flatten)]
    helper: HelperOptions,
    /// Leave values that equal the cluster's defaults to the defaults
    #[arg(long)]
    identify_defaults: bool,
    /// Directory of the export, below the export directory or absolute; the instance's name
    /// if nothing is said
    #[arg(long, value_name = "DIR")]
    src_dir: Option<String>,
    /// Node that has the export; all are searched if nothing is said
    #[arg(long, value_name = "NODE")]
    src_node: Option<String>,
    /// How data is compressed on its way: none, gzip, gzip-fast, gzip-slow, zstd, lz4
    #[arg(long, value_name = "TOOL", default_value = "none")]
    compress: String,
    /// Even if it does not meet the instance policy
    #[arg(long)]
    ignore_ipolicy: bool,
    /// Its name
    #[arg(value_name = "INSTANCE")]
    name: String,
}

impl Import {
    fn opcode(&self) -> Result<InstanceCreate> {
        Ok(InstanceCreate {
            start: false,
            identify_defaults: self.identify_defaults,
            src_path: self.src_dir.clone(),
            src_node: self.src_node.clone(),
            compress: self.compress.clone(),
            ignore_ipolicy: self.ignore_ipolicy,
            instance_communication: self.helper.communication.unwrap_or(false),
            helper_startup_timeout: self.helper.helper_startup_timeout,
            helper_shutdown_timeout: self.helper.helper_shutdown_timeout,
            ..self.create.opcode(&self.name, InstCreateMode::Import)?
        })
    }
}

impl Verb for Import {
    const NAME: &'static str = "import";
    const ABOUT: &'static str = "Makes a new instance from an export";

    async fn run(self, cx: &Cx) -> Outcome {
        for warning in self.create.warnings() {
            cx.note(warning);
        }
        submit::run(cx, self.opcode()?, &self.create.job.how()).await?;
        Ok(())
    }
}
