//! The keys of one signer, as an operator gave them or as the signer publishes them (RFC 7517), and whether a token is by
//! one of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::compact::Compact;
use super::json;
use super::key::{Key, UNCOMPRESSED};

/// Keys of a set at most: each that could be meant is tried.
pub const KEYS_MAX: usize = 64;

/// Why a token was not found to be by one of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unverified {
    /// It is no token that is taken.
    Malformed(&'static str),
    /// It names a key that is not in the set, which may be out of date.
    UnknownKey,
    /// It is by none of those that it can be meant to be by.
    Signature,
}

pub struct KeySet {
    keys: Vec<Named>,
    /// Keys have ids, by which tokens name theirs.
    has_ids: bool,
}

struct Named {
    id: Option<String>,
    /// The only one that it may be used with.
    algorithm: Option<Algorithm>,
    key: Key,
}

impl KeySet {
    /// Keys that an operator gave.
    pub fn given(keys: Vec<Key>) -> Self {
        let keys = keys.into_iter().map(|key| Named { id: None, algorithm: None, key }).collect();
        Self { keys, has_ids: false }
    }

    /// A set as it is published. Keys that are not for signatures, or of a kind that is not supported, are left out.
    ///
    /// # Errors
    /// A sentence: it is no set of keys.
    pub fn published(bytes: &[u8]) -> Result<Self, &'static str> {
        let set = json::object(bytes).ok_or("the set of keys is malformed")?;
        let Some(Value::Array(listed)) = set.get("keys") else { return Err("the set of keys is malformed") };
        if listed.len() > KEYS_MAX {
            return Err("the set has too many keys");
        }
        let keys = listed.iter().filter_map(Value::as_object).filter_map(Named::published).collect();
        Ok(Self { keys, has_ids: true })
    }

    /// The claims of a token that was signed with one of the keys.
    ///
    /// # Errors
    /// [`Unverified`].
    pub fn verify(&self, token: &str) -> Result<(Algorithm, Map<String, Value>), Unverified> {
        let compact = Compact::parse(token).map_err(Unverified::Malformed)?;
        let by_id = compact.key_id.clone().filter(|_| self.has_ids);
        let is_meant = |key: &&Named| by_id.is_none() || key.id == by_id;
        let mut is_known = false;
        for Named { algorithm, key, .. } in self.keys.iter().filter(is_meant) {
            is_known = true;
            let fits = algorithm.is_none_or(|algorithm| algorithm == compact.algorithm);
            if fits && key.verifies(compact.algorithm, compact.signed, &compact.signature) {
                return Ok((compact.algorithm, compact.unproven_claims()));
            }
        }
        Err(if by_id.is_some() && !is_known { Unverified::UnknownKey } else { Unverified::Signature })
    }
}

impl Named {
    fn published(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let number = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let is_for_signatures = jwk.get("use").is_none_or(|purpose| purpose == "sig")
            && jwk.get("key_ops").is_none_or(|named| {
                named.as_array().is_some_and(|named| named.iter().any(|operation| operation == "verify"))
            });
        if !is_for_signatures {
            return None;
        }
        let key = match (text("kty")?, text("crv")) {
            ("RSA", _) => Key::rsa(&number("n")?, &number("e")?).ok()?,
            ("EC", Some(curve)) => {
                let key = Key::point(&[&[UNCOMPRESSED][..], &number("x")?[..], &number("y")?[..]].concat())?;
                let is_named = matches!((&key, curve), (Key::P256(_), "P-256") | (Key::P384(_), "P-384"));
                is_named.then_some(key)?
            }
            ("OKP", Some("Ed25519")) => Key::ed25519(&number("x")?)?,
            _ => return None,
        };
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(named) => Some(Algorithm::named(named.as_str()?)?),
        };
        Some(Self { id: text("kid").map(str::to_owned), algorithm, key })
    }
}
