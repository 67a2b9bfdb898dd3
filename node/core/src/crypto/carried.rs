//! Sealing what its holder carries himself, instead of a record: a batch token, or where somebody is who logs in elsewhere.
//!
//! ```text
//! carried = [what: 1][salt: 16][nonce: 12][ciphertext][tag: 16]
//! key     = HKDF(sub-key, salt and cluster id)
//! ```
//!
//! Any node makes these, without asking another, so nobody can count them; each therefore has a key of its own, and no
//! number of them wears out the keyring. The sub-key stays the same over rotations and seals nothing else: no stored
//! record can be taken for something carried, nor the other way.

use rand::CryptoRng;
use zeroize::Zeroizing;

use super::{
    ClusterId, KEY_BYTES, NONCE_BYTES, TAG_BYTES, cipher, decrypt_in_place, derive_key, encrypt_in_place,
};

const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + SALT_BYTES + NONCE_BYTES;
/// Bytes that sealing adds to what is carried.
pub const CARRIED_OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// What is carried: the first byte, which is sealed with it, so that nothing is taken for something else. A byte is never
/// given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    BatchToken = 1,
    /// Somebody who was sent to a provider to log in there.
    OidcState = 2,
}

/// Seals and opens what is carried, in one cluster.
pub(super) struct Carrier {
    key: Zeroizing<[u8; KEY_BYTES]>,
    cluster_id: ClusterId,
}

impl Carrier {
    pub(super) fn new(key: Zeroizing<[u8; KEY_BYTES]>, cluster_id: ClusterId) -> Self {
        Self { key, cluster_id }
    }

    pub(super) fn seal(&self, what: Carried, payload: &[u8], rng: &mut dyn CryptoRng) -> Vec<u8> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut nonce);
        let mut sealed = Vec::with_capacity(CARRIED_OVERHEAD_BYTES + payload.len());
        sealed.push(what as u8);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(payload);
        encrypt_in_place(&cipher(&self.key_of(&salt)), &nonce, &[what as u8], &mut sealed, HEADER_BYTES);
        sealed
    }

    /// `None`: it was not sealed in this cluster, or as something else, or has been changed.
    pub(super) fn open(&self, what: Carried, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let ([first, salt_and_nonce @ ..], text) = sealed.split_first_chunk::<HEADER_BYTES>()?;
        let (salt, nonce) = salt_and_nonce.split_first_chunk::<SALT_BYTES>()?;
        let mut plain = Zeroizing::new(text.to_vec());
        let cipher = cipher(&self.key_of(salt));
        decrypt_in_place(&cipher, nonce.first_chunk::<NONCE_BYTES>()?, &[*first], &mut plain).ok()?;
        (*first == what as u8).then_some(plain)
    }

    fn key_of(&self, salt: &[u8; SALT_BYTES]) -> Zeroizing<[u8; KEY_BYTES]> {
        derive_key(&self.key, "carried", &[salt.as_slice(), self.cluster_id.as_slice()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::seeded;

    fn carrier(key: u8, cluster: u8) -> Carrier {
        Carrier::new(Zeroizing::new([key; KEY_BYTES]), [cluster; 16])
    }

    #[test]
    fn what_was_sealed_opens_in_its_cluster_only() {
        let sealed = carrier(1, 1).seal(Carried::BatchToken, b"canary", &mut seeded(1));
        assert_eq!(sealed.len(), CARRIED_OVERHEAD_BYTES + 6);
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(carrier(1, 1).open(Carried::BatchToken, &sealed).unwrap().as_slice(), b"canary");
        assert!(carrier(1, 1).open(Carried::OidcState, &sealed).is_none());
        assert!(
            carrier(2, 1).open(Carried::BatchToken, &sealed).is_none()
                && carrier(1, 2).open(Carried::BatchToken, &sealed).is_none()
        );
    }

    #[test]
    fn every_change_and_every_cut_is_noticed() {
        let sealed = carrier(1, 1).seal(Carried::BatchToken, b"payload", &mut seeded(1));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(carrier(1, 1).open(Carried::BatchToken, &changed).is_none(), "{at}");
            assert!(carrier(1, 1).open(Carried::BatchToken, &sealed[..at]).is_none(), "{at}");
        }
    }

    #[test]
    fn nothing_is_sealed_alike_twice() {
        let mut rng = seeded(1);
        let (one, other) = (
            carrier(1, 1).seal(Carried::BatchToken, b"same", &mut rng),
            carrier(1, 1).seal(Carried::BatchToken, b"same", &mut rng),
        );
        assert_ne!(one[1..HEADER_BYTES], other[1..HEADER_BYTES]);
        assert_ne!(one[HEADER_BYTES..], other[HEADER_BYTES..]);
    }
}
