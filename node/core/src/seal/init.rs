//! The birth of a cluster's keys, and the replacement of what wraps them.
//!
//! Replacing shares or the static key wraps the same root key anew: no record is touched, and the node stays unsealed.

use conclave_proto::log::Txn;
use rand::CryptoRng;

use super::config::{SealConfig, StaticKey};
use super::shamir::{self, Share};
use crate::crypto::{ClusterId, Keyring, Kind, RootKey, plain_key};
use crate::error::Error;

/// How a new cluster is to be sealed.
pub struct Parameters {
    /// Key shares to make; 0 only with a static key.
    pub shares: u8,
    /// Key shares that unseal; 0 only with a static key.
    pub threshold: u8,
    /// With a static key the nodes unseal themselves; shares, if any, are the way in without it.
    pub static_key: Option<StaticKey>,
}

/// A new cluster's keys. The shares are shown once and stored nowhere.
pub struct Initialized {
    pub config: SealConfig,
    pub wrapped_keyring: Vec<u8>,
    pub root_key: RootKey,
    pub keyring: Keyring,
    pub shares: Vec<Share>,
}

impl Initialized {
    /// Stores the seal and the keyring; conflicts if the cluster was initialised before.
    pub fn txn(&self) -> Txn {
        let mut txn = self.config.txn(0);
        let key = plain_key(Kind::Keyring);
        txn.require(key.clone(), 0);
        txn.put(key, self.wrapped_keyring.clone());
        txn
    }
}

/// Makes the keys of a new cluster. `now_ms`: the cluster's time, Unix milliseconds.
///
/// # Errors
/// [`Error::Invalid`]: the shares and the threshold do not fit, or nothing would open the seal.
pub fn initialize(
    parameters: &Parameters,
    cluster_id: ClusterId,
    now_ms: u64,
    rng: &mut dyn CryptoRng,
) -> Result<Initialized, Error> {
    let root_key = RootKey::generate(rng);
    let keyring = Keyring::generate(rng, now_ms);
    let mut config = SealConfig::new(cluster_id, &root_key, now_ms);
    let shares = match (&parameters.static_key, parameters.shares, parameters.threshold) {
        (Some(_), 0, 0) => Vec::new(),
        (_, shares, threshold) => config.set_shares(&root_key, shares, threshold, now_ms, rng)?,
    };
    if let Some(static_key) = &parameters.static_key {
        config.set_static_key(&root_key, static_key, rng);
    }
    let wrapped_keyring = keyring.wrap(&root_key, &cluster_id, rng);
    Ok(Initialized { config, wrapped_keyring, root_key, keyring, shares })
}

/// New shares for the same root key (`rekey`): the old ones open nothing any more once the result is stored.
///
/// # Errors
/// [`Error::Invalid`]: the shares and the threshold do not fit, or `root_key` is not this cluster's.
pub fn replace_shares(
    config: &SealConfig,
    root_key: &RootKey,
    shares: u8,
    threshold: u8,
    now_ms: u64,
    rng: &mut dyn CryptoRng,
) -> Result<(SealConfig, Vec<Share>), Error> {
    shamir::check_split(shares, threshold)?;
    let mut config = checked(config, root_key)?;
    let shares = config.set_shares(root_key, shares, threshold, now_ms, rng)?;
    Ok((config, shares))
}

/// Another static key for the same root key, or the first one. Give it to every node before the result is stored.
///
/// # Errors
/// [`Error::Invalid`]: `root_key` is not this cluster's.
pub fn replace_static_key(
    config: &SealConfig,
    root_key: &RootKey,
    static_key: &StaticKey,
    rng: &mut dyn CryptoRng,
) -> Result<SealConfig, Error> {
    let mut config = checked(config, root_key)?;
    config.set_static_key(root_key, static_key, rng);
    Ok(config)
}

/// Wrapping a wrong root key would lock the cluster for ever.
fn checked(config: &SealConfig, root_key: &RootKey) -> Result<SealConfig, Error> {
    if config.is_root_key(root_key) {
        Ok(config.clone())
    } else {
        Err(Error::invalid("the root key is not this cluster's"))
    }
}

#[cfg(test)]
mod tests;
