//! rustls configurations: the cluster port, the API port, and joining.
//!
//! - Cluster port: TLS 1.3, certificates on both sides, and the caller expects one certain node of this cluster.
//! - API port: TLS 1.2 and 1.3, the chain ends in the authority, so that a join token can pin it.
//! - Joining: no authority is known yet; the chain must end in the one whose fingerprint the join token carries.
//!
//! No configuration here ever skips verification, and none resumes a cluster session: a resumed session would skip
//! the certificate check, so that an expired certificate would still open new connections.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::any_client::AnyClient;
use super::{CaFingerprint, Identity, IdentityError, PeerIdentity};

const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";
const ALPN_RAFT: &[u8] = b"conclave-raft/1";
const ALPN_CALLS: &[u8] = b"conclave-calls/1";

/// What a connection on the cluster port is for, agreed upon in the handshake (ALPN).
///
/// The two are served by different runtimes, so that forwarded requests never delay a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// Raft itself, and the read barrier.
    Raft,
    /// Everything else that nodes ask each other.
    Calls,
}

impl Link {
    /// The link that both sides agreed upon; `None` for a client that offered none.
    pub fn negotiated(alpn: Option<&[u8]>) -> Option<Self> {
        match alpn {
            Some(ALPN_RAFT) => Some(Self::Raft),
            Some(ALPN_CALLS) => Some(Self::Calls),
            _ => None,
        }
    }

    fn alpn(self) -> Vec<u8> {
        match self {
            Self::Raft => ALPN_RAFT.to_vec(),
            Self::Calls => ALPN_CALLS.to_vec(),
        }
    }
}

/// The TLS side of a node's identity, replaced while connections live (renewal, init, join).
pub struct LiveTls {
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Material>,
}

/// What one identity gives, made once.
struct Material {
    identity: Identity,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    /// None before init or join.
    cluster_server: Option<Arc<ServerConfig>>,
}

impl LiveTls {
    /// # Errors
    /// [`IdentityError::Tls`] if the key or a certificate is not usable.
    pub fn new(identity: Identity) -> Result<Arc<Self>, IdentityError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let material = Material::new(&provider, identity)?;
        Ok(Arc::new(Self { provider, current: ArcSwap::from_pointee(material) }))
    }

    /// Uses `identity` for all connections from now on. Open connections stay.
    ///
    /// # Errors
    /// As [`LiveTls::new`]; the old identity then stays in use.
    pub fn replace(&self, identity: Identity) -> Result<(), IdentityError> {
        self.current.store(Arc::new(Material::new(&self.provider, identity)?));
        Ok(())
    }

    pub fn identity(&self) -> Identity {
        self.current.load().identity.clone()
    }

    /// This node's place in its cluster.
    ///
    /// # Errors
    /// [`IdentityError::NotMember`] before init or join.
    pub fn peer(&self) -> Result<PeerIdentity, IdentityError> {
        self.current.load().identity.peer().ok_or(IdentityError::NotMember)
    }

    /// For one incoming connection on the cluster port: TLS 1.3, a client certificate of this cluster.
    ///
    /// # Errors
    /// [`IdentityError::NotMember`] before init or join.
    pub fn cluster_server(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        self.current.load().cluster_server.clone().ok_or(IdentityError::NotMember)
    }

    /// For one connection to the cluster port of node `node_id`, and of no other.
    ///
    /// # Errors
    /// [`IdentityError::NotMember`] before init or join.
    pub fn cluster_client(&self, node_id: u64, link: Link) -> Result<Arc<ClientConfig>, IdentityError> {
        let material = self.current.load();
        let own = material.identity.peer().ok_or(IdentityError::NotMember)?;
        let expectation = ThisNode {
            expected: PeerIdentity { cluster_id: own.cluster_id, node_id },
            roots: material.roots.clone(),
        };
        let verifier = Verifier { expectation, algorithms: self.provider.signature_verification_algorithms };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                material.certified.clone(),
            )));
        config.alpn_protocols = vec![link.alpn()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// For the API port, for ever: each handshake takes the certificate of the moment.
    ///
    /// # Errors
    /// [`IdentityError::Tls`] if the provider lacks a protocol version.
    pub fn api_server(self: &Arc<Self>) -> Result<Arc<ServerConfig>, IdentityError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(AnyClient::new(&self.provider))
            .with_cert_resolver(Arc::new(CurrentCertificate(self.clone())));
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for LiveTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveTls({:?})", self.current.load().identity)
    }
}

