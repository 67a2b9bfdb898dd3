//! The cluster's certificate authority: made by `init`, it names nodes and nothing else.
//!
//! A request is asked for one thing only, the public key that its sender has proven to hold. Every name in the
//! certificate comes from the issuer, so that a node can never give itself another node's name.
//! The key lives sealed in the replicated state; it is in memory while the leader issues, and never on disk.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conclave_proto::secret::Secret;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, DnsName};
use sha2::{Digest, Sha256};

use super::{ClusterId, IdentityError, PeerIdentity};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;
/// How long an authority is valid.
pub const CA_VALIDITY: Duration = Duration::from_secs(3650 * SECONDS_A_DAY);
/// How long a node certificate is valid; renewed by the cluster when two thirds are over.
pub const NODE_VALIDITY: Duration = Duration::from_secs(30 * SECONDS_A_DAY);
/// Certificates count from this long ago, so that a node whose clock is a day behind does not refuse a fresh one of a node
/// whose clock is a day ahead.
pub const BACKDATE: Duration = Duration::from_secs(2 * SECONDS_A_DAY + 2 * 60 * 60);
/// Longest certificate request that is parsed, in bytes.
pub const CSR_BYTES_MAX: usize = 16 * 1024;
/// Most DNS names and addresses in one certificate.
pub const NAMES_MAX: usize = 64;
const SERIAL_BYTES: usize = 16;

/// SHA-256 of an authority's certificate (DER): what a join token pins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CaFingerprint([u8; 32]);

impl CaFingerprint {
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for CaFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for CaFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CaFingerprint({self})")
    }
}

/// The authority of one cluster, with its private key.
pub struct ClusterCa {
    cluster_id: ClusterId,
    certificate_pem: String,
    key: KeyPair,
}

impl ClusterCa {
    /// Makes the authority of a new cluster.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if the system's random source or signing fails.
    pub fn generate(cluster_id: ClusterId, now: SystemTime) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(certificate_error)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(format!("Conclave cluster {cluster_id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(random_serial());
        set_validity(&mut params, now, CA_VALIDITY);
        let certificate_pem = params.self_signed(&key).map_err(certificate_error)?.pem();
        Ok(Self { cluster_id, certificate_pem, key })
    }

    /// Takes the authority from its stored parts.
    ///
    /// # Errors
    /// [`IdentityError::Key`], [`IdentityError::Certificate`], or [`IdentityError::KeyMismatch`] if the two parts
    /// do not belong together.
    pub fn from_pem(
        cluster_id: ClusterId,
        certificate_pem: &str,
        key_pem: &Secret<String>,
    ) -> Result<Self, IdentityError> {
        let key = KeyPair::from_pem(key_pem.expose()).map_err(|_| IdentityError::Key)?;
        let certificate = first_certificate(certificate_pem)?;
        if public_key_of(&certificate)? != key.subject_public_key_info() {
            return Err(IdentityError::KeyMismatch);
        }
        Ok(Self { cluster_id, certificate_pem: certificate_pem.to_owned(), key })
    }

    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The authority's own certificate, which every member and client trusts.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PKCS#8 PEM, to be sealed before it is stored.
    pub fn key_pem(&self) -> Secret<String> {
        Secret::new(self.key.serialize_pem())
    }

    pub fn fingerprint(&self) -> CaFingerprint {
        fingerprint_of_pem(&self.certificate_pem).expect("the certificate was parsed or made by this type")
    }

    /// Issues the certificate of node `node_id` for the key that signed `csr_pem`.
    ///
    /// `api_names` are the DNS names and addresses under which API clients reach the node. Nothing but the public
    /// key is taken from the request.
    ///
    /// # Errors
    /// [`IdentityError::Request`] for a request that does not parse, is too long, or does not prove possession of
    /// its key; [`IdentityError::Name`] for a name that is none.
    pub fn issue(
        &self,
        csr_pem: &str,
        node_id: u64,
        api_names: &[String],
        now: SystemTime,
    ) -> Result<String, IdentityError> {
        self.issue_for(csr_pem, node_id, api_names, now, NODE_VALIDITY)
    }

    /// As [`ClusterCa::issue`], valid for `validity` from `now` on.
    pub(super) fn issue_for(
        &self,
        csr_pem: &str,
        node_id: u64,
        api_names: &[String],
        now: SystemTime,
        validity: Duration,
    ) -> Result<String, IdentityError> {
        let request = parse_request(csr_pem)?;
        let peer = PeerIdentity { cluster_id: self.cluster_id, node_id };
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(format!("Conclave node {node_id}"));
        params.subject_alt_names = alternative_names(&peer, api_names)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial());
        set_validity(&mut params, now, validity);
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, &self.key).map_err(certificate_error)?;
        Ok(params.signed_by(&request.public_key, &issuer).map_err(certificate_error)?.pem())
    }
}

impl std::fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClusterCa({})", self.cluster_id)
    }
}

/// The fingerprint of the first certificate in a PEM text.
///
/// # Errors
/// [`IdentityError::Certificate`] if there is none.
pub fn fingerprint_of_pem(pem: &str) -> Result<CaFingerprint, IdentityError> {
    Ok(CaFingerprint::of(&first_certificate(pem)?))
}

/// The public key (DER) of a certificate request.
///
/// # Errors
/// [`IdentityError::Request`] as [`ClusterCa::issue`].
pub fn public_key_of_request(csr_pem: &str) -> Result<Vec<u8>, IdentityError> {
    Ok(parse_request(csr_pem)?.public_key.subject_public_key_info())
}

