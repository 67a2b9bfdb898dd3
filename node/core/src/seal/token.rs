//! Tokens: the root token's making, and who a token belongs to.
//!
//! A token is never stored. Its record lies under a keyed hash of it, sealed like any other; who reads the disk learns
//! neither tokens nor how many there are of whom. Every use looks the record up, and hands its revision on, so that a
//! change decided by a token fails if the token was revoked in between (I7).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use conclave_proto::log::{Precondition, Txn};
use conclave_proto::secret::Secret;
use quick_cache::sync::Cache;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::crypto::{Barrier, Kind};
use crate::error::Error;
use crate::plan::Context;
use crate::policy::Identity;
use crate::view::View;

/// Longest token that is looked up at all, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256;

const PREFIX: &str = "s.";
/// Base62 characters after the prefix: 256 bits.
const TOKEN_CHARACTERS: usize = 43;
/// Base62 characters of an accessor: 142 bits.
const ACCESSOR_CHARACTERS: usize = 24;
const VERSION: u32 = 1;
const ROOT_POLICY: &str = "root";
const ROOT_PATH: &str = "auth/token/root";
const MS_PER_S: u64 = 1000;

/// What is known of a token. Not the token itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEntry {
    version: u32,
    /// A handle that can look up and revoke but not use the token. Sensitive too.
    pub accessor: String,
    pub policies: Vec<String>,
    /// Unix milliseconds of the cluster's time.
    pub created_ms: u64,
    /// Lifetime in milliseconds from its creation; 0: it never ends.
    pub ttl_ms: u64,
    pub display_name: String,
    /// Where it was made, as Vault spells it.
    pub path: String,
    /// Not revoked with the token that made it.
    pub orphan: bool,
}

/// No accessor in a log.
impl fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenEntry")
    }
}

impl TokenEntry {
    fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == ROOT_POLICY)
    }
}

/// Tokens in [`TokenCache`] at most.
const CACHED_TOKENS_MAX: usize = 10_000;

/// The records of tokens that were used lately, opened. Holds no token, only keyed hashes; still, drop it with the keys.
pub struct TokenCache(Cache<[u8; 32], Arc<Opened>>);

struct Opened {
    key: Bytes,
    revision: u64,
    entry: Arc<TokenEntry>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self(Cache::new(CACHED_TOKENS_MAX))
    }
}

/// A caller whose token holds in one view.
#[derive(Debug)]
pub struct Identified {
    pub identity: Identity,
    pub entry: Arc<TokenEntry>,
    /// That the token still stands as it did: part of every transaction decided by it.
    pub precondition: Precondition,
}

/// Makes a root token, at random or with a fixed text (for development). It never expires.
///
/// # Errors
/// [`Error::Invalid`]: the fixed text is empty, longer than [`TOKEN_BYTES_MAX`] or not printable ASCII.
pub fn plan_root_token(ctx: &mut Context<'_>, fixed: Option<&str>) -> Result<(Secret<String>, Txn), Error> {
    let token = match fixed {
        Some(text) => fixed_token(text)?,
        None => random_token(ctx.rng),
    };
    let entry = TokenEntry {
        version: VERSION,
        accessor: base62(ACCESSOR_CHARACTERS, ctx.rng),
        policies: vec![ROOT_POLICY.to_owned()],
        created_ms: ctx.now_ms,
        ttl_ms: 0,
        display_name: ROOT_POLICY.to_owned(),
        path: ROOT_PATH.to_owned(),
        orphan: true,
    };
    let payload = Zeroizing::new(serde_json::to_vec(&entry).expect("text and numbers always become JSON"));
    let hash = ctx.barrier.token_hash(token.expose().as_bytes());
    let key = ctx.barrier.key(Kind::Token, [hash.as_str()]);
    let sealed = ctx.barrier.seal(&key, &hash, &payload, ctx.rng)?;
    let mut txn = Txn::default();
    txn.require(key.clone(), 0);
    txn.put(key, sealed);
    Ok((token, txn))
}

