//! The name that a node certificate gives its holder: `conclave://<cluster id>/node/<raft node id>`.
//!
//! Exactly one such URI makes a certificate a node certificate. DNS names and addresses in it serve API clients
//! only and never identify a node. This module reads names; it does not verify signatures: rustls has done that.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;

use super::IdentityError;

const URI_SCHEME: &str = "conclave://";
const URI_NODE: &str = "/node/";
/// Bytes of a cluster id; its text has twice as many hex digits.
pub const CLUSTER_ID_BYTES: usize = 16;

/// Names one cluster for its whole life: made by `init`, bound into certificates and sealed records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ClusterId([u8; CLUSTER_ID_BYTES]);

impl ClusterId {
    pub const fn new(bytes: [u8; CLUSTER_ID_BYTES]) -> Self {
        Self(bytes)
    }

    pub fn random() -> Self {
        Self(rand::random())
    }

    pub const fn as_bytes(&self) -> &[u8; CLUSTER_ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// The text is not the canonical (lower case) hex of a cluster id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cluster id is {} lower case hex digits", CLUSTER_ID_BYTES * 2)]
pub struct ClusterIdError;

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, ClusterIdError> {
        let mut bytes = [0; CLUSTER_ID_BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ClusterIdError)?;
        let id = Self(bytes);
        // One spelling only, so that names compare as bytes.
        if id.to_string() == text { Ok(id) } else { Err(ClusterIdError) }
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for ClusterId {
    type Error = ClusterIdError;

    fn try_from(text: String) -> Result<Self, ClusterIdError> {
        text.parse()
    }
}

/// The holder of a node certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    pub cluster_id: ClusterId,
    /// The Raft node id: never reused, so that it names one log for ever.
    pub node_id: u64,
}

impl PeerIdentity {
    /// Reads the holder from a certificate's alternative names.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if it does not parse, or does not carry exactly one node URI.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| IdentityError::Certificate("it is not an X.509 certificate".into()))?;
        if !rest.is_empty() {
            return Err(IdentityError::Certificate("it is followed by other bytes".into()));
        }
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| IdentityError::Certificate("its alternative names cannot be read".into()))?;
        let uris: Vec<&str> = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris.as_slice() {
            [uri] => uri.parse(),
            [] => Err(IdentityError::Certificate("it names no node".into())),
            _ => Err(IdentityError::Certificate("it names more than one holder".into())),
        }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{URI_SCHEME}{}{URI_NODE}{}", self.cluster_id, self.node_id)
    }
}

impl FromStr for PeerIdentity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let parse = || {
            let (cluster, node) = uri.strip_prefix(URI_SCHEME)?.split_once(URI_NODE)?;
            let peer = Self { cluster_id: cluster.parse().ok()?, node_id: node.parse().ok()? };
            // `+1` and `01` parse as numbers but are other names.
            (peer.to_string() == uri).then_some(peer)
        };
        parse().ok_or_else(|| IdentityError::Certificate("it does not name a node".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId::new([0xab; CLUSTER_ID_BYTES]);

    #[test]
    fn a_name_reads_back_as_it_was_written() {
        let peer = PeerIdentity { cluster_id: CLUSTER, node_id: u64::MAX };
        let text = peer.to_string();
        assert_eq!(text, "conclave://abababababababababababababababab/node/18446744073709551615");
        assert_eq!(text.parse::<PeerIdentity>().unwrap(), peer);
    }

    #[test]
    fn a_name_has_one_spelling() {
        for text in [
            "",
            "conclave://",
            "conclave://abababababababababababababababab/node/",
            "conclave://abababababababababababababababab/node/+1",
            "conclave://abababababababababababababababab/node/01",
            "conclave://abababababababababababababababab/node/1/",
            "conclave://ABABABABABABABABABABABABABABABAB/node/1",
            "conclave://abab/node/1",
            "https://abababababababababababababababab/node/1",
            "conclave://abababababababababababababababab/node/18446744073709551616",
        ] {
            assert!(text.parse::<PeerIdentity>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<PeerIdentity>();
        }

        #[test]
        fn no_bytes_make_the_certificate_reader_panic(bytes: Vec<u8>) {
            proptest::prop_assert!(PeerIdentity::from_certificate(&CertificateDer::from(bytes)).is_err());
        }
    }
}