/// For a node that joins: trusts exactly the authority with this fingerprint, at whatever address it answers.
///
/// The name in the certificate is not compared with the address: the pin says more than a name could.
///
/// # Errors
/// [`IdentityError::Tls`] if the provider lacks a protocol version.
pub fn pinned_client(pin: CaFingerprint) -> Result<ClientConfig, IdentityError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let expectation = AnyNodeOf(pin);
    let verifier = Verifier { expectation, algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl Material {
    fn new(provider: &Arc<CryptoProvider>, identity: Identity) -> Result<Self, IdentityError> {
        let authorities = identity.authorities()?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone())?;
        }
        let roots = Arc::new(roots);
        // Clients that join see the authority in the chain: only so can they compare it with their pin.
        let chain: Vec<_> =
            [identity.certificate()?].into_iter().chain(authorities.into_iter().take(1)).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key().pem().expose().as_bytes())
            .map_err(|_| IdentityError::Key)?;
        let certified = Arc::new(CertifiedKey::from_der(chain, key, provider)?);
        let cluster_server = match identity.peer() {
            Some(_) => Some(Arc::new(cluster_server(provider, &roots, &certified)?)),
            None => None,
        };
        Ok(Self { identity, certified, roots, cluster_server })
    }
}

fn cluster_server(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    certified: &Arc<CertifiedKey>,
) -> Result<ServerConfig, IdentityError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| IdentityError::Certificate(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified.clone())));
    config.alpn_protocols = vec![Link::Raft.alpn(), Link::Calls.alpn()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Serves the certificate in use at the moment of the handshake.
#[derive(Debug)]
struct CurrentCertificate(Arc<LiveTls>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load().certified.clone())
    }
}

/// Whom a caller takes for the right server, once signatures are checked.
trait Expectation: fmt::Debug + Send + Sync {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), rustls::Error>;
}

/// Checks a server's signatures, and that it is the expected one.
#[derive(Debug)]
struct Verifier<E> {
    expectation: E,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<E: Expectation> ServerCertVerifier for Verifier<E> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.expectation.check(end_entity, intermediates, now, &self.algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// One node of one cluster.
#[derive(Debug)]
struct ThisNode {
    expected: PeerIdentity,
    roots: Arc<RootCertStore>,
}

impl Expectation for ThisNode {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), rustls::Error> {
        verify_chain(end_entity, intermediates, &self.roots, now, algorithms)?;
        let found = PeerIdentity::from_certificate(end_entity).map_err(other)?;
        if found != self.expected {
            return Err(other(IdentityError::WrongHolder {
                expected: self.expected.to_string(),
                found: found.to_string(),
            }));
        }
        Ok(())
    }
}

/// Any node of the cluster whose authority has this fingerprint.
#[derive(Debug)]
struct AnyNodeOf(CaFingerprint);

impl Expectation for AnyNodeOf {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), rustls::Error> {
        let pinned = intermediates
            .iter()
            .find(|certificate| CaFingerprint::of(certificate) == self.0)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        verify_chain(end_entity, intermediates, &roots, now, algorithms)?;
        // The authority signs node certificates only; whoever answers must hold one of them.
        PeerIdentity::from_certificate(end_entity).map_err(other)?;
        Ok(())
    }
}

/// Signatures, validity in time and usage, up to one of `roots`.
fn verify_chain(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), rustls::Error> {
    let parsed = ParsedCertificate::try_from(end_entity)?;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms.all)
}

