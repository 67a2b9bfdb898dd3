//! Connections to where lines are sent: made when there is something to send, and made again after they broke.
//!
//! That a line was written says that the system took it, not that the other side did; only the `http` device knows that.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::settings::Endpoint;
use crate::outbound::{self, Trust};

/// Pause after a connection that could not be made, while lines are refused at once.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// One end of a connection.
enum Wire {
    UnixDatagram(UnixDatagram),
    Udp(UdpSocket),
    Stream(Box<dyn Write + Send>),
}

pub struct Connection {
    endpoint: Endpoint,
    limit: Duration,
    wire: Option<Wire>,
    failed_at: Option<Instant>,
}

/// What goes out for one line: on a stream, and as a message of its own.
pub struct Framed<'l> {
    pub in_stream: &'l [u8],
    pub as_message: &'l [u8],
}

impl Connection {
    pub fn new(endpoint: Endpoint, limit: Duration) -> Self {
        Self { endpoint, limit, wire: None, failed_at: None }
    }

    pub fn close(&mut self) {
        self.wire = None;
        self.failed_at = None;
    }

    /// Sends all lines; once more from the first if the other side has closed an idle connection.
    pub fn send(&mut self, lines: &[Framed<'_>]) -> io::Result<()> {
        let was_open = self.wire.is_some();
        match self.try_send(lines) {
            Err(error) if was_open && is_closed(&error) => self.try_send(lines),
            sent => sent,
        }
    }

    fn try_send(&mut self, lines: &[Framed<'_>]) -> io::Result<()> {
        let wire = match &mut self.wire {
            Some(wire) => wire,
            None => {
                if self.failed_at.is_some_and(|at| at.elapsed() < CONNECT_PAUSE) {
                    return Err(io::Error::other("it could not be reached a moment ago"));
                }
                match connect(&self.endpoint, self.limit) {
                    Ok(wire) => self.wire.insert(wire),
                    Err(error) => {
                        self.failed_at = Some(Instant::now());
                        return Err(error);
                    }
                }
            }
        };
        let sent = wire.send(lines);
        if sent.is_err() {
            self.wire = None;
        }
        sent
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
    )
}

impl Wire {
    fn send(&mut self, lines: &[Framed<'_>]) -> io::Result<()> {
        match self {
            Self::UnixDatagram(socket) => {
                lines.iter().try_for_each(|line| socket.send(line.as_message).map(drop))
            }
            Self::Udp(socket) => lines.iter().try_for_each(|line| socket.send(line.as_message).map(drop)),
            Self::Stream(stream) => {
                let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.in_stream.len()).sum());
                lines.iter().for_each(|line| bytes.extend_from_slice(line.in_stream));
                stream.write_all(&bytes)?;
                stream.flush()
            }
        }
    }
}

fn connect(endpoint: &Endpoint, limit: Duration) -> io::Result<Wire> {
    Ok(match endpoint {
        Endpoint::Unix(path) => unix(path, limit)?,
        Endpoint::Udp(authority) => {
            let to = authority.to_socket_addrs()?.next().ok_or_else(nobody)?;
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            socket.set_write_timeout(Some(limit))?;
            Wire::Udp(socket)
        }
        Endpoint::Tcp(authority) => Wire::Stream(Box::new(tcp(authority, limit)?)),
        Endpoint::Tls { authority, authorities } => {
            let stream = tcp(authority, limit)?;
            let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let pem = authorities.read()?;
            let config = outbound::tls(pem.as_deref().map_or(Trust::System, Trust::Authorities))?;
            let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(session, stream);
            // The handshake, so that an untrusted peer is found before anything is said.
            stream.conn.complete_io(&mut stream.sock)?;
            Wire::Stream(Box::new(stream))
        }
    })
}

/// Datagrams, as `/dev/log` takes them, or else a stream.
fn unix(path: &Path, limit: Duration) -> io::Result<Wire> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => {
            socket.set_write_timeout(Some(limit))?;
            Ok(Wire::UnixDatagram(socket))
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(limit))?;
            Ok(Wire::Stream(Box::new(stream)))
        }
        Err(error) => Err(error),
    }
}

fn tcp(authority: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut last = nobody();
    for addr in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, limit) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(limit))?;
                stream.set_read_timeout(Some(limit))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn nobody() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}
