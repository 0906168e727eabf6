//! What happens to guests, for whoever watches the node.

use roost_proto::choices::Hypervisor;
use roost_proto::node::GuestReport;
use tokio::sync::broadcast;

/// Something happened to a guest.
#[derive(Clone, Debug, PartialEq)]
pub enum GuestEvent {
    /// It appeared or changed.
    Changed(GuestReport),
    /// It is gone.
    Gone { name: String, hypervisor: Hypervisor },
    /// Events of this hypervisor may have been missed: list its guests again.
    Resync(Hypervisor),
}

/// Where events come out. A receiver that lags must list all guests again.
pub type Events = broadcast::Receiver<GuestEvent>;

/// Where a hypervisor puts its events.
#[derive(Clone, Debug)]
pub struct EventSender(broadcast::Sender<GuestEvent>);

impl EventSender {
    /// A new stream. 4096 events may wait for a slow receiver.
    pub fn new() -> EventSender {
        EventSender(broadcast::Sender::new(4096))
    }

    /// Tells whoever listens; nobody need to.
    pub fn send(&self, event: GuestEvent) {
        // No receiver is not an error: nobody watches this node just now.
        let _ = self.0.send(event);
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> Events {
        self.0.subscribe()
    }
}

impl Default for EventSender {
    fn default() -> Self {
        EventSender::new()
    }
}
