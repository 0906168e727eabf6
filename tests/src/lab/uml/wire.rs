//! How a machine's agent is talked to: frames on one connection for each command.
//!
//! ```text
//!   ◀─ Hello                                     the agent lives
//!   ─▶ Request::Run       ─▶ Data(0, …) Data(0, "")      ◀─ Data(1, …) Data(2, …) … Exit(code)
//!   ─▶ Request::Read                                     ◀─ Data(1, …) … Exit(0)
//!   ─▶ Request::Write     ─▶ Data(0, …) … Data(0, "")    ◀─ Exit(0)
//!   ─▶ Request::Connect                                  ◀─ Exit(0), then both ways whatever is said
//!                                                        ◀─ Refused(why) instead, at any time
//! ```
//! A frame is its kind (one byte), the length of its contents (four, big end first), its contents.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// Most of one frame's contents, bytes.
const LARGEST: u32 = 16 << 20;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Run a command.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
        /// All of its environment.
        environment: BTreeMap<String, String>,
        /// Rows and columns of a terminal it is to have.
        terminal: Option<(u16, u16)>,
    },
    /// A file's contents.
    Read {
        /// Which.
        path: String,
    },
    /// Replace a file.
    Write {
        /// Which.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// Go on as a connection to a UNIX socket.
    Connect {
        /// Which.
        path: String,
    },
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The agent is there.
    Hello,
    /// What is wanted.
    Request(Request),
    /// Bytes of standard input, output or error (0, 1, 2); none: its end.
    Data(u8, Vec<u8>),
    /// The command ended with this code, as a shell counts.
    Exit(i32),
    /// It could not be done.
    Refused(String),
}

impl Frame {
    /// Writes it at once.
    pub fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, contents) = match self {
            Frame::Hello => (b'h', Vec::new()),
            Frame::Request(request) => (b'q', serde_json::to_vec(request)?),
            Frame::Data(stream, bytes) => (b'0' + stream, bytes.clone()),
            Frame::Exit(code) => (b'x', code.to_be_bytes().to_vec()),
            Frame::Refused(why) => (b'r', why.clone().into_bytes()),
        };
        let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
        let mut all = vec![kind];
        all.extend(length.to_be_bytes());
        all.extend(contents);
        to.write_all(&all)?;
        to.flush()
    }

    /// Waits for the next one; an error of kind `UnexpectedEof` where there is none any more.
    pub fn receive(from: &mut impl Read) -> io::Result<Frame> {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if length > LARGEST {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut contents = vec![0; length as usize];
        from.read_exact(&mut contents)?;
        Ok(match kind {
            b'h' => Frame::Hello,
            b'q' => Frame::Request(serde_json::from_slice(&contents)?),
            b'0'..=b'2' => Frame::Data(kind - b'0', contents),
            b'x' => {
                let code =
                    contents.try_into().map_err(|_| io::Error::other("a code of 4 bytes"))?;
                Frame::Exit(i32::from_be_bytes(code))
            }
            b'r' => Frame::Refused(String::from_utf8_lossy(&contents).into_owned()),
            other => return Err(io::Error::other(format!("a frame of kind {other}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_sent() {
        let request = Request::Run {
            argv: vec!["echo".into(), "a b".into()],
            environment: BTreeMap::from([("A".into(), "ü".into())]),
            terminal: Some((24, 80)),
        };
        let frames = [
            Frame::Hello,
            Frame::Request(request),
            Frame::Data(2, vec![0, 255]),
            Frame::Data(0, vec![]),
            Frame::Exit(-1),
            Frame::Refused("no".into()),
        ];
        let mut wire = Vec::new();
        for frame in &frames {
            frame.send(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        for frame in frames {
            assert_eq!(Frame::receive(&mut wire).unwrap(), frame);
        }
        let end = Frame::receive(&mut wire).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nonsense_is_refused_and_takes_no_memory() {
        assert!(Frame::receive(&mut [b'1', 255, 255, 255, 255].as_slice()).is_err());
        assert!(Frame::receive(&mut [b'?', 0, 0, 0, 0].as_slice()).is_err());
        assert!(Frame::receive(&mut [b'x', 0, 0, 0, 1, 9].as_slice()).is_err());
    }
}
