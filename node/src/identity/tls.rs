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
        let verifier = NodeVerifier {
            expected: PeerIdentity { cluster_id: own.cluster_id, node_id },
            roots: material.roots.clone(),
            algorithms: self.provider.signature_verification_algorithms,
        };
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
            .with_no_client_auth()
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
    let verifier = PinnedVerifier { pin, algorithms: provider.signature_verification_algorithms };
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

/// Accepts one node of one cluster.
#[derive(Debug)]
struct NodeVerifier {
    expected: PeerIdentity,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_chain(end_entity, intermediates, &self.roots, now, &self.algorithms)?;
        let found = PeerIdentity::from_certificate(end_entity).map_err(other)?;
        if found != self.expected {
            return Err(other(IdentityError::WrongHolder {
                expected: self.expected.to_string(),
                found: found.to_string(),
            }));
        }
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

/// Accepts any node of the cluster whose authority has this fingerprint.
#[derive(Debug)]
struct PinnedVerifier {
    pin: CaFingerprint,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates
            .iter()
            .find(|certificate| CaFingerprint::of(certificate) == self.pin)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        verify_chain(end_entity, intermediates, &roots, now, &self.algorithms)?;
        // The authority signs node certificates only; whoever answers must hold one of them.
        PeerIdentity::from_certificate(end_entity).map_err(other)?;
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
