//! Signers for tests: real keys of each kind, and tokens that they sign.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

/// Made for these tests, and used for nothing else.
const RSA: &str = include_str!("vectors/rsa.txt");
/// What stands before a public key in its general form (RFC 5280).
const RSA_INFO: &str = "30820122300d06092a864886f70d01010105000382010f00";
const P256_INFO: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
const P384_INFO: &str = "3076301006072a8648ce3d020106052b81040022036200";
const ED25519_INFO: &str = "302a300506032b6570032100";

pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        let der = STANDARD.decode(RSA.replace('\n', "")).unwrap();
        Self::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap())
    }

    pub(crate) fn p256() -> Self {
        let rng = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &rng).unwrap())
    }

    pub(crate) fn p384() -> Self {
        let rng = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &rng).unwrap();
        Self::P384(EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der.as_ref(), &rng).unwrap())
    }

    pub(crate) fn ed25519() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap())
    }

    pub(crate) fn all() -> [Self; 4] {
        [Self::rsa(), Self::p256(), Self::p384(), Self::ed25519()]
    }

    /// By which it can sign.
    pub(crate) fn algorithms(&self) -> &'static [&'static str] {
        match self {
            Self::Rsa(_) => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Self::P256(_) => &["ES256"],
            Self::P384(_) => &["ES384"],
            Self::Ed25519(_) => &["EdDSA"],
        }
    }

    fn public(&self) -> (&'static str, &[u8]) {
        match self {
            Self::Rsa(key) => (RSA_INFO, key.public_key().as_ref()),
            Self::P256(key) => (P256_INFO, key.public_key().as_ref()),
            Self::P384(key) => (P384_INFO, key.public_key().as_ref()),
            Self::Ed25519(key) => (ED25519_INFO, key.public_key().as_ref()),
        }
    }

    pub(crate) fn pem(&self) -> String {
        let (info, public) = self.public();
        let der = [&hex::decode(info).unwrap(), public].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    pub(crate) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (_, public) = self.public();
        let half = public.len() / 2;
        match self {
            Self::Rsa(key) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({
                    "kty": "RSA", "kid": id, "use": "sig", "n": text(&public.n), "e": text(&public.e),
                })
            }
            Self::P256(_) | Self::P384(_) => json!({
                "kty": "EC", "kid": id, "crv": if half == 32 { "P-256" } else { "P-384" },
                "x": text(&public[1..=half]), "y": text(&public[half + 1..]),
            }),
            Self::Ed25519(_) => json!({ "kty": "OKP", "kid": id, "crv": "Ed25519", "x": text(public) }),
        }
    }

    /// By the algorithm that the header names, or else the first of its own.
    pub(crate) fn sign(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims));
        let rng = SystemRandom::new();
        let named = header["alg"].as_str().filter(|named| self.algorithms().contains(named));
        let signature = match self {
            Self::Rsa(key) => {
                let padding: &'static dyn ring::signature::RsaEncoding = match named {
                    Some("RS384") => &RSA_PKCS1_SHA384,
                    Some("RS512") => &RSA_PKCS1_SHA512,
                    Some("PS256") => &RSA_PSS_SHA256,
                    Some("PS384") => &RSA_PSS_SHA384,
                    Some("PS512") => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(padding, &rng, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::P256(key) | Self::P384(key) => key.sign(&rng, signed.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token with these claims, by the first of its algorithms.
    pub(crate) fn token(&self, id: &str, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithms()[0], "typ": "JWT", "kid": id });
        self.sign(&header, &claims.to_string())
    }
}

pub(crate) fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}
