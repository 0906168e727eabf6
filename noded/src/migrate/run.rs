//! Drives one migration on its source, from whatever state it is in.

use super::ProgressSink;
use super::decide::{Next, Side, decide};
use super::fake::FakeMover;
use super::kvm::KvmMover;
use roost_proto::error::{Error, Result};

/// How guests of a kind are moved.
pub enum Mover {
    Kvm(Box<KvmMover>),
    Fake(FakeMover),
}

/// Hands a call on to the mover there is.
macro_rules! each {
    ($self:ident, $mover:ident => $call:expr) => {
        match $self {
            Mover::Kvm($mover) => $call,
            Mover::Fake($mover) => $call,
        }
    };
}

impl Mover {
    /// What is here and what is there.
    async fn sides(&mut self) -> Result<(Option<Side>, Option<Side>)> {
        each!(self, mover => mover.sides().await)
    }

    async fn transfer(&mut self, progress: ProgressSink<'_>) -> Result<()> {
        each!(self, mover => mover.transfer(progress).await)
    }

    async fn drop_there(&mut self) -> Result<()> {
        each!(self, mover => mover.drop_there().await)
    }

    async fn drop_here(&mut self) -> Result<()> {
        each!(self, mover => mover.drop_here().await)
    }

    async fn resume_there(&mut self) -> Result<()> {
        each!(self, mover => mover.resume_there().await)
    }

    async fn resume_here(&mut self) -> Result<()> {
        each!(self, mover => mover.resume_here().await)
    }

    /// Removes what is beside the guest here.
    async fn leave(&mut self) -> Result<()> {
        each!(self, mover => mover.leave().await)
    }
}

/// More steps than any sound migration has.
const MOST_STEPS: usize = 8;

/// Moves a guest. If that fails it is, if at all possible, left running here and not there.
pub async fn run(name: &str, mover: &mut Mover, progress: ProgressSink<'_>) -> Result<()> {
    let mut failure: Option<Error> = None;
    let mut ran_here = false;
    for _ in 0..MOST_STEPS {
        let (here, there) = mover.sides().await.map_err(|error| failure.take().unwrap_or(error))?;
        let next = decide(here, there);
        tracing::debug!(instance = name, ?here, ?there, ?next, "migration");
        match (next, failure.take()) {
            (Next::Done, _) => return mover.leave().await,
            (Next::Transfer, None) => {
                ran_here = here == Some(Side::Running);
                failure = mover.transfer(progress).await.err();
            }
            (Next::Transfer, Some(error)) => {
                if ran_here && here == Some(Side::Frozen) {
                    mover.resume_here().await?;
                }
                return Err(error);
            }
            (Next::DropThere, error) => {
                mover.drop_there().await?;
                failure = error;
            }
            (Next::DropHere, _) => mover.drop_here().await?,
            (Next::ResumeThere, _) => mover.resume_there().await?,
            (Next::Fail(why), error) => {
                let error = error.map(|e| format!(" ({e})")).unwrap_or_default();
                return Err(Error::exec(format!("Cannot migrate instance {name}: {why}{error}")));
            }
        }
    }
    Err(failure.unwrap_or_else(|| {
        Error::exec(format!("Cannot migrate instance {name}: its state does not settle; try again"))
    }))
}
