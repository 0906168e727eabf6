//! What the cluster wants of collectors, and what it says of this node: asked from confd, of the master candidates
//! that ssconf names.
//!
//! ```text
//!   every 15 s (every 3 s until somebody answers):
//!   ssconf: candidates ─► confd ─► switches ────────────► schedule
//!                           └────► minors, instances ──► world      silence: what was heard last stays
//! ```

use crate::helper::Task;
use crate::plugins::Plugins;
use crate::schedule::{Schedule, Switch, Switches};
use crate::world::{ClusterView, Guest, World};
use roost_confd::client::{self, AskError, Client, Told};
use roost_confd::wire::HmacKey;
use roost_proto::collectors::INTERVAL;
use roost_proto::error::{Error, Result};
use roost_proto::paths::{CONFD_PORT, Identity, Paths};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// Between two questions.
const PERIOD: Duration = Duration::from_secs(15);
/// The same until the first answer.
const IMPATIENT: Duration = Duration::from_secs(3);
/// How long to wait for answers.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for further answers after the first.
const SETTLE: Duration = Duration::from_millis(300);

/// See the module.
#[derive(Debug)]
pub struct Settings {
    world: World,
    schedule: Schedule,
    plugins: Plugins,
    port: u16,
    switches: Switches,
    came: watch::Sender<bool>,
    /// The last question was in vain: told once.
    trouble: bool,
}

impl Settings {
    /// Nothing is configured yet.
    pub fn new(world: World, schedule: Schedule, plugins: Plugins) -> Settings {
        let came = watch::Sender::new(false);
        let switches = Switches::new();
        Settings { world, schedule, plugins, port: CONFD_PORT, switches, came, trouble: false }
    }

    /// Where confd is, if not at its usual UDP port.
    #[must_use]
    pub fn confd_port(mut self, port: u16) -> Settings {
        self.port = port;
        self
    }

    /// True once the cluster's wishes are known, or there is no cluster.
    pub fn known(&self) -> watch::Receiver<bool> {
        self.came.subscribe()
    }

    /// Asks for ever.
    pub async fn follow(mut self) {
        // Whoever polls while nobody answers gets what can be had without.
        self.apply();
        loop {
            self.once().await;
            let pause = if *self.came.borrow() { PERIOD } else { IMPATIENT };
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks once and does what comes of it.
    pub async fn once(&mut self) {
        let known = match self.ask().await {
            Ok(()) => {
                if std::mem::take(&mut self.trouble) {
                    tracing::info!("confd answers: the wishes of the cluster are known");
                }
                true
            }
            Err(error) => {
                let news = !std::mem::replace(&mut self.trouble, true);
                if news {
                    tracing::warn!(
                        "the wishes of the cluster are not known: {error}; what was known before stays"
                    );
                } else {
                    tracing::debug!("still nothing of the cluster: {error}");
                }
                false
            }
        };
        self.apply();
        if known {
            // Only the first time is news.
            self.came.send_if_modified(|came| !std::mem::replace(came, true));
        }
    }

    fn apply(&mut self) {
        self.schedule.set(&self.switches, &self.plugins.scan());
    }

    async fn ask(&mut self) -> Result<()> {
        let paths = self.world.paths().clone();
        let candidates = paths.ssconf("master_candidates_ips");
        let in_cluster = candidates.try_exists().map_err(|e| {
            Error::environment(format!("Cannot look for '{}': {e}", candidates.display()))
        })?;
        if !in_cluster {
            self.switches.clear();
            self.world.set_cluster(ClusterView::default());
            return Ok(());
        }
        let key = match client::key(&paths) {
            Ok(key) => key,
            // Only root may read it, as a rule.
            Err(_) => HmacKey::new(&self.world.privileged(Task::ConfdKey).await?)?,
        };
        let client = Client::new(client::candidates(&paths)?, key)?;
        let client = client.port(self.port).timeout(TIMEOUT).settle(SETTLE);
        let name = node_name(&paths)?;
        let before = self.world.cluster();
        let (collectors, drbd, guests) = tokio::join!(
            client.data_collectors(),
            client.node_drbd(&name),
            client.node_guests(&name),
        );
        // What cannot be told stays as it was; no answer at all is told below.
        let collectors = collectors.map(|told| switches(&told.value));
        let drbd = part(drbd, before.drbd.clone(), |minors| {
            let pair =
                |one: &client::DrbdMinor| Some((one.minor.try_into().ok()?, one.instance.clone()));
            minors.iter().filter_map(pair).collect()
        });
        let guests = part(guests, before.guests.clone(), |all| all.iter().map(guest).collect());
        let enabled_hypervisors = match std::fs::read_to_string(paths.ssconf("hypervisor_list")) {
            Ok(list) => list.lines().map(|one| one.trim().to_owned()).collect(),
            Err(_) => before.enabled_hypervisors.clone(),
        };
        self.world.set_cluster(ClusterView { node: Some(name), enabled_hypervisors, drbd, guests });
        self.switches = collectors.map_err(Error::from)?;
        Ok(())
    }
}

/// One part of the view: as told, or as before.
fn part<T, U>(told: Result<Told<T>, AskError>, before: U, change: impl FnOnce(&T) -> U) -> U {
    match told {
        Ok(told) => change(&told.value),
        Err(error) => {
            tracing::debug!("confd does not say: {}", Error::from(error));
            before
        }
    }
}

/// An interval that nobody changed is the collector's own.
fn switches(told: &BTreeMap<String, client::Collector>) -> Switches {
    let switch = |one: &client::Collector| Switch {
        active: one.active,
        interval: (one.interval != INTERVAL)
            .then(|| Duration::try_from_secs_f64(one.interval / 1e6).ok())
            .flatten(),
    };
    told.iter().map(|(name, one)| (name.clone(), switch(one))).collect()
}

/// An instance in the world's words.
pub(crate) fn guest(told: &client::Guest) -> Guest {
    Guest {
        name: told.name.clone(),
        uuid: told.uuid.clone(),
        admin_state: told.admin_state.clone(),
        hypervisor: told.hypervisor.clone(),
        primary: told.primary,
        volumes: told.volumes.clone(),
        mtime: Duration::try_from_secs_f64(told.mtime).unwrap_or_default(),
    }
}

/// The name of this machine in its cluster.
pub(crate) fn node_name(paths: &Paths) -> Result<String> {
    if let Some(name) = std::fs::read(paths.identity())
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Identity>(&bytes).ok())
    {
        return Ok(name.name.to_string());
    }
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .map_err(|e| Error::environment(format!("This machine does not know its name: {e}")))
}

/// The built-in collectors with what they see, and who sets them up.
pub fn furnish(world: World, plugins: Plugins) -> (Schedule, Settings) {
    let built_in = crate::collectors::all();
    let names = built_in.iter().map(|one| one.about().name.into_owned()).collect::<Vec<_>>();
    let schedule = Schedule::new(world.clone(), built_in);
    let settings = Settings::new(world, schedule.clone(), plugins.besides(names));
    (schedule, settings)
}
