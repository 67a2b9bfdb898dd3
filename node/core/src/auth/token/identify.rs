//! Who a token belongs to, at every request: from its record and those of its ancestors and policies.
//!
//! The records are looked up each time: that they are there, at these revisions, is what makes the token valid. What was
//! opened, parsed and compiled from them is kept by those revisions.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use conclave_proto::log::Precondition;
use quick_cache::sync::Cache;

use super::entry::TokenEntry;
use super::store::{self, ANCESTORS_MAX, token_key};
use crate::crypto::Barrier;
use crate::error::Error;
use crate::policy::{Acl, Identity, Subject, store as policies};
use crate::stored::{self, has_expired};
use crate::view::{Stamp, View};

/// Longest token that is looked up at all, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256;
/// Tokens that are kept opened at most.
const CACHED_TOKENS_MAX: usize = 10_000;
/// Sets of policies that are kept compiled at most.
const CACHED_ACLS_MAX: usize = 1_000;

type Mac = [u8; 32];

/// What was made of records that were used lately. Holds no token, only keyed hashes; still, drop it with the keys.
pub struct TokenCaches {
    tokens: Cache<Mac, Arc<Opened>>,
    /// By names, in order.
    acls: Cache<Vec<String>, Arc<Compiled>>,
}

struct Opened {
    key: Bytes,
    revision: u64,
    entry: Arc<TokenEntry>,
    parent: Option<Mac>,
}

struct Compiled {
    /// Of all policies: see [`policies::epoch_key`].
    epoch: u64,
    acl: Arc<Acl>,
}

impl Default for TokenCaches {
    fn default() -> Self {
        Self { tokens: Cache::new(CACHED_TOKENS_MAX), acls: Cache::new(CACHED_ACLS_MAX) }
    }
}

/// A caller whose token holds in one view.
#[derive(Debug)]
pub struct Identified {
    pub identity: Identity,
    pub entry: Arc<TokenEntry>,
    /// The token's keyed hash.
    pub mac: Mac,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
    /// The token that made it is no more, and let it go.
    pub is_released: bool,
    /// That the token, its ancestors and all policies still stand as they did: part of every transaction decided by them.
    pub preconditions: Vec<Precondition>,
}

impl Identified {
    /// As the token's record is named.
    pub fn hash(&self) -> String {
        hex::encode(self.mac)
    }

    pub fn is_orphan(&self) -> bool {
        self.entry.parent.is_none() || self.is_released
    }
}

/// Who holds `token`, as of `view` at `now_ms` (the cluster's time, Unix milliseconds), calling from `from` if that is
/// known. `caches` belong to `barrier`.
///
/// # Errors
/// [`Error::Denied`]: there is no such token, it has expired, or it may not be used from there. They are not told apart.
/// [`Error::Corrupt`], [`Error::View`]: a record cannot be read.
pub fn identify(
    view: &dyn View,
    barrier: &Barrier,
    caches: &TokenCaches,
    now_ms: u64,
    token: &str,
    from: Option<IpAddr>,
) -> Result<Identified, Error> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(Error::Denied);
    }
    let mac = barrier.token_mac(token.as_bytes());
    let (opened, stamp) = open(view, barrier, caches, now_ms, mac)?;
    let entry = Arc::clone(&opened.entry);
    if entry.released || !is_bound_to(&entry, from) {
        return Err(Error::Denied);
    }
    let mut preconditions = Vec::with_capacity(2);
    preconditions.push(opened.precondition());
    let mut is_released = false;
    let mut parent = opened.parent;
    for generation in 0.. {
        let Some(mac) = parent else { break };
        let (ancestor, _) = open(view, barrier, caches, now_ms, mac)?;
        preconditions.push(ancestor.precondition());
        if ancestor.entry.released {
            is_released = generation == 0;
            break;
        }
        if generation == ANCESTORS_MAX {
            return Err(Error::Corrupt("a token has more ancestors than can be made".to_owned()));
        }
        parent = ancestor.parent;
    }
    let identity = if entry.is_root() {
        Identity::root()
    } else {
        let (acl, epoch) = acl(view, barrier, caches, now_ms, &entry.policies)?;
        preconditions.push(epoch);
        Identity::holding(acl)
    };
    Ok(Identified { identity, entry, mac, expires_at_ms: stamp.expires_at_ms, is_released, preconditions })
}

