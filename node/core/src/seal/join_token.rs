//! Join tokens: what a new node shows to be let in, once and soon.
//!
//! ```text
//! cj1.<SHA-256 of the cluster's CA certificate, base64url>.<16 random bytes, base64url>
//! ```
//!
//! The first part lets the node know the cluster before it says anything; the second lets the cluster know the node.
//! Stored is only a keyed hash, until the token's time is up. A token that was used lets in the same node again and no
//! other, so that a node that lost the answer can repeat its question.
//!
//! ```text
//! record: SHA-256 of the CA | once used: SHA-256 of who showed it | its node id, u64
//! ```

use std::fmt;

use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;

/// How long a join token lives unless it is said otherwise, in milliseconds.
pub const JOIN_TOKEN_TTL_MS_DEFAULT: u64 = 10 * 60 * 1000;
/// Longest life of a join token, in milliseconds.
pub const JOIN_TOKEN_TTL_MS_MAX: u64 = 24 * 60 * 60 * 1000;

const PREFIX: &str = "cj1";
const CREDENTIAL_BYTES: usize = 16;
/// Length of the text: prefix, 32 bytes and 16 bytes in base64url, two dots.
const TEXT_BYTES: usize = 3 + 1 + 43 + 1 + 22;

/// A join token, as both sides know it. Secret.
#[derive(Clone)]
pub struct JoinToken {
    ca_sha256: [u8; 32],
    credential: Secret<[u8; CREDENTIAL_BYTES]>,
}

impl JoinToken {
    /// # Errors
    /// [`Error::Invalid`]: not a join token. The sentence does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let malformed = || Error::invalid("this is not a join token: it must look like cj1.<...>.<...>");
        let text = text.trim();
        if text.len() != TEXT_BYTES {
            return Err(malformed());
        }
        let (prefix, rest) = text.split_once('.').ok_or_else(malformed)?;
        let (ca_sha256, credential) = rest.split_once('.').ok_or_else(malformed)?;
        if prefix != PREFIX {
            return Err(malformed());
        }
        let ca_sha256 = BASE64URL.decode(ca_sha256).map_err(|_| malformed())?;
        let credential = Zeroizing::new(BASE64URL.decode(credential).map_err(|_| malformed())?);
        Ok(Self {
            ca_sha256: ca_sha256.try_into().map_err(|_| malformed())?,
            credential: Secret::new(credential.as_slice().try_into().map_err(|_| malformed())?),
        })
    }

    pub fn to_text(&self) -> Secret<String> {
        let credential = Zeroizing::new(BASE64URL.encode(self.credential.expose()));
        let mut text = String::with_capacity(TEXT_BYTES);
        for part in [PREFIX, ".", &BASE64URL.encode(self.ca_sha256), ".", &credential] {
            text.push_str(part);
        }
        Secret::new(text)
    }

    /// Whether the certificate (DER) is that of the cluster's CA: the node checks it before it sends the token.
    pub fn pins(&self, ca_certificate_der: &[u8]) -> bool {
        let actual: [u8; 32] = Sha256::digest(ca_certificate_der).into();
        actual.ct_eq(&self.ca_sha256).into()
    }

    /// The hash of the CA's certificate (DER).
    pub fn ca_sha256(&self) -> &[u8; 32] {
        &self.ca_sha256
    }

    fn hash(&self, barrier: &Barrier) -> String {
        // The prefix keeps these hashes apart from those of API tokens.
        barrier.token_hash(&Zeroizing::new([b"join-token/", self.credential.expose().as_slice()].concat()))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken")
    }
}

