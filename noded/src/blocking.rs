//! Work with files, off the threads that serve connections.

use roost_proto::error::{Error, Result};

/// Does `work` on a thread that may block.
pub async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Error::internal(format!("The node daemon failed: {e}"))))
}
