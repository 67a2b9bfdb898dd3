//! Certificates that a connection shows, and requests for one that a joining node sends.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use conclave_node::identity::ca::{CSR_BYTES_MAX, NAMES_MAX, fingerprint_of_pem};
use conclave_node::identity::{
    ClusterCa, ClusterId, IdentityError, NodeKey, PeerIdentity, public_key_of_request,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::first_line;
use crate::sealing::CLUSTER;

const NODE_ID: u64 = 7;
/// Stands for a request that is good.
const GOOD: &[u8] = b"$";

static AUTHORITY: LazyLock<ClusterCa> =
    LazyLock::new(|| ClusterCa::generate(ClusterId::new(CLUSTER), now()).expect("the system has randomness"));
static REQUEST: LazyLock<String> =
    LazyLock::new(|| NodeKey::generate().and_then(|key| key.csr_pem()).expect("the system has randomness"));

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// A certificate, or the name inside one.
pub fn certificate(input: &[u8]) {
    if let Ok(peer) = PeerIdentity::from_certificate(&CertificateDer::from(input)) {
        assert_eq!(peer.to_string().parse::<PeerIdentity>().ok(), Some(peer));
    }
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(peer) = text.parse::<PeerIdentity>() {
        assert_eq!(peer.to_string(), text, "a name has one spelling");
    }
    if let Ok(id) = text.parse::<ClusterId>() {
        assert_eq!(id.to_string(), text, "an id has one spelling");
    }
    if fingerprint_of_pem(text).is_ok() {
        let der = CertificateDer::from_pem_slice(input).expect("it was found before");
        let _ = PeerIdentity::from_certificate(&der);
    }
}

/// The names it asks for, in the first line with commas; then the request: `$`, PEM, or DER.
pub fn request(input: &[u8]) {
    let (names, request) = first_line(input);
    let names = String::from_utf8_lossy(names);
    let names: Vec<String> = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let pem = if request == GOOD {
        REQUEST.clone()
    } else if request.starts_with(b"-----") {
        String::from_utf8_lossy(request).into_owned()
    } else {
        let begin_end = |word| format!("-----{word} CERTIFICATE REQUEST-----");
        format!("{}\n{}\n{}\n", begin_end("BEGIN"), BASE64.encode(request), begin_end("END"))
    };
    match AUTHORITY.issue(&pem, NODE_ID, &names, now()) {
        Ok(certificate) => {
            assert!(names.len() <= NAMES_MAX && pem.len() <= CSR_BYTES_MAX);
            assert!(public_key_of_request(&pem).is_ok(), "two readers of one request disagree");
            let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("it was just issued");
            let holder = PeerIdentity::from_certificate(&der).expect("it names a node");
            let given = PeerIdentity { cluster_id: AUTHORITY.cluster_id(), node_id: NODE_ID };
            assert_eq!(holder, given, "a request chose its own name");
        }
        Err(error) => assert!(
            matches!(error, IdentityError::Request(_) | IdentityError::Name(_)),
            "the request is to blame: {error}"
        ),
    }
}
