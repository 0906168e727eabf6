//! The bytes of a disk, wherever they are: a file, a block device, or behind QEMU.

use super::nbd::{Client, Server};
use crate::block::device::Place;
use crate::block::sparse;
use crate::blocking::blocking;
use crate::hypervisor::{ImageFormat, Source};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// Written at once where a device has no faster way to zeros, bytes.
const ZEROS: usize = 1 << 20;

/// An open disk. Its calls block.
#[derive(Debug)]
pub struct Medium {
    /// What people know it by.
    name: String,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File { file: File, kind: Kind },
    Served { client: Box<Client>, server: Box<Server> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Becomes as long as it has to.
    File,
    /// Has the length it has.
    Device,
}

/// What it is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Medium {
    /// Opens an assembled disk. With `image` the file of an image as it is.
    pub async fn open(place: &Place, access: Access, image: bool, paths: &Paths) -> Result<Medium> {
        match (&place.source, place.format) {
            (Source::File(path) | Source::Block(path), ImageFormat::Raw) => {
                Medium::file(path, access).await
            }
            (Source::File(path), _) if image => Medium::file(path, access).await,
            (Source::File(path) | Source::Block(path), format) => {
                Medium::served(&path.to_string_lossy(), format, access, paths).await
            }
            (Source::Uri(uri), format) => Medium::served(uri, format, access, paths).await,
        }
    }

    /// Opens a file or block device.
    pub async fn file(path: &Path, access: Access) -> Result<Medium> {
        let path = path.to_owned();
        blocking(move || {
            let name = path.to_string_lossy().into_owned();
            let open = || -> io::Result<_> {
                let file = match access {
                    Access::Read => File::open(&path)?,
                    Access::Write => OpenOptions::new().read(true).write(true).open(&path)?,
                };
                let kind = file.metadata()?.file_type();
                Ok((file, if kind.is_block_device() { Kind::Device } else { Kind::File }))
            };
            match open() {
                Ok((file, kind)) => Ok(Medium { name, bytes: Bytes::File { file, kind } }),
                Err(e) => Err(Error::exec(format!("Cannot open the disk '{name}': {e}"))),
            }
        })
        .await
    }

    async fn served(
        what: &str,
        format: ImageFormat,
        access: Access,
        paths: &Paths,
    ) -> Result<Medium> {
        let (server, client) = Server::start(paths, what, format, access == Access::Write).await?;
        Ok(Medium {
            name: what.into(),
            bytes: Bytes::Served { client: Box::new(client), server: Box::new(server) },
        })
    }

    /// A file that is open.
    pub fn of(file: File, name: impl Into<String>) -> Medium {
        Medium { name: name.into(), bytes: Bytes::File { file, kind: Kind::File } }
    }

    /// What people know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes it has.
    pub fn length(&self) -> io::Result<u64> {
        match &self.bytes {
            Bytes::File { file, .. } => {
                let mut file = file;
                file.seek(SeekFrom::End(0))
            }
            Bytes::Served { client, .. } => Ok(client.length()),
        }
    }

    /// Whether it is as long as it is made.
    pub fn is_file(&self) -> bool {
        matches!(self.bytes, Bytes::File { kind: Kind::File, .. })
    }

    /// Makes a file so long; `empty`: with nothing but zeros. Others have the length they have.
    pub fn set_length(&self, length: u64, empty: bool) -> io::Result<()> {
        let Bytes::File { file, kind: Kind::File } = &self.bytes else { return Ok(()) };
        if empty {
            file.set_len(0)?;
        }
        file.set_len(length)
    }

    /// The ranges (offset, length) that may hold something else than zeros, in order.
    pub fn extents(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let length = self.length()?;
        match &mut self.bytes {
            Bytes::File { file, kind: Kind::File } => sparse::extents(file, length),
            Bytes::File { .. } if length == 0 => Ok(vec![]),
            Bytes::File { .. } => Ok(vec![(0, length)]),
            Bytes::Served { client, .. } => client.extents(),
        }
    }

    /// Fills `buffer` with what is at `at`, and does not leave it in the page cache, where it would
    /// push out what guests need.
    pub fn read(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &mut self.bytes {
            Bytes::File { file, .. } => {
                file.read_exact_at(buffer, at)?;
                forget(file, at, buffer.len() as u64);
                Ok(())
            }
            Bytes::Served { client, .. } => client.read(at, buffer),
        }
    }

    /// Writes at `at`.
    pub fn write(&mut self, at: u64, data: &[u8]) -> io::Result<()> {
        match &mut self.bytes {
            Bytes::File { file, .. } => file.write_all_at(data, at),
            Bytes::Served { client, .. } => client.write(at, data),
        }
    }

    /// Makes a range read as zeros, in the fastest way it has.
    pub fn zero(&mut self, at: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        match &mut self.bytes {
            Bytes::File { file, kind } => zero(file, *kind, at, length),
            Bytes::Served { client, .. } => client.zero(at, length),
        }
    }

    /// Lets go of it; what serves it has ended then.
    pub async fn close(self) {
        if let Bytes::Served { client, server } = self.bytes {
            drop(client);
            server.ended().await;
        }
    }

