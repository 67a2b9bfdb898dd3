//! The seal on a snapshot file: who holds the keyring can tell that not one byte of it was changed.
//!
//! The sealed records inside authenticate themselves one by one; this covers what they cannot: that none is missing,
//! none was added, and none is older than the rest. It streams, so a snapshot need not fit into memory.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::KEY_BYTES;
use crate::error::Error;

/// Bytes of the code at the end of a snapshot.
pub const SNAPSHOT_MAC_BYTES: usize = 32;

/// Takes a snapshot's bytes in order, in pieces of any size; made by [`Barrier::snapshot_mac`].
///
/// [`Barrier::snapshot_mac`]: crate::crypto::Barrier::snapshot_mac
pub struct SnapshotMac(Hmac<Sha256>);

impl SnapshotMac {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The code to write after the last byte.
    pub fn finish(self) -> [u8; SNAPSHOT_MAC_BYTES] {
        self.0.finalize().into_bytes().into()
    }

    /// Whether `code` is the one for the bytes taken so far, compared in constant time.
    ///
    /// # Errors
    /// [`Error::Invalid`]: the snapshot was changed, cut short, or made by a cluster with another keyring.
    pub fn verify(self, code: &[u8]) -> Result<(), Error> {
        self.0.verify_slice(code).map_err(|_| {
            Error::invalid(
                "the snapshot fails authentication: it is damaged, incomplete or of another cluster",
            )
        })
    }
}

/// The state is as good as the key: it is not shown.
impl fmt::Debug for SnapshotMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotMac")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_sha256_agrees_with_rfc_4231_cases_1_and_2() {
        let mut mac = Hmac::<Sha256>::new_from_slice(&[0x0b; 20]).unwrap();
        mac.update(b"Hi There");
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hex::encode(mac.finalize().into_bytes()), expected);

        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(mac.finalize().into_bytes()), expected);
    }

    fn mac_of(key: u8, pieces: &[&[u8]]) -> SnapshotMac {
        let mut mac = SnapshotMac::new(&[key; KEY_BYTES]);
        pieces.iter().for_each(|piece| mac.update(piece));
        mac
    }

    #[test]
    fn the_code_depends_on_the_bytes_and_the_key_but_not_on_the_pieces() {
        let code = mac_of(1, &[b"one", b"two"]).finish();
        mac_of(1, &[b"onetwo"]).verify(&code).unwrap();
        mac_of(1, &[b"onetw", b"o", b""]).verify(&code).unwrap();

        mac_of(2, &[b"onetwo"]).verify(&code).unwrap_err();
        mac_of(1, &[b"onetw"]).verify(&code).unwrap_err();
        mac_of(1, &[b"onetwo!"]).verify(&code).unwrap_err();
        mac_of(1, &[b"onetwo"]).verify(&code[..31]).unwrap_err();
        mac_of(1, &[b"onetwo"]).verify(&[]).unwrap_err();
    }
}
