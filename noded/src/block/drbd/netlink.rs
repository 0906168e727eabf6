//! The two orders that carry a mirror's secret, told to the kernel without a command.
//!
//! `drbdsetup` takes the secret as an argument, and so do `drbdadm`'s calls of it: for a moment
//! every user of the node could read it. The kernel takes the same order over generic netlink:
//!
//! ```text
//!   message header │ command, version │ minor, flags │ context: names, addresses │ options
//! ```
//!
//! Encoding is pure; [`Message::send`] does it.

use super::options::{Kind, NET, Options};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use roost_proto::error::{Error, Result};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// The kernel's own family, which knows the others.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Flags of a request.
const REQUEST: u16 = 1;
/// A kernel that does not know an attribute marked so refuses the whole.
const MANDATORY: u16 = 1 << 14;
/// Attributes are inside.
const NESTED: u16 = 1 << 15;
/// Attributes of DRBD's messages.
const REPLY: u16 = 1;
const CONTEXT: u16 = 2;
const NET_CONF: u16 = 5;
const SHARED_SECRET: u16 = 1;
const DISCARD_MY_DATA: u16 = 25;
/// Options that are not given become DRBD's own.
const SET_DEFAULTS: u32 = 1;
/// What the kernel answers when all is well.
const GOOD: [i32; 3] = [1, 2, 101];
/// How long the kernel may take, seconds.
const PATIENCE: i64 = 20;

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// 8.4: make a connection and look for the other side.
    Connect,
    /// Change the options of a connection; those not given become DRBD's own.
    NetOptions,
    /// Change only what is given.
    Secret,
}

/// Which connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Context {
    /// 8.4. The resource is said for a new connection only; of one that is there, the kernel does
    /// not want to hear it.
    Addresses { resource: Option<String>, local: SocketAddr, peer: SocketAddr },
    /// 9.
    Peer { resource: String, node: u32 },
}

/// An order with all that belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub order: Order,
    pub context: Context,
    pub options: Options,
    pub secret: String,
    pub discard_my_data: bool,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Message { order, context, options, secret: _, discard_my_data } = self;
        f.debug_struct("Message")
            .field("order", order)
            .field("context", context)
            .field("options", options)
            .field("discard_my_data", discard_my_data)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// What follows the headers.
    fn body(&self) -> Vec<u8> {
        let mut context = vec![];
        match &self.context {
            Context::Addresses { resource, local, peer } => {
                if let Some(resource) = resource {
                    put_text(&mut context, 2, resource);
                }
                put(&mut context, 3 | MANDATORY, &raw(local));
                put(&mut context, 4 | MANDATORY, &raw(peer));
            }
            Context::Peer { resource, node } => {
                put(&mut context, 6 | MANDATORY, &node.to_ne_bytes());
                put_text(&mut context, 2, resource);
            }
        }
        let mut conf = vec![];
        for (name, value) in &self.options {
            let Some((_, tag, kind)) = NET.iter().find(|(known, ..)| known == name) else {
                continue;
            };
            match kind {
                Kind::Text => put_text(&mut conf, *tag, value),
                Kind::Flag => put(&mut conf, tag | MANDATORY, &[u8::from(value == "yes")]),
                Kind::Number(_) => {
                    let number: u32 = value.parse().unwrap_or(u32::MAX);
                    put(&mut conf, tag | MANDATORY, &number.to_ne_bytes());
                }
                Kind::Choice(words) => {
                    let found = words.iter().find(|(word, _)| word == value);
                    let number = found.map_or(0, |(_, number)| *number);
                    put(&mut conf, tag | MANDATORY, &number.to_ne_bytes());
                }
            }
        }
        put_text(&mut conf, SHARED_SECRET, &self.secret);
        if self.discard_my_data {
            put(&mut conf, DISCARD_MY_DATA | MANDATORY, &[1]);
        }
        let flags = if self.order == Order::NetOptions { SET_DEFAULTS } else { 0 };
        // The minor: none is meant.
        let mut all = u32::MAX.to_ne_bytes().to_vec();
        all.extend(flags.to_ne_bytes());
        put(&mut all, CONTEXT | NESTED, &context);
        put(&mut all, NET_CONF | NESTED, &conf);
        all
    }

    /// Tells the kernel and waits for its answer. Blocks for a moment.
    pub fn send(&self) -> Result<()> {
        let link = Link::open()?;
        let (family, version) = link.family("drbd")?;
        let command = if self.order == Order::Connect { 10 } else { 29 };
        let answer = link.ask(family, command, version, &self.body())?;
        judge(&answer)
    }
}

