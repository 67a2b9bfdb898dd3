//! Which role takes a certificate: one that names an authority of it, or one that names it as it is.

use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use subtle::ConstantTimeEq as _;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::crl::Revoked;
use super::parsed::Certificate;
use super::role::{self, Role};
use crate::auth::token::matches_glob;
use crate::error::Error;
use crate::plan::Context;
use crate::stored::{self, Stored};

/// Certificates that a client shows at most.
const SHOWN_MAX: usize = 8;
/// Roles that are tried for a login that names none.
const ROLES_TRIED_MAX: usize = 256;

/// What a client has shown in the handshake: it has proven to have the key of the first.
pub struct Shown {
    pub leaf: Certificate,
    /// The others, but for those that were revoked.
    intermediates: Vec<CertificateDer<'static>>,
    is_revoked: bool,
    now_ms: u64,
}

impl Shown {
    /// # Errors
    /// [`Error::Invalid`]: there is nothing that could be taken.
    pub fn read(certificates: Option<&[Bytes]>, revoked: &Revoked, now_ms: u64) -> Result<Self, Error> {
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
        let is_usable =
            |der: &&Bytes| Certificate::parse(der).is_some_and(|certificate| !revoked.has(&certificate));
        let intermediates =
            others.iter().filter(is_usable).map(|der| CertificateDer::from(der.to_vec())).collect();
        Ok(Self { is_revoked: revoked.has(&leaf), leaf, intermediates, now_ms })
    }

    /// Whether a path leads from it to one of `authorities`, by keys that may sign for clients, all valid now.
    fn is_issued_by(&self, authorities: &[Certificate], revoked: &Revoked) -> bool {
        let ders: Vec<CertificateDer<'_>> = authorities
            .iter()
            .filter(|one| one.is_ca && one.is_valid_at(self.now_ms) && !revoked.has(one))
            .map(|one| CertificateDer::from(one.der.as_slice()))
            .collect();
        let anchors: Vec<TrustAnchor<'_>> =
            ders.iter().filter_map(|der| anchor_from_trusted_cert(der).ok()).collect();
        let leaf = CertificateDer::from(self.leaf.der.as_slice());
        let Ok(leaf) = EndEntityCert::try_from(&leaf) else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_millis(self.now_ms));
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &self.intermediates,
            now,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
    }

    /// Whether it is this certificate, all of it: not another one with its names or its number (CVE-2024-2048).
    fn is(&self, pinned: &Certificate) -> bool {
        self.leaf.is_for_clients && bool::from(self.leaf.der.ct_eq(&pinned.der))
    }

    /// Whether the role knows the certificate's authority, or it itself; what it says is another question.
    fn is_known_to(&self, role: &Role, revoked: &Revoked) -> Result<bool, Error> {
        let certificates = role.certificates()?;
        Ok(match certificates.first() {
            Some(first) if first.is_ca => self.is_issued_by(&certificates, revoked),
            Some(first) => self.is(first),
            None => false,
        })
    }

    /// Whether what the certificate says is what the role asks for.
    fn satisfies(&self, role: &Role) -> bool {
        let leaf = &self.leaf;
        let names = || [&leaf.common_name].into_iter();
        let any_name = names().chain(&leaf.dns_names).chain(&leaf.emails);
        !self.is_revoked
            && allows(&role.allowed_names, any_name)
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

    /// The first role that takes the certificate: the one of this name, or of all in the order of their names.
    ///
    /// # Errors
    /// [`Error::Invalid`]: none does.
    pub fn role(
        &self,
        ctx: &Context<'_>,
        mount_uuid: &str,
        name: Option<&str>,
        revoked: &Revoked,
    ) -> Result<Stored<Role>, Error> {
        let names = match name {
            Some(name) => vec![name.to_owned()],
            None => {
                let prefix = role::prefix(ctx.barrier, mount_uuid);
                stored::names_below(ctx.view, ctx.barrier, &prefix, ctx.now_ms)?
            }
        };
        if names.len() > ROLES_TRIED_MAX {
            let sentence =
                format!("there are more than {ROLES_TRIED_MAX} roles: log in with the name of one");
            return Err(Error::invalid(sentence));
        }
        let mut is_known = false;
        for name in names {
            let Some(role) = role::load(ctx, mount_uuid, &name)? else { continue };
            if !self.is_known_to(&role.value, revoked)? {
                continue;
            }
            is_known = true;
            if self.satisfies(&role.value) {
                return Ok(role);
            }
        }
        Err(if is_known { unsuitable() } else { untrusted() })
    }
}

/// Whether one of the names is as one of the patterns says; no patterns allow all.
fn allows<'n>(patterns: &[String], mut names: impl Iterator<Item = &'n String>) -> bool {
    patterns.is_empty() || names.any(|name| patterns.iter().any(|pattern| matches_glob(pattern, name)))
}

fn untrusted() -> Error {
    Error::invalid("invalid certificate or no client certificate supplied")
}

fn unsuitable() -> Error {
    Error::invalid("no chain matching all constraints could be found for this login certificate")
}
