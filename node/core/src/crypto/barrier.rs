//! The barrier: what stands between plaintext and everything that is stored or replicated.
//!
//! ```text
//! sealed    = [format: 1][term: 4, big endian][nonce: 12][ciphertext][tag: 16]
//! plaintext = [length of path: 2, big endian][path][payload]
//! context   = domain, format, term, cluster id, the record's key
//! ```
//!
//! The context ties a record to its place: put under another key, into another cluster, or relabelled with another
//! term, it does not open. A barrier is immutable and shared; a rotation makes a new one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use aes_gcm::Aes256Gcm;
use conclave_faults::{Bug, planted};
use conclave_proto::wire::RECORD_BYTES_MAX;
use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::carried::{Carried, Carrier};
use super::layout::{TOKEN_BYTES, key_len_of};
use super::{
    ClusterId, KEY_BYTES, Keyring, Kind, NONCE_BYTES, SnapshotMac, TAG_BYTES, cipher, decrypt_in_place,
    encrypt_in_place,
};
use crate::audit::Salt;
use crate::error::Error;

/// Rotate the keyring when the active term has done this many seals, in the whole cluster.
///
/// Half of what [`SEALS_PER_TERM_LIMIT`] allows, so that a rotation may take its time.
pub const SEALS_PER_TERM_MAX: u64 = 1 << 31;
/// Seals after which a term refuses to do another: NIST SP 800-38D allows no more random nonces under one key.
pub const SEALS_PER_TERM_LIMIT: u64 = 1 << 32;
/// Bytes that sealing adds to path and payload.
pub const SEALED_OVERHEAD_BYTES: usize = HEADER_BYTES + PATH_LENGTH_BYTES + TAG_BYTES;

const FORMAT: u8 = 1;
const TERM_BYTES: usize = 4;
const HEADER_BYTES: usize = 1 + TERM_BYTES + NONCE_BYTES;
const PATH_LENGTH_BYTES: usize = 2;
const DOMAIN: &[u8] = b"conclave/record/";
/// Segments that the first allocation of a key is made for; deeper paths grow it.
const SEGMENTS_EXPECTED: usize = 8;

/// Seals and opens records, and turns paths into keys.
pub struct Barrier {
    cluster_id: ClusterId,
    keyring: Keyring,
    /// The key schedule of term `n` at `n - 1`: a keyring's terms have no gap.
    ciphers: Vec<Aes256Gcm>,
    path_mac: Hmac<Sha256>,
    token_mac: Hmac<Sha256>,
    audit_mac: Hmac<Sha256>,
    snapshot_key: Zeroizing<[u8; KEY_BYTES]>,
    carrier: Carrier,
    seals: AtomicU64,
}

/// An opened record. Both parts are secret.
pub struct Opened {
    pub path: String,
    pub payload: Zeroizing<Vec<u8>>,
}

impl Barrier {
    pub fn new(cluster_id: ClusterId, keyring: Keyring) -> Self {
        let mac_of = |label| {
            Hmac::new_from_slice(keyring.sub_key(label).as_slice()).expect("HMAC takes keys of any length")
        };
        Self {
            cluster_id,
            ciphers: keyring.terms().iter().map(|term| cipher(term.key.expose())).collect(),
            path_mac: mac_of("path"),
            token_mac: mac_of("token"),
            audit_mac: mac_of("audit"),
            snapshot_key: keyring.sub_key("snapshot"),
            carrier: Carrier::new(keyring.sub_key("carried"), cluster_id),
            seals: AtomicU64::new(0),
            keyring,
        }
    }

    /// Counts from `seals` on: what the active term had done before, as the cluster has recorded it.
    pub fn counting_from(self, seals: u64) -> Self {
        self.seals.store(seals, Ordering::Relaxed);
        self
    }

    /// Counts at least `seals`: what the cluster has recorded of the active term, learnt later.
    pub fn count_at_least(&self, seals: u64) {
        self.seals.fetch_max(seals, Ordering::Relaxed);
    }

    /// Counts `seals` that another node has done under the active term.
    pub fn count_more(&self, seals: u64) {
        self.seals.fetch_add(seals, Ordering::Relaxed);
    }

    pub fn cluster_id(&self) -> &ClusterId {
        &self.cluster_id
    }

