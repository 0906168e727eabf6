//! Restarts the machine the hard way.

use nix::sys::reboot::{RebootMode, reboot};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::path::Path;
use std::time::Duration;

/// Time for the answer to reach the master.
const BEFORE: Duration = Duration::from_secs(2);

/// Restarts the machine shortly after this returns, without shutting anything down. Refused where
/// the machine is not this node's alone.
pub fn cycle(paths: &Paths, hypervisor: Hypervisor) -> Result<()> {
    if hypervisor == Hypervisor::Fake || paths.data_dir() != Path::new("/var/lib/ganeti") {
        return Err(Error::environment(
            "This node is simulated: the machine it lives on is not restarted for it",
        ));
    }
    tracing::warn!("the machine is restarted");
    tokio::spawn(async {
        tokio::time::sleep(BEFORE).await;
        let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
        tracing::error!(%error, "the machine cannot be restarted");
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_node_restarts_no_machine() {
        let elsewhere = Paths::new(Some("/tmp/x".into()));
        for (paths, hypervisor) in
            [(Paths::new(None), Hypervisor::Fake), (elsewhere, Hypervisor::Kvm)]
        {
            let error = cycle(&paths, hypervisor).expect_err("must be refused");
            assert!(error.message.contains("simulated"), "{error}");
        }
    }
}
