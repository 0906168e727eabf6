//! What goes between mond and its helper: four bytes of length of the head, four of the body (both big-endian), the
//! head as JSON, the body as it is.

use super::Task;
use roost_proto::error::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No head is longer, bytes; an error's text is in it.
const LONGEST_HEAD: usize = 64 << 10;
/// No body is longer, bytes: more than any command may print.
const LONGEST_BODY: usize = crate::exec::LARGEST + (1 << 20);

/// A piece of work is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Comes back with the result.
    pub id: u64,
    pub task: Task,
}

/// It is done; what came out is the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub id: u64,
    /// Why nothing came out.
    pub error: Option<Error>,
}

/// A head with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<H> {
    pub head: H,
    pub body: Vec<u8>,
}

impl<H: Serialize + DeserializeOwned> Frame<H> {
    /// Without a body.
    pub fn of(head: H) -> Frame<H> {
        Frame { head, body: vec![] }
    }

    /// The next one; `None`: the other side has ended. Errors: it talks nonsense.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame<H>>> {
        let mut lengths = [0; 8];
        match from.read_exact(&mut lengths).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let [a, b, c, d, e, f, g, h] = lengths;
        let (head, body) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        let (head, body) = (head as usize, body as usize);
        if head > LONGEST_HEAD || body > LONGEST_BODY {
            return Err(nonsense(format!("a message of {head} and {body} bytes")));
        }
        let mut bytes = vec![0; head];
        from.read_exact(&mut bytes).await?;
        let head = serde_json::from_slice(&bytes).map_err(|e| nonsense(e.to_string()))?;
        let mut bytes = vec![0; body];
        from.read_exact(&mut bytes).await?;
        Ok(Some(Frame { head, body: bytes }))
    }

    /// Sends it.
    pub async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let head = serde_json::to_vec(&self.head).map_err(|e| nonsense(e.to_string()))?;
        let length = |n: usize| u32::try_from(n).map_err(|e| nonsense(e.to_string()));
        let mut bytes = Vec::with_capacity(8 + head.len());
        bytes.extend_from_slice(&length(head.len())?.to_be_bytes());
        bytes.extend_from_slice(&length(self.body.len())?.to_be_bytes());
        bytes.extend_from_slice(&head);
        to.write_all(&bytes).await?;
        to.write_all(&self.body).await
    }
}

fn nonsense(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_read_back_and_nonsense_is_refused() {
        let mut wire = vec![];
        let order = Frame::of(Order { id: 7, task: Task::Volumes });
        let error = Some(Error::environment("no"));
        let outcome = Frame { head: Outcome { id: 7, error }, body: b"x\0y".to_vec() };
        order.write(&mut wire).await.unwrap();
        outcome.write(&mut wire).await.unwrap();
        let mut from = wire.as_slice();
        assert_eq!(Frame::<Order>::read(&mut from).await.unwrap(), Some(order));
        assert_eq!(Frame::<Outcome>::read(&mut from).await.unwrap(), Some(outcome));
        assert_eq!(Frame::<Outcome>::read(&mut from).await.unwrap(), None);
        let huge = [0xff; 8];
        assert!(Frame::<Order>::read(&mut huge.as_slice()).await.is_err());
        let wrong = [0, 0, 0, 2, 0, 0, 0, 0, b'{', b'}'];
        assert!(Frame::<Order>::read(&mut wrong.as_slice()).await.is_err());
    }
}