/// The kernel's answer, after the generic header: minor, code, and maybe words.
fn judge(answer: &[u8]) -> Result<()> {
    let code = answer.get(4..8).map(number).map_or(0, u32::cast_signed);
    if GOOD.contains(&code) {
        return Ok(());
    }
    let words = attribute(answer.get(8..).unwrap_or_default(), REPLY)
        .and_then(|reply| attribute(reply, 1))
        .map(|text| String::from_utf8_lossy(text).trim_matches(['\0', '\n', ' ']).to_owned())
        .filter(|text| !text.is_empty());
    let known = match code {
        102 => "the local address or port is in use already",
        103 => "the other side's address is in use already",
        120 => "the kernel lacks the algorithm that connections are authenticated with (sha256)",
        125 => "the connection exists already",
        145 => "the kernel lacks the algorithm for verification (md5)",
        152 => "only root may do that",
        -1 => "both sides would be primary",
        _ => "it was refused",
    };
    let words = words.map(|words| format!(": {words}")).unwrap_or_default();
    Err(Error::exec(format!("DRBD could not connect: {known} (code {code}){words}")))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

/// Appends an attribute: length, type, contents, padding to four bytes.
fn put(to: &mut Vec<u8>, kind: u16, contents: &[u8]) {
    let length = u16::try_from(contents.len() + 4).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(contents);
    to.resize(to.len().next_multiple_of(4), 0);
}

fn put_text(to: &mut Vec<u8>, kind: u16, text: &str) {
    put(to, kind | MANDATORY, &[text.as_bytes(), b"\0"].concat());
}

/// An attribute's contents.
fn attribute(mut all: &[u8], wanted: u16) -> Option<&[u8]> {
    while all.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([all[0], all[1]]));
        let kind = u16::from_ne_bytes([all[2], all[3]]) & 0x3fff;
        let contents = all.get(4..length)?;
        if kind == wanted {
            return Some(contents);
        }
        all = all.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// An address as the kernel has it in memory.
fn raw(address: &SocketAddr) -> Vec<u8> {
    let mut all = vec![];
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => {
            all.extend((nix::libc::AF_INET as u16).to_ne_bytes());
            all.extend(port);
            all.extend(v4.ip().octets());
            all.resize(16, 0);
        }
        SocketAddr::V6(v6) => {
            all.extend((nix::libc::AF_INET6 as u16).to_ne_bytes());
            all.extend(port);
            all.extend(v6.flowinfo().to_be_bytes());
            all.extend(v6.ip().octets());
            all.extend(v6.scope_id().to_ne_bytes());
        }
    }
    all
}

/// A way to the kernel.
struct Link(std::os::fd::OwnedFd);

impl Link {
    fn open() -> Result<Link> {
        let made = || {
            let kind = SockType::Raw;
            let protocol = SockProtocol::NetlinkGeneric;
            let fd = socket(AddressFamily::Netlink, kind, SockFlag::SOCK_CLOEXEC, protocol)?;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            setsockopt(&fd, ReceiveTimeout, &TimeVal::new(PATIENCE, 0))?;
            Ok(Link(fd))
        };
        made().map_err(failed)
    }

    /// Number and version of a family.
    fn family(&self, name: &str) -> Result<(u16, u8)> {
        let mut body = vec![];
        put(&mut body, FAMILY_NAME, &[name.as_bytes(), b"\0"].concat());
        let answer = self.ask(CONTROLLER, GET_FAMILY, 1, &body).map_err(|e| {
            Error::environment(format!("The kernel does not take orders for DRBD: {}", e.message))
        })?;
        let id = attribute(&answer, FAMILY_ID).and_then(|id| Some([*id.first()?, *id.get(1)?]));
        let version = attribute(&answer, 3).map_or(1, number);
        match id {
            Some(id) => Ok((u16::from_ne_bytes(id), u8::try_from(version).unwrap_or(1))),
            None => Err(Error::environment("The kernel does not take orders for DRBD")),
        }
    }

