//! One direction of a call: frames that have arrived, waiting to be read as a body.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;

/// Cheap to clone: the one end writes, the other reads.
#[derive(Clone, Default)]
pub struct Pipe(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    frames: VecDeque<Frame<Bytes>>,
    end: Option<Ending>,
    reader: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Ending {
    Done,
    Broken,
}

impl Pipe {
    pub fn push(&self, frame: Frame<Bytes>) {
        self.change(|inner| inner.frames.push_back(frame));
    }

    /// All frames have come.
    pub fn finish(&self) {
        self.change(|inner| {
            inner.end.get_or_insert(Ending::Done);
        });
    }

    /// The connection is gone.
    pub fn tear(&self) {
        self.change(|inner| {
            inner.end.get_or_insert(Ending::Broken);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let reader = {
            let mut inner = self.0.lock();
            change(&mut inner);
            inner.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut inner = self.0.lock();
        if let Some(frame) = inner.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match inner.end {
            Some(Ending::Done) => Poll::Ready(None),
            Some(Ending::Broken) => {
                inner.end = Some(Ending::Done);
                Poll::Ready(Some(Err(broken())))
            }
            None => {
                inner.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

pub fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke")
}

/// The reading end.
pub struct PipeBody<G> {
    pipe: Pipe,
    /// Dropped with the body, which tells whoever writes.
    _guard: G,
}

impl<G> PipeBody<G> {
    pub fn new(pipe: Pipe, guard: G) -> Self {
        Self { pipe, _guard: guard }
    }
}

impl<G: Unpin> Body for PipeBody<G> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pipe.poll(context)
    }
}
