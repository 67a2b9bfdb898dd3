//! The keyring: one key a term for records, and a base key for everything that must outlive a rotation.
//!
//! The root key wraps it whole. Each term carries a commitment to its key, because AES-GCM alone does not fix the key
//! that a text opens under: a record names its term, the term fixes the key, and no key is ever tried.
//! Old terms stay, so that old records stay readable. Nothing of a keyring is ever printed.

use std::fmt;

use conclave_proto::secret::Secret;
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    ClusterId, KEY_BYTES, NONCE_BYTES, TAG_BYTES, cipher, decrypt_in_place, derive_key, encrypt_in_place,
};
use crate::error::Error;

/// Most terms of one keyring; at one rotation an hour it lasts for seven years.
pub const TERMS_MAX: usize = 65_536;

/// First byte of a wrapped keyring.
const WRAPPED_FORMAT: u8 = 1;
/// First byte of the plaintext inside.
const PLAIN_FORMAT: u8 = 1;
const WRAPPED_HEADER_BYTES: usize = 1 + NONCE_BYTES;
const PLAIN_HEADER_BYTES: usize = 1 + KEY_BYTES + 4;
const TERM_BYTES: usize = 4 + 8 + KEY_BYTES + COMMITMENT_BYTES;
const COMMITMENT_BYTES: usize = 32;
const WRAP_DOMAIN: &[u8] = b"conclave/keyring/";

/// The key that wraps the keyring; itself wrapped by the seal.
#[derive(Clone)]
pub struct RootKey(Secret<[u8; KEY_BYTES]>);

impl RootKey {
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(random_key(rng))
    }

    /// # Errors
    /// [`Error::Invalid`]: not exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let key =
            <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| Error::invalid("a root key has 32 bytes"))?;
        Ok(Self(Secret::new(key)))
    }

    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose()
    }

    /// A value that fixes this key for one cluster without telling anything of it.
    pub(crate) fn commitment(&self, cluster_id: &ClusterId) -> [u8; COMMITMENT_BYTES] {
        *derive_key(self.expose(), "root-key-commitment", cluster_id)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey")
    }
}

/// All keys for records, and the base of all sub-keys.
#[derive(Clone)]
pub struct Keyring {
    /// Never rotated: the tokens in every record's key hang on it.
    base: Secret<[u8; KEY_BYTES]>,
    /// By rising id, without a gap, from 1 on; never empty. The last is the active one.
    terms: Vec<Term>,
}

#[derive(Clone)]
pub(super) struct Term {
    pub(super) id: u32,
    created_ms: u64,
    pub(super) key: Secret<[u8; KEY_BYTES]>,
    commitment: [u8; COMMITMENT_BYTES],
}

impl Keyring {
    /// A new keyring with one term. `now_ms`: the cluster's time, Unix milliseconds.
    pub fn generate(rng: &mut dyn CryptoRng, now_ms: u64) -> Self {
        let base = random_key(rng);
        Self { base, terms: vec![Term::generate(1, rng, now_ms)] }
    }

    /// This keyring with one more term, which seals from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the keyring has [`TERMS_MAX`] terms.
    pub fn rotate(&self, rng: &mut dyn CryptoRng, now_ms: u64) -> Result<Self, Error> {
        if self.terms.len() >= TERMS_MAX {
            return Err(Error::invalid(format!("the keyring is full: it holds {TERMS_MAX} terms")));
        }
        // With room for all: a vector that grows leaves copies of its keys behind.
        let mut terms = Vec::with_capacity(self.terms.len() + 1);
        terms.extend(self.terms.iter().cloned());
        terms.push(Term::generate(self.active_term() + 1, rng, now_ms));
        Ok(Self { base: self.base.clone(), terms })
    }

    /// The term that seals.
    pub fn active_term(&self) -> u32 {
        self.active().id
    }

    /// When the active term was made, Unix milliseconds of the cluster's time.
    pub fn active_since_ms(&self) -> u64 {
        self.active().created_ms
    }

    fn active(&self) -> &Term {
        self.terms.last().expect("a keyring is made with one term and never loses one")
    }

    pub(super) fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The sub-key for one purpose. It stays the same over rotations.
    pub(super) fn sub_key(&self, label: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        derive_key(self.base.expose(), label, b"")
    }

