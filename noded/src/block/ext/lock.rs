//! One call at a time for each volume.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use tokio::sync::OwnedMutexGuard;

type Volumes = HashMap<(String, String), Weak<tokio::sync::Mutex<()>>>;

static VOLUMES: LazyLock<Mutex<Volumes>> = LazyLock::new(Mutex::default);

/// Waits for the volume to be free, and has it until the guard is dropped.
pub async fn lock(provider: &str, volume: &str) -> OwnedMutexGuard<()> {
    let mutex = {
        let mut volumes = VOLUMES.lock().unwrap_or_else(|e| e.into_inner());
        volumes.retain(|_, mutex| mutex.strong_count() > 0);
        let key = (provider.to_owned(), volume.to_owned());
        let mutex = volumes.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        volumes.insert(key, Arc::downgrade(&mutex));
        mutex
    };
    mutex.lock_owned().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[tokio::test]
    async fn a_volume_waits_for_itself_and_for_no_other() {
        let first = lock("san", "lock-test-a").await;
        drop(lock("san", "lock-test-b").await);
        drop(lock("nas", "lock-test-a").await);
        let mut second = pin!(lock("san", "lock-test-a"));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(first);
        second.await;
    }
}