fn other(error: IdentityError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::identity::{ClusterCa, ClusterId, NodeKey};

    fn authority() -> ClusterCa {
        ClusterCa::generate(ClusterId::random(), SystemTime::now()).unwrap()
    }

    fn member_at(ca: &ClusterCa, node_id: u64, now: SystemTime) -> Identity {
        let key = NodeKey::generate().unwrap();
        let pem = ca.issue(&key.csr_pem().unwrap(), node_id, &["localhost".to_owned()], now).unwrap();
        let peer = PeerIdentity { cluster_id: ca.cluster_id(), node_id };
        Identity::member("n", peer, key, pem, ca.certificate_pem()).unwrap()
    }

    fn member(ca: &ClusterCa, node_id: u64) -> Identity {
        member_at(ca, node_id, SystemTime::now())
    }

    /// Shakes hands over a real socket. Gives the client's error, or the certificate that the server showed.
    async fn shake(server: Arc<ServerConfig>, client: ClientConfig) -> Result<Vec<u8>, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(server).accept(stream).await?;
            // The client learns only from what it reads whether the server took its certificate.
            stream.write_all(b"!").await?;
            stream.shutdown().await
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let shaken = async {
            let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
            stream.read_exact(&mut [0]).await?;
            let (_, session) = stream.get_ref();
            Ok::<_, std::io::Error>(session.peer_certificates().unwrap()[0].to_vec())
        };
        let result = shaken.await.map_err(|error| error.to_string());
        let _served = serving.await.unwrap();
        result
    }

    fn client_of(tls: &LiveTls, node_id: u64) -> ClientConfig {
        Arc::unwrap_or_clone(tls.cluster_client(node_id, Link::Calls).unwrap())
    }

    #[tokio::test]
    async fn members_of_one_cluster_meet_on_the_cluster_port() {
        let ca = authority();
        let (one, two) = (LiveTls::new(member(&ca, 1)).unwrap(), LiveTls::new(member(&ca, 2)).unwrap());
        shake(one.cluster_server().unwrap(), client_of(&two, 1)).await.unwrap();
    }

    #[tokio::test]
    async fn another_node_than_the_one_that_is_meant_is_refused() {
        let ca = authority();
        let (one, two) = (LiveTls::new(member(&ca, 1)).unwrap(), LiveTls::new(member(&ca, 2)).unwrap());
        let refused = shake(one.cluster_server().unwrap(), client_of(&two, 3)).await.unwrap_err();
        assert!(refused.contains("WrongHolder"), "{refused}");
    }

    #[tokio::test]
    async fn another_clusters_node_is_refused_by_either_side() {
        let (ours, theirs) = (authority(), authority());
        let one = LiveTls::new(member(&ours, 1)).unwrap();
        let foreign = LiveTls::new(member(&theirs, 1)).unwrap();
        shake(foreign.cluster_server().unwrap(), client_of(&one, 1)).await.unwrap_err();
        shake(one.cluster_server().unwrap(), client_of(&foreign, 1)).await.unwrap_err();
    }

    #[tokio::test]
    async fn an_expired_node_is_refused_by_either_side() {
        let ca = authority();
        let long_ago = SystemTime::now() - std::time::Duration::from_secs(31 * 24 * 60 * 60);
        let expired = LiveTls::new(member_at(&ca, 2, long_ago)).unwrap();
        let valid = LiveTls::new(member(&ca, 1)).unwrap();
        let refused = shake(expired.cluster_server().unwrap(), client_of(&valid, 2)).await.unwrap_err();
        assert!(refused.contains("expired"), "{refused}");
        shake(valid.cluster_server().unwrap(), client_of(&expired, 1)).await.unwrap_err();
    }

    #[tokio::test]
    async fn nodes_whose_clocks_are_a_day_off_either_way_take_each_others_fresh_certificates() {
        let ahead = SystemTime::now() + std::time::Duration::from_secs(2 * 24 * 60 * 60);
        let ca = ClusterCa::generate(ClusterId::random(), ahead).unwrap();
        let fresh = LiveTls::new(member_at(&ca, 2, ahead)).unwrap();
        let other = LiveTls::new(member(&ca, 1)).unwrap();
        shake(fresh.cluster_server().unwrap(), client_of(&other, 2)).await.unwrap();
        shake(other.cluster_server().unwrap(), client_of(&fresh, 1)).await.unwrap();
    }

    #[tokio::test]
    async fn the_cluster_port_demands_a_certificate() {
        let ca = authority();
        let tls = LiveTls::new(member(&ca, 1)).unwrap();
        let mut nobody = pinned_client(ca.fingerprint()).unwrap();
        nobody.alpn_protocols = vec![Link::Calls.alpn()];
        shake(tls.cluster_server().unwrap(), nobody).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_joining_node_trusts_the_pinned_authority_and_no_other() {
        let (ours, theirs) = (authority(), authority());
        let tls = LiveTls::new(member(&ours, 1)).unwrap();
        shake(tls.api_server().unwrap(), pinned_client(ours.fingerprint()).unwrap()).await.unwrap();
        shake(tls.api_server().unwrap(), pinned_client(theirs.fingerprint()).unwrap()).await.unwrap_err();
        // The pinned authority in the chain is worth nothing if it did not sign the certificate.
        let impostor = member(&theirs, 1);
        let forged = Identity::member(
            "x",
            impostor.peer().unwrap(),
            impostor.key().clone(),
            impostor.certificate_pem(),
            ours.certificate_pem(),
        );
        let forged = LiveTls::new(forged.unwrap()).unwrap();
        shake(forged.api_server().unwrap(), pinned_client(ours.fingerprint()).unwrap()).await.unwrap_err();
    }

    #[tokio::test]
    async fn the_api_port_serves_a_new_identity_without_a_restart() {
        let ca = authority();
        let provisional = Identity::provisional("n", &["localhost".to_owned()], SystemTime::now()).unwrap();
        let tls = LiveTls::new(provisional).unwrap();
        assert!(matches!(tls.cluster_server(), Err(IdentityError::NotMember)));
        let api = tls.api_server().unwrap();
        let adopted = member(&ca, 1);
        tls.replace(adopted.clone()).unwrap();
        let shown = shake(api, pinned_client(ca.fingerprint()).unwrap()).await.unwrap();
        assert_eq!(shown, adopted.certificate().unwrap().to_vec());
        assert!(tls.cluster_server().is_ok());
    }

    #[tokio::test]
    async fn any_https_client_that_trusts_the_authority_can_use_the_api_by_name() {
        let ca = authority();
        let tls = LiveTls::new(member(&ca, 1)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            shake(tls.api_server().unwrap(), client).await.unwrap();
        }
    }
}
