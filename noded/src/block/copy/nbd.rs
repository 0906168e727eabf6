//! Speaks NBD: how the bytes of a disk are reached that only QEMU can read — an image in a format
//! of its own, or a volume behind a URI. A `qemu-nbd` that serves nothing but this disk, on a
//! socket that only root reaches, ends with its last connection.
//!
//! From NBD's protocol what a copy needs: read, write, zeros, flush, and which parts are zero.

use crate::exec::{Command, Pipes, Running};
use crate::hypervisor::ImageFormat;
use crate::{blocking::blocking, durable};
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to open a disk and answer.
const START: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);
/// An answer that takes longer does not come: storage behind a URI may hang.
const ANSWER: Duration = Duration::from_secs(300);

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTIONS: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const SIMPLE: u32 = 0x6744_6698;
const STRUCTURED: u32 = 0x668e_33ef;
/// Options.
const GO: u32 = 7;
const STRUCTURED_REPLIES: u32 = 8;
const META_CONTEXT: u32 = 10;
/// Requests.
const READ: u16 = 0;
const WRITE: u16 = 1;
const END: u16 = 2;
const FLUSH: u16 = 3;
const ZEROES: u16 = 6;
const BLOCK_STATUS: u16 = 7;
/// What says which parts of a disk are zero.
const ALLOCATION: &[u8] = b"base:allocation";
/// In it: reads as zeros.
const IS_ZERO: u32 = 2;
/// The longest range in one request, bytes.
const LONGEST: u64 = 1 << 30;