    /// The keyring as it is stored: `[format][nonce][ciphertext and tag]`, bound to the cluster.
    pub fn wrap(&self, root_key: &RootKey, cluster_id: &ClusterId, rng: &mut dyn CryptoRng) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let plain_bytes = PLAIN_HEADER_BYTES + self.terms.len() * TERM_BYTES;
        let mut wrapped = Vec::with_capacity(WRAPPED_HEADER_BYTES + plain_bytes + TAG_BYTES);
        wrapped.push(WRAPPED_FORMAT);
        wrapped.extend(nonce);
        self.encode_onto(&mut wrapped);
        let key = derive_key(root_key.expose(), "keyring-wrap", cluster_id);
        encrypt_in_place(
            &cipher(&key),
            &nonce,
            &wrap_context(cluster_id),
            &mut wrapped,
            WRAPPED_HEADER_BYTES,
        );
        wrapped
    }

    /// # Errors
    /// [`Error::Corrupt`]: damaged, of another cluster, wrapped by another root key, or a term's key is not the one
    /// that was committed to.
    pub fn unwrap(root_key: &RootKey, cluster_id: &ClusterId, wrapped: &[u8]) -> Result<Self, Error> {
        if wrapped.first() != Some(&WRAPPED_FORMAT) {
            return Err(corrupt("its format is unknown"));
        }
        let (nonce, text) =
            wrapped[1..].split_first_chunk::<NONCE_BYTES>().ok_or_else(|| corrupt("it is cut short"))?;
        let mut plain = Zeroizing::new(text.to_vec());
        let key = derive_key(root_key.expose(), "keyring-wrap", cluster_id);
        decrypt_in_place(&cipher(&key), nonce, &wrap_context(cluster_id), &mut plain)
            .map_err(|_| corrupt("it does not open with this root key"))?;
        Self::decode(&plain)
    }

    fn encode_onto(&self, buffer: &mut Vec<u8>) {
        let terms = u32::try_from(self.terms.len()).expect("TERMS_MAX fits into 32 bits");
        buffer.push(PLAIN_FORMAT);
        buffer.extend_from_slice(self.base.expose());
        buffer.extend_from_slice(&terms.to_be_bytes());
        for term in &self.terms {
            buffer.extend_from_slice(&term.id.to_be_bytes());
            buffer.extend_from_slice(&term.created_ms.to_be_bytes());
            buffer.extend_from_slice(term.key.expose());
            buffer.extend_from_slice(&term.commitment);
        }
    }

    fn decode(plain: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader(plain);
        if reader.array::<1>()? != [PLAIN_FORMAT] {
            return Err(corrupt("its inner format is unknown"));
        }
        let base = Secret::new(reader.array()?);
        let count =
            usize::try_from(u32::from_be_bytes(reader.array()?)).map_err(|_| corrupt("it is too large"))?;
        if count == 0 || count > TERMS_MAX || reader.0.len() != count * TERM_BYTES {
            return Err(corrupt("its number of terms does not fit its length"));
        }
        let mut terms = Vec::with_capacity(count);
        for expected_id in (1..).take(count) {
            let term = Term {
                id: u32::from_be_bytes(reader.array()?),
                created_ms: u64::from_be_bytes(reader.array()?),
                key: Secret::new(reader.array()?),
                commitment: reader.array()?,
            };
            if term.id != expected_id {
                return Err(corrupt("its terms are not in order"));
            }
            if !bool::from(commitment(term.id, &term.key).ct_eq(&term.commitment)) {
                return Err(corrupt("a term's key is not the one that was committed to"));
            }
            terms.push(term);
        }
        Ok(Self { base, terms })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} terms)", self.terms.len())
    }
}

impl Term {
    fn generate(id: u32, rng: &mut dyn CryptoRng, created_ms: u64) -> Self {
        let key = random_key(rng);
        let commitment = commitment(id, &key);
        Self { id, created_ms, key, commitment }
    }
}

fn commitment(term: u32, key: &Secret<[u8; KEY_BYTES]>) -> [u8; COMMITMENT_BYTES] {
    *derive_key(key.expose(), "term-commitment", &term.to_be_bytes())
}

pub(crate) fn random_key(rng: &mut dyn CryptoRng) -> Secret<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rng.fill_bytes(key.as_mut_slice());
    Secret::new(*key)
}

fn wrap_context(cluster_id: &ClusterId) -> Vec<u8> {
    [WRAP_DOMAIN, &[WRAPPED_FORMAT], cluster_id].concat()
}

fn corrupt(why: &str) -> Error {
    Error::Corrupt(format!("the keyring: {why}"))
}

