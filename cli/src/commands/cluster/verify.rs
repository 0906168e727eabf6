//! `gnt-cluster verify`.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::submit::{self, DryRunPriority};
use crate::verb::Verb;
use crate::{jobs, say};
use clap::Args;
use roost_proto::choices::VerifyCheck;
use roost_proto::opcodes::ClusterVerify;
use serde_json::Value;

/// `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    job: DryRunPriority,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
    /// Treat checks as failed, to test what happens then
    #[arg(long)]
    debug_simulate_errors: bool,
    /// Error lines for programs
    #[arg(long)]
    error_codes: bool,
    /// Do not check whether each node's instances would fit elsewhere
    #[arg(long)]
    no_nplus1_mem: bool,
    /// Do not judge hypervisor parameters
    #[arg(long)]
    no_hv_param_assessment: bool,
    /// Only this group
    #[arg(short = 'g', long, value_name = "GROUP")]
    node_group: Option<String>,
    /// Only warn about errors of this code; repeat for more
    #[arg(short = 'I', long, value_name = "CODE")]
    ignore_errors: Vec<String>,
    /// Also look for keys that should not be there
    #[arg(long)]
    verify_ssh_clutter: bool,
}

impl Verb for Verify {
    const NAME: &'static str = "verify";
    const ABOUT: &'static str = "Does a check on the cluster configuration and its nodes";

    async fn run(self, cx: &Cx) -> Outcome {
        let mut skip_checks = Vec::new();
        if self.no_nplus1_mem {
            skip_checks.push(VerifyCheck::NPlusOneMem);
        }
        if self.no_hv_param_assessment {
            skip_checks.push(VerifyCheck::HvParamAssessment);
        }
        let op = ClusterVerify {
            debug_simulate_errors: self.debug_simulate_errors,
            error_codes: self.error_codes,
            skip_checks,
            ignore_errors: self.ignore_errors,
            verbose: self.verbose,
            group_name: self.node_group,
            verify_clutter: self.verify_ssh_clutter,
        };
        let result = submit::run(cx, op, &self.job.how()).await?;
        let ended = jobs::wait_for_children(cx, &result).await?;
        let failed = jobs::failures(&ended);
        if failed > 0 {
            say!(cx, "{failed} job(s) failed while verifying the cluster.");
        }
        let good = |results: &[Value]| results.iter().all(|result| result == &Value::Bool(true));
        let all_good = ended.iter().all(|(_, results)| results.as_deref().is_some_and(good));
        if all_good { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}