/// A server of one disk. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    running: Option<Running>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Server {
    /// Starts one and connects to it. `what` is a path or a URI.
    pub async fn start(
        paths: &Paths,
        what: &str,
        format: ImageFormat,
        writes: bool,
    ) -> Result<(Server, Client)> {
        let dir = paths.run_dir().join("nbd");
        durable::make_dir(&dir)?;
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let socket = dir.join(name);
        let command = Command::new("qemu-nbd")
            .arg("--socket")
            .arg(&socket)
            .args(["--format", format.as_str(), "--discard", "unmap"])
            .args(if writes { None } else { Some("--read-only") })
            .arg("--")
            .arg(what);
        let mut running = command.start(Pipes::default())?;
        let begun = Instant::now();
        loop {
            let path = socket.clone();
            match blocking(move || Ok(Client::connect(&path))).await? {
                Ok(client) => return Ok((Server { socket, running: Some(running) }, client)),
                Err(_) if running.has_ended() => {
                    let end = running.end().await?;
                    return Err(Error::exec(format!(
                        "QEMU cannot open the disk '{what}': {}",
                        end.last_lines(5)
                    )));
                }
                Err(e) if begun.elapsed() > START => {
                    return Err(Error::exec(format!("QEMU does not open the disk '{what}': {e}")));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

impl Server {
    /// Waits until it has ended, which it does when its connection is gone: an image is closed as
    /// it should be.
    pub async fn ended(mut self) {
        if let Some(running) = self.running.take() {
            // One that hangs is killed: what was flushed is there.
            let _ = tokio::time::timeout(START, running.end()).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only a file in a directory that a boot empties.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A connection. One request at a time.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    length: u64,
    cookie: u64,
    /// The server says which parts are zero.
    knows_zeros: bool,
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an NBD server that sends {what}"))
}

impl Client {
    /// Connects to a server of one disk.
    pub fn connect(socket: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let mut client = Client { stream, length: 0, cookie: 0, knows_zeros: false };
        if client.u64()? != MAGIC || client.u64()? != OPTIONS {
            return Err(odd("no greeting"));
        }
        client.u16()?;
        // Fixed newstyle; no padding.
        client.stream.write_all(&3_u32.to_be_bytes())?;
        if client.option(STRUCTURED_REPLIES, &[])?.is_some() {
            let mut wanted = vec![];
            wanted.extend(0_u32.to_be_bytes());
            wanted.extend(1_u32.to_be_bytes());
            wanted.extend((ALLOCATION.len() as u32).to_be_bytes());
            wanted.extend(ALLOCATION);
            let contexts = client.option(META_CONTEXT, &wanted)?;
            client.knows_zeros = contexts.is_some_and(|told| !told.is_empty());
        }
        let told = client.option(GO, &[0; 6])?.ok_or_else(|| odd("no export"))?;
        // Of several pieces of information, the one of kind 0: size and flags.
        let size = told.iter().find(|info| info.len() >= 12 && info[..2] == [0, 0]);
        let size = size.ok_or_else(|| odd("no size"))?;
        client.length = u64::from_be_bytes(size[2..10].try_into().map_err(|_| odd("no size"))?);
        Ok(client)
    }

    /// Bytes of the disk.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Sends an option; what was told before it was acknowledged, or nothing if it was refused.
    fn option(&mut self, option: u32, data: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut message = Vec::with_capacity(16 + data.len());
        message.extend(OPTIONS.to_be_bytes());
        message.extend(option.to_be_bytes());
        message.extend((data.len() as u32).to_be_bytes());
        message.extend(data);
        self.stream.write_all(&message)?;
        let mut told = vec![];
        loop {
            if self.u64()? != OPTION_REPLY || self.u32()? != option {
                return Err(odd("something else than was asked for"));
            }
            let (kind, length) = (self.u32()?, self.u32()?);
            let data = self.bytes(length as usize)?;
            match kind {
                1 => return Ok(Some(told)),
                kind if kind & 1 << 31 != 0 => return Ok(None),
                _ => told.push(data),
            }
        }
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > 64 << 20 {
            return Err(odd("too much"));
        }
        let mut data = vec![0; length];
        self.stream.read_exact(&mut data)?;
        Ok(data)
    }

    fn u16(&mut self) -> io::Result<u16> {
        let mut data = [0; 2];
        self.stream.read_exact(&mut data)?;
        Ok(u16::from_be_bytes(data))
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut data = [0; 4];
        self.stream.read_exact(&mut data)?;
        Ok(u32::from_be_bytes(data))
    }

    fn u64(&mut self) -> io::Result<u64> {
        let mut data = [0; 8];
        self.stream.read_exact(&mut data)?;
        Ok(u64::from_be_bytes(data))
    }

    fn send(&mut self, kind: u16, at: u64, length: u64, data: &[u8]) -> io::Result<()> {
        self.cookie += 1;
        let mut message = Vec::with_capacity(28);
        message.extend(REQUEST.to_be_bytes());
        message.extend(0_u16.to_be_bytes());
        message.extend(kind.to_be_bytes());
        message.extend(self.cookie.to_be_bytes());
        message.extend(at.to_be_bytes());
        let length = u32::try_from(length).map_err(|_| odd("nothing: a request too long"))?;
        message.extend(length.to_be_bytes());
        self.stream.write_all(&message)?;
        self.stream.write_all(data)
    }

    /// Takes the answer. `fill` is what is read, which began at `start` of the disk; what else was
    /// told is returned.
    fn answer(&mut self, start: u64, fill: &mut [u8]) -> io::Result<Vec<u8>> {
        let mut told = vec![];
        let mut failure = None;
        loop {
            let last = match self.u32()? {
                SIMPLE => {
                    let error = self.u32()?;
                    self.cookie_matches()?;
                    if error == 0 {
                        self.stream.read_exact(fill)?;
                    } else {
                        failure = Some(errno(error));
                    }
                    true
                }
                STRUCTURED => {
                    let (flags, kind) = (self.u16()?, self.u16()?);
                    self.cookie_matches()?;
                    let length = self.u32()? as usize;
                    self.chunk(kind, length, start, fill, &mut told, &mut failure)?;
                    flags & 1 != 0
                }
                _ => return Err(odd("no answer")),
            };
            if last {
                return match failure {
                    Some(error) => Err(error),
                    None => Ok(told),
                };
            }
        }
    }

    fn chunk(
        &mut self,
        kind: u16,
        length: usize,
        start: u64,
        fill: &mut [u8],
        told: &mut Vec<u8>,
        failure: &mut Option<io::Error>,
    ) -> io::Result<()> {
        let inside = |at: u64, length: usize, whole: usize| {
            let from = usize::try_from(at.checked_sub(start)?).ok()?;
            (from.checked_add(length)? <= whole).then_some(from)
        };
        match kind {
            0 => drop(self.bytes(length)?),
            1 => {
                let at = self.u64()?;
                let length = length.checked_sub(8).ok_or_else(|| odd("half a chunk"))?;
                let from = inside(at, length, fill.len()).ok_or_else(|| odd("other data"))?;
                self.stream.read_exact(&mut fill[from..from + length])?;
            }
            2 => {
                let (at, length) = (self.u64()?, self.u32()? as usize);
                let from = inside(at, length, fill.len()).ok_or_else(|| odd("other data"))?;
                fill[from..from + length].fill(0);
            }
            5 => told.extend(self.bytes(length)?),
            kind if kind & 1 << 15 != 0 => {
                let data = self.bytes(length)?;
                let code = data.first_chunk::<4>().map_or(5, |code| u32::from_be_bytes(*code));
                *failure = Some(errno(code));
            }
            _ => return Err(odd("an unknown chunk")),
        }
        Ok(())
    }

    fn cookie_matches(&mut self) -> io::Result<()> {
        if self.u64()? == self.cookie { Ok(()) } else { Err(odd("another answer")) }
    }

    /// Fills `buffer` with what is at `at`.
    pub fn read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.send(READ, at, buffer.len() as u64, &[])?;
        self.answer(at, buffer).map(drop)
    }

    /// Writes at `at`.
    pub fn write(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        self.send(WRITE, at, data.len() as u64, data)?;
        self.answer(at, &mut []).map(drop)
    }

    /// Makes a range read as zeros.
    pub fn zero(&mut self, mut at: u64, mut length: u64) -> io::Result<()> {
        while length > 0 {
            let now = length.min(LONGEST);
            self.send(ZEROES, at, now, &[])?;
            self.answer(at, &mut [])?;
            (at, length) = (at + now, length - now);
        }
        Ok(())
    }

    /// Makes durable what was written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.send(FLUSH, 0, 0, &[])?;
        self.answer(0, &mut []).map(drop)
    }

    /// The ranges (offset, length) that may hold something else than zeros, in order.
    pub fn extents(&mut self) -> io::Result<Vec<(u64, u64)>> {
        if !self.knows_zeros {
            return Ok(vec![(0, self.length)]);
        }
        let mut all: Vec<(u64, u64)> = vec![];
        let mut at = 0;
        while at < self.length {
            let asked = (self.length - at).min(LONGEST);
            self.send(BLOCK_STATUS, at, asked, &[])?;
            let told = self.answer(at, &mut [])?;
            let before = at;
            // Behind the number of the context, pairs of length and flags.
            for pair in told.get(4..).unwrap_or_default().chunks_exact(8) {
                let (length, flags) = pair.split_at(4);
                let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b));
                let length = u64::from(number(length)).min(self.length - at);
                if number(flags) & IS_ZERO == 0 && length > 0 {
                    match all.last_mut() {
                        Some((start, known)) if *start + *known == at => *known += length,
                        _ => all.push((at, length)),
                    }
                }
                at += length;
            }
            if at == before {
                return Err(odd("no state of a range"));
            }
        }
        Ok(all)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The server ends when the connection does, whether it was told or not.
        let _ = self.send(END, 0, 0, &[]);
    }
}

/// NBD's error numbers are Linux's.
fn errno(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed())
}
