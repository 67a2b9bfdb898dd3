//! The one place that calls AES-256-GCM: in place, so that no copy of a plaintext is left behind.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};

use super::KEY_BYTES;

/// Bytes of a nonce; always random, never from a caller.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of an authentication tag.
pub(crate) const TAG_BYTES: usize = 16;

/// Tag and ciphertext do not belong together, or not to this key, nonce and context.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unauthentic;

pub(crate) fn cipher(key: &[u8; KEY_BYTES]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

/// Encrypts what `buffer` holds from `start` on and appends the tag.
///
/// Give the buffer room for [`TAG_BYTES`] more: one that must grow would leave a copy in freed memory.
pub(crate) fn encrypt_in_place(
    cipher: &Aes256Gcm,
    nonce: &[u8; NONCE_BYTES],
    context: &[u8],
    buffer: &mut Vec<u8>,
    start: usize,
) {
    let tag = cipher
        .encrypt_inout_detached(&Nonce::from(*nonce), context, (&mut buffer[start..]).into())
        .expect("every caller's plaintext is bounded far below AES-GCM's 64 GiB");
    buffer.extend_from_slice(&tag);
}

/// Decrypts `buffer`, a ciphertext with its tag, and cuts the tag off. On failure nothing was decrypted.
pub(crate) fn decrypt_in_place(
    cipher: &Aes256Gcm,
    nonce: &[u8; NONCE_BYTES],
    context: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), Unauthentic> {
    let length = buffer.len().checked_sub(TAG_BYTES).ok_or(Unauthentic)?;
    let (text, tag) = buffer.split_at_mut(length);
    let tag: &Tag = (&*tag).try_into().map_err(|_| Unauthentic)?;
    cipher
        .decrypt_inout_detached(&Nonce::from(*nonce), context, text.into(), tag)
        .map_err(|_| Unauthentic)?;
    buffer.truncate(length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_256_gcm_agrees_with_the_published_vectors() {
        // Test cases 15 and 16 of the GCM specification (McGrew and Viega), as NIST reprints them.
        let key: [u8; KEY_BYTES] =
            hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
                .unwrap()
                .try_into()
                .unwrap();
        let nonce: [u8; NONCE_BYTES] = hex::decode("cafebabefacedbaddecaf888").unwrap().try_into().unwrap();
        let plaintext = hex::decode(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
        )
        .unwrap();
        let ciphertext = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                          8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";

        let mut whole = plaintext.clone();
        encrypt_in_place(&cipher(&key), &nonce, b"", &mut whole, 0);
        assert_eq!(hex::encode(&whole), format!("{ciphertext}b094dac5d93471bdec1a502270e3cc6c"));

        let context = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
        let mut cut = plaintext[..60].to_vec();
        encrypt_in_place(&cipher(&key), &nonce, &context, &mut cut, 0);
        assert_eq!(hex::encode(&cut), format!("{}76fc6ece0f4e1768cddf8853bb2d551b", &ciphertext[..120]));

        decrypt_in_place(&cipher(&key), &nonce, &context, &mut cut).unwrap();
        assert_eq!(cut, plaintext[..60]);
    }

    #[test]
    fn a_text_shorter_than_a_tag_is_refused() {
        let cipher = cipher(&[1; KEY_BYTES]);
        for length in 0..TAG_BYTES {
            assert_eq!(decrypt_in_place(&cipher, &[0; 12], b"", &mut vec![0; length]), Err(Unauthentic));
        }
    }
}