    /// By which what was written becomes durable.
    pub fn keeper(&mut self) -> io::Result<Keeper> {
        match &mut self.bytes {
            Bytes::File { file, .. } => Ok(Keeper(Some(file.try_clone()?))),
            Bytes::Served { client, .. } => client.flush().map(|()| Keeper(None)),
        }
    }
}

/// Makes durable what was written to a medium before it was made; on another thread, if wanted.
#[derive(Debug)]
pub struct Keeper(Option<File>);

impl Keeper {
    /// Waits until it is durable; the range is not left in the page cache.
    pub fn keep(self, from: u64, to: u64) -> io::Result<()> {
        let Some(file) = self.0 else { return Ok(()) };
        file.sync_data()?;
        forget(&file, from, to - from);
        Ok(())
    }
}

/// Only advice: where it is not taken, nothing is lost but memory.
fn forget(file: &File, at: u64, length: u64) {
    if let (Ok(at), Ok(length)) = (i64::try_from(at), i64::try_from(length)) {
        let _ = posix_fadvise(file, at, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

fn zero(file: &File, kind: Kind, at: u64, length: u64) -> io::Result<()> {
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let zero = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    // A device that cannot forget a range can often be told to make it zeros.
    let ways: &[FallocateFlags] = if kind == Kind::File { &[punch] } else { &[punch, zero] };
    let range = i64::try_from(at).ok().zip(i64::try_from(length).ok());
    let (offset, size) = range.ok_or(io::ErrorKind::InvalidInput)?;
    for way in ways {
        match fallocate(file, *way, offset, size) {
            Ok(()) => return Ok(()),
            // Not aligned to its blocks, or not at all.
            Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENODEV | Errno::ENOSYS) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let zeros = vec![0; ZEROS];
    let mut done = 0;
    while done < length {
        let n = zeros.len().min(usize::try_from(length - done).unwrap_or(ZEROS));
        file.write_all_at(&zeros[..n], at + done)?;
        done += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Command;

    fn place(path: &Path, format: ImageFormat) -> Place {
        Place { source: Source::File(path.to_owned()), format, shared: false }
    }

    #[tokio::test]
    async fn an_image_is_read_and_written_as_the_disk_that_is_in_it() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        let path = dir.path().join("x.qcow2");
        let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&path);
        made.arg("64M").run_ok().await.expect("qemu-img");
        let place = place(&path, ImageFormat::Qcow2);
        let mut medium = Medium::open(&place, Access::Write, false, &paths).await.expect("opened");
        blocking(move || {
            assert_eq!(medium.length().expect("length"), 64 << 20);
            assert_eq!(medium.extents().expect("extents"), []);
            medium.write(5 << 20, &[7; 4096]).expect("written");
            medium.write(40 << 20, &[8; 1 << 20]).expect("written");
            medium.zero(40 << 20, 512 << 10).expect("zeroed");
            medium.keeper().expect("flushed").keep(0, 64 << 20).expect("durable");
            let mut buffer = vec![1; 1 << 20];
            medium.read(40 << 20, &mut buffer).expect("read");
            assert!(buffer[..512 << 10].iter().all(|b| *b == 0) && buffer[512 << 10] == 8);
            Ok(())
        })
        .await
        .expect("used");
        let mut medium = Medium::open(&place, Access::Read, false, &paths).await.expect("opened");
        let (extents, refused) = blocking(move || {
            Ok((medium.extents().expect("extents"), medium.write(0, &[1; 512]).is_err()))
        })
        .await
        .expect("read");
        let has = |at: u64| extents.iter().any(|(start, n)| (*start..start + n).contains(&at));
        assert!(has(5 << 20) && has((40 << 20) + (600 << 10)) && !has(30 << 20), "{extents:?}");
        assert!(refused, "it was opened for reading");
        let mut image = Medium::open(&place, Access::Read, true, &paths).await.expect("opened");
        let mut magic = [0; 4];
        image.read(0, &mut magic).expect("read");
        assert_eq!(&magic, b"QFI\xfb");
        let left = std::fs::read_dir(paths.run_dir().join("nbd")).expect("sockets").count();
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn what_qemu_cannot_open_says_why() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        let path = dir.path().join("x.qcow2");
        std::fs::write(&path, "no image").expect("file");
        let place = place(&path, ImageFormat::Qcow2);
        let error = Medium::open(&place, Access::Read, false, &paths).await.expect_err("no image");
        assert!(error.message.contains("QEMU cannot open the disk"), "{error}");
        assert!(error.message.contains("qcow2"), "{error}");
    }

    #[test]
    fn a_range_of_a_file_is_punched_out() {
        let file = tempfile::tempfile().expect("file");
        let mut medium = Medium::of(file, "x");
        medium.write(0, &[1; 3 << 20]).expect("written");
        medium.zero(1 << 20, 1 << 20).expect("zeroed");
        let mut all = vec![9; 3 << 20];
        medium.read(0, &mut all).expect("read");
        assert!(all[1 << 20..2 << 20].iter().all(|b| *b == 0));
        assert!(all[(1 << 20) - 1] == 1 && all[2 << 20] == 1);
        assert!(medium.is_file() && medium.length().expect("length") == 3 << 20);
    }
}