    /// Asks; returns the answer without its headers.
    fn ask(&self, family: u16, command: u8, version: u8, body: &[u8]) -> Result<Vec<u8>> {
        let mut message = vec![];
        let length = u32::try_from(16 + 4 + body.len()).unwrap_or(u32::MAX);
        message.extend(length.to_ne_bytes());
        message.extend(family.to_ne_bytes());
        message.extend(REQUEST.to_ne_bytes());
        // Sequence number and sender.
        message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        message.extend([command, version, 0, 0]);
        message.extend(body);
        let fd = self.0.as_raw_fd();
        sendto(fd, &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map_err(failed)?;
        let mut answer = vec![0; 16 << 10];
        let n = recv(fd, &mut answer, MsgFlags::empty()).map_err(failed)?;
        answer.truncate(n);
        let kind = answer.get(4..6).map_or(0, number);
        // 2: an error of netlink itself; a negative error number follows.
        if kind == 2 {
            let code = answer.get(16..20).map(number).map_or(0, u32::cast_signed);
            return Err(failed(nix::errno::Errno::from_raw(-code)));
        }
        Ok(answer.split_off(20.min(answer.len())))
    }
}

fn failed(error: nix::errno::Errno) -> Error {
    Error::exec(format!("DRBD could not be told over netlink: {}", error.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            order: Order::Connect,
            context: Context::Addresses {
                resource: Some("r0".into()),
                local: "10.77.0.1:11000".parse().expect("address"),
                peer: "[fd00::2]:11000".parse().expect("address"),
            },
            options: [("protocol", "B"), ("allow-two-primaries", "yes"), ("timeout", "70")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            secret: "abc".into(),
            discard_my_data: true,
        }
    }

    #[test]
    fn an_order_is_what_the_kernel_expects() {
        let body = message().body();
        assert_eq!(body[..8], [255, 255, 255, 255, 0, 0, 0, 0]);
        let context = attribute(&body[8..], CONTEXT).expect("context");
        assert_eq!(attribute(context, 2), Some(&b"r0\0"[..]));
        let local = attribute(context, 3).expect("address");
        // Family, port (network order), address.
        assert_eq!(local[..8], [2, 0, 0x2a, 0xf8, 10, 77, 0, 1]);
        assert_eq!((local.len(), attribute(context, 4).expect("address").len()), (16, 28));
        let conf = attribute(&body[8..], NET_CONF).expect("options");
        assert_eq!(attribute(conf, SHARED_SECRET), Some(&b"abc\0"[..]));
        assert_eq!(attribute(conf, 6), Some(&2u32.to_ne_bytes()[..]));
        assert_eq!(attribute(conf, 8), Some(&70u32.to_ne_bytes()[..]));
        assert_eq!(attribute(conf, 24), Some(&[1][..]));
        assert_eq!(attribute(conf, 25), Some(&[1][..]));
        let changed = Message { order: Order::NetOptions, ..message() }.body();
        assert_eq!(changed[4..8], SET_DEFAULTS.to_ne_bytes());
    }

    #[test]
    fn an_order_is_what_drbdsetup_sends() {
        // Recorded: `drbdsetup connect resource0 … --protocol=C --shared-secret=abc` of 9.22.
        let recorded = b"\xff\xff\xff\xff\x00\x00\x00\x00\x3c\x00\x02\x80\x0e\x00\x02\x40\x72\x65\
            \x73\x6f\x75\x72\x63\x65\x30\x00\x00\x00\x14\x00\x03\x40\x02\x00\x2a\xf8\x0a\x4d\x00\
            \x01\x00\x00\x00\x00\x00\x00\x00\x00\x14\x00\x04\x40\x02\x00\x2a\xf8\x0a\x4d\x00\
            \x02\x00\x00\x00\x00\x00\x00\x00\x00\x14\x00\x05\x80\x08\x00\x06\x40\x03\x00\x00\
            \x00\x08\x00\x01\x40\x61\x62\x63\x00";
        let sent = Message {
            context: Context::Addresses {
                resource: Some("resource0".into()),
                local: "10.77.0.1:11000".parse().expect("address"),
                peer: "10.77.0.2:11000".parse().expect("address"),
            },
            options: [("protocol".to_owned(), "C".to_owned())].into(),
            discard_my_data: false,
            ..message()
        };
        assert_eq!(sent.body(), recorded);
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", message()).contains("abc"));
    }

    #[test]
    fn the_kernels_answer_is_told() {
        let mut answer = vec![0; 4];
        answer.extend(120i32.to_ne_bytes());
        let mut words = vec![];
        put_text(&mut words, 1, "no sha256\n");
        put(&mut answer, REPLY, &words);
        let error = judge(&answer).expect_err("refused");
        assert!(error.message.contains("lacks the algorithm"), "{error}");
        assert!(error.message.ends_with("(code 120): no sha256"), "{error}");
        judge(&[0, 0, 0, 0, 101, 0, 0, 0]).expect("good");
        judge(&[]).expect_err("no answer");
    }
}
