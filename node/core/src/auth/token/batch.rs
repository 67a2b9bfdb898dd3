//! Batch tokens: all that is known of one is sealed in its own text, and nothing of it is stored.
//!
//! It costs no write and no record. In return it cannot be revoked, renewed or counted: it ends at its time, and with the
//! token that made it. What it says of its holder was true when it was made; entity, groups and policies are looked up at
//! each use, as for any token.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use conclave_proto::secret::Secret;
use ipnet::IpNet;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::entry::{TokenEntry, TokenKind};
use crate::crypto::{Barrier, Carried};
use crate::error::Error;
use crate::stored;

/// The prefix of a token that nothing is stored of.
pub const BATCH_PREFIX: &str = "b.";
/// Longest batch token, in bytes: each request carries it in a header.
pub const BATCH_TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Version of what is sealed: every field that came later has a default.
const VERSION: u32 = 1;

/// What is sealed. The names are short because each request carries them.
#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "p")]
    policies: Vec<String>,
    #[serde(rename = "c")]
    created_ms: u64,
    #[serde(rename = "t")]
    ttl_ms: u64,
    #[serde(rename = "d")]
    display_name: String,
    #[serde(rename = "u")]
    path: String,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(rename = "m", default, skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    bound_cidrs: Vec<IpNet>,
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    role: String,
    #[serde(rename = "e", default, skip_serializing_if = "String::is_empty")]
    entity_id: String,
}

/// Whether a text is to be read as a batch token. No token that is stored begins so.
pub fn is_batch(token: &str) -> bool {
    token.starts_with(BATCH_PREFIX)
}

/// The text of a batch token. It must have an end.
///
/// # Errors
/// [`Error::Invalid`]: it would be longer than [`BATCH_TOKEN_BYTES_MAX`].
pub fn seal(barrier: &Barrier, entry: &TokenEntry, rng: &mut dyn CryptoRng) -> Result<Secret<String>, Error> {
    debug_assert!(entry.ttl_ms > 0 && entry.kind == TokenKind::Batch);
    let claims = Claims {
        version: VERSION,
        policies: entry.policies.clone(),
        created_ms: entry.created_ms,
        ttl_ms: entry.ttl_ms,
        display_name: entry.display_name.clone(),
        path: entry.path.clone(),
        parent: entry.parent.clone(),
        meta: entry.meta.clone(),
        bound_cidrs: entry.bound_cidrs.clone(),
        role: entry.role.clone(),
        entity_id: entry.entity_id.clone(),
    };
    let payload = Zeroizing::new(serde_json::to_vec(&claims).expect("text and numbers always become JSON"));
    let token =
        format!("{BATCH_PREFIX}{}", BASE64.encode(barrier.seal_carried(Carried::BatchToken, &payload, rng)));
    if token.len() > BATCH_TOKEN_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a batch token carries its policies and metadata, and is at most {BATCH_TOKEN_BYTES_MAX} bytes long: \
             ask for fewer, or for a service token"
        )));
    }
    Ok(Secret::new(token))
}

/// What a batch token says, and when it ends (Unix milliseconds of the cluster's time); `None`: it was not made in this
/// cluster, or has ended at `now_ms`. Whether its line holds is not looked at.
///
/// # Errors
/// [`Error::Corrupt`]: it was made by a later program.
pub fn open(barrier: &Barrier, token: &str, now_ms: u64) -> Result<Option<(TokenEntry, u64)>, Error> {
    if token.len() > BATCH_TOKEN_BYTES_MAX {
        return Ok(None);
    }
    let sealed = token.strip_prefix(BATCH_PREFIX).and_then(|text| BASE64.decode(text).ok());
    let Some(payload) = sealed.and_then(|sealed| barrier.open_carried(Carried::BatchToken, &sealed)) else {
        return Ok(None);
    };
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| stored::unknown())?;
    if claims.version != VERSION {
        return Err(stored::unknown());
    }
    let expires_at_ms = claims.created_ms.saturating_add(claims.ttl_ms);
    if expires_at_ms <= now_ms {
        return Ok(None);
    }
    let entry = TokenEntry {
        kind: TokenKind::Batch,
        ttl_ms: claims.ttl_ms,
        display_name: claims.display_name,
        parent: claims.parent,
        meta: claims.meta,
        bound_cidrs: claims.bound_cidrs,
        role: claims.role,
        entity_id: claims.entity_id,
        ..TokenEntry::new(String::new(), claims.policies, &claims.path, claims.created_ms)
    };
    Ok(Some((entry, expires_at_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::seeded;
    use crate::seal::testing::{NOW_MS, barrier};

    fn entry() -> TokenEntry {
        TokenEntry {
            kind: TokenKind::Batch,
            ttl_ms: 60_000,
            display_name: "token-ci".to_owned(),
            parent: Some("00".repeat(32)),
            meta: BTreeMap::from([("team".to_owned(), "canary".to_owned())]),
            bound_cidrs: vec!["10.0.0.0/8".parse().unwrap()],
            role: "ci".to_owned(),
            entity_id: "e-1".to_owned(),
            ..TokenEntry::new(String::new(), vec!["app".to_owned()], "auth/token/create/ci", NOW_MS)
        }
    }

    #[test]
    fn a_batch_token_says_what_it_was_made_with_until_its_time() {
        let barrier = barrier();
        let token = seal(&barrier, &entry(), &mut seeded(1)).unwrap();
        let token = token.expose();
        assert!(token.len() >= 26 && is_batch(token) && !token.contains("canary"));
        let (found, expires_at_ms) = open(&barrier, token, NOW_MS + 59_999).unwrap().unwrap();
        assert!(found == entry() && expires_at_ms == NOW_MS + 60_000);
        assert!(open(&barrier, token, NOW_MS + 60_000).unwrap().is_none());
    }

    #[test]
    fn what_was_not_sealed_here_is_none() {
        let barrier = barrier();
        let token = seal(&barrier, &entry(), &mut seeded(1)).unwrap().expose().to_owned();
        let record = barrier.seal(&[1], "", b"{}", &mut seeded(1)).unwrap();
        let record = format!("b.{}", BASE64.encode(record));
        let long = format!("b.{}", "A".repeat(BATCH_TOKEN_BYTES_MAX));
        for wrong in ["b.", "b.!", "b.AAAA", &record, &long, &token[..token.len() - 1], &format!("{token}A")]
        {
            assert!(open(&barrier, wrong, NOW_MS).unwrap().is_none());
        }
    }

    #[test]
    fn a_token_that_would_not_fit_is_refused() {
        let meta = BTreeMap::from([("long".to_owned(), "x".repeat(BATCH_TOKEN_BYTES_MAX))]);
        let refused = seal(&barrier(), &TokenEntry { meta, ..entry() }, &mut seeded(1));
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
}
