//! Connections to other nodes: mutual TLS to exactly the node that is meant, at its address of the moment.
//!
//! A channel connects when it is first used, and again whenever its connection broke; it looks the address up each
//! time, so that a node that moved is found. Channels are kept by node and purpose: heartbeats, replication and
//! snapshots never wait behind one another, and a vote needs no handshake.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

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
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
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
    let config = tls.live.cluster_client(node_id, link).map_err(io::Error::other)?;
    let node = roster.node(node_id).ok_or_else(|| io::Error::other("its address is not known"))?;
    let name = ServerName::try_from("conclave.invalid").expect("a constant DNS name");
    let handshake = async {
        let stream = TcpStream::connect(&node.cluster_addr).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, stream).await
    };
    tokio::time::timeout(CONNECT_TIMEOUT, handshake).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT_TIMEOUT:?}"))
    })?
}
