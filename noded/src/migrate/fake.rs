//! Moves fake guests: both nodeds talk in lines of JSON over one tunnel.

use super::ProgressSink;
use super::decide::Side;
use super::tunnel::{Far, Socket};
use crate::hypervisor::{Fake, FakeGuest};
use roost_proto::error::{Error, Result};
use roost_proto::node::{GuestSpec, GuestState, InstanceRef, Progress};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// What the source asks of the target, about the guest its ticket names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Request {
    State,
    Receive(FakeGuest),
    Resume,
    Drop,
}

type Reply = Result<Option<GuestState>>;

/// Answers a source until it has no more requests.
pub async fn serve(fake: Fake, name: String, stream: DuplexStream) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str::<Request>(&line) {
            Ok(request) => answer(&fake, &name, request).await,
            Err(error) => Err(Error::wrong_input(format!("not a request: {error}"))),
        };
        let mut text = serde_json::to_vec(&reply).unwrap_or_default();
        text.push(b'\n');
        if writer.write_all(&text).await.is_err() {
            break;
        }
    }
}

async fn answer(fake: &Fake, name: &str, request: Request) -> Reply {
    let report = fake.info(name).await?;
    let instance = || -> Result<InstanceRef> {
        let known = report.as_ref().and_then(|report| {
            Some(InstanceRef {
                uuid: report.uuid?,
                name: roost_proto::names::InstanceName::new(&report.name).ok()?,
            })
        });
        known.ok_or_else(|| Error::wrong_state(format!("Instance {name} is not on this node")))
    };
    match request {
        Request::State => {}
        Request::Receive(guest) if guest.name == name => fake.receive_state(guest)?,
        Request::Receive(guest) => {
            return Err(Error::wrong_input(format!("{} was not announced", guest.name)));
        }
        Request::Resume => fake.resume(&instance()?).await?,
        Request::Drop => fake.stop(&instance()?, Duration::ZERO).await?,
    }
    Ok(fake.info(name).await?.map(|report| report.state))
}

/// The target of a migration.
pub struct Remote {
    lines: tokio::io::Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
    writer: tokio::io::WriteHalf<DuplexStream>,
    carrier: tokio::task::JoinHandle<Result<()>>,
}

impl Remote {
    pub async fn connect(far: &Far) -> Result<Remote> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let far = far.clone();
        let carrier = tokio::spawn(async move { far.carry(Socket::Libvirt, theirs).await });
        let (reader, writer) = tokio::io::split(ours);
        Ok(Remote { lines: BufReader::new(reader).lines(), writer, carrier })
    }

    async fn ask(&mut self, request: &Request) -> Reply {
        let mut text = serde_json::to_vec(request)
            .map_err(|e| Error::internal(format!("fake migration: {e}")))?;
        text.push(b'\n');
        let asked = self.writer.write_all(&text).await;
        match (asked, self.lines.next_line().await) {
            (Ok(()), Ok(Some(line))) => serde_json::from_str::<Reply>(&line)
                .map_err(|e| Error::exec(format!("The target gave no sound answer: {e}")))?,
            _ => match (&mut self.carrier).await {
                Ok(Err(error)) => Err(error),
                _ => Err(Error::exec("The target closed the connection")),
            },
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// Moves one fake guest.
pub struct FakeMover {
    here: Fake,
    there: Remote,
    guest: InstanceRef,
}

impl FakeMover {
    pub fn new(here: Fake, there: Remote, guest: &GuestSpec) -> FakeMover {
        FakeMover { here, there, guest: super::reference(guest) }
    }

    pub async fn sides(&mut self) -> Result<(Option<Side>, Option<Side>)> {
        let here = self.here.info(&self.guest.name).await?.map(|report| report.state);
        let there = self.there.ask(&Request::State).await?;
        // What a target has received is whole: it came in one message.
        let there = match there {
            Some(GuestState::Incoming) => Some(Side::Frozen),
            other => other.and_then(side),
        };
        Ok((here.and_then(side), there))
    }

    pub async fn transfer(&mut self, progress: ProgressSink<'_>) -> Result<()> {
        let state = self.here.send_state(&self.guest.name)?;
        progress(Progress { percent: Some(0.0), ..Progress::default() });
        self.there.ask(&Request::Receive(state)).await?;
        self.here.has_left(&self.guest.name)?;
        progress(Progress { percent: Some(100.0), ..Progress::default() });
        Ok(())
    }

    pub async fn drop_there(&mut self) -> Result<()> {
        self.there.ask(&Request::Drop).await.map(drop)
    }

    pub async fn drop_here(&mut self) -> Result<()> {
        self.here.stop(&self.guest, Duration::ZERO).await
    }

    pub async fn resume_there(&mut self) -> Result<()> {
        self.there.ask(&Request::Resume).await.map(drop)
    }

    pub async fn leave(&mut self) -> Result<()> {
        Ok(())
    }

    pub async fn resume_here(&mut self) -> Result<()> {
        self.here.resume(&self.guest).await
    }
}

fn side(state: GuestState) -> Option<Side> {
    match state {
        GuestState::Running => Some(Side::Running),
        GuestState::Paused => Some(Side::Frozen),
        GuestState::Incoming => Some(Side::Partial),
        GuestState::Shutdown | GuestState::Crashed => None,
    }
}
