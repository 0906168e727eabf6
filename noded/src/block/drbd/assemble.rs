//! Makes a mirror as its description says, and usable.
//!
//! ```text
//!   activate volumes ─► plan ─► attach, connect, set options ─► secondary: done
//!                                                            └► primary: wait for the other side
//!                                                                        └► promote
//! ```

use super::super::device::{Assembly, Work};
use super::disk::{DrbdDisk, MIB, block_path, bytes, read_meta, same_names};
use super::mirrors::mirrors;
use super::options;
use super::plan::{self, Refusal, Step, Wanted, Whose};
use super::state::{Connection, Role};
use super::tools::{self, Failure};
use super::version::Dialect;
use roost_proto::error::{Error, Result};
use roost_proto::node::DiskRole;
use std::net::{IpAddr, SocketAddr};

/// DRBD's number for "there is no such connection": what was to end has ended.
const UNKNOWN_CONNECTION: i32 = 162;

impl DrbdDisk {
    /// Makes it usable in a role.
    pub async fn assemble_as(&self, how: Assembly, work: &Work) -> Result<()> {
        let dialect = tools::module(&work.paths).await?.dialect;
        let _lock = mirrors().lock(self.minor).await;
        let known = self.live().await?.map_or(0, |live| live.splits);
        self.set_up_as(how, dialect, false, work).await?;
        match how.role {
            DiskRole::Primary => self.promote(how, known, work).await,
            DiskRole::Secondary => self.demote(work).await,
        }
    }

    /// Attaches, connects and sets options. `discard`: if both sides were written, this one gives up
    /// what it has.
    pub(super) async fn set_up_as(
        &self,
        how: Assembly,
        dialect: Dialect,
        discard: bool,
        work: &Work,
    ) -> Result<()> {
        // What it stands on already is active.
        if !matches!(self.configured(work).await?, Some((_, Whose::Ours))) {
            self.data.assemble(how.role, work).await?;
            self.meta.assemble(how.role, work).await?;
        }
        let wanted = self.wanted(how, work).await?;
        let mut devices = tools::configured().await?;
        same_names(&mut devices, &wanted.data);
        same_names(&mut devices, &wanted.meta);
        let alone = self.live().await?.is_some_and(|l| l.connection == Connection::StandAlone);
        let mut steps =
            plan::assemble(&devices, alone, &wanted).map_err(|why| self.refused(&why))?;
        if discard && !steps.contains(&Step::Connect) {
            // It looks for its other side already, but not so.
            let (local, peer) = (wanted.local.to_string(), wanted.peer.to_string());
            steps.extend([Step::Disconnect { local, peer }, Step::Connect]);
        }
        for step in &steps {
            tracing::debug!(minor = self.minor, ?step, "mirror");
            for call in wanted.calls(step, dialect, discard) {
                if let Err(failure) = tools::call(call).await? {
                    self.step_failed(step, &failure, work)?;
                }
            }
        }
        self.ensure_node().await?;
        let most = ["c-max-rate", "resync-rate"].iter().find_map(|name| wanted.disk.get(*name));
        if let Some(most) = most.and_then(|most| most.parse().ok()) {
            mirrors().allow(self.minor, most).await;
        }
        Ok(())
    }

    /// The mirror as it is to be.
    pub(super) async fn wanted(&self, how: Assembly, work: &Work) -> Result<Wanted> {
        let data = block_path(&self.data, work).await?;
        let meta = block_path(&self.meta, work).await?;
        let has = bytes(&data).await?;
        if has < self.size * MIB && !how.ignore_size {
            return Err(Error::environment(format!(
                "{}: its data volume '{}' has {} MiB, and the disk {} MiB: it was shrunk, or is \
                 another one. Grow it, make the disk again with 'gnt-instance replace-disks', or \
                 correct the record with 'gnt-cluster repair-disk-sizes'; 'activate-disks \
                 --ignore-size' shows what there is",
                self.called(),
                data.display(),
                has / MIB,
                self.size
            )));
        }
        let found = read_meta(&meta).await?.ok_or_else(|| {
            Error::environment(format!(
                "{}: its volume '{}' has no meta data of DRBD: this side's data cannot be trusted; \
                 make them again with 'gnt-instance replace-disks'",
                self.called(),
                meta.display()
            ))
        })?;
        // Never less than it had: DRBD would cut it off. More, when it was grown just before.
        let sectors = (!how.ignore_size).then(|| found.sectors.max(self.size * 2048));
        Ok(Wanted {
            resource: self.resource(),
            minor: self.minor,
            data,
            meta,
            sectors: sectors.filter(|sectors| sectors * 512 <= has),
            disk: options::disk(&self.params)?,
            net: options::net(&self.params)?,
            local: self.address(self.local.as_deref(), "this node")?,
            peer: self.address(self.remote.as_deref(), "the other node")?,
            node: self.number,
            peer_node: 1 - self.number,
            secret: self.secret.clone(),
        })
    }

