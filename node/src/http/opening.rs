//! The first bytes of a connection, read before it is served: they say which HTTP it speaks.
//!
//! The server would wait for them without a bound. Read here, they can be waited for under a timeout, and are then
//! given back in front of the rest.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What every HTTP/2 connection begins with, and no HTTP/1.1 one.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes have been looked at.
pub struct Opened<S> {
    first: Bytes,
    rest: S,
}

impl<S: AsyncRead + Unpin> Opened<S> {
    /// Reads until the version is certain, or the client has closed.
    pub async fn read(mut stream: S) -> io::Result<Self> {
        let mut first = BytesMut::with_capacity(PREFACE.len());
        while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
            let missing = (PREFACE.len() - first.len()) as u64;
            if (&mut stream).take(missing).read_buf(&mut first).await? == 0 {
                break;
            }
        }
        Ok(Self { first: first.freeze(), rest: stream })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.rest).poll_read(context, buffer);
        }
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..length]);
        self.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.rest.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write_vectored(context, parts)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn nothing_is_lost_whichever_version_it_is_and_however_it_is_cut() {
        for text in
            [&b"PUT /v1/x HTTP/1.1\r\n\r\n"[..], b"PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes", b""]
        {
            for cut in 0..=text.len() {
                let (mut client, server) = tokio::io::duplex(64);
                let opening = tokio::spawn(Opened::read(server));
                client.write_all(&text[..cut]).await.unwrap();
                tokio::task::yield_now().await;
                client.write_all(&text[cut..]).await.unwrap();
                drop(client);
                let mut back = Vec::new();
                opening.await.unwrap().unwrap().read_to_end(&mut back).await.unwrap();
                assert_eq!(back, text, "cut at {cut}");
            }
        }
    }
}
