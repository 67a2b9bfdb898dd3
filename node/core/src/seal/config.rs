//! How the root key is wrapped: the record that a sealed node reads to know what it needs.
//!
//! It lies in the replicated state in plain, so it holds no secret: wrapped keys, and hashes and commitments that tell
//! nothing of what they stand for. Stored as JSON, so that it can be read in an emergency, with a version.

use std::fmt;

use conclave_proto::log::Txn;
use conclave_proto::secret::Secret;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::shamir::{self, SetId, Share};
use crate::crypto::{
    ClusterId, KEY_BYTES, Kind, NONCE_BYTES, RootKey, TAG_BYTES, cipher, decrypt_in_place, derive_key,
    encrypt_in_place, plain_key, random_key,
};
use crate::error::Error;

/// Longest name of a static key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 128;

const VERSION: u32 = 1;
const WRAP_DOMAIN: &[u8] = b"conclave/root-key/";
const WRAP_FORMAT: u8 = 1;
const WRAPPED_BYTES: usize = 1 + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// What opens the cluster after a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealType {
    /// People bring key shares.
    Shamir,
    /// Each node has a key file.
    Static,
}

impl SealType {
    /// As Vault's API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shamir => "shamir",
            Self::Static => "static",
        }
    }
}

/// A key that the operator gives to every node, to unseal without people.
#[derive(Clone)]
pub struct StaticKey {
    id: String,
    key: Secret<[u8; KEY_BYTES]>,
}

impl StaticKey {
    /// # Errors
    /// [`Error::Invalid`]: the name is empty, longer than [`KEY_ID_BYTES_MAX`] or not printable ASCII, or the key has
    /// not 32 bytes or is all zero.
    pub fn new(id: &str, key: &[u8]) -> Result<Self, Error> {
        if id.is_empty() || id.len() > KEY_ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let sentence =
                format!("the static key's id must be 1 to {KEY_ID_BYTES_MAX} printable ASCII characters");
            return Err(Error::Invalid(sentence));
        }
        let key = Secret::new(
            <[u8; KEY_BYTES]>::try_from(key)
                .map_err(|_| Error::invalid("the static key must have 32 bytes"))?,
        );
        if key.matches(&[0; KEY_BYTES]) {
            return Err(Error::invalid("the static key is all zero"));
        }
        Ok(Self { id: id.to_owned(), key })
    }

    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StaticKey({})", self.id)
    }
}

/// The seal of one cluster. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealConfig {
    pub cluster_id: ClusterId,
    /// When the cluster was initialised, Unix milliseconds.
    pub created_ms: u64,
    /// Whether an unsealed member gives the root key to one that restarted sealed.
    pub peer_unseal: bool,
    /// Fixes the root key, so that what was recovered is verified before use.
    root_key_commitment: [u8; 32],
    shares: Option<ShareSlot>,
    static_key: Option<StaticSlot>,
}

/// The root key, wrapped by a key that is split into shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShareSlot {
    #[serde(with = "hex")]
    pub(super) set_id: SetId,
    pub(super) shares: u8,
    pub(super) threshold: u8,
    /// Unix milliseconds of the cluster's time.
    created_ms: u64,
    /// Of share `n` at `n - 1`, hexadecimal: a share that was never made for this cluster is told at once.
    share_hashes: Vec<String>,
    #[serde(with = "hex")]
    wrapped_root_key: Vec<u8>,
}

/// The root key, wrapped by a key that the operator keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StaticSlot {
    key_id: String,
    #[serde(with = "hex")]
    wrapped_root_key: Vec<u8>,
}

/// What is stored. Fields may be added with a default; another meaning takes another version.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    #[serde(with = "hex")]
    cluster_id: ClusterId,
    created_ms: u64,
    #[serde(default = "on", skip_serializing_if = "is_on")]
    peer_unseal: bool,
    #[serde(with = "hex")]
    root_key_commitment: [u8; 32],
    shares: Option<ShareSlot>,
    static_key: Option<StaticSlot>,
}

fn on() -> bool {
    true
}

fn is_on(value: &bool) -> bool {
    *value
}

impl SealConfig {
    /// A seal that nothing opens yet: give it at least one slot before it is stored.
    pub(super) fn new(cluster_id: ClusterId, root_key: &RootKey, now_ms: u64) -> Self {
        Self {
            cluster_id,
            created_ms: now_ms,
            peer_unseal: true,
            root_key_commitment: root_key.commitment(&cluster_id),
            shares: None,
            static_key: None,
        }
    }

