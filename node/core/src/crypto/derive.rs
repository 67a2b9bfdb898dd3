//! One key, many purposes: sub-keys by label, so that no key is ever used for two things.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::KEY_BYTES;

/// Begins every label; a new generation of all derivations changes the number.
const DOMAIN: &[u8] = b"conclave/1/";

/// HKDF-SHA256 of `key` for `label`, bound to `context`.
///
/// Labels are literals without a zero byte, so label and context cannot be confused.
pub(crate) fn derive_key(key: &[u8; KEY_BYTES], label: &str, context: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    Hkdf::<Sha256>::new(None, key)
        .expand_multi_info(&[DOMAIN, label.as_bytes(), &[0], context], derived.as_mut_slice())
        .expect("32 bytes are less than HKDF's limit of 255 hashes");
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_agrees_with_rfc_5869_case_1() {
        let salt = hex::decode("000102030405060708090a0b0c").unwrap();
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        let mut okm = [0; 42];
        Hkdf::<Sha256>::new(Some(&salt), &[0x0b; 22]).expand(&info, &mut okm).unwrap();
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(hex::encode(okm), expected);
    }

    #[test]
    fn every_label_and_context_gives_another_key() {
        let key = [7; KEY_BYTES];
        let derived = [
            derive_key(&key, "a", b""),
            derive_key(&key, "b", b""),
            derive_key(&key, "a", b"b"),
            derive_key(&key, "ab", b""),
            derive_key(&[8; KEY_BYTES], "a", b""),
        ];
        for (index, one) in derived.iter().enumerate() {
            assert_eq!(derived.iter().filter(|other| *other == one).count(), 1, "number {index}");
        }
    }
}
