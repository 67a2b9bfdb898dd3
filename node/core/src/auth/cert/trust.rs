//! What a client has shown in the handshake, held against what a role trusts and asks for.

use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use subtle::ConstantTimeEq as _;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::crl::Revoked;
use super::parsed::Certificate;
use super::role::Role;
use crate::auth::token::matches_glob;
use crate::error::Error;

/// Certificates that a client shows at most.
const SHOWN_MAX: usize = 8;

/// What a client has shown: it has proven to have the key of the first.
pub struct Shown {
    pub leaf: Certificate,
    others: Vec<Certificate>,
    now_ms: u64,
}

impl Shown {
    /// # Errors
    /// [`Error::Invalid`]: there is nothing that could be taken.
    pub fn read(certificates: Option<&[Bytes]>, now_ms: u64) -> Result<Self, Error> {
        let shown = certificates.ok_or_else(|| Error::invalid("tls connection required"))?;
        let (leaf, others) =
            shown.split_first().ok_or_else(|| Error::invalid("client certificate must be supplied"))?;
        if shown.len() > SHOWN_MAX {
            return Err(Error::invalid(format!("a client shows at most {SHOWN_MAX} certificates")));
        }
        let leaf = Certificate::parse(leaf).ok_or_else(untrusted)?;
        if !leaf.is_valid_at(now_ms) {
            return Err(Error::invalid(
                "failed to verify client's certificate: it has expired, or does not hold yet",
            ));
        }
        Ok(Self { leaf, others: others.iter().filter_map(|der| Certificate::parse(der)).collect(), now_ms })
    }

    /// Whether one of these is named as issuer by what was shown: without that no signature needs to be looked at.
    pub fn names_one_of(&self, authorities: &[Certificate]) -> bool {
        let mut shown = std::iter::once(&self.leaf).chain(&self.others);
        shown.any(|one| authorities.iter().any(|authority| authority.subject == one.issuer))
    }

    /// Whether a path leads from it to one of `authorities`, by keys that may sign for clients, all valid now.
    pub fn is_issued_by(&self, authorities: &[Certificate], revoked: &Revoked) -> bool {
        fn der(certificate: &Certificate) -> CertificateDer<'_> {
            CertificateDer::from(certificate.der.as_slice())
        }
        let trusted = |one: &&Certificate| one.is_ca && one.is_valid_at(self.now_ms) && !revoked.has(one);
        let ders: Vec<_> = authorities.iter().filter(trusted).map(der).collect();
        let anchors: Vec<TrustAnchor<'_>> =
            ders.iter().filter_map(|der| anchor_from_trusted_cert(der).ok()).collect();
        let between: Vec<_> = self.others.iter().filter(|one| !revoked.has(one)).map(der).collect();
        let leaf = der(&self.leaf);
        let Ok(leaf) = EndEntityCert::try_from(&leaf) else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_millis(self.now_ms));
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            now,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
    }

    /// Whether it is this certificate, all of it: not another one with its names or its number (CVE-2024-2048).
    pub fn is(&self, pinned: &Certificate) -> bool {
        self.leaf.is_for_clients && bool::from(self.leaf.der.ct_eq(&pinned.der))
    }

    /// Whether what the certificate says is what the role asks for.
    pub fn satisfies(&self, role: &Role) -> bool {
        let leaf = &self.leaf;
        let names = || [&leaf.common_name].into_iter();
        let any_name = names().chain(&leaf.dns_names).chain(&leaf.emails);
        allows(&role.allowed_names, any_name)
            && allows(&role.common_names, names())
            && allows(&role.dns_names, leaf.dns_names.iter())
            && allows(&role.emails, leaf.emails.iter())
            && allows(&role.uris, leaf.uris.iter())
            && allows(&role.units, leaf.units.iter())
            && role.required_extensions.iter().all(|required| {
                let (oid, pattern) = required.split_once(':').unwrap_or((required, ""));
                leaf.extensions.get(oid).is_some_and(|text| matches_glob(pattern, text))
            })
    }
}

/// Whether one of the names is as one of the patterns says; no patterns allow all.
fn allows<'n>(patterns: &[String], mut names: impl Iterator<Item = &'n String>) -> bool {
    patterns.is_empty() || names.any(|name| patterns.iter().any(|pattern| matches_glob(pattern, name)))
}

/// No role takes it, or not as it is.
pub fn untrusted() -> Error {
    Error::invalid("invalid certificate or no client certificate supplied")
}