    /// What opens the cluster after a start: a static key if there is one, else shares.
    pub fn seal_type(&self) -> SealType {
        if self.static_key.is_some() { SealType::Static } else { SealType::Shamir }
    }

    /// Key shares that exist; 0: none.
    pub fn shares(&self) -> u8 {
        self.shares.as_ref().map_or(0, |slot| slot.shares)
    }

    /// Key shares that are needed; 0: there are none.
    pub fn threshold(&self) -> u8 {
        self.shares.as_ref().map_or(0, |slot| slot.threshold)
    }

    /// When the present shares were made, Unix milliseconds of the cluster's time.
    pub fn shares_created_ms(&self) -> Option<u64> {
        self.shares.as_ref().map(|slot| slot.created_ms)
    }

    /// The name of the static key that opens this cluster.
    pub fn static_key_id(&self) -> Option<&str> {
        self.static_key.as_ref().map(|slot| slot.key_id.as_str())
    }

    pub(super) fn share_slot(&self) -> Option<&ShareSlot> {
        self.shares.as_ref()
    }

    /// Whether `root_key` is this cluster's, in constant time.
    pub fn is_root_key(&self, root_key: &RootKey) -> bool {
        root_key.commitment(&self.cluster_id).ct_eq(&self.root_key_commitment).into()
    }

    /// Opens the seal with a static key.
    ///
    /// # Errors
    /// [`Error::Invalid`]: this cluster has no static key, has one of another name, or the key is not the one.
    pub fn unseal_with(&self, static_key: &StaticKey) -> Result<RootKey, Error> {
        let Some(slot) = &self.static_key else {
            return Err(Error::invalid("this cluster is not sealed by a static key"));
        };
        if slot.key_id != static_key.id {
            return Err(Error::Invalid(format!(
                "this cluster is sealed by the static key {:?}, and {:?} was given",
                slot.key_id, static_key.id
            )));
        }
        let context = static_context(&self.cluster_id, &slot.key_id);
        self.unwrap(static_key.key.expose(), &context, &slot.wrapped_root_key)
            .ok_or_else(|| Error::invalid("the static key is not the one that sealed this cluster"))
    }

    /// Opens the seal with the key that the shares gave. `None`: it is not the one.
    pub(super) fn unseal_with_share_key(&self, key: &Secret<[u8; KEY_BYTES]>) -> Option<RootKey> {
        let slot = self.shares.as_ref()?;
        self.unwrap(key.expose(), &share_context(&self.cluster_id, slot), &slot.wrapped_root_key)
    }

    fn unwrap(&self, key: &[u8; KEY_BYTES], context: &[u8], wrapped: &[u8]) -> Option<RootKey> {
        let root_key = unwrap_root_key(key, context, wrapped)?;
        self.is_root_key(&root_key).then_some(root_key)
    }

    /// Replaces the shares by a new split of a new key: the old shares open nothing any more.
    pub(super) fn set_shares(
        &mut self,
        root_key: &RootKey,
        shares: u8,
        threshold: u8,
        now_ms: u64,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<Share>, Error> {
        let share_key = random_key(rng);
        let dealt = shamir::split(share_key.expose(), shares, threshold, rng)?;
        let mut slot = ShareSlot {
            set_id: *dealt.first().expect("a split has at least one share").set_id(),
            shares,
            threshold,
            created_ms: now_ms,
            share_hashes: dealt.iter().map(|share| hex::encode(share.hash())).collect(),
            wrapped_root_key: Vec::new(),
        };
        let context = share_context(&self.cluster_id, &slot);
        slot.wrapped_root_key = wrap_root_key(root_key, share_key.expose(), &context, rng);
        self.shares = Some(slot);
        Ok(dealt)
    }

    /// Replaces the static key: the old one opens nothing any more.
    pub(super) fn set_static_key(
        &mut self,
        root_key: &RootKey,
        static_key: &StaticKey,
        rng: &mut dyn CryptoRng,
    ) {
        let context = static_context(&self.cluster_id, &static_key.id);
        self.static_key = Some(StaticSlot {
            key_id: static_key.id.clone(),
            wrapped_root_key: wrap_root_key(root_key, static_key.key.expose(), &context, rng),
        });
    }

    /// The record's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            version: VERSION,
            cluster_id: self.cluster_id,
            created_ms: self.created_ms,
            peer_unseal: self.peer_unseal,
            root_key_commitment: self.root_key_commitment,
            shares: self.shares.clone(),
            static_key: self.static_key.clone(),
        };
        serde_json::to_vec(&stored).expect("numbers and text always become JSON")
    }

    /// Stores it in place of the record at `revision` (0: there is none); conflicts if another came first.
    pub fn txn(&self, revision: u64) -> Txn {
        let key = plain_key(Kind::SealConfig);
        let mut txn = Txn::default();
        txn.require(key.clone(), revision);
        txn.put(key, self.to_bytes());
        txn
    }

    /// # Errors
    /// [`Error::Corrupt`]: not what [`SealConfig::to_bytes`] made, or of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(|_| corrupt("it cannot be read"))?;
        if stored.version != VERSION {
            return Err(corrupt("it is of another version of this program"));
        }
        if let Some(slot) = &stored.shares {
            shamir::check_split(slot.shares, slot.threshold)
                .map_err(|_| corrupt("its threshold is impossible"))?;
            if slot.share_hashes.len() != usize::from(slot.shares)
                || slot.wrapped_root_key.len() != WRAPPED_BYTES
            {
                return Err(corrupt("its shares are not complete"));
            }
        }
        if stored.static_key.as_ref().is_some_and(|slot| slot.wrapped_root_key.len() != WRAPPED_BYTES) {
            return Err(corrupt("its static key is not complete"));
        }
        if stored.shares.is_none() && stored.static_key.is_none() {
            return Err(corrupt("nothing opens it"));
        }
        Ok(Self {
            cluster_id: stored.cluster_id,
            created_ms: stored.created_ms,
            peer_unseal: stored.peer_unseal,
            root_key_commitment: stored.root_key_commitment,
            shares: stored.shares,
            static_key: stored.static_key,
        })
    }
}