    fn address(&self, address: Option<&str>, whose: &str) -> Result<SocketAddr> {
        let ip: Option<IpAddr> = address.and_then(|text| text.parse().ok());
        ip.map(|ip| SocketAddr::new(ip, self.port)).ok_or_else(|| {
            Error::wrong_input(format!(
                "{}: the address of {whose} for replication was not said, or is none: '{}'",
                self.called(),
                address.unwrap_or_default()
            ))
        })
    }

    fn refused(&self, why: &Refusal) -> Error {
        Error::wrong_state(match why {
            Refusal::Minor { resource, data } => format!(
                "{}: minor {} of this node is in use by the resource '{resource}'{}, which is not \
                 this disk's; end it ('drbdsetup down {resource}') or keep that minor out of \
                 Roost's range",
                self.called(),
                self.minor,
                data.as_ref().map(|data| format!(" on '{data}'")).unwrap_or_default(),
            ),
            Refusal::Name { minor } => format!(
                "{}: another device of this node, minor {minor}, has the name '{}'; end it with \
                 'drbdsetup down {}'",
                self.called(),
                self.resource(),
                self.resource()
            ),
            Refusal::Storage { resource, minor } => format!(
                "{}: its storage is in use by the resource '{resource}', minor {minor}; end it with \
                 'drbdsetup down {resource}'",
                self.called()
            ),
        })
    }

    /// What a step's failure means.
    fn step_failed(&self, step: &Step, failure: &Failure, work: &Work) -> Result<()> {
        let words = &failure.words;
        let called = self.called();
        Err(Error::exec(match step {
            Step::Disconnect { .. } if failure.code == Some(UNKNOWN_CONNECTION) => return Ok(()),
            Step::Attach if failure.code == Some(104) => format!(
                "{called}: its data volume cannot be opened for writing: is it read-only, or in \
                 use? ({words})"
            ),
            Step::Attach => format!("{called}: its storage cannot be used: {words}"),
            Step::Detach => format!("{called}: its former storage cannot be let go: {words}"),
            Step::Connect | Step::NetOptions => {
                format!("{called}: no connection to node {}: {words}", self.peer_name(&work.paths))
            }
            Step::Disconnect { .. } => format!("{called}: its former connection stays: {words}"),
            Step::NewResource | Step::NewMinor => format!("{called} cannot be made: {words}"),
            Step::DiskOptions => format!("{called}: its options cannot be set: {words}"),
        }))
    }

    /// Allows writing here; not exclusively: on the other side, too.
    pub(super) async fn use_here(&self, exclusive: bool, work: &Work) -> Result<()> {
        let _lock = mirrors().lock(self.minor).await;
        self.set_up(work).await?;
        self.two_primaries(!exclusive, work).await?;
        // It was assembled before; whether it is connected was seen then.
        let how = Assembly { alone: true, ..Assembly::of(DiskRole::Primary) };
        let known = self.live().await?.map_or(0, |live| live.splits);
        self.promote(how, known, work).await
    }

    /// Forbids writing here.
    pub(super) async fn stop_using(&self, work: &Work) -> Result<()> {
        let _lock = mirrors().lock(self.minor).await;
        if self.configured(work).await?.is_none() {
            return Ok(());
        }
        self.set_up(work).await?;
        self.demote(work).await?;
        let live = self.live().await?;
        // While the other side still may not be alone, it stays allowed.
        if live.is_some_and(|l| l.peer_role != Role::Primary || l.role != Role::Primary) {
            self.two_primaries(false, work).await?;
        }
        Ok(())
    }

    /// Whether both sides may write.
    async fn two_primaries(&self, allowed: bool, work: &Work) -> Result<()> {
        let device = self.set_up(work).await?;
        let how = Assembly { ignore_size: true, ..Assembly::of(DiskRole::Secondary) };
        let mut wanted = self.wanted(how, work).await?;
        let value = if allowed { "yes" } else { "no" };
        wanted.net.insert("allow-two-primaries".to_owned(), value.to_owned());
        if device.net.is_none_or(|net| !net.options.differs(&wanted.net)) {
            return Ok(());
        }
        for call in wanted.calls(&Step::NetOptions, Self::dialect(), false) {
            self.done("change the connection of", call).await?;
        }
        Ok(())
    }
}
