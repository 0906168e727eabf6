//! Who may ask: the kernel says which user is at the other end of the socket.

use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Status};

/// The user at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// root, or whoever runs masterd itself.
    Administrator,
    /// Anyone else the socket's permissions let in: may look.
    Reader,
}

/// Tells who sent a request.
pub fn of<T>(request: &Request<T>) -> Result<Peer, Status> {
    let info = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred)
        .ok_or_else(|| Status::unauthenticated("The client's user cannot be told"))?;
    let own = std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m));
    if info.uid() == 0 || own.is_ok_and(|uid| uid == info.uid()) {
        Ok(Peer::Administrator)
    } else {
        Ok(Peer::Reader)
    }
}

/// Only administrators may change things.
pub fn administrator<T>(request: &Request<T>) -> Result<(), Status> {
    match of(request)? {
        Peer::Administrator => Ok(()),
        Peer::Reader => {
            Err(Status::permission_denied("Only root may change the cluster; retry as root (sudo)"))
        }
    }
}
