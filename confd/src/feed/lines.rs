//! Lines of bounded length, from a stream that may have nothing for a while.

use std::io::{self, ErrorKind, Read};

/// Bytes that are read at once.
const PIECE: usize = 32 << 10;
/// A longer buffer is given back after use.
const KEPT: usize = 256 << 10;

/// Reads lines; what has come of a line stays when the stream has no more at the moment.
#[derive(Debug)]
pub struct LineReader<R> {
    from: R,
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to here there is no line end.
    searched: usize,
    limit: usize,
}

impl<R: Read> LineReader<R> {
    /// Of lines of at most `limit` bytes.
    pub fn new(from: R, limit: usize) -> LineReader<R> {
        LineReader { from, buffer: Vec::new(), start: 0, searched: 0, limit }
    }

    /// The stream.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// The next line, without its end; None: the stream has ended, in the middle of a line or not. Errors: the
    /// stream's; [`ErrorKind::InvalidData`]: the line is too long.
    pub fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let (start, end) = (self.start, self.searched + at);
                (self.start, self.searched) = (end + 1, end + 1);
                return Ok(Some(&self.buffer[start..end]));
            }
            self.searched = self.buffer.len();
            if self.searched - self.start > self.limit {
                let text = format!("a line is longer than {} bytes", self.limit);
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() + PIECE < KEPT && self.buffer.capacity() > KEPT {
            self.buffer.shrink_to(KEPT);
        }
        let old = self.buffer.len();
        self.buffer.resize(old + PIECE, 0);
        let read = loop {
            match self.from.read(&mut self.buffer[old..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(old + read.as_ref().map_or(0, |n| *n));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Gives what it is told to, then has nothing for now.
    struct Pieces(VecDeque<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let piece = self.0.pop_front().ok_or(ErrorKind::WouldBlock)?;
            to[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let pieces: [&[u8]; 4] = [b"one\ntw", b"o\n\nthr", b"ee", b"\n"];
        let mut lines = LineReader::new(Pieces(pieces.into()), 100);
        for expected in ["one", "two", "", "three"] {
            assert_eq!(lines.next_line().unwrap().unwrap(), expected.as_bytes());
        }
        assert_eq!(lines.next_line().unwrap_err().kind(), ErrorKind::WouldBlock);
        lines.get_mut().0.extend([&b"fo"[..]]);
        assert_eq!(lines.next_line().unwrap_err().kind(), ErrorKind::WouldBlock);
        lines.get_mut().0.extend([&b"ur\nx"[..], b""]);
        assert_eq!(lines.next_line().unwrap().unwrap(), b"four");
        assert!(lines.next_line().unwrap().is_none(), "a line without end is none");
    }

    #[test]
    fn lines_have_a_limit() {
        let mut lines = LineReader::new(Pieces([&b"123\n"[..], b"123456"].into()), 5);
        assert_eq!(lines.next_line().unwrap().unwrap(), b"123");
        assert_eq!(lines.next_line().unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_long_line_takes_no_room_for_ever() {
        let mut text = vec![b'x'; 2 << 20];
        text.push(b'\n');
        text.extend(b"y\n".repeat(PIECE));
        let mut lines = LineReader::new(&text[..], 4 << 20);
        assert_eq!(lines.next_line().unwrap().unwrap().len(), 2 << 20);
        while let Some(line) = lines.next_line().unwrap() {
            assert_eq!(line, b"y");
        }
        assert!(lines.buffer.capacity() <= 2 * KEPT, "{}", lines.buffer.capacity());
    }
}
