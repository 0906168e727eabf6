//! Moves KVM guests: libvirt does it, through sockets of ours that lead to the target.

use super::ProgressSink;
use super::decide::Side;
use super::tunnel::{Far, Relay, Socket};
use crate::hypervisor::{Attachment, Kvm, Move, Peer};
use roost_proto::error::Result;
use roost_proto::node::{GuestSpec, GuestState, InstanceRef, MigrationMode, Progress};
use std::path::Path;
use std::time::Duration;

/// Moves one KVM guest.
pub struct KvmMover {
    here: Kvm,
    there: Peer,
    guest: GuestSpec,
    disks: Vec<Attachment>,
    how: Move,
    far: Far,
    /// The sockets work as long as these live.
    _relays: [Relay; 3],
}

impl KvmMover {
    /// Opens the sockets in `dir` and connects to the target's libvirt through one of them.
    pub async fn new(
        here: Kvm,
        far: &Far,
        dir: &Path,
        guest: &GuestSpec,
        disks: &[Attachment],
        mode: MigrationMode,
    ) -> Result<KvmMover> {
        let how = Move {
            libvirt_socket: dir.join("libvirt.sock"),
            memory_socket: dir.join("memory.sock"),
            disks_socket: dir.join("disks.sock"),
            live: mode.live,
            copy_disks: mode.copy_disks,
        };
        let relays = [
            far.relay(Socket::Libvirt, &how.libvirt_socket)?,
            far.relay(Socket::Memory, &how.memory_socket)?,
            far.relay(Socket::Disks, &how.disks_socket)?,
        ];
        // Says clearly what is wrong with the way there, which libvirt would not.
        far.check().await?;
        here.settle(&guest.name).await?;
        let there = Peer::open(&how.libvirt_socket).await?;
        let (guest, disks) = (guest.clone(), disks.to_vec());
        let far = far.clone();
        Ok(KvmMover { here, there, guest, disks, how, far, _relays: relays })
    }

    fn reference(&self) -> InstanceRef {
        super::reference(&self.guest)
    }

    pub async fn sides(&mut self) -> Result<(Option<Side>, Option<Side>)> {
        let here = self.here.info(&self.guest.name).await?.map(|report| report.state);
        let there = self.there.state(&self.guest.name).await?;
        Ok((here.and_then(side), there.and_then(side)))
    }

    pub async fn transfer(&mut self, progress: ProgressSink<'_>) -> Result<()> {
        let moving = self.here.migrate(&self.guest, &self.disks, &self.how, progress);
        let arriving = async {
            self.here.process_ends(&self.guest.name).await;
            self.let_go().await;
        };
        tokio::pin!(moving, arriving);
        let moved = tokio::select! {
            moved = &mut moving => moved,
            () = &mut arriving => moving.await,
        };
        if moved.is_err() {
            self.here.settle(&self.guest.name).await?;
        }
        moved.map_err(|error| self.far.explain(error))?;
        // Frozen no longer than must be: only then is it asked how it went.
        self.let_go().await;
        let message = self.there.came(&self.guest.name).await.ok().flatten();
        progress(Progress { percent: Some(100.0), message, ..Progress::default() });
        Ok(())
    }

    /// The guest's process here is dead: if all of it is there, it need not wait until libvirt has
    /// noticed. Errors show when the sides are looked at anew.
    async fn let_go(&self) {
        let name = &self.guest.name;
        match self.there.state(name).await {
            Ok(Some(GuestState::Paused)) => {
                if let Err(error) = self.there.resume(name).await {
                    tracing::warn!(%error, "an arrived guest cannot be resumed");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot look at an arrived guest"),
        }
    }

    pub async fn drop_there(&mut self) -> Result<()> {
        self.there.drop_frozen(&self.guest.name).await
    }

    pub async fn drop_here(&mut self) -> Result<()> {
        self.here.drop_frozen(&self.guest.name).await
    }

    pub async fn resume_there(&mut self) -> Result<()> {
        self.there.resume(&self.guest.name).await
    }

    pub async fn resume_here(&mut self) -> Result<()> {
        self.here.resume(&self.reference()).await
    }

    /// It is there: what is left of it here goes.
    pub async fn leave(&mut self) -> Result<()> {
        self.here.stop(&self.reference(), Duration::ZERO).await
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
