//! Settings of a node as users give them.

use roost_proto::error::{Error, Result};
use roost_proto::objects::Node;
use roost_proto::params::{ParamMap, fill, node, state};
use std::net::IpAddr;

/// What a node can be given; absent settings stay.
#[derive(Debug)]
pub struct Settings<'a> {
    pub ndparams: Option<&'a ParamMap>,
    pub hv_state: Option<&'a ParamMap>,
    pub disk_state: Option<&'a ParamMap>,
}

impl Settings<'_> {
    /// Puts them into a node. Errors: `wrong_input`.
    pub fn put_into(&self, to: &mut Node) -> Result<()> {
        if let Some(given) = self.ndparams {
            let given = node::typed(given, node::Level::Node)?;
            to.ndparams = fill::modified(&to.ndparams, &given);
        }
        if let Some(given) = self.hv_state {
            let given = state::typed_hv_state(given)?;
            to.hv_state_static = state::modified(&to.hv_state_static, &given);
        }
        if let Some(given) = self.disk_state {
            let given = state::typed_disk_state(given)?;
            to.disk_state_static = state::modified(&to.disk_state_static, &given);
        }
        Ok(())
    }
}

/// An address in its usual spelling.
pub fn address(what: &str, text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::wrong_input(format!("{what} '{text}' is not an IP address")))
}