/// Who holds `token`, as of `view` at `now_ms` (the cluster's time, Unix milliseconds). `cache` belongs to `barrier`.
///
/// # Errors
/// [`Error::Denied`]: there is no such token, or it has expired. The two are not told apart.
/// [`Error::Corrupt`], [`Error::View`]: its record cannot be read.
pub fn identify(
    view: &dyn View,
    barrier: &Barrier,
    cache: &TokenCache,
    now_ms: u64,
    token: &str,
) -> Result<Identified, Error> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(Error::Denied);
    }
    let mac = barrier.token_mac(token.as_bytes());
    let cached = cache.0.get(&mac);
    let key = cached.as_ref().map_or_else(|| record_key(barrier, &mac), |cached| cached.key.clone());
    // The record is looked up each time: that it is there, at this revision, is what makes the token valid.
    let stamp = view.stamp(&key)?.ok_or(Error::Denied)?;
    if stamp.expires_at_ms != 0 && stamp.expires_at_ms <= now_ms {
        return Err(Error::Denied);
    }
    let entry = match cached.filter(|cached| cached.revision == stamp.revision) {
        Some(cached) => Arc::clone(&cached.entry),
        None => {
            let opened = Arc::new(open(view, barrier, &key)?);
            cache.0.insert(mac, Arc::clone(&opened));
            Arc::clone(&opened.entry)
        }
    };
    // Without policies to decide by, a token that is not root's can do nothing.
    if !entry.is_root() {
        return Err(Error::Denied);
    }
    Ok(Identified {
        identity: Identity::root(),
        entry,
        precondition: Precondition { key, revision: stamp.revision },
    })
}

fn record_key(barrier: &Barrier, mac: &[u8; 32]) -> Bytes {
    barrier.key(Kind::Token, [hex::encode(mac).as_str()]).into()
}

fn open(view: &dyn View, barrier: &Barrier, key: &Bytes) -> Result<Opened, Error> {
    let record = view.get(key)?.ok_or(Error::Denied)?;
    let opened = barrier.open(key, &record.sealed)?;
    let entry: TokenEntry = serde_json::from_slice(&opened.payload).map_err(|_| unreadable())?;
    if entry.version != VERSION {
        return Err(unreadable());
    }
    Ok(Opened { key: key.clone(), revision: record.revision, entry: Arc::new(entry) })
}

/// Ends a token: what was decided by it and is not applied yet fails.
pub fn plan_revoke(identified: &Identified) -> Txn {
    let Precondition { key, revision } = identified.precondition.clone();
    let mut txn = Txn::default();
    txn.require(key.clone(), revision);
    txn.delete(key);
    txn
}

/// What `auth/token/lookup-self` answers, in Vault's shape. Contains the token: never log it.
///
/// `now_ms`: the cluster's time, Unix milliseconds.
pub fn lookup_data(entry: &TokenEntry, token: &str, now_ms: u64) -> Value {
    let expires_ms = entry.created_ms.saturating_add(entry.ttl_ms);
    let (ttl_s, expire_time) = match entry.ttl_ms {
        0 => (0, Value::Null),
        _ => (expires_ms.saturating_sub(now_ms) / MS_PER_S, rfc3339(expires_ms)),
    };
    json!({
        "accessor": entry.accessor,
        "creation_time": entry.created_ms / MS_PER_S,
        "creation_ttl": entry.ttl_ms / MS_PER_S,
        "display_name": entry.display_name,
        "entity_id": "",
        "expire_time": expire_time,
        "explicit_max_ttl": 0,
        "id": token,
        "meta": null,
        "num_uses": 0,
        "orphan": entry.orphan,
        "path": entry.path,
        "policies": entry.policies,
        "ttl": ttl_s,
        "type": "service",
    })
}

fn rfc3339(time_ms: u64) -> Value {
    let time = i64::try_from(time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}

fn fixed_token(text: &str) -> Result<Secret<String>, Error> {
    if text.is_empty() || text.len() > TOKEN_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let sentence =
            format!("a fixed root token must be 1 to {TOKEN_BYTES_MAX} printable ASCII characters");
        return Err(Error::Invalid(sentence));
    }
    Ok(Secret::new(text.to_owned()))
}

fn random_token(rng: &mut dyn CryptoRng) -> Secret<String> {
    let random = Zeroizing::new(base62(TOKEN_CHARACTERS, rng));
    let mut token = String::with_capacity(PREFIX.len() + TOKEN_CHARACTERS);
    token.push_str(PREFIX);
    token.push_str(&random);
    Secret::new(token)
}

/// Random characters, each equally likely.
fn base62(characters: usize, rng: &mut dyn CryptoRng) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    /// The largest multiple of 62 that a byte can hold: what is above would favour the first characters.
    const FAIR: u8 = 248;
    let mut text = String::with_capacity(characters);
    while text.len() < characters {
        let mut byte = [0];
        rng.fill_bytes(&mut byte);
        if byte[0] < FAIR {
            text.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
        }
    }
    text
}

fn unreadable() -> Error {
    Error::Corrupt("a token's record is not of a kind that this program knows".to_owned())
}

#[cfg(test)]
mod tests;
