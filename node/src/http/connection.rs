//! One client's connection, from its first byte to its end. A connection holds one of a bounded number of places, so
//! every wait for the client has a bound of its own.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Either};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::opening::Opened;
use super::response::Payload;

/// Most bytes of a request's head.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// Most concurrent requests on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;

/// How long a client may take.
pub struct Bounds {
    /// For its first bytes, and then for each request's head; an idle HTTP/1.1 connection waits for a head.
    pub head: Duration,
    /// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// Until its next request, or for taking the next part of an answer; it may answer pings meanwhile.
    pub idle: Duration,
    /// To take leave, once it has been idle for too long.
    pub close: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            idle: Duration::from_secs(300),
            close: Duration::from_secs(10),
        }
    }
}

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("it sent nothing")]
    Silent,
    #[error("it did not close when it was idle")]
    Idle,
    #[error(transparent)]
    Broken(Box<dyn Error + Send + Sync>),
}

/// Serves HTTP/1.1 and HTTP/2.
pub struct Server {
    http: auto::Builder<TokioExecutor>,
    bounds: Bounds,
}

impl Server {
    pub fn new(bounds: Bounds) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(bounds.head).max_buf_size(HEADER_BYTES_MAX);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX as u32)
            .keep_alive_interval(Some(bounds.ping_interval))
            .keep_alive_timeout(bounds.ping_timeout);
        Self { http, bounds }
    }

    /// Serves one connection until it ends. When `stop` turns true, requests under way are finished.
    pub async fn serve<H, F>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        mut stop: watch::Receiver<bool>,
        handler: H,
    ) -> Result<(), Ended>
    where
        H: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Payload>> + Send + 'static,
    {
        let opened = tokio::select! {
            () = stopped(&mut stop) => return Ok(()),
            opened = timeout(self.bounds.head, Opened::read(stream)) => opened.map_err(|_| Ended::Silent)?,
        };
        let stream = TokioIo::new(opened.map_err(|error| Ended::Broken(error.into()))?);
        let activity = Arc::new(Activity::default());
        let service = service_fn({
            let activity = Arc::clone(&activity);
            move |request| {
                let under_way = UnderWay::begin(&activity);
                let answer = handler(request);
                async move { Ok::<_, Infallible>(under_way.watch(answer.await)) }
            }
        });
        let mut connection = pin!(self.http.serve_connection(stream, service));
        tokio::select! {
            // The connection first: what it does may end the wait for the others.
            biased;
            ended = connection.as_mut() => return ended.map_err(Ended::Broken),
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                return connection.await.map_err(Ended::Broken);
            }
            () = activity.ceased(self.bounds.idle) => {}
        }
        connection.as_mut().graceful_shutdown();
        timeout(self.bounds.close, connection).await.map_err(|_| Ended::Idle)?.map_err(Ended::Broken)
    }
}

/// Resolves when the node is told to stop. The guard of `wait_for` is not `Send`, so it must end here.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether anything happens on a connection but pings. Counts, so that a request needs no clock.
#[derive(Default)]
struct Activity {
    /// Requests that are being answered.
    running: AtomicUsize,
    /// Requests begun and ended, and parts of answers taken.
    steps: AtomicU64,
}

impl Activity {
    /// Resolves when nothing has happened for `period`, or for up to twice as long.
    async fn ceased(&self, period: Duration) {
        let mut seen = self.steps.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(period).await;
            let steps = self.steps.load(Ordering::Relaxed);
            if steps == seen && self.running.load(Ordering::Relaxed) == 0 {
                return;
            }
            seen = steps;
        }
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request that is being answered, until this is dropped.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::Relaxed);
        activity.step();
        Self(Arc::clone(activity))
    }

    /// Counts the parts of an answer that streams; a whole one is taken at once.
    fn watch(self, response: Response<Payload>) -> Response<Payload> {
        let activity = Arc::clone(&self.0);
        response.map(|payload| match payload {
            Either::Left(whole) => Either::Left(whole),
            Either::Right(parts) => Either::Right(
                parts
                    .map_frame(move |frame| {
                        activity.step();
                        frame
                    })
                    .boxed(),
            ),
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.step();
    }
}

#[cfg(test)]
mod tests;
