//! Tells whoever watches what this node and its guests do: everything first, then what changes.
//!
//! ```text
//!   every 30 s, and when events were missed   All    (cures whatever went wrong)
//!   every 5 s                                 Node   (also the sign of life)
//!   when a hypervisor tells                   Guest, Gone
//! ```
//!
//! Events of one guest that come close together (a start has several) are told as one.

use crate::facts;
use crate::host::Host;
use crate::hypervisor::{Events, GuestEvent};
use roost_proto::node::Observation;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

const ALL: Duration = Duration::from_secs(30);
const NODE: Duration = Duration::from_secs(5);
/// How long an event waits for others of the same guest.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Tells until nobody listens.
pub async fn watch(host: &Host, to: &mpsc::Sender<Observation>) {
    let mut events = host.hypervisors.events();
    let mut all = interval_at(Instant::now() + ALL, ALL);
    let mut node = interval_at(Instant::now() + NODE, NODE);
    for timer in [&mut all, &mut node] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut told = to.send(everything(host).await).await;
    while told.is_ok() {
        told = tokio::select! {
            batch = next_batch(&mut events) => match batch {
                Batch::Changes(changes) => tell(to, changes).await,
                Batch::Missed => to.send(everything(host).await).await,
                Batch::Over => return,
            },
            _ = all.tick() => to.send(everything(host).await).await,
            _ = node.tick() => {
                let (guests, _) = host.hypervisors.list().await;
                let node = Box::new(facts::node(host, &guests).await);
                to.send(Observation::Node { node }).await
            }
        };
    }
}

async fn everything(host: &Host) -> Observation {
    let (guests, problems) = host.hypervisors.list().await;
    for (hypervisor, error) in problems {
        tracing::warn!(%hypervisor, %error, "guests cannot be listed");
    }
    let node = Box::new(facts::node(host, &guests).await);
    Observation::All { node, guests }
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

enum Batch {
    Changes(Vec<Observation>),
    Missed,
    Over,
}

/// Waits for an event and takes those that follow at once; of each guest the last counts.
async fn next_batch(events: &mut Events) -> Batch {
    let mut latest = BTreeMap::new();
    let until = sleep(DEBOUNCE);
    tokio::pin!(until);
    loop {
        let event = if latest.is_empty() {
            let event = events.recv().await;
            until.as_mut().reset(Instant::now() + DEBOUNCE);
            event
        } else {
            tokio::select! {
                event = events.recv() => event,
                () = &mut until => break,
            }
        };
        match event {
            Ok(GuestEvent::Changed(guest)) => {
                let key = (guest.hypervisor, guest.name.clone());
                latest.insert(key, Observation::Guest { guest });
            }
            Ok(GuestEvent::Gone { name, hypervisor }) => {
                latest.insert((hypervisor, name.clone()), Observation::Gone { name, hypervisor });
            }
            Ok(GuestEvent::Resync(_)) | Err(RecvError::Lagged(_)) => return Batch::Missed,
            Err(RecvError::Closed) if latest.is_empty() => return Batch::Over,
            Err(RecvError::Closed) => break,
        }
    }
    Batch::Changes(latest.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::EventSender;
    use roost_proto::choices::Hypervisor;
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

    #[tokio::test]
    async fn of_each_guest_the_last_event_counts() {
        let sender = EventSender::new();
        let mut events = sender.subscribe();
        sender.send(GuestEvent::Changed(guest("a", GuestState::Paused)));
        sender.send(GuestEvent::Gone { name: "b".into(), hypervisor: Hypervisor::Fake });
        sender.send(GuestEvent::Changed(guest("a", GuestState::Running)));
        let Batch::Changes(changes) = next_batch(&mut events).await else { panic!("changes") };
        assert_eq!(
            changes,
            [
                Observation::Guest { guest: guest("a", GuestState::Running) },
                Observation::Gone { name: "b".into(), hypervisor: Hypervisor::Fake },
            ]
        );
        sender.send(GuestEvent::Resync(Hypervisor::Fake));
        assert!(matches!(next_batch(&mut events).await, Batch::Missed));
        drop(sender);
        assert!(matches!(next_batch(&mut events).await, Batch::Over));
    }
}
