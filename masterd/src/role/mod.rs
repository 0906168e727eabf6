//! Who leads. Each leadership has its own, higher epoch, stored before the first node hears of it.

use crate::state::{Commit, State};
use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::ids::Epoch;

fn key() -> Key {
    Key::new(Space::Meta, "epoch")
}

/// Begins a new leadership: its epoch is durable when this returns.
pub async fn begin_epoch(state: &State) -> Result<Epoch> {
    let last = match state.get(key()).await? {
        None => 0,
        Some(text) => text.parse::<u64>().map_err(|e| {
            Error::internal(format!("The stored epoch '{text}' is unreadable: {e}"))
        })?,
    };
    let epoch = Epoch(last + 1);
    let puts = vec![(key(), epoch.to_string())];
    state.commit(Commit { puts, ..Commit::default() }).await?;
    Ok(epoch)
}
