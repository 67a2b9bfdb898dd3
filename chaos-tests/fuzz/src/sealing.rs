//! The sealed formats made by hand, with keys that are known: to reach what lies behind authentication.
//!
//! Written from the formats' descriptions and not with the program's own code, so that it also tells when they drift.

use std::sync::LazyLock;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use conclave_core::crypto::{Barrier, Keyring, RootKey};
use hkdf::Hkdf;
use sha2::Sha256;

pub const CLUSTER: [u8; 16] = [0xc1; 16];
const ROOT_KEY: [u8; 32] = [0x11; 32];
const BASE_KEY: [u8; 32] = [0x22; 32];
const TERM_KEY: [u8; 32] = [0x33; 32];
const NONCE: [u8; 12] = [0x44; 12];
/// Bytes of one term: id, time, key, commitment.
pub const TERM_BYTES: usize = 4 + 8 + 32 + 32;
/// Bytes before the terms: format, base key, number of terms.
pub const TERMS_AT: usize = 1 + 32 + 4;

/// The barrier of a keyring with one term, whose key is known here.
pub static BARRIER: LazyLock<Barrier> = LazyLock::new(|| {
    let wrapped = wrapped_keyring(&one_term());
    Barrier::new(CLUSTER, Keyring::unwrap(&root_key(), &CLUSTER, &wrapped).expect("made by the format"))
});

pub fn root_key() -> RootKey {
    RootKey::from_bytes(&ROOT_KEY).expect("32 bytes")
}

/// A keyring as its root key wraps it.
pub fn wrapped_keyring(plain: &[u8]) -> Vec<u8> {
    let key = derived(&ROOT_KEY, "keyring-wrap", &CLUSTER);
    let context = [b"conclave/keyring/".as_slice(), &[1], &CLUSTER].concat();
    [&[1], NONCE.as_slice(), &encrypted(&key, &context, plain)].concat()
}

/// The plaintext of the keyring that [`BARRIER`] has.
pub fn one_term() -> Vec<u8> {
    let mut plain = [&[1], BASE_KEY.as_slice(), &1_u32.to_be_bytes()].concat();
    plain.extend([&1_u32.to_be_bytes()[..], &1_000_u64.to_be_bytes(), &TERM_KEY, &[0; 32]].concat());
    commit(&mut plain);
    plain
}

/// Puts right commitments into a keyring's plaintext, for as many whole terms as there are.
pub fn commit(plain: &mut [u8]) {
    let Some(terms) = plain.get_mut(TERMS_AT..) else { return };
    for term in terms.chunks_exact_mut(TERM_BYTES) {
        let (fields, commitment) = term.split_at_mut(TERM_BYTES - 32);
        let key: [u8; 32] = fields[12..].try_into().expect("the last 32 bytes of a term's fields");
        commitment.copy_from_slice(&derived(&key, "term-commitment", &fields[..4]));
    }
}

/// A record as the only term seals it, whatever its plaintext.
pub fn sealed_record(key: &[u8], plain: &[u8]) -> Vec<u8> {
    let term = 1_u32.to_be_bytes();
    let context = [b"conclave/record/".as_slice(), &[1], &term, &CLUSTER, key].concat();
    [&[1], term.as_slice(), &NONCE, &encrypted(&TERM_KEY, &context, plain)].concat()
}

fn derived(key: &[u8; 32], label: &str, context: &[u8]) -> [u8; 32] {
    let mut derived = [0; 32];
    let info = [b"conclave/1/", label.as_bytes(), &[0], context].concat();
    Hkdf::<Sha256>::new(None, key).expand(&info, &mut derived).expect("32 bytes can be had");
    derived
}

fn encrypted(key: &[u8; 32], context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(&Nonce::from(NONCE), context, buffer.as_mut_slice().into())
        .expect("inputs are short");
    buffer.extend_from_slice(&tag);
    buffer
}