impl ShareSlot {
    /// The share that `text` is, as base64 or hexadecimal.
    ///
    /// # Errors
    /// [`Error::Invalid`]: it is none of those that were dealt; which it is, and why not.
    pub(super) fn recognise(&self, text: &str) -> Result<Share, Error> {
        let share = Share::parse(text)?;
        if share.set_id() != &self.set_id {
            return Err(Error::Invalid(format!(
                "key share {} is of set {}, and this cluster is sealed by set {}: it belongs to another cluster, or \
                 the key shares were replaced since",
                share.number(),
                hex::encode(share.set_id()),
                hex::encode(self.set_id)
            )));
        }
        if !self.knows(&share) {
            return Err(Error::Invalid(format!(
                "key share {} is not one that was made for this cluster",
                share.number()
            )));
        }
        Ok(share)
    }

    /// Whether `share` is one of those that were dealt.
    fn knows(&self, share: &Share) -> bool {
        let expected =
            usize::from(share.number()).checked_sub(1).and_then(|index| self.share_hashes.get(index));
        expected
            .is_some_and(|expected| hex::encode(share.hash()).as_bytes().ct_eq(expected.as_bytes()).into())
    }
}

fn share_context(cluster_id: &ClusterId, slot: &ShareSlot) -> Vec<u8> {
    [WRAP_DOMAIN, &[WRAP_FORMAT], b"shares/", cluster_id, &slot.set_id, &[slot.shares, slot.threshold]]
        .concat()
}

fn static_context(cluster_id: &ClusterId, key_id: &str) -> Vec<u8> {
    [WRAP_DOMAIN, &[WRAP_FORMAT], b"static/", cluster_id, key_id.as_bytes()].concat()
}

/// `[format][nonce][ciphertext and tag]`.
fn wrap_root_key(
    root_key: &RootKey,
    slot_key: &[u8; KEY_BYTES],
    context: &[u8],
    rng: &mut dyn CryptoRng,
) -> Vec<u8> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
    wrapped.push(WRAP_FORMAT);
    wrapped.extend_from_slice(&nonce);
    wrapped.extend_from_slice(root_key.expose());
    let key = derive_key(slot_key, "root-key-wrap", b"");
    encrypt_in_place(&cipher(&key), &nonce, context, &mut wrapped, 1 + NONCE_BYTES);
    wrapped
}

fn unwrap_root_key(slot_key: &[u8; KEY_BYTES], context: &[u8], wrapped: &[u8]) -> Option<RootKey> {
    let (&format, rest) = wrapped.split_first()?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>()?;
    if format != WRAP_FORMAT {
        return None;
    }
    let mut plain = Zeroizing::new(text.to_vec());
    let key = derive_key(slot_key, "root-key-wrap", b"");
    decrypt_in_place(&cipher(&key), nonce, context, &mut plain).ok()?;
    RootKey::from_bytes(&plain).ok()
}

fn corrupt(why: &str) -> Error {
    Error::Corrupt(format!("the seal configuration: {why}"))
}

#[cfg(test)]
mod tests;
