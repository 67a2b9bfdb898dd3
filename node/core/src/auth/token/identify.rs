//! Who a token belongs to, at every request: from its record, or its own text, and those of its ancestors, entity and
//! policies.
//!
//! The records are looked up each time: that they are there, at these revisions, is what makes the token valid. What was
//! opened, parsed and compiled from them is kept by those revisions.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use conclave_faults::{Bug, planted};
use conclave_proto::log::Precondition;
use quick_cache::sync::Cache;

use super::batch::{self, BATCH_TOKEN_BYTES_MAX};
use super::entry::TokenEntry;
use super::held::HeldCaches;
use super::line::{self, Mac, Member, mac_of};
use super::store::{self, token_key};
use crate::crypto::Barrier;
use crate::error::Error;
use crate::identity::{Belonging, EntityCache};
use crate::policy::Identity;
use crate::stored::has_expired;
use crate::view::{Stamp, View};

/// Longest token that is stored, in bytes.
pub const TOKEN_BYTES_MAX: usize = 256;
/// Tokens that are kept opened at most.
const CACHED_TOKENS_MAX: usize = 10_000;

/// What was made of records that were used lately. Holds no token, only keyed hashes; still, drop it with the keys.
pub struct TokenCaches {
    tokens: Cache<Mac, Arc<Member>>,
    entities: EntityCache,
    held: HeldCaches,
}

impl Default for TokenCaches {
    fn default() -> Self {
        Self {
            tokens: Cache::new(CACHED_TOKENS_MAX),
            entities: EntityCache::default(),
            held: HeldCaches::default(),
        }
    }
}

/// A caller whose token holds in one view.
pub struct Identified {
    pub identity: Identity,
    pub entry: Arc<TokenEntry>,
    /// The token's keyed hash.
    pub mac: Mac,
    /// Unix milliseconds of the cluster's time from which it is gone; 0: never.
    pub expires_at_ms: u64,
    /// The token that made it is no more, and let it go.
    pub is_released: bool,
    /// How many tokens it hangs on.
    pub ancestors: usize,
    /// Who he is, if that is known.
    pub belonging: Option<Arc<Belonging>>,
    /// That the token, its ancestors, its entity and all policies still stand as they did: part of every transaction
    /// decided by them.
    pub preconditions: Vec<Precondition>,
}

/// No accessor, no name and no token in a log.
impl std::fmt::Debug for Identified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identified")
    }
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
/// [`Error::Denied`]: there is no such token, it has expired, it may not be used from there, or whom it belongs to is
/// disabled. They are not told apart.
/// [`Error::Corrupt`], [`Error::View`]: a record cannot be read.
pub fn identify(
    view: &dyn View,
    barrier: &Barrier,
    caches: &TokenCaches,
    now_ms: u64,
    token: &str,
    from: Option<IpAddr>,
) -> Result<Identified, Error> {
    let longest = if batch::is_batch(token) { BATCH_TOKEN_BYTES_MAX } else { TOKEN_BYTES_MAX };
    if token.is_empty() || token.len() > longest {
        return Err(Error::Denied);
    }
    let mac = barrier.token_mac(token.as_bytes());
    let mut preconditions = Vec::with_capacity(4);
    let (entry, parent, expires_at_ms) = if batch::is_batch(token) {
        let (entry, expires_at_ms) = batch::open(barrier, token, now_ms)?.ok_or(Error::Denied)?;
        let parent = entry.parent.as_deref().map(mac_of).transpose()?;
        (Arc::new(entry), parent, expires_at_ms)
    } else {
        let (member, stamp) = open(view, barrier, caches, now_ms, mac)?.ok_or(Error::Denied)?;
        preconditions.push(member.precondition());
        (Arc::clone(&member.entry), member.parent, stamp.expires_at_ms)
    };
    if entry.released || !is_bound_to(&entry, from) {
        return Err(Error::Denied);
    }
    let find = |mac| Ok(open(view, barrier, caches, now_ms, mac)?.map(|(member, _)| member));
    let line = line::follow(parent, find)?.ok_or(Error::Denied)?;
    let ancestors = line.preconditions.len();
    preconditions.extend(line.preconditions);
    let belonging = belonging(view, barrier, caches, &entry.entity_id)?;
    if let Some(belonging) = &belonging {
        preconditions.extend(belonging.preconditions.iter().cloned());
    }
    let identity = if entry.is_root() {
        Identity::root()
    } else {
        let (acl, epoch) = caches.held.acl(view, barrier, now_ms, &entry.policies, belonging.as_ref())?;
        preconditions.push(epoch);
        Identity::holding(acl)
    };
    Ok(Identified {
        identity,
        entry,
        mac,
        expires_at_ms,
        is_released: line.is_released,
        ancestors,
        belonging,
        preconditions,
    })
}

/// Whose token it is; a token of an entity that is no more, or is disabled, is nobody's.
fn belonging(
    view: &dyn View,
    barrier: &Barrier,
    caches: &TokenCaches,
    entity_id: &str,
) -> Result<Option<Arc<Belonging>>, Error> {
    if entity_id.is_empty() {
        return Ok(None);
    }
    let found = caches.entities.resolve(view, barrier, entity_id)?;
    found.filter(|belonging| !belonging.entity.disabled).map(Some).ok_or(Error::Denied)
}

fn open(
    view: &dyn View,
    barrier: &Barrier,
    caches: &TokenCaches,
    now_ms: u64,
    mac: Mac,
) -> Result<Option<(Arc<Member>, Stamp)>, Error> {
    let cached = caches.tokens.get(&mac);
    let key: Bytes = match &cached {
        Some(cached) => cached.key.clone(),
        None => token_key(barrier, &hex::encode(mac)).into(),
    };
    let Some(stamp) = view.stamp(&key)?.filter(|stamp| !has_expired(stamp.expires_at_ms, now_ms)) else {
        if planted::is(Bug::EndedTokenRemembered) {
            return Ok(cached.map(|cached| {
                let revision = cached.revision;
                (cached, Stamp { revision, expires_at_ms: 0 })
            }));
        }
        return Ok(None);
    };
    if let Some(cached) = cached.filter(|cached| cached.revision == stamp.revision) {
        return Ok(Some((cached, stamp)));
    }
    let Some((member, expires_at_ms)) = store::member(view, barrier, key, now_ms)? else { return Ok(None) };
    let member = Arc::new(member);
    caches.tokens.insert(mac, Arc::clone(&member));
    let stamp = Stamp { revision: member.revision, expires_at_ms };
    Ok(Some((member, stamp)))
}

/// Whether the token may be used from there. Of a caller whose address is not known, nothing is believed.
fn is_bound_to(entry: &TokenEntry, from: Option<IpAddr>) -> bool {
    entry.bound_cidrs.is_empty()
        || from.is_some_and(|from| {
            let from = from.to_canonical();
            entry.bound_cidrs.iter().any(|net| net.contains(&from))
        })
}
