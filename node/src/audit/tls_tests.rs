//! Devices that speak TLS, against a real peer: with one that is trusted, and with one that is not.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::settings::{Authorities, Endpoint, Target};
use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

type Stream = StreamOwned<ServerConnection, std::net::TcpStream>;

struct Peer {
    port: u16,
    /// What it can be trusted by.
    ca_file: PathBuf,
    heard: Receiver<Vec<u8>>,
}

/// A peer under the name `localhost`, for one connection.
fn peer(folder: &Path, hear: impl FnOnce(&mut Stream) -> Vec<u8> + Send + 'static) -> Peer {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca_file = folder.join(format!("{port}.pem"));
    fs::write(&ca_file, certificate.pem()).unwrap();
    let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config =
        config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], secret).unwrap();
    let (tell, heard) = sync_channel(1);
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        drop(tell.send(hear(&mut StreamOwned::new(session, stream))));
    });
    Peer { port, ca_file, heard }
}

fn open(folder: &Path, target: Target) -> Arc<Trail> {
    let device = DeviceSettings { name: "far".to_owned(), required: true, limit: PATIENCE, target };
    Trail::open(&Settings { folder: folder.to_owned(), devices: vec![device] }, "n1").unwrap()
}

fn endpoint(peer: &Peer, ca_file: &Path) -> Endpoint {
    let authorities = Authorities::File(ca_file.to_owned());
    Endpoint::Tls { authority: format!("localhost:{}", peer.port), authorities }
}

async fn record(trail: &Trail) -> Result<(), NotTaken> {
    trail.devices().unwrap().record(|_| vec![b"{\"a\":1}".to_vec()]).await
}

fn line(stream: &mut Stream) -> Vec<u8> {
    let mut line = Vec::new();
    let _cut = BufReader::new(stream).read_until(b'\n', &mut line);
    line
}

fn octets(stream: &mut Stream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut count = Vec::new();
    if reader.read_until(b' ', &mut count).is_err() {
        return Vec::new();
    }
    let count: usize = String::from_utf8_lossy(&count).trim().parse().unwrap_or_default();
    let mut message = vec![0; count];
    reader.read_exact(&mut message).unwrap();
    message
}

#[tokio::test]
async fn lines_and_messages_go_over_tls_to_a_peer_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let socket = peer(folder.path(), line);
    record(&open(folder.path(), Target::Socket { endpoint: endpoint(&socket, &socket.ca_file) }))
        .await
        .unwrap();
    let heard = socket.heard.recv_timeout(PATIENCE).unwrap();
    assert!(Head::of_line(heard.trim_ascii_end()).is_some(), "{}", String::from_utf8_lossy(&heard));

    let folder = tempfile::tempdir().unwrap();
    let syslog = peer(folder.path(), octets);
    record(&open(folder.path(), Target::Syslog { endpoint: endpoint(&syslog, &syslog.ca_file) }))
        .await
        .unwrap();
    let heard = syslog.heard.recv_timeout(PATIENCE).unwrap();
    assert!(heard.starts_with(b"<38>1 ") && heard.ends_with(b"\"}}"), "{}", String::from_utf8_lossy(&heard));
}

#[tokio::test]
async fn nothing_is_said_to_a_peer_that_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, stranger) = (peer(folder.path(), line), peer(folder.path(), line));
    let trail = open(folder.path(), Target::Socket { endpoint: endpoint(&stranger, &trusted.ca_file) });
    assert_eq!(record(&trail).await, Err(NotTaken));
    assert_eq!(stranger.heard.recv_timeout(PATIENCE).unwrap(), b"");
}

#[tokio::test]
async fn an_http_device_speaks_tls_and_only_to_whom_it_trusts() {
    let answer = |stream: &mut Stream| {
        let mut reader = BufReader::new(&mut *stream);
        let mut length = 0;
        let mut head = String::new();
        while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
            if let Some(value) = head.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.clear();
        }
        let mut body = vec![0; length];
        drop(reader.read_exact(&mut body));
        drop(write!(stream, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        drop(stream.flush());
        body
    };
    let folder = tempfile::tempdir().unwrap();
    let (web, stranger) = (peer(folder.path(), answer), peer(folder.path(), answer));
    let to = |port: u16| Target::Http {
        url: format!("https://localhost:{port}/trail"),
        authorities: Some(Authorities::Text(fs::read_to_string(&web.ca_file).unwrap())),
    };
    let trail = open(folder.path(), to(web.port));
    record(&trail).await.unwrap();
    let heard = web.heard.recv_timeout(PATIENCE).unwrap();
    assert!(Head::of_line(heard.trim_ascii_end()).is_some());
    drop(trail);
    assert_eq!(record(&open(folder.path(), to(stranger.port))).await, Err(NotTaken));
    assert_eq!(stranger.heard.recv_timeout(PATIENCE).unwrap(), b"");
}
