//! Connections to other nodes: mutual TLS to exactly the node that is meant, at its address of the moment.
//!
//! A channel connects when it is first used, and again whenever its connection broke; it looks the address up each
//! time, so that a node that moved is found. Channels are kept by node and purpose: heartbeats, replication and
//! snapshots never wait behind one another, and a vote needs no handshake.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Endpoint;

use super::channel::{PeerChannel, Transport};
use super::roster::Roster;
use crate::identity::{Link, LiveTls};

/// How long a TCP connection and its handshake may take together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may be silent before another is tried beside it. The kernel repeats a lost first packet only
/// after a second: a link that was just mended would stay useless for that long, and no leader be elected over it.
const CONNECT_AGAIN: Duration = Duration::from_millis(250);
/// How often an idle or silent connection is probed, and how long the answer may take: a peer that hangs, or whose
/// packets are dropped, is noticed after both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(500);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_millis(1000);
/// Bytes that may be under way unacknowledged, per stream and per connection.
pub(super) const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The URI that HTTP/2 demands; the connector decides where to connect, and TLS who answers.
const ORIGIN: &str = "http://conclave.invalid";

/// What a channel is for. Each has a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Log entries, votes, leadership transfer.
    Replication,
    Heartbeat,
    Snapshot,
    /// The read barrier.
    ReadIndex,
    /// What this node proposes to the leader.
    Proposals,
    /// Forwarded requests and the other calls between nodes.
    Calls,
}

impl Purpose {
    fn link(self) -> Link {
        match self {
            Self::Replication | Self::Heartbeat | Self::Snapshot | Self::ReadIndex | Self::Proposals => {
                Link::Raft
            }
            Self::Calls => Link::Calls,
        }
    }
}

/// No connection could be made: nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("node {node_id} cannot be reached: {source}")]
pub struct DialError {
    pub node_id: u64,
    pub source: io::Error,
}

/// Makes and keeps channels. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    way: Way,
    roster: Arc<Roster>,
    channels: Mutex<HashMap<(u64, Purpose), PeerChannel>>,
}

/// How other nodes are reached.
enum Way {
    Tls(Tls),
    Given(Arc<dyn Transport>),
}

struct Tls {
    live: Arc<LiveTls>,
    /// Where the connections of each link are driven.
    raft: Handle,
    calls: Handle,
}

impl Dialer {
    pub fn new(tls: Arc<LiveTls>, roster: Arc<Roster>, raft: Handle, calls: Handle) -> Self {
        Self::of(Way::Tls(Tls { live: tls, raft, calls }), roster)
    }

    /// Reaches other nodes by other means.
    pub fn over(transport: Arc<dyn Transport>, roster: Arc<Roster>) -> Self {
        Self::of(Way::Given(transport), roster)
    }

    fn of(way: Way, roster: Arc<Roster>) -> Self {
        Self { inner: Arc::new(Inner { way, roster, channels: Mutex::new(HashMap::new()) }) }
    }

    pub fn roster(&self) -> &Arc<Roster> {
        &self.inner.roster
    }

    /// The channel to `node_id` for `purpose`. Does not connect yet.
    pub fn channel(&self, node_id: u64, purpose: Purpose) -> PeerChannel {
        let mut channels = self.inner.channels.lock();
        channels.entry((node_id, purpose)).or_insert_with(|| self.open(node_id, purpose)).clone()
    }

    /// Forgets the channels to nodes that are no longer members.
    pub fn retain(&self, is_member: impl Fn(u64) -> bool) {
        self.inner.channels.lock().retain(|(node_id, _), _| is_member(*node_id));
    }

    fn open(&self, node_id: u64, purpose: Purpose) -> PeerChannel {
        let tls = match &self.inner.way {
            Way::Tls(tls) => tls,
            Way::Given(transport) => {
                return PeerChannel::Given { transport: Arc::clone(transport), node_id, purpose };
            }
        };
        // Weak: the channel's task must not keep alive the map that keeps the channel.
        let weak = Arc::downgrade(&self.inner);
        let connector = tower::service_fn(move |_origin: http::Uri| {
            let inner = weak.upgrade();
            async move {
                let connected = match inner.as_deref() {
                    Some(Inner { way: Way::Tls(tls), roster, .. }) => {
                        connect(tls, roster, node_id, purpose.link()).await
                    }
                    _ => Err(io::Error::other("the node is stopping")),
                };
                connected.map(TokioIo::new).map_err(|source| DialError { node_id, source })
            }
        });
        let endpoint = Endpoint::from_static(ORIGIN)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let runtime = match purpose.link() {
            Link::Raft => &tls.raft,
            Link::Calls => &tls.calls,
        };
        // The channel's tasks belong to the runtime of its link, whoever asks for it first.
        let _entered = runtime.enter();
        PeerChannel::Tls(endpoint.connect_with_connector_lazy(connector))
    }
}

async fn connect(tls: &Tls, roster: &Roster, node_id: u64, link: Link) -> io::Result<TlsStream<TcpStream>> {
    let node = roster.node(node_id).ok_or_else(|| io::Error::other("its address is not known"))?;
    handshake(&tls.live, node_id, &node.cluster_addr, link).await
}

/// Connects to `cluster_addr`, where exactly `node_id` must answer.
///
/// # Errors
/// What kept it from doing so within [`CONNECT_TIMEOUT`].
pub async fn handshake(
    tls: &LiveTls,
    node_id: u64,
    cluster_addr: &str,
    link: Link,
) -> io::Result<TlsStream<TcpStream>> {
    let config = tls.cluster_client(node_id, link).map_err(io::Error::other)?;
    let name = ServerName::try_from("conclave.invalid").expect("a constant DNS name");
    let handshake = async {
        let stream = first_of(|| TcpStream::connect(cluster_addr)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
    };
    tokio::time::timeout(CONNECT_TIMEOUT, handshake).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT_TIMEOUT:?}"))
    })?
}

/// What the first attempt to be answered brought. Another is begun whenever all have been silent for a while; a network
/// that is merely slow answers an earlier one.
async fn first_of<T, F>(mut attempt: impl FnMut() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.push(attempt());
        if let Ok(Some(answered)) = tokio::time::timeout(CONNECT_AGAIN, attempts.next()).await {
            return answered;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::sync::Notify;

    use super::*;

    /// Attempts that are numbered from 1; the one of that number is answered when the third begins.
    async fn answered(number: u32) -> u32 {
        let (third, mut attempts) = (Arc::new(Notify::new()), 0);
        let connected = first_of(|| {
            attempts += 1;
            let (own, third) = (attempts, Arc::clone(&third));
            if own == 3 {
                third.notify_one();
            }
            async move {
                if own != number {
                    return std::future::pending().await;
                }
                third.notified().await;
                Ok(own)
            }
        });
        connected.await.unwrap()
    }

    #[tokio::test]
    async fn a_lost_first_packet_is_made_good_by_another_attempt() {
        assert_eq!(answered(3).await, 3);
    }

    #[tokio::test]
    async fn a_slow_network_answers_the_first_attempt() {
        assert_eq!(answered(1).await, 1);
    }

    #[tokio::test]
    async fn a_refusal_is_not_asked_for_twice() {
        let mut attempts = 0;
        let refused = first_of(|| {
            attempts += 1;
            ready(Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)))
        });
        assert_eq!(refused.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(attempts, 1);
    }
}
