//! Tells whoever watches what this node and its guests do: everything first, then what changes.
//!
//! ```text
//!   every 30 s, and when events were missed   All    (cures whatever went wrong)
//!   every 5 s                                 Node   (also the sign of life)
//!   when a hypervisor tells                   Guest, Gone
//!   when DRBD tells, and while mirrors sync   Mirrors
//! ```
//!
//! Events of one guest that come close together (a start has several) are told as one.

use crate::block::drbd;
use crate::facts;
use crate::host::Host;
use crate::hypervisor::{Events, GuestEvent};
use roost_proto::choices::Hypervisor;
use roost_proto::node::{MirrorReport, Observation};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

const ALL: Duration = Duration::from_secs(30);
const NODE: Duration = Duration::from_secs(5);
/// How long an event waits for others of the same guest.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Tells until nobody listens.
pub async fn watch(host: &Host, to: &mpsc::Sender<Observation>) {
    let mut events = host.hypervisors.events();
    let mut gathered = Gathered::default();
    let mut all = interval_at(Instant::now() + ALL, ALL);
    let mut node = interval_at(Instant::now() + NODE, NODE);
    for timer in [&mut all, &mut node] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut mirrors = MirrorsTold::default();
    let mut changes = drbd::mirrors().changes();
    // Whether not all is known to whoever watches.
    let mut stale = true;
    let mut told = Ok(());
    while told.is_ok() {
        if stale {
            let saw = look(host).await;
            stale = matches!(saw, Observation::Node { .. });
            told = to.send(saw).await;
            mirrors = MirrorsTold::default();
        }
        if let (Ok(()), Some(saw)) = (&told, mirrors.news(drbd::reports())) {
            told = to.send(saw).await;
        }
        tokio::select! {
            batch = gathered.next(&mut events) => match batch {
                Batch::Changes(changes) => told = tell(to, changes).await,
                Batch::Missed => stale = true,
                Batch::Over => return,
            },
            changed = changes.changed() => {
                if changed.is_err() { return }
                // Several lines tell of one change.
                tokio::time::sleep(DEBOUNCE).await;
                changes.mark_unchanged();
            }
            _ = all.tick() => stale = true,
            _ = node.tick() => {
                // While guests cannot be listed, that is tried again at this pace.
                if !stale {
                    let (guests, _) = host.hypervisors.list().await;
                    let node = Box::new(facts::node(host, &guests).await);
                    told = to.send(Observation::Node { node }).await;
                }
            }
        }
    }
}

/// All there is to see. Guests that cannot be listed are not gone: then only the node is told.
async fn look(host: &Host) -> Observation {
    let (guests, problems) = host.hypervisors.list().await;
    let node = Box::new(facts::node(host, &guests).await);
    if problems.is_empty() {
        return Observation::All { node, guests };
    }
    for (hypervisor, error) in problems {
        tracing::warn!(%hypervisor, %error, "guests cannot be listed");
    }
    Observation::Node { node }
}

async fn tell(
    to: &mpsc::Sender<Observation>,
    changes: Vec<Observation>,
) -> Result<(), mpsc::error::SendError<Observation>> {
    for change in changes {
        to.send(change).await?;
    }
    Ok(())
}

/// What was told of mirrors.
#[derive(Debug, Default)]
struct MirrorsTold(Option<Vec<MirrorReport>>);

impl MirrorsTold {
    /// What is to be told now, if something has changed. Machines that never had a mirror tell
    /// nothing.
    fn news(&mut self, now: Option<Vec<MirrorReport>>) -> Option<Observation> {
        let now = now.unwrap_or_default();
        if self.0.as_ref() == Some(&now) || now.is_empty() && self.0.is_none() {
            return None;
        }
        self.0 = Some(now.clone());
        Some(Observation::Mirrors { mirrors: now })
    }
}

#[derive(Debug)]
enum Batch {
    Changes(Vec<Observation>),
    Missed,
    Over,
}

/// Events of a moment; of each guest the last counts.
#[derive(Default)]
struct Gathered {
    latest: BTreeMap<(Hypervisor, String), Observation>,
    until: Option<Instant>,
}

impl Gathered {
    /// Waits for an event and takes those that follow at once. Dropped unfinished, nothing is lost.
    async fn next(&mut self, events: &mut Events) -> Batch {
        loop {
            let event = match self.until {
                None => events.recv().await,
                // However many there are, they are told.
                Some(until) if until <= Instant::now() => break,
                Some(until) => match timeout_at(until, events.recv()).await {
                    Ok(event) => event,
                    Err(_) => break,
                },
            };
            match event {
                Ok(GuestEvent::Changed(guest)) => {
                    let key = (guest.hypervisor, guest.name.clone());
                    self.latest.insert(key, Observation::Guest { guest });
                }
                Ok(GuestEvent::Gone { name, hypervisor }) => {
                    let gone = Observation::Gone { name: name.clone(), hypervisor };
                    self.latest.insert((hypervisor, name), gone);
                }
                Ok(GuestEvent::Resync(_)) | Err(RecvError::Lagged(_)) => {
                    *self = Gathered::default();
                    return Batch::Missed;
                }
                Err(RecvError::Closed) if self.latest.is_empty() => return Batch::Over,
                Err(RecvError::Closed) => break,
            }
            self.until.get_or_insert_with(|| Instant::now() + DEBOUNCE);
        }
        Batch::Changes(std::mem::take(self).latest.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::EventSender;
    use roost_proto::node::{GuestReport, GuestState};

    fn guest(name: &str, state: GuestState) -> GuestReport {
        GuestReport {
            name: name.into(),
            uuid: None,
            hypervisor: Hypervisor::Fake,
            state,
            memory: 128,
            vcpus: 1,
            cpu_time: 0.0,
        }
    }

    #[test]
    fn mirrors_are_told_when_they_change() {
        let report = |minor| MirrorReport { minor, sync: Default::default() };
        let mut told = MirrorsTold::default();
        assert_eq!(told.news(None), None, "no DRBD");
        assert_eq!(told.news(Some(vec![])), None, "no mirror");
        let one = vec![report(1)];
        assert_eq!(
            told.news(Some(one.clone())),
            Some(Observation::Mirrors { mirrors: one.clone() })
        );
        assert_eq!(told.news(Some(one)), None);
        assert_eq!(told.news(Some(vec![])), Some(Observation::Mirrors { mirrors: vec![] }));
        assert_eq!(told.news(None), None);
    }

    #[tokio::test]
    async fn of_each_guest_the_last_event_counts() {
        let sender = EventSender::new();
        let mut events = sender.subscribe();
        let mut gathered = Gathered::default();
        sender.send(GuestEvent::Changed(guest("a", GuestState::Paused)));
        sender.send(GuestEvent::Gone { name: "b".into(), hypervisor: Hypervisor::Fake });
        // Given up in between.
        tokio::time::timeout(Duration::ZERO, gathered.next(&mut events)).await.expect_err("waits");
        sender.send(GuestEvent::Changed(guest("a", GuestState::Running)));
        let Batch::Changes(changes) = gathered.next(&mut events).await else { panic!("changes") };
        assert_eq!(
            changes,
            [
                Observation::Guest { guest: guest("a", GuestState::Running) },
                Observation::Gone { name: "b".into(), hypervisor: Hypervisor::Fake },
            ]
        );
        sender.send(GuestEvent::Resync(Hypervisor::Fake));
        assert!(matches!(gathered.next(&mut events).await, Batch::Missed));
        drop(sender);
        assert!(matches!(gathered.next(&mut events).await, Batch::Over));
    }
}
