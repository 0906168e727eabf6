//! From an opcode to a job: the options that all submissions share, the reason trail, the wait.

use crate::clock;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::job_follow;
use crate::{note, replication};
use clap::Args;
use clap::builder::PossibleValuesParser;
use roost_proto::error::Error;
use roost_proto::ids::JobId;
use roost_proto::opcodes::{Common, OpCode, OpInput, ReasonEntry, View};
use serde_json::Value;

/// `--priority`.
#[derive(Args, Clone, Debug, Default)]
pub struct PriorityOption {
    /// Priority of the job
    #[arg(long, value_name = "PRIORITY", value_parser = PossibleValuesParser::new(["low", "normal", "high"]))]
    pub priority: Option<String>,
}

/// `--dry-run`.
#[derive(Args, Clone, Debug, Default)]
pub struct DryRunOption {
    /// Only check and plan, but change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `--submit` and `--print-jobid`.
#[derive(Args, Clone, Debug, Default)]
pub struct SubmitOption {
    /// Submit the job and return at once, without waiting for it
    #[arg(long)]
    pub submit: bool,
    /// Print the job's number as the first line of output
    #[arg(long)]
    pub print_jobid: bool,
}

/// How jobs of a command are submitted.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// Do not wait.
    pub submit: bool,
    /// Print the number first.
    pub print_jobid: bool,
    /// Only plan.
    pub dry_run: bool,
    /// Ganeti's number for the priority, if one was given.
    pub priority: Option<i32>,
    /// Even to a drained queue.
    pub even_if_drained: bool,
}

impl PriorityOption {
    /// The number of the word.
    pub fn number(&self) -> Option<i32> {
        self.priority.as_deref().map(|word| match word {
            "low" => 10,
            "high" => -10,
            _ => 0,
        })
    }
}

macro_rules! combinations {
    ($($(#[$meta:meta])* $name:ident { $($field:ident : $type:ty),+ })+) => {$(
        $(#[$meta])*
        #[derive(Args, Clone, Debug, Default)]
        pub struct $name { $(#[command(flatten)] pub $field: $type,)+ }

        impl $name {
            /// The options in one.
            pub fn how(&self) -> How {
                let mut how = How::default();
                $(self.$field.apply(&mut how);)+
                how
            }
        }
    )+};
}

impl PriorityOption {
    fn apply(&self, how: &mut How) {
        how.priority = self.number();
    }

    /// The option as the whole of it.
    pub fn how(&self) -> How {
        How { priority: self.number(), ..How::default() }
    }
}

impl DryRunOption {
    fn apply(&self, how: &mut How) {
        how.dry_run = self.dry_run;
    }
}

impl SubmitOption {
    fn apply(&self, how: &mut How) {
        how.submit = self.submit;
        how.print_jobid = self.print_jobid;
    }
}

combinations! {
    /// The full set.
    JobOptions { submit: SubmitOption, dry_run: DryRunOption, priority: PriorityOption }
    /// Without `--dry-run`.
    SubmitPriority { submit: SubmitOption, priority: PriorityOption }
    /// Without `--submit`.
    DryRunPriority { dry_run: DryRunOption, priority: PriorityOption }
}

/// Why this command runs, as recorded with its jobs.
fn reason_trail(cx: &Cx) -> Vec<ReasonEntry> {
    let now = clock::now_nanos();
    let user = cx.reason.iter().map(|text| ("gnt:user".to_owned(), text.clone(), now));
    let client = (format!("gnt:client:{}", cx.tool), cx.verb.to_owned(), now);
    user.chain([client]).collect()
}

/// An opcode as it is sent.
pub fn input(cx: &Cx, op: OpCode, how: &How) -> OpInput {
    let common = Common {
        dry_run: how.dry_run,
        debug_level: u32::from(cx.debug),
        priority: how.priority.unwrap_or(0),
        reason: reason_trail(cx),
        ..Common::default()
    };
    OpInput { common, op }
}

/// Submits one job; it may be refused.
pub async fn submit_ops(cx: &Cx, ops: Vec<OpCode>, how: &How) -> Outcome<JobId> {
    let ops: Vec<OpInput> = ops.into_iter().map(|op| input(cx, op, how)).collect();
    if cx.debug > 0 {
        for op in &ops {
            note!(cx, "Submitting {}", op.to_view(View::Shown));
        }
    }
    submit_json(cx, ops.iter().map(OpInput::to_json).collect(), how).await
}

/// Submits one job of opcodes in JSON.
pub async fn submit_json(cx: &Cx, ops: Vec<Value>, how: &How) -> Outcome<JobId> {
    let jobs = [ops];
    let submission = cx.client().await?.submit(&jobs, how.even_if_drained);
    let replies = replication::explained(cx, submission).await?;
    let one = replies.into_iter().next();
    Ok(one.unwrap_or_else(|| Err(Error::generic("masterd did not answer about the job")))?)
}

/// Submits one opcode and waits for it, as most commands do. With `--submit` the command ends here.
/// Result: what the opcode returned.
pub async fn run(cx: &Cx, op: impl Into<OpCode>, how: &How) -> Outcome<Value> {
    let results = run_all(cx, vec![op.into()], how).await?;
    Ok(results.into_iter().next().unwrap_or(Value::Null))
}

/// The same for several opcodes in one job.
pub async fn run_all(cx: &Cx, ops: Vec<OpCode>, how: &How) -> Outcome<Vec<Value>> {
    let job = submit_ops(cx, ops, how).await?;
    if how.print_jobid {
        cx.say(job)?;
    }
    if how.submit {
        cx.note(format_args!("JobID: {job}"));
        return Err(Failure::Exit(0));
    }
    job_follow::wait(cx, job).await
}