impl Opened {
    fn precondition(&self) -> Precondition {
        Precondition { key: self.key.clone(), revision: self.revision }
    }
}

fn open(
    view: &dyn View,
    barrier: &Barrier,
    caches: &TokenCaches,
    now_ms: u64,
    mac: Mac,
) -> Result<(Arc<Opened>, Stamp), Error> {
    let cached = caches.tokens.get(&mac);
    let key = cached
        .as_ref()
        .map_or_else(|| token_key(barrier, &hex::encode(mac)).into(), |cached| cached.key.clone());
    let stamp = view.stamp(&key)?.ok_or(Error::Denied)?;
    if has_expired(stamp.expires_at_ms, now_ms) {
        return Err(Error::Denied);
    }
    if let Some(cached) = cached.filter(|cached| cached.revision == stamp.revision) {
        return Ok((cached, stamp));
    }
    let found = store::load(view, barrier, &key, now_ms)?.ok_or(Error::Denied)?;
    let entry = found.value;
    let parent = entry.parent.as_deref().map(mac_of).transpose()?;
    let opened = Arc::new(Opened { key, revision: found.revision, entry: Arc::new(entry), parent });
    caches.tokens.insert(mac, Arc::clone(&opened));
    let stamp = Stamp { revision: found.revision, expires_at_ms: found.expires_at_ms };
    Ok((opened, stamp))
}

/// What these policies allow together, and that no policy has changed since.
fn acl(
    view: &dyn View,
    barrier: &Barrier,
    caches: &TokenCaches,
    now_ms: u64,
    names: &[String],
) -> Result<(Arc<Acl>, Precondition), Error> {
    let key = policies::epoch_key();
    let epoch = view.stamp(&key)?.map_or(0, |stamp| stamp.revision);
    let precondition = Precondition { key: key.into(), revision: epoch };
    if let Some(cached) = caches.acls.get(names)
        && cached.epoch == epoch
        && cached.acl.expires_ms().is_none_or(|expires_ms| now_ms < expires_ms)
    {
        return Ok((Arc::clone(&cached.acl), precondition));
    }
    let acl = acl_of(view, barrier, now_ms, names)?;
    caches.acls.insert(names.to_vec(), Arc::new(Compiled { epoch, acl: Arc::clone(&acl) }));
    Ok((acl, precondition))
}

/// What these policies allow together.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::View`].
pub fn acl_of(view: &dyn View, barrier: &Barrier, now_ms: u64, names: &[String]) -> Result<Arc<Acl>, Error> {
    let mut held = Vec::with_capacity(names.len());
    for name in names {
        // One that there is not, or not any more, grants nothing.
        held.extend(policies::named(view, barrier, name)?);
    }
    Ok(Arc::new(Acl::compile(&held, &Subject::default(), now_ms)?))
}

/// Whether the token may be used from there. Of a caller whose address is not known, nothing is believed.
fn is_bound_to(entry: &TokenEntry, from: Option<IpAddr>) -> bool {
    entry.bound_cidrs.is_empty()
        || from.is_some_and(|from| {
            let from = from.to_canonical();
            entry.bound_cidrs.iter().any(|net| net.contains(&from))
        })
}

fn mac_of(hash: &str) -> Result<Mac, Error> {
    let mut mac = Mac::default();
    hex::decode_to_slice(hash, &mut mac).map_err(|_| stored::unknown())?;
    Ok(mac)
}