/// Takes fixed pieces off the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (piece, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| corrupt("it is cut short"))?;
        self.0 = rest;
        Ok(*piece)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CountingRng, seeded};
    use super::*;

    const CLUSTER: ClusterId = [0xc1; 16];

    fn same(one: &Keyring, other: &Keyring) -> bool {
        let bytes = |keyring: &Keyring| {
            let mut bytes = Vec::new();
            keyring.encode_onto(&mut bytes);
            bytes
        };
        bytes(one) == bytes(other)
    }

    fn refusal(result: Result<Keyring, Error>) -> String {
        match result.unwrap_err() {
            Error::Corrupt(why) => why,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_wrapped_keyring_comes_back_whole() {
        let rng = &mut seeded(1);
        let root_key = RootKey::generate(rng);
        let keyring = Keyring::generate(rng, 1_000).rotate(rng, 2_000).unwrap().rotate(rng, 3_000).unwrap();
        let back = Keyring::unwrap(&root_key, &CLUSTER, &keyring.wrap(&root_key, &CLUSTER, rng)).unwrap();
        assert!(same(&keyring, &back));
        assert_eq!((back.active_term(), back.active_since_ms()), (3, 3_000));
    }

    /// The vector was computed by another implementation of the format, not by this program.
    #[test]
    fn the_wrapped_format_is_fixed() {
        let rng = &mut CountingRng::default();
        let root_key = RootKey::generate(rng);
        let keyring = Keyring::generate(rng, 1_700_000_000_000);
        let wrapped = keyring.wrap(&root_key, &CLUSTER, rng);
        assert_eq!(hex::encode(&wrapped), include_str!("vectors/keyring.hex").trim());
    }

    #[test]
    fn a_rotation_keeps_the_old_terms_and_all_sub_keys() {
        let rng = &mut seeded(2);
        let before = Keyring::generate(rng, 1);
        let after = before.rotate(rng, 2).unwrap();
        assert_eq!(after.active_term(), before.active_term() + 1);
        assert_eq!(after.terms()[0].key.expose(), before.terms()[0].key.expose());
        assert_ne!(after.terms()[1].key.expose(), before.terms()[0].key.expose());
        assert_eq!(after.sub_key("path"), before.sub_key("path"));
        assert_ne!(after.sub_key("path"), after.sub_key("audit"));
    }

    #[test]
    fn a_wrapped_keyring_opens_only_where_it_belongs() {
        let rng = &mut seeded(3);
        let root_key = RootKey::generate(rng);
        let wrapped = Keyring::generate(rng, 1).wrap(&root_key, &CLUSTER, rng);

        refusal(Keyring::unwrap(&RootKey::generate(rng), &CLUSTER, &wrapped));
        refusal(Keyring::unwrap(&root_key, &[0xc2; 16], &wrapped));
        for length in 0..wrapped.len() {
            refusal(Keyring::unwrap(&root_key, &CLUSTER, &wrapped[..length]));
        }
        for position in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[position] ^= 1;
            refusal(Keyring::unwrap(&root_key, &CLUSTER, &flipped));
        }
    }

    #[test]
    fn a_term_whose_key_is_not_the_committed_one_is_refused() {
        let rng = &mut seeded(4);
        let root_key = RootKey::generate(rng);
        let mut keyring = Keyring::generate(rng, 1).rotate(rng, 2).unwrap();
        // What a forger with the root key, or a fault in memory before wrapping, would make.
        keyring.terms[0].key = random_key(rng);
        let wrapped = keyring.wrap(&root_key, &CLUSTER, rng);
        let why = refusal(Keyring::unwrap(&root_key, &CLUSTER, &wrapped));
        assert!(why.contains("committed"), "{why}");
    }

    #[test]
    fn two_terms_cannot_change_places() {
        let rng = &mut seeded(5);
        let root_key = RootKey::generate(rng);
        let mut keyring = Keyring::generate(rng, 1).rotate(rng, 2).unwrap();
        keyring.terms.swap(0, 1);
        let wrapped = keyring.wrap(&root_key, &CLUSTER, rng);
        assert!(refusal(Keyring::unwrap(&root_key, &CLUSTER, &wrapped)).contains("order"));

        // With their ids exchanged as well, the commitments tell: they are bound to the id.
        keyring.terms[0].id = 1;
        keyring.terms[1].id = 2;
        let wrapped = keyring.wrap(&root_key, &CLUSTER, rng);
        assert!(refusal(Keyring::unwrap(&root_key, &CLUSTER, &wrapped)).contains("committed"));
    }

    #[test]
    fn a_root_key_has_32_bytes() {
        assert!(RootKey::from_bytes(&[1; 31]).is_err());
        assert!(RootKey::from_bytes(&[1; 33]).is_err());
        assert_eq!(RootKey::from_bytes(&[1; 32]).unwrap().expose(), &[1; 32]);
    }

    #[test]
    fn debug_shows_no_key() {
        let root_key = RootKey::from_bytes(&[0xab; 32]).unwrap();
        assert_eq!(format!("{root_key:?}"), "RootKey");
        let keyring = Keyring::generate(&mut seeded(6), 1);
        assert_eq!(format!("{keyring:?}"), "Keyring(1 terms)");
    }
}
