//! Who a node is: the cluster's certificate authority, this node's key and certificate, and the TLS built on them.
//!
//! - [`any_client`]: what clients of the API port show of themselves;
//! - [`ca`]: makes the cluster's authority and issues node certificates;
//! - [`peer`]: the name a certificate gives its holder: one cluster, one node;
//! - [`store`]: the identity on disk, replaced as a whole or not at all;
//! - [`tls`]: rustls configurations for the cluster port, the API port and joining.
//!
//! A certificate says who calls, never what the caller may do: membership decides that (I10), in `raft::server`.
//! Private keys leave this module only into rustls and into files with mode 0600.

pub mod any_client;
pub mod ca;
pub mod peer;
pub mod store;
pub mod tls;

pub use ca::{CaFingerprint, ClusterCa, public_key_of_request};
pub use peer::{ClusterId, PeerIdentity};
pub use store::{Identity, IdentityStore, NodeKey};
pub use tls::{Link, LiveTls};

/// What can be wrong with an identity. Texts name files and reasons, never key material.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: std::path::PathBuf, source: std::io::Error },
    #[error("the certificate is not valid: {0}")]
    Certificate(String),
    #[error("the certificate request is not valid: {0}")]
    Request(String),
    #[error("the private key is not valid")]
    Key,
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    #[error("the certificate names {found}, expected {expected}")]
    WrongHolder { expected: String, found: String },
    #[error("the identity file {path} is damaged: {reason}")]
    Damaged { path: std::path::PathBuf, reason: String },
    #[error("this node is not a member of a cluster yet")]
    NotMember,
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}
