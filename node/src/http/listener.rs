//! Accepts connections, makes TLS, and serves HTTP/1.1 and HTTP/2 on them until the node stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::connection::{Bounds, Server, stopped};
use super::{request, response};
use crate::service::{Answer, Service};

/// Most connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: u32 = 16_384;
/// How long a client may take for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long requests under way may take to finish when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on the {port} port {addr}: {source}. Is another program using it?")]
    Bind { port: &'static str, addr: SocketAddr, source: io::Error },
}

/// A bound API listener.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub async fn bind(addr: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self, ServeError> {
        let tcp =
            TcpListener::bind(addr).await.map_err(|source| ServeError::Bind { port: "API", addr, source })?;
        Ok(Self { tcp, tls: tls.map(TlsAcceptor::from) })
    }

    /// Serves until `stop` turns true, then lets requests under way finish.
    pub async fn serve(self, service: Arc<Service>, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
        let server = Arc::new(Server::new(Bounds::default()));
        loop {
            let place = tokio::select! {
                () = stopped(&mut stop) => break,
                place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
            };
            let (stream, client) = tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = self.tcp.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, or a client that left already: neither may end the server.
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let connection = Connection {
                service: Arc::clone(&service),
                server: Arc::clone(&server),
                stop: stop.clone(),
                client,
            };
            let tls = self.tls.clone();
            tokio::spawn(async move {
                connection.run(stream, tls).await;
                drop(place);
            });
        }
        drop(self.tcp);
        // All places are free when the last connection has ended.
        if tokio::time::timeout(DRAIN_TIMEOUT, places.acquire_many(CONNECTIONS_MAX)).await.is_err() {
            tracing::warn!(
                timeout_s = DRAIN_TIMEOUT.as_secs(),
                "requests were still under way when the node stopped"
            );
        }
    }
}

struct Connection {
    service: Arc<Service>,
    server: Arc<Server>,
    stop: watch::Receiver<bool>,
    client: SocketAddr,
}

impl Connection {
    async fn run(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Small answers must not wait for the client's delayed acknowledgement.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        match tls {
            None => self.serve(stream, None).await,
            Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let shown = shown.iter().map(|one| Bytes::copy_from_slice(one)).collect();
                    self.serve(stream, Some(shown)).await;
                }
                Ok(Err(error)) => tracing::debug!(client = %self.client, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(client = %self.client, "a TLS handshake took too long"),
            },
        }
    }

    /// `shown`: the client's certificates, if there was a handshake.
    async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        shown: Option<Arc<[Bytes]>>,
    ) {
        let service = self.service;
        let client = self.client;
        let handler = move |request| {
            let (service, shown) = (Arc::clone(&service), shown.clone());
            async move { handle(&service, request, client, shown).await }
        };
        if let Err(error) = self.server.serve(stream, self.stop, handler).await {
            tracing::debug!(%client, %error, "a connection ended early");
        }
    }
}

async fn handle(
    service: &Arc<Service>,
    request: hyper::Request<Incoming>,
    client: SocketAddr,
    shown: Option<Arc<[Bytes]>>,
) -> hyper::Response<response::Payload> {
    let request_id = request::request_id(request.headers());
    let head = request.method() == hyper::Method::HEAD;
    let asked_for =
        service.node().audit().devices().map(|_| request::asked_for(request.method(), request.uri().path()));
    let answer = match request::parse(request, client, request_id.clone(), service.body_budget()).await {
        Ok(mut call) => {
            call.certificates = shown;
            service.answer(&mut call).await
        }
        Err(failure) => match asked_for {
            Some(asked_for) => {
                Box::pin(service.refused(&request_id, client, (asked_for.0, &asked_for.1), &failure)).await
            }
            None => Answer::failure(&failure),
        },
    };
    response::write(answer, head, &request_id, service.node_name())
}
