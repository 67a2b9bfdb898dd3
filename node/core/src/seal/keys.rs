//! From the replicated state to a working barrier, and to a new key term.

use bytes::Bytes;
use conclave_proto::log::Txn;
use rand::CryptoRng;

use super::config::SealConfig;
use crate::crypto::{Barrier, Keyring, Kind, RootKey, plain_key};
use crate::error::Error;
use crate::view::View;

/// The seal, with the revision of its record; `None`: the cluster is not initialised. Works while sealed.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::View`].
pub fn load_config(view: &dyn View) -> Result<Option<(SealConfig, u64)>, Error> {
    let Some(record) = view.get(&plain_key(Kind::SealConfig))? else { return Ok(None) };
    Ok(Some((SealConfig::from_bytes(&record.sealed)?, record.revision)))
}

/// Opens the current keyring with the root key. Call it again when the keyring's record has changed.
///
/// # Errors
/// [`Error::Invalid`]: the root key is not this cluster's.
/// [`Error::Corrupt`]: the keyring is missing or does not open. [`Error::View`].
pub fn open_barrier(view: &dyn View, config: &SealConfig, root_key: &RootKey) -> Result<Barrier, Error> {
    if !config.is_root_key(root_key) {
        return Err(Error::invalid("the root key is not this cluster's"));
    }
    let (wrapped, _) = load_keyring(view)?;
    Ok(Barrier::new(config.cluster_id, Keyring::unwrap(root_key, &config.cluster_id, &wrapped)?))
}

/// Adds a term to the keyring as it stands in `view`; conflicts if somebody else changes it meanwhile.
///
/// Every node opens its barrier anew when it has applied the transaction, and must do so before it serves a record
/// of the new term. `now_ms`: the cluster's time, Unix milliseconds.
///
/// # Errors
/// As [`open_barrier`], and [`Error::Invalid`] when the keyring is full.
pub fn plan_rotation(
    view: &dyn View,
    config: &SealConfig,
    root_key: &RootKey,
    now_ms: u64,
    rng: &mut dyn CryptoRng,
) -> Result<Txn, Error> {
    let (wrapped, revision) = load_keyring(view)?;
    let keyring = Keyring::unwrap(root_key, &config.cluster_id, &wrapped)?.rotate(rng, now_ms)?;
    let key = plain_key(Kind::Keyring);
    let mut txn = Txn::default();
    txn.require(key.clone(), revision);
    txn.put(key, keyring.wrap(root_key, &config.cluster_id, rng));
    Ok(txn)
}

fn load_keyring(view: &dyn View) -> Result<(Bytes, u64), Error> {
    let record = view.get(&plain_key(Kind::Keyring))?;
    let record = record.ok_or_else(|| Error::Corrupt("the keyring: it is missing".to_owned()))?;
    Ok((record.sealed, record.revision))
}

#[cfg(test)]
mod tests;