/// Makes a join token that lives for `ttl_ms` milliseconds.
///
/// # Errors
/// [`Error::Invalid`]: the lifetime is 0 or longer than [`JOIN_TOKEN_TTL_MS_MAX`].
pub fn plan_create(
    ctx: &mut Context<'_>,
    ca_certificate_der: &[u8],
    ttl_ms: u64,
) -> Result<(JoinToken, Txn), Error> {
    if ttl_ms == 0 || ttl_ms > JOIN_TOKEN_TTL_MS_MAX {
        return Err(Error::invalid("a join token's lifetime must be more than zero and at most 24 hours"));
    }
    let mut credential = Zeroizing::new([0; CREDENTIAL_BYTES]);
    ctx.rng.fill_bytes(credential.as_mut_slice());
    let ca_sha256: [u8; 32] = Sha256::digest(ca_certificate_der).into();
    let token = JoinToken { ca_sha256, credential: Secret::new(*credential) };

    let hash = token.hash(ctx.barrier);
    let key = ctx.barrier.key(Kind::JoinToken, [hash.as_str()]);
    let sealed = ctx.barrier.seal(&key, &hash, &ca_sha256, ctx.rng)?;
    let mut txn = Txn::default();
    txn.require(key.clone(), 0);
    txn.put_until(key, sealed, ctx.now_ms.saturating_add(ttl_ms));
    Ok((token, txn))
}

/// Who shows a join token: a hash that no other node has.
pub type Holder = [u8; 32];

/// What a join token is good for.
pub enum Redemption {
    /// It was not used before.
    First(Unused),
    /// It let in this node, which shows it again.
    Again { node_id: u64 },
}

/// A join token that was not used, as of one revision.
pub struct Unused {
    key: Vec<u8>,
    hash: String,
    ca_sha256: [u8; 32],
    holder: Holder,
    revision: u64,
    expires_at_ms: u64,
}

/// Looks a join token up for `holder`.
///
/// # Errors
/// [`Error::Denied`]: the token is not known, was used by another, has expired, or is of another cluster. Not told
/// apart. [`Error::Corrupt`], [`Error::View`]: its record cannot be read.
pub fn redeem(ctx: &Context<'_>, token: &JoinToken, holder: Holder) -> Result<Redemption, Error> {
    let hash = token.hash(ctx.barrier);
    let key = ctx.barrier.key(Kind::JoinToken, [hash.as_str()]);
    let record = ctx.view.get(&key)?.ok_or(Error::Denied)?;
    if record.expires_at_ms <= ctx.now_ms {
        return Err(Error::Denied);
    }
    let opened = ctx.barrier.open(&key, &record.sealed)?;
    let malformed = || Error::Corrupt("the record of a join token".to_owned());
    let (ca_sha256, use_of_it) = opened.payload.split_first_chunk::<32>().ok_or_else(malformed)?;
    if !bool::from(ca_sha256.ct_eq(&token.ca_sha256)) {
        return Err(Error::Denied);
    }
    if use_of_it.is_empty() {
        let (ca_sha256, revision, expires_at_ms) = (*ca_sha256, record.revision, record.expires_at_ms);
        return Ok(Redemption::First(Unused { key, hash, ca_sha256, holder, revision, expires_at_ms }));
    }
    let (used_by, node_id) = use_of_it.split_first_chunk::<32>().ok_or_else(malformed)?;
    if *used_by != holder {
        return Err(Error::Denied);
    }
    Ok(Redemption::Again { node_id: u64::from_be_bytes(node_id.try_into().map_err(|_| malformed())?) })
}

impl Unused {
    /// The cluster's time at which the token ends, used or not.
    pub fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// Makes `txn`, which gives the node what the token allows, use it up for `node_id`: of two transactions for the
    /// same token only the first applies.
    ///
    /// # Errors
    /// As sealing a record.
    pub fn use_up(&self, ctx: &mut Context<'_>, node_id: u64, txn: &mut Txn) -> Result<(), Error> {
        let record = [&self.ca_sha256[..], &self.holder, &node_id.to_be_bytes()].concat();
        let sealed = ctx.barrier.seal(&self.key, &self.hash, &record, ctx.rng)?;
        txn.require(self.key.clone(), self.revision);
        txn.put_until(self.key.clone(), sealed, self.expires_at_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
