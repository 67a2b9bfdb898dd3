//! Public keys, and what each of them can verify. The key's own type says which algorithms it is for: with a token's word
//! for it, an RSA key could be taken for an HMAC secret.

use ring::signature::{self as ring_signature, EcdsaVerificationAlgorithm, RsaParameters, UnparsedPublicKey};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::algorithm::Algorithm as A;

/// Size of an RSA key's modulus, in bits: shorter ones can be broken, longer ones cost too much.
const RSA_BITS_MIN: usize = 2_048;
const RSA_BITS_MAX: usize = 8_192;
/// Longest public exponent, in bytes.
const EXPONENT_BYTES_MAX: usize = 4;
const ED25519_BYTES: usize = 32;
/// Of an uncompressed point: a byte that says so, and two numbers.
const P256_POINT_BYTES: usize = 1 + 2 * 32;
const P384_POINT_BYTES: usize = 1 + 2 * 48;
pub const UNCOMPRESSED: u8 = 4;

const OID_P256: &str = "1.2.840.10045.3.1.7";
const OID_P384: &str = "1.3.132.0.34";
const OID_ED25519: &str = "1.3.101.112";

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// Uncompressed points.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    /// # Errors
    /// A sentence: it is too short or too long.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
            return Err("an RSA key has 2048 to 8192 bits");
        }
        if exponent.is_empty() || exponent.len() > EXPONENT_BYTES_MAX {
            return Err("the exponent of an RSA key is too large");
        }
        Ok(Self::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    /// A point that is not compressed.
    pub fn point(bytes: &[u8]) -> Option<Self> {
        match (bytes.first(), bytes.len()) {
            (Some(&UNCOMPRESSED), P256_POINT_BYTES) => Some(Self::P256(bytes.to_vec())),
            (Some(&UNCOMPRESSED), P384_POINT_BYTES) => Some(Self::P384(bytes.to_vec())),
            _ => None,
        }
    }

    pub fn ed25519(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == ED25519_BYTES).then(|| Self::Ed25519(bytes.to_vec()))
    }

    /// The key of the first section of `text`: a public key, or that of a certificate.
    ///
    /// # Errors
    /// A sentence: there is none of a kind that is supported.
    pub fn of_pem(text: &str) -> Result<Self, &'static str> {
        const NONE: &str = "data does not contain any valid public keys";
        let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes());
        let (kind, der) = sections.next().and_then(Result::ok).ok_or(NONE)?;
        match kind {
            SectionKind::PublicKey => {
                let (rest, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| NONE)?;
                if rest.is_empty() { Self::of_info(&info) } else { Err(NONE) }
            }
            SectionKind::Certificate => {
                let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| NONE)?;
                Self::of_info(certificate.public_key())
            }
            _ => Err(NONE),
        }
    }

    fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, &'static str> {
        const NOT_SUPPORTED: &str = "a key is RSA, ECDSA on P-256 or P-384, or Ed25519";
        if info.algorithm.algorithm.to_id_string() == OID_ED25519 {
            return Self::ed25519(&info.subject_public_key.data).ok_or(NOT_SUPPORTED);
        }
        match info.parsed() {
            Ok(PublicKey::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            Ok(PublicKey::EC(point)) => {
                let curve = info.algorithm.parameters.as_ref().and_then(|named| named.as_oid().ok());
                let curve = curve.map(|curve| curve.to_id_string());
                match (Self::point(point.data()), curve.as_deref()) {
                    (Some(key @ Self::P256(_)), Some(OID_P256)) => Ok(key),
                    (Some(key @ Self::P384(_)), Some(OID_P384)) => Ok(key),
                    _ => Err(NOT_SUPPORTED),
                }
            }
            _ => Err(NOT_SUPPORTED),
        }
    }

    /// Whether `signature` is this key's, by `algorithm`, over `message`. By an algorithm of another key's type it is not.
    pub fn verifies(&self, algorithm: A, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters| match self {
            Self::Rsa { modulus, exponent } => {
                let key = ring_signature::RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }
            _ => false,
        };
        let ecdsa = |point: &[u8], parameters: &'static EcdsaVerificationAlgorithm| {
            UnparsedPublicKey::new(parameters, point).verify(message, signature).is_ok()
        };
        match (algorithm, self) {
            (A::Rs256, _) => rsa(&ring_signature::RSA_PKCS1_2048_8192_SHA256),
            (A::Rs384, _) => rsa(&ring_signature::RSA_PKCS1_2048_8192_SHA384),
            (A::Rs512, _) => rsa(&ring_signature::RSA_PKCS1_2048_8192_SHA512),
            (A::Ps256, _) => rsa(&ring_signature::RSA_PSS_2048_8192_SHA256),
            (A::Ps384, _) => rsa(&ring_signature::RSA_PSS_2048_8192_SHA384),
            (A::Ps512, _) => rsa(&ring_signature::RSA_PSS_2048_8192_SHA512),
            (A::Es256, Self::P256(point)) => ecdsa(point, &ring_signature::ECDSA_P256_SHA256_FIXED),
            (A::Es384, Self::P384(point)) => ecdsa(point, &ring_signature::ECDSA_P384_SHA384_FIXED),
            (A::EdDsa, Self::Ed25519(key)) => {
                UnparsedPublicKey::new(&ring_signature::ED25519, key).verify(message, signature).is_ok()
            }
            (A::Es256 | A::Es384 | A::EdDsa, _) => false,
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
