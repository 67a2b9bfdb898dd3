//! The cluster port: accepts connections of this cluster's nodes and nobody else's.
//!
//! Mutual TLS 1.3 comes before anything is read; the number of connections, the number and the time of handshakes and
//! the size of a message are bounded. A connection for Raft is served on Raft's runtime, one for other calls on the API's, as
//! its caller agreed in the handshake. A failing `accept` (out of file descriptors, say) slows the port down and
//! never ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use conclave_proto::peer::cluster_server::{ClusterServer, SERVICE_NAME as CLUSTER_SERVICE};
use conclave_proto::peer::raft_server::{RaftServer, SERVICE_NAME as RAFT_SERVICE};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::Service as _;

use super::dial::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use super::handshakes::{Handshake, Handshakes};
use super::network::APPEND_MESSAGE_BYTES_MAX;
use super::service::PeerService;
use crate::identity::{Link, LiveTls, PeerIdentity};

/// Open connections of nodes of this cluster at most. A member uses five.
const CONNECTIONS_MAX: usize = 512;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// First and longest pause after `accept` failed.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Largest message of a call that is not Raft's, in bytes: a forwarded request with a full body and its headers.
pub const CALL_MESSAGE_BYTES_MAX: usize = conclave_proto::wire::BODY_BYTES_MAX + 1024 * 1024;
/// Calls at a time on one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
/// Calls that a peer may start and give up before they are seen. Heartbeats that are late are given up in numbers;
/// at the default of 20 the connection would be closed for it.
const RESET_STREAMS_MAX: usize = 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Who is at the other end of a connection, by its certificate. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub node_id: u64,
    pub address: SocketAddr,
}

/// Serves the cluster port until `stop`. Call it on Raft's runtime; `calls` serves what is not Raft.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<LiveTls>,
    services: Services,
    calls: Handle,
    stop: CancellationToken,
) {
    let raft = Handle::current();
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let handshakes = Handshakes::default();
    let mut pause = ACCEPT_PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the cluster port cannot accept a connection");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                continue;
            }
        };
        pause = ACCEPT_PAUSE_MIN;
        let handshake = handshakes.begin(address);
        let (tls, services, stop) = (tls.clone(), services.clone(), stop.clone());
        let (raft, calls, slots) = (raft.clone(), calls.clone(), slots.clone());
        tokio::spawn(async move {
            let Some((stream, caller, link)) = admit(&tls, stream, address, handshake).await else { return };
            // Only now: strangers take no slots of members.
            let Ok(slot) = slots.try_acquire_owned() else {
                tracing::warn!(%address, "the cluster port has too many connections");
                return;
            };
            let runtime = match link {
                Link::Raft => raft,
                Link::Calls => calls,
            };
            runtime.spawn(stop.run_until_cancelled_owned(async move {
                serve_connection(stream, caller, services).await;
                drop(slot);
            }));
        });
    }
}

/// Shakes hands, within a bound of time and as long as there is room for strangers.
async fn admit(
    tls: &LiveTls,
    stream: TcpStream,
    address: SocketAddr,
    waiting: Handshake,
) -> Option<(TlsStream<TcpStream>, Caller, Link)> {
    let done = tokio::select! {
        done = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(tls, stream, address)) => done,
        () = waiting.pushed_out() => {
            tracing::debug!(%address, "a connection to the cluster port made room for newer ones");
            return None;
        }
    };
    match done {
        Ok(Ok(admitted)) => Some(admitted),
        Ok(Err(reason)) => {
            tracing::info!(%address, reason, "a connection to the cluster port was refused");
            None
        }
        Err(_) => {
            tracing::info!(%address, "a connection to the cluster port did not shake hands in time");
            None
        }
    }
}

async fn handshake(
    tls: &LiveTls,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<(TlsStream<TcpStream>, Caller, Link), String> {
    let own = tls.peer().map_err(|error| error.to_string())?;
    let config = tls.cluster_server().map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|error| error.to_string())?;
    let (_, session) = stream.get_ref();
    let link = Link::negotiated(session.alpn_protocol()).ok_or("it does not say what it is for")?;
    let certificate =
        session.peer_certificates().and_then(|chain| chain.first()).ok_or("it shows no certificate")?;
    let peer = PeerIdentity::from_certificate(certificate).map_err(|error| error.to_string())?;
    // The authority is the cluster's own, so this says the same twice: on purpose.
    if peer.cluster_id != own.cluster_id {
        return Err("it belongs to another cluster".into());
    }
    Ok((stream, Caller { node_id: peer.node_id, address }, link))
}

async fn serve_connection(stream: TlsStream<TcpStream>, caller: Caller, services: Services) {
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .serve_connection(
            TokioIo::new(stream),
            hyper::service::service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(caller);
                services.clone().dispatch(request)
            }),
        );
    if let Err(error) = served.await {
        tracing::debug!(%error, node_id = caller.node_id, "a connection to the cluster port ended");
    }
}

/// The gRPC services, by the first segment of a call's path.
#[derive(Clone)]
pub struct Services {
    raft: RaftServer<PeerService>,
    cluster: ClusterServer<PeerService>,
}

impl Services {
    pub(super) fn new(service: PeerService) -> Self {
        let raft = RaftServer::new(service.clone())
            .max_decoding_message_size(APPEND_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(APPEND_MESSAGE_BYTES_MAX);
        let cluster = ClusterServer::new(service)
            .max_decoding_message_size(CALL_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CALL_MESSAGE_BYTES_MAX);
        Self { raft, cluster }
    }

    /// Answers a call of `node_id`, whoever says so: for transports that are no strangers' doors.
    pub async fn answer(self, node_id: u64, mut request: Request<Body>) -> Response<Body> {
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        request.extensions_mut().insert(Caller { node_id, address });
        let Ok(response) = self.dispatch(request).await;
        response
    }

    async fn dispatch<B>(mut self, request: Request<B>) -> Result<Response<Body>, std::convert::Infallible>
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<super::channel::BoxError> + Send,
    {
        match request.uri().path().split('/').nth(1) {
            Some(RAFT_SERVICE) => self.raft.call(request).await,
            Some(CLUSTER_SERVICE) => self.cluster.call(request).await,
            _ => Ok(Status::unimplemented("there is no such service").into_http()),
        }
    }
}