/// Refuses a request that does not prove possession of its key.
fn parse_request(csr_pem: &str) -> Result<CertificateSigningRequestParams, IdentityError> {
    if csr_pem.len() > CSR_BYTES_MAX {
        return Err(IdentityError::Request(format!("it is longer than {CSR_BYTES_MAX} bytes")));
    }
    CertificateSigningRequestParams::from_pem(csr_pem)
        .map_err(|error| IdentityError::Request(error.to_string()))
}

/// The first certificate in a PEM text.
pub(super) fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| IdentityError::Certificate("there is no certificate in the PEM text".into()))
}

/// The subject public key info (DER) of a certificate.
pub(super) fn public_key_of(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, IdentityError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| IdentityError::Certificate("it is not an X.509 certificate".into()))?;
    Ok(parsed.public_key().raw.to_vec())
}

fn alternative_names(peer: &PeerIdentity, api_names: &[String]) -> Result<Vec<SanType>, IdentityError> {
    if api_names.len() > NAMES_MAX {
        return Err(IdentityError::Request(format!("it asks for more than {NAMES_MAX} names")));
    }
    let uri = Ia5String::try_from(peer.to_string()).expect("a node name is ASCII");
    let mut names = vec![SanType::URI(uri)];
    for name in api_names {
        names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => {
                DnsName::try_from(name.as_str()).map_err(|_| IdentityError::Name(name.clone()))?;
                SanType::DnsName(name.as_str().try_into().map_err(|_| IdentityError::Name(name.clone()))?)
            }
        });
    }
    Ok(names)
}

fn common_name(name: String) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A renewed certificate for the same key is another certificate: serials are random, not derived from the key.
fn random_serial() -> SerialNumber {
    let mut serial: [u8; SERIAL_BYTES] = rand::random();
    // A serial is a positive integer without leading zeros.
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&serial)
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, validity: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or(BACKDATE);
    params.not_before = epoch + since_epoch.saturating_sub(BACKDATE);
    params.not_after = epoch + since_epoch + validity;
}

fn certificate_error(error: rcgen::Error) -> IdentityError {
    IdentityError::Certificate(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeKey;

    fn authority() -> ClusterCa {
        ClusterCa::generate(ClusterId::random(), SystemTime::now()).unwrap()
    }

    #[test]
    fn a_certificate_carries_the_names_the_issuer_gave_and_none_from_the_request() {
        let ca = authority();
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        let foreign = PeerIdentity { cluster_id: ca.cluster_id(), node_id: 1 };
        wanted.subject_alt_names.push(SanType::URI(foreign.to_string().try_into().unwrap()));
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let csr = wanted.serialize_request(&key).unwrap().pem().unwrap();

        let names = ["node-7.example".to_owned(), "10.0.0.7".to_owned()];
        let pem = ca.issue(&csr, 7, &names, SystemTime::now()).unwrap();

        let der = first_certificate(&pem).unwrap();
        let holder = PeerIdentity::from_certificate(&der).unwrap();
        assert_eq!(holder, PeerIdentity { cluster_id: ca.cluster_id(), node_id: 7 });
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let printed =
            format!("{:?}", parsed.subject_alternative_name().unwrap().unwrap().value.general_names);
        assert!(printed.contains("node-7.example") && !printed.contains("evil"), "{printed}");
        assert!(!parsed.is_ca());
        assert_eq!(public_key_of(&der).unwrap(), key.subject_public_key_info());
    }

    #[test]
    fn validity_is_thirty_days_and_starts_before_now() {
        let now = SystemTime::now();
        let pem = authority().issue(&NodeKey::generate().unwrap().csr_pem().unwrap(), 1, &[], now).unwrap();
        let der = first_certificate(&pem).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let now_s = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        assert_eq!(parsed.validity().not_before.timestamp(), now_s - 50 * 3600);
        assert_eq!(parsed.validity().not_after.timestamp(), now_s + 30 * 86_400);
    }

    #[test]
    fn an_authority_comes_back_from_its_parts_and_refuses_a_foreign_key() {
        let ca = authority();
        let again = ClusterCa::from_pem(ca.cluster_id(), ca.certificate_pem(), &ca.key_pem()).unwrap();
        assert_eq!(again.fingerprint(), ca.fingerprint());
        let foreign = authority().key_pem();
        let refused = ClusterCa::from_pem(ca.cluster_id(), ca.certificate_pem(), &foreign);
        assert!(matches!(refused, Err(IdentityError::KeyMismatch)));
    }

    #[test]
    fn a_request_that_does_not_prove_its_key_is_refused() {
        let ca = authority();
        let csr = NodeKey::generate().unwrap().csr_pem().unwrap();
        let mut der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(csr.as_bytes())
            .unwrap()
            .as_ref()
            .to_vec();
        // The signature is the last field.
        *der.last_mut().unwrap() ^= 1;
        let forged = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der)
        );
        assert!(matches!(ca.issue(&forged, 1, &[], SystemTime::now()), Err(IdentityError::Request(_))));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let csr = NodeKey::generate().unwrap().csr_pem().unwrap();
        for name in ["", "a b", "-x.example", "*", "a\0b"] {
            let issued = authority().issue(&csr, 1, &[name.to_owned()], SystemTime::now());
            assert!(matches!(issued, Err(IdentityError::Name(_))), "{name:?}");
        }
    }
}