    /// To rotate or wrap it.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The key of the record of `kind` at a path: one token a segment, each a keyed hash of the kind and all segments
    /// up to it. Segments are joined by `/`, so none should contain one; no two lists of segments share a key.
    pub fn key<'s>(&self, kind: Kind, segments: impl IntoIterator<Item = &'s str>) -> Vec<u8> {
        let mut key = Vec::with_capacity(key_len_of(SEGMENTS_EXPECTED));
        key.push(kind.byte());
        let mut prefix = self.path_mac.clone();
        prefix.update(&[kind.byte()]);
        for (index, segment) in segments.into_iter().enumerate() {
            if index > 0 {
                prefix.update(b"/");
            }
            prefix.update(segment.as_bytes());
            key.extend_from_slice(&prefix.clone().finalize().into_bytes()[..TOKEN_BYTES]);
        }
        key
    }

    /// Seals a record for its place. The path is hidden with the payload, so that a scan can tell names.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the sealed record would be larger than [`RECORD_BYTES_MAX`].
    /// [`Error::Invalid`]: the active term has done [`SEALS_PER_TERM_LIMIT`] seals.
    pub fn seal(
        &self,
        key: &[u8],
        path: &str,
        payload: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, Error> {
        let sealed_bytes = SEALED_OVERHEAD_BYTES + path.len() + payload.len();
        let too_large =
            || Error::TooLarge(format!("a record may have at most {RECORD_BYTES_MAX} bytes when sealed"));
        let path_bytes = u16::try_from(path.len()).map_err(|_| too_large())?;
        if sealed_bytes > RECORD_BYTES_MAX {
            return Err(too_large());
        }
        if self.seals.fetch_add(1, Ordering::Relaxed) >= SEALS_PER_TERM_LIMIT {
            return Err(Error::invalid(
                "the active key term has sealed as much as is safe: rotate the keyring",
            ));
        }

        let term = self.keyring.active_term();
        let mut nonce = [0; NONCE_BYTES];
        if !planted::is(Bug::NonceReused) {
            rng.fill_bytes(&mut nonce);
        }
        let mut sealed = Vec::with_capacity(sealed_bytes);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&term.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&path_bytes.to_be_bytes());
        sealed.extend_from_slice(path.as_bytes());
        sealed.extend_from_slice(payload);
        let cipher = self.ciphers.last().expect("a keyring has at least one term");
        encrypt_in_place(cipher, &nonce, &self.context(term, key), &mut sealed, HEADER_BYTES);
        debug_assert_eq!(sealed.len(), sealed_bytes, "a buffer that grew has left plaintext behind");
        Ok(sealed)
    }

    /// Opens a record that was sealed for this key in this cluster.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: damaged, of another place or cluster, or of a term that the keyring does not have.
    pub fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Opened, Error> {
        let (header, text) =
            sealed.split_first_chunk::<HEADER_BYTES>().ok_or_else(|| corrupt("it is cut short"))?;
        let [format, term_and_nonce @ ..] = header;
        if *format != FORMAT {
            return Err(Error::Corrupt(format!("it has format {format}, and this program knows {FORMAT}")));
        }
        let (term, nonce) =
            term_and_nonce.split_first_chunk::<TERM_BYTES>().ok_or_else(|| corrupt("it is cut short"))?;
        let nonce = nonce.first_chunk::<NONCE_BYTES>().ok_or_else(|| corrupt("it is cut short"))?;
        let term = u32::from_be_bytes(*term);
        let cipher = usize::try_from(term)
            .ok()
            .and_then(|term| self.ciphers.get(term.checked_sub(1)?))
            .ok_or_else(|| Error::Corrupt(format!("its key term {term} is not in the keyring")))?;

        let mut plain = Zeroizing::new(text.to_vec());
        decrypt_in_place(cipher, nonce, &self.context(term, key), &mut plain)
            .map_err(|_| corrupt("it is damaged or does not belong where it is"))?;

        let (path_bytes, rest) =
            plain.split_first_chunk::<PATH_LENGTH_BYTES>().ok_or_else(|| corrupt("it has no path"))?;
        let path_bytes = usize::from(u16::from_be_bytes(*path_bytes));
        let path = rest.get(..path_bytes).ok_or_else(|| corrupt("its path is cut short"))?;
        let path = str::from_utf8(path).map_err(|_| corrupt("its path is not text"))?.to_owned();
        // In the same buffer, so that wiping it wipes every copy.
        plain.drain(..PATH_LENGTH_BYTES + path_bytes);
        Ok(Opened { path, payload: plain })
    }

    fn context(&self, term: u32, key: &[u8]) -> Vec<u8> {
        if planted::is(Bug::ContextDropped) {
            return Vec::new();
        }
        [DOMAIN, &[FORMAT], &term.to_be_bytes(), &self.cluster_id, key].concat()
    }

    /// Seals that the active term has done, with those it started from. A process counts only its own.
    pub fn seals_done(&self) -> u64 {
        self.seals.load(Ordering::Relaxed)
    }

    /// What stands for a token, so that the token itself is never stored; hexadecimal, to be a segment of a key.
    pub fn token_hash(&self, token: &[u8]) -> String {
        hex::encode(self.token_mac(token))
    }

    /// The same as bytes.
    pub fn token_mac(&self, token: &[u8]) -> [u8; 32] {
        mac_with(&self.token_mac, token)
    }

    /// Seals what its holder carries himself: nothing of it is stored. It opens in this cluster for ever.
    pub fn seal_carried(&self, what: Carried, payload: &[u8], rng: &mut dyn CryptoRng) -> Vec<u8> {
        self.carrier.seal(what, payload, rng)
    }

    /// Opens what [`Self::seal_carried`] has sealed; `None`: that was not sealed here, or has been changed.
    pub fn open_carried(&self, what: Carried, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.carrier.open(what, sealed)
    }

    /// What hashes the strings in the trail of the audit device `name`: the same at every node, and after a rotation.
    pub fn audit_salt(&self, name: &str) -> Salt {
        Salt::new(&mac_with(&self.audit_mac, name.as_bytes()))
    }

    /// The authentication code of one snapshot, to be fed with its bytes.
    pub fn snapshot_mac(&self) -> SnapshotMac {
        SnapshotMac::new(&self.snapshot_key)
    }
}

fn mac_with(state: &Hmac<Sha256>, data: &[u8]) -> [u8; 32] {
    state.clone().chain_update(data).finalize().into_bytes().into()
}

fn corrupt(why: &str) -> Error {
    Error::Corrupt(why.to_owned())
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Barrier(term {})", self.keyring.active_term())
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes)", self.payload.len())
    }
}

#[cfg(test)]
mod tests;
