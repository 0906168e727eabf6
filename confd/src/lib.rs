//! Questions about the configuration, signed, over UDP: the daemon that answers them and a client.
//!
//! ```text
//!   masterd ══ feed, config.data ══► feed ─► view ◄─ answers ─ server ◄══ datagrams ══► client
//! ```

pub mod answers;
pub mod client;
pub mod clock;
pub mod feed;
pub mod ids;
pub mod keyring;
pub mod logging;
pub mod privileges;
pub mod server;
pub mod status;
pub mod view;
pub mod wire;
